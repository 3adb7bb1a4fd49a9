//! Single flights for threads, which block where tasks would wait.
//!
//! The thread that leads runs the work itself. The others park until it has the result, and cost
//! nothing meanwhile. A thread cannot leave as a task can, so there is no handing over: the work of
//! a thread ends by returning or by a panic.
//!
//! ```
//! use std::convert::Infallible;
//! use std::sync::atomic::{AtomicU32, Ordering};
//! use std::thread;
//!
//! use carrotcache_singleflight::sync::Group;
//!
//! let flights: Group<String, u32, Infallible> = Group::new();
//! let queries = AtomicU32::new(0);
//! let query = || {
//!     queries.fetch_add(1, Ordering::Relaxed);
//!     Ok(630)
//! };
//! thread::scope(|scope| {
//!     for _ in 0..10 {
//!         scope.spawn(|| assert_eq!(flights.work("Tom", query), Ok(630)));
//!     }
//! });
//! // One, if all ten were there in time; a thread that came later asked again.
//! assert!((1..=10).contains(&queries.into_inner()));
//! ```

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use crate::error::Error;
use crate::follower::Follower;
use crate::group::{self, DefaultHashBuilder, Role};
use crate::leader::Leader;
use crate::nest;
use crate::outcome::Outcome;
use crate::watch::Watch;

/// A table of flights for threads: as [`crate::Group`], and with the same guarantees.
///
/// A clone is a handle to the same table.
///
/// ```
/// use std::convert::Infallible;
///
/// use carrotcache_singleflight::{Error, sync::Group};
///
/// let flights: Group<String, u32, Infallible> = Group::new();
/// assert_eq!(flights.work("Tom", || Ok(630)), Ok(630));
///
/// // A thread that asks for what it is loading itself is told so, and does not wait for ever.
/// let nested = flights.work("Tom", || Ok(flights.work("Tom", || Ok(1)).unwrap_or(2)));
/// assert_eq!(nested, Ok(2));
/// ```
pub struct Group<K, V, E, S = DefaultHashBuilder> {
    flights: group::Group<K, V, E, S>,
}

impl<K, V, E> Group<K, V, E> {
    /// Returns an empty group, whose hasher is seeded at random.
    #[must_use]
    pub fn new() -> Self {
        Self { flights: group::Group::new() }
    }
}

impl<K, V, E, S> Group<K, V, E, S> {
    /// Returns an empty group that hashes keys with `hasher`.
    #[must_use]
    pub fn with_hasher(hasher: S) -> Self {
        Self { flights: group::Group::with_hasher(hasher) }
    }

    /// Returns the number of keys with an open flight. Costs one lock per shard.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flights.in_flight()
    }
}

impl<K: Hash + Eq, V: Clone, E: Clone, S: BuildHasher> Group<K, V, E, S> {
    /// Runs `work` on this thread, or blocks until the thread that already runs some for `key`
    /// has its result, and returns a clone of the one result.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] with the error of the work, [`Error::Panicked`] if it panicked (on the
    /// thread that ran it too), and [`Error::Reentrant`] if this is called by the work of the same
    /// key. Two threads that each ask, in their work, for the key of the other wait for ever.
    pub fn work<Q>(&self, key: &Q, work: impl FnOnce() -> Result<V, E>) -> Result<V, Error<E>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.work_outcome(key, work).result
    }

    /// Does what [`work`](Self::work) does, and also tells whether the result was shared.
    ///
    /// Calls that wait allocate nothing, and are all woken when the work has ended.
    pub fn work_outcome<Q>(&self, key: &Q, work: impl FnOnce() -> Result<V, E>) -> Outcome<V, E>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.lead_or_wait(key, |_| work())
    }

    /// Does what [`work`](Self::work) does, with work that can see whether its key was
    /// [forgotten](Self::forget) meanwhile, and its result must not be kept: see [`Watch`].
    ///
    /// ```
    /// use std::convert::Infallible;
    ///
    /// use carrotcache_singleflight::sync::Group;
    ///
    /// let flights: Group<String, u32, Infallible> = Group::new();
    /// let score = flights.work_watched("Tom", |watch| {
    ///     assert!(!watch.is_void());
    ///     flights.forget("Tom"); // As another thread does that updates the row.
    ///     assert!(watch.is_void());
    ///     Ok(630)
    /// });
    /// assert_eq!(score, Ok(630));
    /// ```
    ///
    /// # Errors
    ///
    /// As [`work`](Self::work).
    pub fn work_watched<Q>(
        &self,
        key: &Q,
        work: impl FnOnce(&Watch) -> Result<V, E>,
    ) -> Result<V, Error<E>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
        V: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        self.lead_or_wait(key, |leader| work(&leader.watch())).result
    }

    fn lead_or_wait<Q>(
        &self,
        key: &Q,
        work: impl FnOnce(&Leader<K, V, E>) -> Result<V, E>,
    ) -> Outcome<V, E>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        match self.flights.join(key) {
            Role::Follower(follower) => wait(follower),
            Role::Leader(leader) => {
                let result = nest::lead(leader.flight(), || work(&leader));
                leader.end_and_share(result.and_then(|result| result.map_err(Error::Failed)))
            }
        }
    }

    /// Lets the next caller of `key` open a new flight although one is under way, and returns
    /// whether one was. Those who wait for the old one still get its result, but it is void, which
    /// [`work_watched`](Self::work_watched) can see: more on that at [`crate::Group::forget`].
    pub fn forget<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.flights.forget(key)
    }

    /// Does what [`forget`](Self::forget) does for every key with an open flight, and returns how
    /// many there were: see [`crate::Group::forget_all`].
    pub fn forget_all(&self) -> usize {
        self.flights.forget_all()
    }
}

/// Blocks until the flight has ended.
fn wait<V: Clone, E: Clone>(follower: Follower<V, E>) -> Outcome<V, E> {
    thread_local! {
        /// Made once a thread, so that waiting does not allocate.
        static UNPARK: Waker = Waker::from(Arc::new(Unpark(thread::current())));
    }
    let waker = UNPARK.with(Waker::clone);
    let mut follower = std::pin::pin!(follower);
    loop {
        match follower.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => return outcome,
            // May return without a reason, and then looks again.
            Poll::Pending => thread::park(),
        }
    }
}

/// Wakes a thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

impl<K, V, E, S: Default> Default for Group<K, V, E, S> {
    fn default() -> Self {
        Self::with_hasher(S::default())
    }
}

impl<K, V, E, S: Clone> Clone for Group<K, V, E, S> {
    fn clone(&self) -> Self {
        Self { flights: self.flights.clone() }
    }
}

impl<K, V, E, S> fmt::Debug for Group<K, V, E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("in_flight", &self.in_flight()).finish_non_exhaustive()
    }
}
