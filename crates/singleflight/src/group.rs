use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use crate::driver::Driver;
use crate::error::Error;
use crate::follower::Follower;
use crate::leader::Leader;
use crate::nest;
use crate::outcome::Outcome;
use crate::shard::{Entered, Forgotten, Shard};

/// A table of flights: at most one open flight for each key.
///
/// A clone is a handle to the same table. `V` is what the work results in and `E` how it fails;
/// both are cloned for every caller, so use an [`Arc`] where a clone is expensive. `S` hashes the keys.
pub struct Group<K, V, E, S = DefaultHashBuilder> {
    shards: Arc<[Arc<Shard<K, V, E>>]>,
    hasher: S,
}

/// The part that a caller of [`Group::join`] has in its flight.
///
/// A caller that gets a leader must run the work and end the flight. One that gets a follower may
/// wait for the end, or leave.
#[derive(Debug)]
#[must_use = "a leader that is dropped ends its flight with an error"]
pub enum Role<K, V, E> {
    /// No flight was open for the key, and one was opened: this caller has to end it.
    Leader(Leader<K, V, E>),
    /// A flight is under way: this caller waits for its end.
    Follower(Follower<V, E>),
}

/// The table is split so that threads with different keys seldom meet at one lock. A power of two.
const SHARDS: usize = 32;

/// How a [`Group`] hashes keys unless told otherwise: `foldhash`, seeded at random.
///
/// It costs a fraction of what the standard library's hasher does, and an adversary who could make
/// keys collide would gain little: the table holds no more keys than there are calls under way.
pub type DefaultHashBuilder = foldhash::fast::RandomState;

impl<K, V, E> Group<K, V, E> {
    /// Returns an empty group, whose hasher is seeded at random.
    #[must_use]
    pub fn new() -> Self {
        Self::with_hasher(DefaultHashBuilder::default())
    }
}

impl<K, V, E, S> Group<K, V, E, S> {
    /// Returns an empty group that hashes keys with `hasher`, which may be a weak one: its hashes
    /// are mixed before they choose a shard and a slot.
    #[must_use]
    pub fn with_hasher(hasher: S) -> Self {
        Self { shards: (0..SHARDS).map(|_| Arc::default()).collect(), hasher }
    }

    /// Returns the number of keys with an open flight. Costs one lock per shard; what other
    /// threads do meanwhile may or may not be counted.
    ///
    /// ```
    /// use std::convert::Infallible;
    ///
    /// use carrotcache_singleflight::Group;
    ///
    /// let flights: Group<String, u32, Infallible> = Group::new();
    /// let role = flights.join("Tom");
    /// assert_eq!(flights.in_flight(), 1);
    /// drop(role);
    /// assert_eq!(flights.in_flight(), 0);
    /// ```
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum()
    }
}

