//! A named key space, and the way of a get through it.
//!
//! [`get`](Group::get) is here. What a miss leads to has a file each: `load` runs the loader, `look`
//! asks who owned the key before, `forward` asks the owner, on behalf of the callers in `asking`, `serve` answers other nodes, and
//! `flights` lets callers share. `limits` keeps loads from being too many, `nesting` keeps those
//! within others from waiting for them, and `refresh` fetches what is about to expire.
//!
//! `many` gets many keys at once, and `bulk` loads them. When an owner cannot be asked, `stand_in` says
//! who is asked instead, or what is loaded here; `together` gathers those that go on at once.
//!
//! `write` is for values that change. It removes by `remove`, in two rounds over all nodes, each of
//! which does its part by `purge`, with the keys closed meanwhile by `closures`. Removes that are
//! called at the same time travel together, by `batch`.

mod asking;
mod backoff;
mod batch;
mod bulk;
mod closures;
mod flights;
mod forward;
mod limits;
mod load;
mod look;
mod many;
mod mirror;
mod nesting;
mod purge;
mod purpose;
mod queue;
mod refresh;
mod remove;
mod serve;
mod stand_in;
mod together;
mod write;

use std::sync::Arc;
use std::time::Duration;

use carrotcache_byteview::ByteView;
use carrotcache_peer::Owner;

use crate::bulk::Loaders;
use crate::cache::{Found, GroupCache, Place};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::error::GetError;
use crate::freshness::Freshness;
use crate::held::{Age, Held};
use crate::peers::Peers;
use crate::stats::{Counters, Stats};
use backoff::Refreshes;
use closures::Closures;
use flights::{Fetched, Flights, Ticket};
use limits::Limits;
pub use many::GetMany;
use mirror::Mirror;
pub use mirror::Mirroring;
use nesting::Nesting;
use purpose::Load;
use queue::Removals;

/// Longer than anyone waits for anything, and short enough to be added to the present.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

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
    pub(crate) freshness: Freshness,
    pub(crate) max_loads: usize,
    pub(crate) max_waiting_loads: usize,
}

/// What all handles of a group share. It knows the node's peers but not the node, so that a node
/// and its groups do not keep each other alive.
struct Shared {
    name: Arc<str>,
    max_key_bytes: usize,
    load_timeout: Duration,
    loaders: Loaders,
    peers: Arc<Peers>,
    clock: Arc<Clock>,
    chance: Chance,
    freshness: Freshness,
    cache: GroupCache,
    // Two tables, never one. Callers here may wait in `forwards` for a peer, which waits in its
    // `loads` for its loader. Were a peer's request able to join a forward, two nodes each
    // convinced that the other owns a key would wait for each other for ever.
    loads: Flights,
    forwards: Flights,
    limits: Limits,
    refreshes: Arc<Refreshes>,
    closures: Closures,
    removals: Removals,
    mirror: Mirror,
    counters: Counters,
}

