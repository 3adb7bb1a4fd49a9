//! How a group is made.

use std::sync::Arc;
use std::time::Duration;

use crate::error::BuildGroupError;
use crate::group::{Group, Mirroring, Options};
use crate::loader::{ErasedLoader, Loader};
use crate::peers::Peers;
use crate::registry::Registry;

/// The longest name that a group may have, in bytes.
pub const MAX_GROUP_NAME_BYTES: usize = 64;

/// 64 MiB.
const DEFAULT_MAX_BYTES: u64 = 64 << 20;
/// 1 KiB.
const DEFAULT_MAX_KEY_BYTES: usize = 1 << 10;
const DEFAULT_LOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Builds a [`Group`]: [`Node::group`](crate::Node::group) starts one, [`build`](Self::build) ends it.
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
    registry: Registry,
    peers: Arc<Peers>,
    name: String,
    loader: Option<Arc<dyn ErasedLoader>>,
    options: Options,
}

impl GroupBuilder {
    /// Starts a group with the defaults.
    pub(crate) fn new(registry: Registry, peers: Arc<Peers>, name: String) -> Self {
        let options = Options {
            max_bytes: DEFAULT_MAX_BYTES,
            max_key_bytes: DEFAULT_MAX_KEY_BYTES.min(peers.picker.limits().max_key_bytes),
            load_timeout: DEFAULT_LOAD_TIMEOUT,
            mirroring: Mirroring::default(),
        };
        Self { registry, peers, name, loader: None, options }
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

    /// Bounds the length of a key, in bytes; 1 KiB unless set, or less if the node's transport
    /// carries less.
    pub fn max_key_bytes(mut self, max_key_bytes: usize) -> Self {
        self.options.max_key_bytes = max_key_bytes;
        self
    }

    /// Bounds how long a call of the loader may take; 30 seconds unless set.
    ///
    /// Then the loader's future is dropped, everyone who waits gets
    /// [`GetError::TimedOut`](crate::GetError::TimedOut), and the next get of the key tries again. So
    /// no flight lives for ever, whatever the loader waits for.
    ///
    /// Other nodes wait as long for a load here, and the
    /// [peer timeout](crate::NodeBuilder::peer_timeout) on top, if their transport tells them that it
    /// is under way. So set it alike on all nodes: one that allows less than the owner does gives up
    /// on the owner's load, and loads the key once more.
    pub fn load_timeout(mut self, timeout: Duration) -> Self {
        self.options.load_timeout = timeout;
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
    /// Fails if the name is empty, too long or taken, if the node's transport carries no keys as long
    /// as the group allows, or if no loader was given.
    pub fn build(self) -> Result<Group, BuildGroupError> {
        let Self { registry, peers, name, loader, options } = self;
        if name.is_empty() {
            return Err(BuildGroupError::EmptyName);
        }
        let limits = peers.picker.limits();
        let max = MAX_GROUP_NAME_BYTES.min(limits.max_group_bytes);
        if name.len() > max {
            return Err(BuildGroupError::NameTooLong { name, max });
        }
        let (max_key_bytes, max) = (options.max_key_bytes, limits.max_key_bytes);
        if max_key_bytes > max {
            return Err(BuildGroupError::KeysTooLong { name, max_key_bytes, max });
        }
        let Some(loader) = loader else {
            return Err(BuildGroupError::NoLoader { name });
        };
        registry.add(Group::new(name, loader, options, peers))
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
