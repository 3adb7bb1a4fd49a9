use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::error::Error;
use crate::flight::Flight;
use crate::follower::Outcome;
use crate::shard::Home;

/// The work of a flight that its callers poll themselves, in a form that passes from one to the
/// next: boxed, since it must not move once it was polled.
pub(crate) struct Driver<V, E> {
    work: Pin<Box<dyn Future<Output = Result<V, E>> + Send>>,
    home: Arc<dyn Home<V, E>>,
    hash: u64,
}

impl<V, E> Driver<V, E> {
    pub(crate) fn new<W>(work: W, home: Arc<dyn Home<V, E>>, hash: u64) -> Self
    where
        W: Future<Output = Result<V, E>> + Send + 'static,
    {
        Self { work: Box::pin(work), home, hash }
    }

    /// Polls the work, and ends `flight` when it is ready. The outcome is handed back if nobody
    /// else waits for it.
    pub(crate) fn poll(
        &mut self,
        flight: &Arc<Flight<V, E>>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Outcome<V, E>>> {
        let result = ready!(poll_caught(self.work.as_mut(), context));
        Poll::Ready(self.home.end_driven(self.hash, flight, result))
    }

    /// Frees the key of a flight that nobody waits for any more, and drops the work.
    pub(crate) fn abandon(self, flight: &Arc<Flight<V, E>>) {
        self.home.end(self.hash, flight, Err(Error::Abandoned));
    }
}

/// Polls `work`, and turns a panic into an error: the work must not be polled after it.
pub(crate) fn poll_caught<V, E, W>(
    work: Pin<&mut W>,
    context: &mut Context<'_>,
) -> Poll<Result<V, Error<E>>>
where
    W: Future<Output = Result<V, E>> + ?Sized,
{
    // What a panic leaves behind is dropped and never polled again, so nobody can see it.
    match catch_unwind(AssertUnwindSafe(|| work.poll(context))) {
        Ok(poll) => poll.map_err(Error::Failed),
        Err(panic) => Poll::Ready(Err(Error::caught(&*panic))),
    }
}
