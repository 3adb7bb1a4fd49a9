//! A named key space, and the way of a get through it.
//!
//! [`get`](Group::get) is here. What a miss leads to has a file each: `load` runs the loader,
//! `forward` asks the owner, `serve` answers other nodes, and `flights` lets callers share.

mod flights;
mod forward;
mod load;
mod mirror;
mod serve;

use std::sync::Arc;
use std::time::Duration;

use carrotcache_byteview::ByteView;
use carrotcache_peer::{Entry, Owner};

use crate::cache::{GroupCache, Place};
use crate::error::GetError;
use crate::loader::ErasedLoader;
use crate::peers::Peers;
use crate::stats::{Counters, Stats};
use flights::{Fetched, Flights};
use mirror::Mirror;
pub use mirror::Mirroring;

/// A named key space with one loader and one byte budget.
///
/// A clone is another handle to the same group. [`Node::group`](crate::Node::group) starts one.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use carrotcache::{GetError, Node};
///
/// let scores = Node::new()
///     .group("scores")
///     .loader(|key: String| async move {
///         match &*key {
///             "Tom" => Ok(Some("630")),
///             "Jack" => Err("the database is away"),
///             _ => Ok(None),
///         }
///     })
///     .build()?;
///
/// assert_eq!(scores.get("Tom").await?, "630");
/// assert!(matches!(scores.get("Jack").await, Err(GetError::LoadFailed { .. })));
/// assert!(scores.get("Nobody").await.unwrap_err().is_not_found());
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
///
/// # Loaders that call back
///
/// A loader may get other keys, of its own group too. If it gets the very key that it is loading,
/// that call ends in [`GetError::Reentrant`] instead of waiting for itself. A circle over several
/// keys, nodes or tasks of the loader's own (the loader of `a` waits for `b`, that of `b` for `a`)
/// is not always seen: it ends, at the latest, when the first of its loads has taken the group's
/// [load timeout](crate::GroupBuilder::load_timeout), 30 seconds unless set. Let loaders call in one
/// direction only: then none waits for itself, however many run on however many nodes.
#[derive(Clone)]
pub struct Group {
    shared: Arc<Shared>,
}

/// What can be set of a group beside its name and loader.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) max_bytes: u64,
    pub(crate) max_key_bytes: usize,
    pub(crate) load_timeout: Duration,
    pub(crate) mirroring: Mirroring,
}

/// What all handles of a group share. It knows the node's peers but not the node, so that a node
/// and its groups do not keep each other alive.
struct Shared {
    name: Arc<str>,
    max_key_bytes: usize,
    load_timeout: Duration,
    loader: Arc<dyn ErasedLoader>,
    peers: Arc<Peers>,
    cache: GroupCache,
    // Two tables, never one. Callers here may wait in `forwards` for a peer, which waits in its
    // `loads` for its loader. Were a peer's request able to join a forward, two nodes each
    // convinced that the other owns a key would wait for each other for ever.
    loads: Flights,
    forwards: Flights,
    mirror: Mirror,
    counters: Counters,
}

impl Group {
    pub(crate) fn new(
        name: String,
        loader: Arc<dyn ErasedLoader>,
        options: Options,
        peers: Arc<Peers>,
    ) -> Self {
        let name: Arc<str> = name.into();
        let Options { max_bytes, max_key_bytes, load_timeout, mirroring } = options;
        let flights = || Flights::new(Arc::clone(&name), Arc::clone(&peers));
        let shared = Shared {
            max_key_bytes,
            load_timeout,
            loader,
            cache: GroupCache::new(max_bytes),
            loads: flights(),
            forwards: flights(),
            mirror: Mirror::new(mirroring),
            counters: Counters::default(),
            name: Arc::clone(&name),
            peers: Arc::clone(&peers),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Returns the value of `key`: from this node's cache, else from the owner, else from the
    /// loader.
    ///
    /// A cached key costs one look-up, or two if it is mirrored: no allocation, no task, and the
    /// future is ready when it is first polled. On a miss, everyone who asks for the key meanwhile
    /// shares one fetch. The loader's future is first polled by the caller, if that is on the node's
    /// runtime, and moves into a task if it is not ready then. The call itself has no time limit; wrap it in `tokio::time::timeout` to
    /// leave early.
    ///
    /// # Errors
    ///
    /// [`GetError::NotFound`] if the loader says that there is no such thing, and otherwise what
    /// kept the value from being fetched. Errors are not cached: the next call tries again.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. A fetch under way goes on without it, for the others who wait for
    /// it and for the cache.
    pub async fn get(&self, key: &str) -> Result<ByteView, GetError> {
        self.check(key)?;
        let entry = match self.shared.cache.get(key) {
            Some(entry) => entry,
            // Boxed, or every hit would pay for the size of what it does not run: a hit costs 50 ns
            // so, and cost 87 ns without.
            None => Box::pin(self.fetch(key)).await?,
        };
        entry.into_value().ok_or_else(|| GetError::NotFound { key: key.into() })
    }

    /// Returns the value of `key` if this node holds it, without asking anybody.
    ///
    /// It counts as a get, and as a use of the entry.
    #[must_use]
    pub fn get_cached(&self, key: &str) -> Option<ByteView> {
        self.check(key).ok()?;
        match self.shared.cache.get(key) {
            Some(entry) => entry.into_value(),
            None => {
                self.shared.counters.looks_missed.add_one();
                None
            }
        }
    }

    /// The name of the group.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Returns what the group has counted until now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let Shared { counters, cache, .. } = &*self.shared;
        let (main, hot) = (cache.main_stats(), cache.hot_stats());
        counters.snapshot(main, hot, cache.bytes(), cache.oversized())
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.shared.name)
    }

    /// Refuses keys that no node would take. All ways into a group come through here.
    fn check(&self, key: &str) -> Result<(), GetError> {
        let max = self.shared.max_key_bytes;
        if key.is_empty() {
            return Err(GetError::EmptyKey);
        }
        if key.len() > max {
            return Err(GetError::KeyTooLong { group: self.shared_name(), len: key.len(), max });
        }
        Ok(())
    }

    /// A miss: the owner is asked, which may be this node.
    ///
    /// # Cancel safety
    ///
    /// As [`get`](Self::get).
    async fn fetch(&self, key: &str) -> Fetched {
        self.shared.counters.loads.add_one();
        // Callers that miss in a loop, with a loader that is always ready, give others a turn.
        tokio::task::coop::consume_budget().await;
        match self.shared.peers.picker.owner(key) {
            Owner::Local => self.load(key, Place::Main).await,
            Owner::Remote(peer) => self.forward(key, &peer).await,
        }
    }

    /// The second look, with which every flight starts, and its count.
    fn look_again(&self, key: &str) -> Option<Entry> {
        let counters = &self.shared.counters;
        let found = self.shared.cache.get_again(key);
        let counter = if found.is_some() { &counters.late_hits } else { &counters.loads_deduped };
        counter.add_one();
        found
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("name", &self.shared.name).finish_non_exhaustive()
    }
}
