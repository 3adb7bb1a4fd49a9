use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::error::Error;
use crate::flight::Flight;
use crate::nest;
use crate::outcome::Outcome;

/// The work of a flight that its callers poll themselves, in a form that passes from one to the
/// next: boxed, since it must not move once it was polled.
pub(crate) struct Driver<V, E> {
    work: Pin<Box<dyn Future<Output = Result<V, E>> + Send>>,
    home: Arc<dyn Home<V, E>>,
    hash: u64,
}

/// A flight as its callers and its shard hold it.
pub(crate) type SharedFlight<V, E> = Arc<Flight<V, E, Driver<V, E>>>;

impl<V, E> Driver<V, E> {
    pub(crate) fn new<W>(work: W, home: Arc<dyn Home<V, E>>, hash: u64) -> Self
    where
        W: Future<Output = Result<V, E>> + Send + 'static,
    {
        Self { work: Box::pin(work), home, hash }
    }

    /// Polls the work, whose panic is an error.
    pub(crate) fn poll(
        &mut self,
        flight: &SharedFlight<V, E>,
        context: &mut Context<'_>,
    ) -> Poll<Result<V, Error<E>>> {
        poll_work(flight, self.work.as_mut(), context)
    }

    /// Drops the work, and ends `flight` with what came of it.
    pub(crate) fn end(
        self,
        flight: SharedFlight<V, E>,
        result: Result<V, Error<E>>,
    ) -> Ended<V, E> {
        self.home.end_driven(self.hash, flight, result)
    }

    /// Frees the key of a flight that nobody waits for any more, and drops the work.
    pub(crate) fn abandon(self, flight: &SharedFlight<V, E>) {
        self.home.end(self.hash, flight, Err(Error::Abandoned));
    }
}

/// The shard that has a flight in its table, without the type of the keys.
///
/// Whoever drives a flight has to take its key out of the table in the end. A
/// [`Follower`](crate::Follower) may have to, and does not know the type of the keys.
pub(crate) trait Home<V, E>: Send + Sync {
    /// What [`Shard::end`](crate::shard::Shard::end) does.
    fn end(&self, hash: u64, flight: &SharedFlight<V, E>, result: Result<V, Error<E>>);

    /// What [`Shard::end_driven`](crate::shard::Shard::end_driven) does.
    fn end_driven(
        &self,
        hash: u64,
        flight: SharedFlight<V, E>,
        result: Result<V, Error<E>>,
    ) -> Ended<V, E>;
}

/// Where the outcome of a driven flight is.
pub(crate) enum Ended<V, E> {
    /// Here: nobody else can ask for it.
    Alone(Outcome<V, E>),
    /// In the flight, for all its callers.
    Shared(SharedFlight<V, E>),
}

impl<V: Clone, E: Clone> Ended<V, E> {
    pub(crate) fn into_outcome(self) -> Outcome<V, E> {
        match self {
            Self::Alone(outcome) => outcome,
            Self::Shared(flight) => flight.into_outcome(),
        }
    }
}

/// Polls the `work` of `flight`, and turns a panic into an error: it must not be polled after that.
pub(crate) fn poll_work<V, E, W>(
    flight: &SharedFlight<V, E>,
    work: Pin<&mut W>,
    context: &mut Context<'_>,
) -> Poll<Result<V, Error<E>>>
where
    W: Future<Output = Result<V, E>> + ?Sized,
{
    match nest::lead(flight, || work.poll(context)) {
        Ok(poll) => poll.map_err(Error::Failed),
        Err(panicked) => Poll::Ready(Err(panicked)),
    }
}
