//! Whether anything is under way over a link, for whoever else wants to know.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// Whether a link rests, as its task last told. A clone is another handle to the same.
#[derive(Clone, Default)]
pub(crate) struct Activity {
    resting_since: Arc<Mutex<Option<Instant>>>,
}

impl Activity {
    /// Returns when the last bytes came; `None` while an answer is under way.
    pub(crate) fn resting_since(&self) -> Option<Instant> {
        *self.resting_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn rest(&self, since: Option<Instant>) {
        *self.resting_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}