impl<K: Hash + Eq, V, E, S: BuildHasher> Group<K, V, E, S> {
    /// Runs the future of `f`, or waits for the call that already runs one for `key`, and returns
    /// a clone of the one result.
    ///
    /// `f` is called by the caller that leads, the future is polled by whichever caller drives
    /// the flight.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::convert::Infallible;
    ///
    /// use carrotcache_singleflight::Group;
    ///
    /// let flights: Group<u64, String, Infallible> = Group::new();
    /// let name = flights.work(&0x1F955, || async { Ok("CARROT".to_owned()) }).await;
    /// assert_eq!(name.as_deref(), Ok("CARROT"));
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] with the error of the work, [`Error::Panicked`] if `f` or its future
    /// panicked, [`Error::Reentrant`] if this is awaited by the work of the same key, and
    /// [`Error::Abandoned`] only if the flight was opened by [`join`](Self::join)
    /// and its [`Leader`] dropped.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. If this caller drives the work, one of those that wait for it
    /// goes on driving it; if nobody waits, the work is dropped and the key is free.
    ///
    /// A caller that holds this future without polling it keeps everybody waiting if it is the
    /// one that drives. Where callers cannot be trusted to poll, run the work in a task of its
    /// own, as [`join`](Self::join) shows.
    ///
    /// # Several runtimes
    ///
    /// The work is polled by whichever caller drives it, and so on that caller's runtime. If the
    /// runtime is shut down, that drops the caller, and a caller on another runtime goes on driving.
    /// But timers and sockets that the work has made stay with the runtime on which they were made,
    /// most often that of the caller that polled the work first:
    ///
    /// - If nothing drives that runtime any more, as when a `block_on` has returned, they wake nobody:
    ///   every caller of the key waits until it is driven again.
    /// - If that runtime was shut down, they fail. A timer of tokio's panics, which callers get as
    ///   [`Error::Panicked`].
    ///
    /// Callers on several runtimes should therefore share a group only if they run the work in tasks
    /// of one runtime, with [`join`](Self::join): see [the example](crate#several-runtimes).
    pub async fn work<Q, F, Fut>(&self, key: &Q, f: F) -> Result<V, Error<E>>
    where
        K: Borrow<Q> + Send + 'static,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
        V: Clone + Send + Sync + 'static,
        E: Clone + Send + Sync + 'static,
    {
        self.work_outcome(key, f).await.result
    }

    /// Does what [`work`](Self::work) does, and also tells whether the result was shared.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::convert::Infallible;
    ///
    /// use carrotcache_singleflight::Group;
    ///
    /// let flights: Group<u64, u32, Infallible> = Group::new();
    /// let alone = flights.work_outcome(&1, || async { Ok(630) }).await;
    /// assert!(!alone.shared);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// As [`work`](Self::work).
    pub async fn work_outcome<Q, F, Fut>(&self, key: &Q, f: F) -> Outcome<V, E>
    where
        K: Borrow<Q> + Send + 'static,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
        V: Clone + Send + Sync + 'static,
        E: Clone + Send + Sync + 'static,
    {
        self.follow(key, f).await
    }

    /// Joins the flight of `key`, or opens one that the caller drives.
    fn follow<Q, F, Fut>(&self, key: &Q, f: F) -> Follower<V, E>
    where
        K: Borrow<Q> + Send + 'static,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
        V: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        let hash = self.hash(key);
        let shard = self.shard(hash);
        match shard.enter(hash, key, || key.to_owned()) {
            Entered::Joined(flight) => Follower::new(flight),
            Entered::Opened(flight) => match nest::lead(&flight, f) {
                Ok(work) => {
                    Follower::driving(flight, Driver::new(work, Arc::clone(shard) as _, hash))
                }
                Err(panicked) => {
                    shard.end(hash, &flight, Err(panicked));
                    Follower::new(flight)
                }
            },
        }
    }

    /// Joins the flight of `key`, or opens one and makes the caller its leader.
    ///
    /// For callers that run the work in a task of its own:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::convert::Infallible;
    ///
    /// use carrotcache_singleflight::{Group, Role};
    ///
    /// let flights: Group<String, u32, Infallible> = Group::new();
    /// let follower = match flights.join("Tom") {
    ///     Role::Follower(follower) => follower,
    ///     Role::Leader(leader) => {
    ///         let follower = leader.follow();
    ///         tokio::spawn(leader.run(async { Ok(630) }));
    ///         follower
    ///     }
    /// };
    /// // Dropping `follower` here would not stop the work.
    /// assert_eq!(follower.await.result, Ok(630));
    /// # }
    /// ```
    ///
    /// Following costs one hash and one lock and allocates nothing; leading allocates the key and
    /// the flight.
    pub fn join<Q>(&self, key: &Q) -> Role<K, V, E>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.join_with(key, || key.to_owned())
    }

    /// Does what [`join`](Self::join) does, with a key that `own` makes if a flight is opened.
    ///
    /// For keys that are shared with whoever runs the work, so that they are copied once:
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use std::sync::Arc;
    ///
    /// use carrotcache_singleflight::{Group, Role};
    ///
    /// let flights: Group<Arc<str>, u32, Infallible> = Group::new();
    /// let mut shared = None;
    /// let own = || Arc::clone(shared.insert(Arc::from("Tom")));
    /// let Role::Leader(leader) = flights.join_with("Tom", own) else { unreachable!() };
    /// assert_eq!(Arc::strong_count(&shared.expect("a flight was opened")), 2);
    /// # drop(leader);
    /// ```
    pub fn join_with<Q>(&self, key: &Q, own: impl FnOnce() -> K) -> Role<K, V, E>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hash(key);
        let shard = self.shard(hash);
        match shard.enter(hash, key, own) {
            Entered::Opened(flight) => Role::Leader(Leader::new(Arc::clone(shard), hash, flight)),
            Entered::Joined(flight) => Role::Follower(Follower::new(flight)),
        }
    }

    /// Lets the next caller of `key` open a new flight although one is under way, and returns
    /// whether one was. Those who wait for the old one still get its result, but it is void:
    /// whoever runs it can see that what comes of it must not be kept.
    ///
    /// For when the work under way has become stale: a row was updated, and whoever asks from now on
    /// must not get what was read before. A cache in front of the group is cleaned after this
    /// was called, and filled as [`Watch`](crate::Watch) shows.
    ///
    /// Once this has returned, no caller joins the old flight, and
    /// [`Leader::is_void`] is true on every thread that knows of the return by whatever
    /// synchronisation.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::convert::Infallible;
    ///
    /// use carrotcache_singleflight::{Group, Role};
    ///
    /// let flights: Group<String, u32, Infallible> = Group::new();
    /// let Role::Leader(stale) = flights.join("Tom") else { unreachable!() };
    /// let early = stale.follow();
    /// assert!(flights.forget("Tom"));
    /// assert_eq!(flights.work("Tom", || async { Ok(631) }).await, Ok(631));
    /// stale.finish(Ok(630));
    /// assert_eq!(early.await.result, Ok(630));
    /// # }
    /// ```
    pub fn forget<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hash(key);
        self.shard(hash).forget(hash, key)
    }

    /// Does what [`forget`](Self::forget) does for every key with an open flight, and returns how
    /// many there were. Costs one lock per shard, and a step for each flight under it.
    ///
    /// All flights that were open before the call are void when it returns. A flight that another
    /// thread opens meanwhile may or may not be.
    ///
    /// ```
    /// use std::convert::Infallible;
    ///
    /// use carrotcache_singleflight::{Group, Role};
    ///
    /// let flights: Group<String, u32, Infallible> = Group::new();
    /// let Role::Leader(leader) = flights.join("Tom") else { unreachable!() };
    /// assert_eq!(flights.forget_all(), 1);
    /// assert!(leader.is_void());
    /// assert_eq!(flights.in_flight(), 0);
    /// ```
    pub fn forget_all(&self) -> usize {
        // Dropped when all are void: the drop of a key is the user's code, and may panic.
        let forgotten: Vec<_> = self.shards.iter().map(|shard| shard.forget_all()).collect();
        forgotten.iter().map(Forgotten::len).sum()
    }

    /// Returns the hash of `key`, mixed by multiplying and folding, because a user's hasher may be
    /// weak in the highest or the lowest bits, which choose the shard and the slot.
    #[expect(clippy::cast_possible_truncation, reason = "each half of the product is wanted")]
    fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u64 {
        let product = u128::from(self.hasher.hash_one(key)) * 0x9E37_79B9_7F4A_7C15;
        product as u64 ^ (product >> u64::BITS) as u64
    }

    /// The shard is chosen by the highest bits of the hash, since the table within it takes the
    /// lowest.
    #[expect(clippy::cast_possible_truncation, reason = "the index has fewer bits than SHARDS")]
    fn shard(&self, hash: u64) -> &Arc<Shard<K, V, E>> {
        &self.shards[(hash >> (u64::BITS - SHARDS.ilog2())) as usize]
    }
}

impl<K, V, E, S: Default> Default for Group<K, V, E, S> {
    fn default() -> Self {
        Self::with_hasher(S::default())
    }
}

impl<K, V, E, S: Clone> Clone for Group<K, V, E, S> {
    fn clone(&self) -> Self {
        Self { shards: Arc::clone(&self.shards), hasher: self.hasher.clone() }
    }
}

impl<K, V, E, S> fmt::Debug for Group<K, V, E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("in_flight", &self.in_flight()).finish_non_exhaustive()
    }
}
