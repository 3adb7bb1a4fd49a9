use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use crate::driver::{SharedFlight, poll_work};
use crate::error::Error;
use crate::follower::Follower;
use crate::outcome::Outcome;
use crate::shard::Shard;
use crate::watch::Watch;

/// The duty to end a flight, with [`finish`](Self::finish) or [`run`](Self::run).
///
/// Made by [`Group::join`](crate::Group::join) for the caller that opens a flight, and meant to
/// be moved into the task that does the work. Dropping it ends the flight as well, with
/// [`Error::Abandoned`]: whatever becomes of the task, nobody waits for ever. That it is dropped while
/// a thread unwinds says nothing of the work; a panic in the work itself is seen by
/// [`run`](Self::run).
#[must_use = "a leader that is dropped ends its flight with an error"]
pub struct Leader<K, V, E> {
    shard: Arc<Shard<K, V, E>>,
    hash: u64,
    /// `None` once the flight has ended.
    flight: Option<SharedFlight<V, E>>,
}

impl<K, V, E> Leader<K, V, E> {
    pub(crate) fn new(shard: Arc<Shard<K, V, E>>, hash: u64, flight: SharedFlight<V, E>) -> Self {
        Self { shard, hash, flight: Some(flight) }
    }

    /// Returns a follower of this flight, for the caller that opened it to wait with.
    pub fn follow(&self) -> Follower<V, E> {
        let flight = Arc::clone(self.flight());
        flight.follow();
        Follower::new(flight)
    }

    /// Returns whether another caller has joined the flight by now.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.flight().is_shared()
    }

    /// Returns whether anybody waits for the outcome, this leader not counted.
    ///
    /// For work that has not begun, as it waits for its turn: if all have left, there is nobody to
    /// do it for. Another caller may join right after this was asked, and gets
    /// [`Error::Abandoned`] if the leader is then dropped. Costs one lock, of this flight alone.
    ///
    /// ```
    /// use std::convert::Infallible;
    ///
    /// use carrotcache_singleflight::{Group, Role};
    ///
    /// let flights: Group<String, u32, Infallible> = Group::new();
    /// let Role::Leader(leader) = flights.join("Tom") else { unreachable!() };
    /// let follower = leader.follow();
    /// assert!(leader.is_awaited());
    /// drop(follower);
    /// assert!(!leader.is_awaited());
    /// ```
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.flight().is_awaited()
    }

    /// Returns whether the key was [forgotten](crate::Group::forget) since this flight was opened:
    /// those who wait get the result, but nobody may keep it, because it may have been read before
    /// what the forgetting was for.
    ///
    /// True as soon as `forget` or `forget_all` has returned, and then for good. To keep a result
    /// only if it is valid, see [`Watch`].
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.flight().is_void()
    }

    /// Returns a handle that tells the work, which has not got the leader that runs it, how its
    /// flight stands. Does not allocate.
    #[must_use]
    pub fn watch(&self) -> Watch
    where
        V: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        Watch::new(Arc::clone(self.flight()))
    }

    /// Ends the flight: the key leaves the table, then everybody who waits gets a clone of
    /// `result`. For results that do not come from a future, but from a channel or another thread.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::convert::Infallible;
    ///
    /// use carrotcache_singleflight::{Group, Role};
    ///
    /// let flights: Group<String, u32, Infallible> = Group::new();
    /// let Role::Leader(leader) = flights.join("Tom") else { unreachable!() };
    /// let follower = leader.follow();
    /// std::thread::spawn(|| leader.finish(Ok(630)));
    /// assert_eq!(follower.await.result, Ok(630));
    /// # }
    /// ```
    pub fn finish(self, result: Result<V, E>) {
        self.end(result.map_err(Error::Failed));
    }

    /// Runs `work` and ends the flight with what comes of it, a panic included.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future drops the work and ends the flight with [`Error::Abandoned`].
    pub async fn run(self, work: impl Future<Output = Result<V, E>>) {
        let mut work = pin!(work);
        let result = poll_fn(|context| poll_work(self.flight(), work.as_mut(), context)).await;
        self.end(result);
    }

    /// Ends the flight with `result`, whatever it is.
    fn end(mut self, result: Result<V, Error<E>>) {
        self.end_once(result);
    }

    /// Ends the flight with `result`, and returns its outcome.
    pub(crate) fn end_and_share(mut self, result: Result<V, Error<E>>) -> Outcome<V, E>
    where
        V: Clone,
        E: Clone,
    {
        let flight = self.flight.take().expect(ENDED);
        self.shard.end_driven(self.hash, flight, result).into_outcome()
    }

    fn end_once(&mut self, result: Result<V, Error<E>>) {
        if let Some(flight) = self.flight.take() {
            self.shard.end(self.hash, &flight, result);
        }
    }

    pub(crate) fn flight(&self) -> &SharedFlight<V, E> {
        self.flight.as_ref().expect(ENDED)
    }
}

/// Why a leader has a flight.
const ENDED: &str = "a leader that ends its flight is used up";

impl<K, V, E> Drop for Leader<K, V, E> {
    fn drop(&mut self) {
        if self.flight.is_some() {
            self.end_once(Err(Error::Abandoned));
        }
    }
}

impl<K, V, E> fmt::Debug for Leader<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leader").field("is_shared", &self.is_shared()).finish_non_exhaustive()
    }
}
