//! The purges that take a while.

use std::collections::HashMap;
use std::task::{Context, Poll};

use carrotcache_peer::{PeerError, PeerErrorKind, Purged};
use tokio::time::Instant;

use super::loads::{Answered, Loads, Pending};
use crate::link::frame::Id;

/// How many purges may be under way for one asker. Nodes put what they remove meanwhile into the next.
const MAX_PURGES: usize = 64;

/// How long the purges that are under way for one asker may be in all. A single one may be as long as any
/// request.
const MAX_PURGE_BYTES: usize = 4 << 20;

/// The purges of one connection that take a while. They are dropped with it, as
/// [`Loads`] are.
pub(super) struct Purges {
    answers: Loads<Purged>,
    /// How long the purges are that are under way.
    bytes: HashMap<Id, usize>,
}

impl Purges {
    /// Returns room for what may be under way.
    pub(super) fn new() -> Self {
        Self { answers: Loads::new(MAX_PURGES, "purges"), bytes: HashMap::new() }
    }

    /// Returns whether none is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Returns why a purge is not taken whose payload has so many bytes, if it is not. Asked before the
    /// handler hears of it.
    pub(super) fn refusal(&self, id: Id, bytes: usize) -> Option<PeerError> {
        let all: usize = self.bytes.values().sum();
        if all > 0 && all.saturating_add(bytes) > MAX_PURGE_BYTES {
            let error = PeerError::new(PeerErrorKind::Overloaded);
            return Some(error.with_source(format!("purges of {all} bytes are under way")));
        }
        self.answers.refusal(id)
    }

    /// Waits for the `answer` to a purge in a task, no longer than until `deadline`.
    ///
    /// # Errors
    ///
    /// When it [cannot be taken](Self::refusal).
    pub(super) fn start(
        &mut self,
        id: Id,
        bytes: usize,
        answer: Pending<Purged>,
        deadline: Instant,
    ) -> Result<(), PeerError> {
        self.answers.start(id, answer, deadline)?;
        self.bytes.insert(id, bytes);
        Ok(())
    }

    /// Waits for the next answer. Pending too when none is under way.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(Id, Answered<Purged>)> {
        let polled = self.answers.poll_next(cx);
        if let Poll::Ready((id, _)) = &polled {
            self.bytes.remove(id);
        }
        polled
    }
}
