//! The answers that take a while, each in a task.

use std::collections::HashMap;
use std::future::Future;
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
pub(super) struct Loads {
    tasks: JoinSet<(Id, Answered)>,
    under_way: HashMap<Id, AbortHandle>,
    max: usize,
}

pub(super) type Answered = Result<Answer, PeerError>;

/// An answer that is not there yet, as a handler returns it.
pub(super) type Pending = Pin<Box<dyn Future<Output = Answered> + Send>>;

impl Loads {
    pub(super) fn new(max: usize) -> Self {
        Self { tasks: JoinSet::new(), under_way: HashMap::new(), max }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Waits for `answer` in a task, no longer than until `deadline`.
    ///
    /// # Errors
    ///
    /// When as many are under way as may be, or one with this id is: nobody could tell their answers
    /// apart.
    pub(super) fn start(
        &mut self,
        id: Id,
        answer: Pending,
        deadline: Instant,
    ) -> Result<(), PeerError> {
        if self.under_way.len() >= self.max {
            let error = PeerError::new(PeerErrorKind::Overloaded);
            return Err(error.with_source(format!("{} loads are under way", self.max)));
        }
        if self.under_way.contains_key(&id) {
            let error = PeerError::new(PeerErrorKind::BadRequest);
            return Err(error.with_source("a get with this id is under way"));
        }
        let task = self.tasks.spawn(async move {
            let answered = timeout_at(deadline, answer).await;
            (id, answered.unwrap_or(Err(PeerErrorKind::TimedOut.into())))
        });
        self.under_way.insert(id, task);
        Ok(())
    }

    /// Drops an answer that nobody waits for any more.
    pub(super) fn cancel(&mut self, id: Id) {
        if let Some(task) = self.under_way.remove(&id) {
            task.abort();
        }
    }

    /// Waits for the next answer. Pending too when none is under way.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(Id, Answered)> {
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

fn failed(error: JoinError) -> PeerError {
    PeerError::new(PeerErrorKind::Failed).with_source(error)
}