impl Group {
    pub(crate) fn new(name: String, loaders: Loaders, options: Options, peers: Arc<Peers>) -> Self {
        let name: Arc<str> = name.into();
        let Options { max_bytes, freshness, .. } = options;
        let flights = || Flights::new(Arc::clone(&name), Arc::clone(&peers));
        let (clock, away) = (Arc::clone(&peers.clock), Arc::clone(&peers.owners_away));
        let shared = Shared {
            max_key_bytes: options.max_key_bytes,
            load_timeout: options.load_timeout,
            loaders,
            cache: GroupCache::new(max_bytes, &freshness, Arc::clone(&clock), away),
            clock,
            chance: Chance::default(),
            freshness,
            loads: flights(),
            forwards: flights(),
            limits: Limits::new(options.max_loads, options.max_waiting_loads),
            refreshes: Refreshes::new(Arc::clone(&peers.clock)),
            closures: Closures::new(Arc::clone(&peers.clock)),
            removals: Removals::default(),
            mirror: Mirror::new(options.mirroring),
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
        let held = match self.shared.cache.get(key) {
            Some(found) => self.use_found(key, found),
            // Boxed, or every hit would pay for the size of what it does not run: a hit costs 50 ns
            // so, and cost 87 ns without.
            None => Box::pin(self.fetch(key)).await?,
        };
        held.into_value().ok_or_else(|| GetError::NotFound { key: key.into() })
    }

    /// Returns the value of `key` if this node holds it, without asking anybody.
    ///
    /// It counts as a get, and as a use of the entry.
    #[must_use]
    pub fn get_cached(&self, key: &str) -> Option<ByteView> {
        self.check(key).ok()?;
        match self.shared.cache.get(key) {
            Some(found) => self.use_found(key, found).into_value(),
            None => {
                self.shared.counters.looks_missed.add_one();
                None
            }
        }
    }

    /// Returns the value of `key` if this node holds it, and leaves no trace: it is not counted, it is
    /// no use of the entry, and nothing is loaded. For looking at a cache from outside.
    #[must_use]
    pub fn peek(&self, key: &str) -> Option<ByteView> {
        self.shared.cache.peek(key, |held| held.is_good(&self.shared.clock))?.into_value()
    }

    /// Returns what the node is called that owns `key`: the label of a peer, or that of this node. `None`
    /// if that is this node and its transport has no name for it.
    #[must_use]
    pub fn owner(&self, key: &str) -> Option<Arc<str>> {
        let picker = &self.shared.peers.picker;
        match picker.owner(key) {
            Owner::Remote(peer) => Some(peer.label().into()),
            Owner::Local => picker.this_node().map(|me| me.label),
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
        let Shared { counters, cache, limits, closures, .. } = &*self.shared;
        let (main, hot) = (cache.main_stats(), cache.hot_stats());
        Stats {
            oversized: cache.oversized(),
            bytes: cache.bytes(),
            waiting_loads: limits.waiting() as u64,
            closures: closures.len() as u64,
            owed: self.shared.peers.debts.of_group(&self.shared.name),
            ..counters.snapshot(main, hot, cache.absent_stats())
        }
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

    /// Takes what was found in a cache, and sees to a new one if that is due.
    #[inline]
    fn use_found(&self, key: &str, found: Found) -> Held {
        if found.age != Age::Fresh {
            self.refresh(key, &found);
        }
        found.held
    }

    /// A miss: the owner is asked, which may be this node.
    ///
    /// # Cancel safety
    ///
    /// As [`get`](Self::get).
    async fn fetch(&self, key: &str) -> Fetched {
        self.note_miss();
        // Callers that miss in a loop, with a loader that is always ready, give others a turn.
        tokio::task::coop::consume_budget().await;
        let within = Nesting::here();
        if within.is_loading(&self.shared, key) {
            return Err(GetError::Reentrant { group: self.shared_name(), key: key.into() });
        }
        let fetched = match self.shared.peers.picker.owner(key) {
            Owner::Local => {
                let is_nested = within.is_within(&self.shared);
                let load = Load { place: Place::Main, within, is_nested, newer_than: None };
                self.load(key, load, None).await
            }
            Owner::Remote(peer) => self.forward(key, &peer, &within).await,
        };
        self.or_stale(key, fetched)
    }

    /// Counts that a caller here has missed.
    fn note_miss(&self) {
        self.shared.counters.loads.add_one();
        self.shared.peers.load_budget.missed();
    }

    /// Returns what was fetched, or what expired not long ago if that failed.
    fn or_stale(&self, key: &str, fetched: Fetched) -> Fetched {
        let shared = &self.shared;
        let grace = shared.freshness.stale_if_error;
        fetched.or_else(|error| {
            if grace.is_zero() || matches!(error, GetError::Reentrant { .. }) {
                return Err(error);
            }
            let now = shared.clock.now();
            let suits = |held: &Held| held.value().is_some() && held.is_within(grace, now);
            shared
                .cache
                .peek(key, suits)
                .ok_or(error)
                .inspect(|_| shared.counters.stale_if_error.add_one())
        })
    }

    /// The second look, with which every flight starts, and its count. A refresh looks for what is
    /// newer than what it has.
    fn look_again(&self, key: &str, newer_than: Option<u64>) -> Option<Held> {
        let Shared { counters, cache, clock, .. } = &*self.shared;
        let found = cache.peek(key, |held| match newer_than {
            None => held.is_good(clock),
            Some(expires) => held.expires() > expires && held.is_good(clock),
        });
        let counter = if found.is_some() { &counters.late_hits } else { &counters.loads_deduped };
        counter.add_one();
        found
    }

    /// Returns whether what one of the `flights` brings for `key` may be kept. It is asked under the
    /// lock of the key's part of the cache.
    fn may_keep(&self, key: &str, flights: &Flights, ticket: &Ticket) -> bool {
        let Shared { closures, peers, .. } = &*self.shared;
        let is_valid = flights.is_valid(ticket) || !peers.rules.void;
        is_valid && !(closures.is_closed(key) && peers.rules.closed)
    }
}

#[cfg(test)]
impl Group {
    /// Returns what is under way here, if anything is.
    pub(crate) fn left_over(&self) -> Option<String> {
        let Shared { loads, forwards, closures, limits, .. } = &*self.shared;
        // A closure lapses when somebody looks.
        closures.is_closed("");
        let left = [
            (loads.in_flight(), "loads"),
            (forwards.in_flight(), "forwards"),
            (closures.len(), "closures"),
            (limits.waiting(), "loads that wait for their turn"),
        ];
        let left = left.into_iter().find(|(count, _)| *count > 0);
        left.map(|(count, what)| format!("{count} {what}"))
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("name", &self.shared.name).finish_non_exhaustive()
    }
}
