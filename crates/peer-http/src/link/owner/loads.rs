//! The answers that take a while, each in a task.
//!
//! A task costs more than a hit does, and less than any load. It is what lets a handler's future
//! wake by itself: were the futures polled by the link's own task, each answer would have to look
//! through all of them.

use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use carrotcache_peer::{Answer, PeerError, PeerErrorKind};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::link::frame::Id;

/// The answers of one connection that take a while.
///
/// They are dropped with it. That ends no load that others wait for: a handler answers by a future
/// that waits for the work, and does not do it.
pub(super) struct Loads<T = Answer> {
    tasks: JoinSet<(Id, Answered<T>)>,
    /// The tasks that somebody waits for, by their gets. One that was cancelled is in `tasks` only,
    /// until it has been dropped.
    under_way: HashMap<Id, AbortHandle>,
    max: usize,
    /// What they are, for whoever is refused.
    what: &'static str,
}

/// What a handler answers.
pub(super) type Answered<T = Answer> = Result<T, PeerError>;

/// An answer that is not there yet, as a handler returns it.
pub(super) type Pending<T = Answer> = Pin<Box<dyn Future<Output = Answered<T>> + Send>>;

impl<T: Send + 'static> Loads<T> {
    /// Returns room for up to `max` answers.
    pub(super) fn new(max: usize, what: &'static str) -> Self {
        Self { tasks: JoinSet::new(), under_way: HashMap::new(), max, what }
    }

    /// Returns whether nobody waits for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Returns why one more is not waited for under this id, if it is not: as many are under way as may
    /// be, or one with this id is, and nobody could tell their answers apart.
    pub(super) fn refusal(&self, id: Id) -> Option<PeerError> {
        if self.tasks.len() >= self.max {
            let error = PeerError::new(PeerErrorKind::Overloaded);
            return Some(error.with_source(format!("{} {} are under way", self.max, self.what)));
        }
        if self.under_way.contains_key(&id) {
            let error = PeerError::new(PeerErrorKind::BadRequest);
            return Some(error.with_source("another with this id is under way"));
        }
        None
    }

    /// Waits for `answer` in a task, no longer than until `deadline`.
    ///
    /// # Errors
    ///
    /// When it is [refused](Self::refusal).
    pub(super) fn start(
        &mut self,
        id: Id,
        answer: Pending<T>,
        deadline: Instant,
    ) -> Result<(), PeerError> {
        if let Some(error) = self.refusal(id) {
            return Err(error);
        }
        let task = self.tasks.spawn(async move {
            let answered = timeout_at(deadline, answer).await;
            (id, answered.unwrap_or(Err(PeerErrorKind::TimedOut.into())))
        });
        self.under_way.insert(id, task);
        Ok(())
    }

    /// Forgets an answer that nobody waits for any more. Its place is taken until the load has ended,
    /// which goes on: an asker that gives up what it asks must not start more than may be under way.
    /// Does nothing if there is no such get, or it has been answered: that is how a CANCEL and an
    /// answer cross.
    pub(super) fn cancel(&mut self, id: Id) {
        self.under_way.remove(&id);
    }

    /// Waits for the next answer. Pending too when none is under way: then nothing is woken, and
    /// the next [`start`](Self::start) is followed by a look here before the link's task rests.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(Id, Answered<T>)> {
        while !self.tasks.is_empty() {
            let Poll::Ready(Some(joined)) = self.tasks.poll_join_next_with_id(cx) else { break };
            let answered = match joined {
                Ok((task, (id, answered))) => self.end(task, Some(id)).map(|id| (id, answered)),
                Err(error) => self.end(error.id(), None).map(|id| (id, Err(failed(error)))),
            };
            // One that was given up just as it ended is not under way any more.
            if let Some(answered) = answered {
                return Poll::Ready(answered);
            }
        }
        Poll::Pending
    }

    /// Takes the get of a task out of what is under way. A task that panicked does not know it.
    fn end(&mut self, task: tokio::task::Id, id: Option<Id>) -> Option<Id> {
        let is_its = |handle: &AbortHandle| handle.id() == task;
        let id = match id {
            Some(id) => Some(id).filter(|id| self.under_way.get(id).is_some_and(is_its)),
            None => self.under_way.iter().find(|(_, handle)| is_its(handle)).map(|(id, _)| *id),
        }?;
        self.under_way.remove(&id);
        Some(id)
    }
}

/// Returns the error of a get whose future panicked. Only that get hears of it.
fn failed(error: JoinError) -> PeerError {
    match error.try_into_panic() {
        Ok(payload) => panicked(payload),
        Err(cancelled) => PeerError::new(PeerErrorKind::Failed).with_source(cancelled),
    }
}

/// Returns the error of a get whose handler panicked. The payload may panic when it is dropped, which
/// would end the gets of everybody else.
pub(super) fn panicked(payload: Box<dyn Any + Send>) -> PeerError {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
    PeerError::new(PeerErrorKind::Failed).with_source("the handler panicked")
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::task::Waker;
    use std::time::Duration;

    use super::*;

    const ID: Id = Id { slot: 1, generation: 2 };

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn poll(loads: &mut Loads) -> Option<(Id, Answered)> {
        match loads.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answered) => Some(answered),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn an_answer_never_ends_the_get_that_has_its_id_now() {
        let mut loads = Loads::new(9, "loads");
        loads.start(ID, Box::pin(ready(Ok(Answer::new("old")))), soon()).unwrap();
        tokio::task::yield_now().await; // It ends, and is not collected before it is given up.
        loads.cancel(ID);
        loads.start(ID, Box::pin(pending()), soon()).unwrap();
        assert!(poll(&mut loads).is_none());
        assert!(!loads.is_empty());
    }

    #[tokio::test]
    async fn a_panic_is_told_to_the_get_that_it_was() {
        let mut loads = Loads::new(9, "loads");
        loads.start(Id::FIRST, Box::pin(pending()), soon()).unwrap();
        loads.start(ID, Box::pin(async { panic!("as asked") }), soon()).unwrap();
        tokio::task::yield_now().await;
        let (id, answered) = poll(&mut loads).expect("it ended");
        assert_eq!((id, answered.unwrap_err().kind), (ID, PeerErrorKind::Failed));
        assert!(!loads.is_empty());
    }
}
