//! How a group is made.

use std::sync::Arc;
use std::time::Duration;

use crate::bulk::{BulkLoader, ErasedBulkLoader, Loaders};
use crate::error::BuildGroupError;
use crate::freshness::Freshness;
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
const DEFAULT_MAX_LOADS: usize = 256;
const DEFAULT_MAX_WAITING_LOADS: usize = 16_384;

/// Builds a [`Group`]: [`Node::group`](crate::Node::group) starts one, [`build`](Self::build) ends it.
///
/// Only a loader is required, or a bulk loader.
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
    bulk_loader: Option<Arc<dyn ErasedBulkLoader>>,
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
            freshness: Freshness::default(),
            max_loads: DEFAULT_MAX_LOADS,
            max_waiting_loads: DEFAULT_MAX_WAITING_LOADS,
        };
        Self { registry, peers, name, loader: None, bulk_loader: None, options }
    }

    /// Sets the function that fetches a value on a miss.
    pub fn loader(mut self, loader: impl Loader) -> Self {
        self.loader = Some(Arc::new(loader));
        self
    }

    /// Sets the function that fetches the values of many keys at once, for
    /// [`get_many`](Group::get_many); none unless set, and the [`loader`](Self::loader) is called for each
    /// key then.
    ///
    /// Without a loader, it loads single keys too.
    pub fn bulk_loader(mut self, loader: impl BulkLoader) -> Self {
        self.bulk_loader = Some(Arc::new(loader));
        self
    }

    /// Bounds all that is cached, in bytes; 64 MiB unless set.
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

    /// Sets how long a value is fresh, counted from the end of its load; for good unless set.
    ///
    /// A value with a [time to live of its own](crate::Value::with_time_to_live) is fresh for that long
    /// if it is shorter. With zero nothing is kept, and those who wait for a load still share it. A
    /// hundred years or more are for good.
    ///
    /// When the end is near, one get in many starts a load of a new value and returns the old one: the
    /// nearer, and the longer the last load took, the likelier. So a key that many ask for is loaded
    /// before it expires, and nobody waits (Vattani, Chierichetti and Lowenstein, 2015).
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.options.freshness.time_to_live = Some(time_to_live);
        self
    }

    /// Sets which part of each time to live may be cut off, by chance; .1 unless set, and from 0 to 1.
    ///
    /// Values that are loaded at the same time do not expire at the same time then, and the database
    /// is not asked for all of them at once.
    pub fn jitter(mut self, part: f64) -> Self {
        self.options.freshness.jitter = part;
        self
    }

    /// Sets for how long a value that is no longer fresh is still returned, while a load of a new one is
    /// under way; not at all unless set.
    ///
    /// It needs a [`time_to_live`](Self::time_to_live). A load that fails is tried again after a second,
    /// then two, up to half a minute, and does not prolong anything. What is removed is not returned,
    /// stale or otherwise.
    pub fn serve_stale(mut self, time: Duration) -> Self {
        self.options.freshness.serve_stale = time;
        self
    }

    /// Sets for how long a value that is no longer fresh is returned if its load fails, is refused or
    /// takes too long; not at all unless set.
    ///
    /// It needs a [`time_to_live`](Self::time_to_live), and counts from its end, as
    /// [`serve_stale`](Self::serve_stale) does. That a key is not there is no failure.
    pub fn stale_if_error(mut self, time: Duration) -> Self {
        self.options.freshness.stale_if_error = time;
        self
    }

    /// Sets how long a copy of another node's value is fresh at most; as long as the owner's unless
    /// set. With zero there are no copies.
    ///
    /// It bounds how old a copy can be on a node that cannot be reached when the key is removed.
    pub fn mirror_time_to_live(mut self, time_to_live: Duration) -> Self {
        self.options.freshness.mirror_time_to_live = Some(time_to_live);
        self
    }

    /// Sets how long the owner of a key remembers that there is no such thing; not at all unless set.
    ///
    /// It protects the database from being asked again and again for what is not there. A sixteenth of
    /// [`max_bytes`](Self::max_bytes) is set apart for such keys. Whoever adds the row
    /// removes its key afterwards, as after any other change.
    pub fn not_found_time_to_live(mut self, time_to_live: Duration) -> Self {
        self.options.freshness.not_found_time_to_live = Some(time_to_live);
        self
    }

    /// Bounds how many calls of the loader run at once on this node; 256 unless set.
    ///
    /// A load within a load (a loader that gets another key of its group) is part of it, and not
    /// counted. A call of the [bulk loader](Self::bulk_loader) is one.
    pub fn max_loads(mut self, max_loads: usize) -> Self {
        self.options.max_loads = max_loads;
        self
    }

    /// Bounds how many loads wait for their turn, in order; 16,384 unless set.
    ///
    /// One more fails at once with [`GetError::Overloaded`](crate::GetError::Overloaded). So does one
    /// that has waited for as long as a [load may take](Self::load_timeout). A load that everybody has
    /// left by then does not run. Keys that are cached do not notice any of it.
    pub fn max_waiting_loads(mut self, max_waiting_loads: usize) -> Self {
        self.options.max_waiting_loads = max_waiting_loads;
        self
    }

    /// Returns what is wrong with the settings, if anything is.
    fn fault(options: &Options) -> Option<(&'static str, &'static str)> {
        let Options { freshness, max_loads, max_key_bytes, .. } = options;
        let is_over_at_once = freshness.time_to_live.is_some_and(|time| time.is_zero());
        let needs_time = freshness.time_to_live.is_none();
        let why_time = "it needs a `time_to_live`, from whose end it counts";
        [
            (!(0.0..=1.0).contains(&freshness.jitter), "jitter", "it is a part, from 0 to 1"),
            (needs_time && !freshness.serve_stale.is_zero(), "serve_stale", why_time),
            (needs_time && !freshness.stale_if_error.is_zero(), "stale_if_error", why_time),
            (
                is_over_at_once && !freshness.serve_stale.is_zero(),
                "serve_stale",
                "nothing is kept with a `time_to_live` of zero",
            ),
            (*max_loads == 0, "max_loads", "with zero nothing could ever be loaded"),
            (*max_key_bytes == 0, "max_key_bytes", "with zero every key would be too long"),
        ]
        .into_iter()
        .find_map(|(is_wrong, setting, why)| is_wrong.then_some((setting, why)))
    }

    /// Returns the group, which is now part of its node.
    ///
    /// # Errors
    ///
    /// Fails if the name is empty, too long or taken, if the node's transport carries no keys as long
    /// as the group allows, if a setting makes no sense, or if no loader of either kind was given.
    pub fn build(self) -> Result<Group, BuildGroupError> {
        let Self { registry, peers, name, loader, bulk_loader, options } = self;
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
        if let Some((setting, why)) = Self::fault(&options) {
            return Err(BuildGroupError::Setting { name, setting, why });
        }
        let Some(loaders) = Loaders::new(loader, bulk_loader) else {
            return Err(BuildGroupError::NoLoader { name });
        };
        registry.add(Group::new(name, loaders, options, peers))
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
