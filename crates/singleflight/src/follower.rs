use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::driver::{Driver, SharedFlight};
use crate::error::Error;
use crate::flight::Look;
use crate::nest;
use crate::outcome::Outcome;

/// A caller that waits for the end of a flight: a future of its [`Outcome`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::convert::Infallible;
/// use std::time::Duration;
///
/// use carrotcache_singleflight::{Group, Role};
///
/// let flights: Group<String, u32, Infallible> = Group::new();
/// let Role::Leader(leader) = flights.join("Tom") else { unreachable!() };
/// let Role::Follower(hasty) = flights.join("Tom") else { unreachable!() };
/// let Role::Follower(patient) = flights.join("Tom") else { unreachable!() };
///
/// // One that gives up takes nothing from the others.
/// assert!(tokio::time::timeout(Duration::from_millis(1), hasty).await.is_err());
/// leader.finish(Ok(630));
/// assert_eq!(patient.await.result, Ok(630));
/// # }
/// ```
///
/// # Cancel safety
///
/// May be dropped at any time. The flight of a [`Leader`](crate::Leader) goes on without it; in a
/// flight of [`Group::work`](crate::Group::work) another caller takes the work over if this one
/// drove it, and without another caller the work is dropped.
///
/// # Several runtimes
///
/// A follower may be awaited on any runtime, or on none. That of a [`Leader`](crate::Leader) waits
/// for nothing but the leader. One that takes over the work of
/// [`Group::work`](crate::Group::work) drives it on its own runtime, while the timers and sockets of
/// that work stay with another: what this means is told there.
#[must_use = "a follower does nothing unless it is awaited"]
pub struct Follower<V, E> {
    /// `None` once the outcome was returned.
    flight: Option<SharedFlight<V, E>>,
    /// Where the flight keeps our waker.
    place: Option<usize>,
    /// The work, if it is for us to poll.
    driver: Option<Driver<V, E>>,
}

impl<V, E> Follower<V, E> {
    /// Makes a follower that `flight` has counted already.
    pub(crate) fn new(flight: SharedFlight<V, E>) -> Self {
        Self { flight: Some(flight), place: None, driver: None }
    }

    /// Makes the follower of the caller that opened `flight` and polls the work itself.
    pub(crate) fn driving(flight: SharedFlight<V, E>, driver: Driver<V, E>) -> Self {
        Self { flight: Some(flight), place: None, driver: Some(driver) }
    }

    /// Returns whether more than one caller has asked for the result by now.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.is_shared())
    }
}

impl<V: Clone, E: Clone> Future for Follower<V, E> {
    type Output = Outcome<V, E>;

    /// # Panics
    ///
    /// When polled again after it returned the outcome.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            let flight = this.flight.as_ref().expect(POLLED_AGAIN);
            if let Some(driver) = &mut this.driver {
                let result = ready!(driver.poll(flight, context));
                return Poll::Ready(this.end(result));
            }
            match flight.look(&mut this.place, context.waker()) {
                Look::Ended => return Poll::Ready(this.outcome()),
                Look::Waiting if nest::leads(flight) => return Poll::Ready(this.reentrant()),
                Look::Waiting => return Poll::Pending,
                Look::TakeOver(driver) => this.driver = Some(driver),
            }
        }
    }
}

/// Why a follower has no flight any more.
const POLLED_AGAIN: &str = "a follower must not be polled after it returned its outcome";

impl<V: Clone, E: Clone> Follower<V, E> {
    /// Ends the flight that this follower drives.
    fn end(&mut self, result: Result<V, Error<E>>) -> Outcome<V, E> {
        let flight = self.flight.take().expect(POLLED_AGAIN);
        let driver = self.driver.take().expect("only a follower that drives ends a flight");
        driver.end(flight, result).into_outcome()
    }

    /// Leaves a flight whose work this follower is part of.
    fn reentrant(&mut self) -> Outcome<V, E> {
        let flight = self.flight.take().expect(POLLED_AGAIN);
        // Whoever polls the work is a caller too, and there to drive it.
        let _ = flight.leave(self.place.take(), None);
        Outcome { result: Err(Error::Reentrant), shared: true }
    }

    /// Returns the outcome of a flight that has ended.
    fn outcome(&mut self) -> Outcome<V, E> {
        self.flight.take().expect(POLLED_AGAIN).into_outcome()
    }
}

impl<V, E> Drop for Follower<V, E> {
    fn drop(&mut self) {
        if let Some(flight) = self.flight.take()
            && let Some(last) = flight.leave(self.place, self.driver.take())
        {
            last.abandon(&flight);
        }
    }
}

impl<V, E> fmt::Debug for Follower<V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("is_shared", &self.is_shared()).finish_non_exhaustive()
    }
}
