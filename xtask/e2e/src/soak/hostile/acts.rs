//! What hostile clients do, counted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What came of the clients.
#[derive(Clone, Default)]
pub(in crate::soak) struct Tally {
    /// How often a client did what it does.
    pub(in crate::soak) acts: u64,
    pub(in crate::soak) right: u64,
    /// Why those who asked in order were not answered.
    pub(in crate::soak) unanswered: Vec<String>,
}

/// What the clients have done until now; a clone tells of the same ones.
#[derive(Clone, Default)]
pub(in crate::soak) struct Acts(Arc<Mutex<Tally>>);

impl Acts {
    /// Returns what came of them until now.
    pub(in crate::soak) fn tally(&self) -> Tally {
        self.lock().clone()
    }

    /// Notes that somebody was not answered who asked in order.
    pub(super) fn unanswered(&self, why: String) {
        self.lock().unanswered.push(why);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
