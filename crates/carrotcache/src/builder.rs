//! How a group is made.

use std::sync::Arc;

use crate::error::BuildGroupError;
use crate::group::Group;
use crate::loader::{ErasedLoader, Loader};
use crate::mirror::Mirroring;
use crate::node::Node;

/// The longest name that a group may have, in bytes.
pub const MAX_GROUP_NAME_BYTES: usize = 64;

/// 64 MiB.
const DEFAULT_MAX_BYTES: u64 = 64 << 20;
/// 1 KiB.
const DEFAULT_MAX_KEY_BYTES: usize = 1 << 10;

/// Builds a [`Group`]: [`Node::group`] starts one, [`build`](Self::build) ends it.
///
/// Only the loader is required.
///
/// ```
/// use std::num::NonZeroU32;
///
/// use carrotcache::{BuildGroupError, Mirroring, Node};
///
/// let node = Node::new();
/// let loader = |key: String| async move { Ok::<_, std::io::Error>(Some(key)) };
/// let pages = node
///     .group("pages")
///     .max_bytes(256 << 20)
///     .max_key_bytes(2_048)
///     .mirroring(Mirroring::OneIn(NonZeroU32::new(100).expect("not zero")))
///     .loader(loader)
///     .build()?;
/// assert_eq!(pages.name(), "pages");
///
/// let twice = node.group("pages").loader(loader).build();
/// assert!(matches!(twice, Err(BuildGroupError::NameTaken { .. })));
/// # Ok::<_, BuildGroupError>(())
/// ```
#[must_use = "a group is part of its node once `build` was called"]
pub struct GroupBuilder {
    node: Node,
    name: String,
    loader: Option<Arc<dyn ErasedLoader>>,
    options: Options,
}

/// What can be set of a group beside its name and loader.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) max_bytes: u64,
    pub(crate) max_key_bytes: usize,
    pub(crate) mirroring: Mirroring,
}

impl GroupBuilder {
    /// Starts a group with the defaults.
    pub(crate) fn new(node: Node, name: String) -> Self {
        let options = Options {
            max_bytes: DEFAULT_MAX_BYTES,
            max_key_bytes: DEFAULT_MAX_KEY_BYTES,
            mirroring: Mirroring::default(),
        };
        Self { node, name, loader: None, options }
    }

    /// Sets the function that fetches a value on a miss.
    pub fn loader(mut self, loader: impl Loader) -> Self {
        self.loader = Some(Arc::new(loader));
        self
    }

    /// Bounds main and hot cache together, in bytes; 64 MiB unless set.
    ///
    /// An entry counts for its key, its value and
    /// [`ENTRY_OVERHEAD_BYTES`](crate::ENTRY_OVERHEAD_BYTES). With 0 nothing is cached, and
    /// everything else works: concurrent gets of a key still share one load.
    pub fn max_bytes(mut self, max_bytes: u64) -> Self {
        self.options.max_bytes = max_bytes;
        self
    }

    /// Bounds the length of a key, in bytes; 1 KiB unless set.
    ///
    /// A transport may have a bound of its own, beyond which keys are loaded where they are asked
    /// for.
    pub fn max_key_bytes(mut self, max_key_bytes: usize) -> Self {
        self.options.max_key_bytes = max_key_bytes;
        self
    }

    /// Sets which values fetched from their owners are kept here too; one in ten unless set.
    pub fn mirroring(mut self, mirroring: Mirroring) -> Self {
        self.options.mirroring = mirroring;
        self
    }

    /// Returns the group, which is now part of its node.
    ///
    /// # Errors
    ///
    /// Fails if the name is empty, too long or taken, or if no loader was given.
    pub fn build(self) -> Result<Group, BuildGroupError> {
        let Self { node, name, loader, options } = self;
        if name.is_empty() {
            return Err(BuildGroupError::EmptyName);
        }
        if name.len() > MAX_GROUP_NAME_BYTES {
            return Err(BuildGroupError::NameTooLong { name, max: MAX_GROUP_NAME_BYTES });
        }
        let Some(loader) = loader else {
            return Err(BuildGroupError::NoLoader { name });
        };
        node.adopt(Group::new(name, loader, options, node.peers().clone()))
    }
}

impl std::fmt::Debug for GroupBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupBuilder")
            .field("name", &self.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
