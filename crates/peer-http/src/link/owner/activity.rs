//! Whether anything is under way over a link, for whoever else wants to know.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// Whether a link rests, as its task last told. A clone is another handle to the same.
///
/// Places for connections are scarce. When somebody else needs one, the listener takes that of a
/// link which rests, and never cuts an answer.
#[derive(Clone, Default)]
pub(crate) struct Activity {
    resting_since: Arc<Mutex<Option<Instant>>>,
}

impl Activity {
    /// Returns when the last get came; `None` while an answer is under way.
    pub(crate) fn resting_since(&self) -> Option<Instant> {
        *self.resting_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes since when the link rests, or that it does not. Called once a turn, not once a get.
    pub(super) fn rest(&self, since: Option<Instant>) {
        *self.resting_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}
