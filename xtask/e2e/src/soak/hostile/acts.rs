//! What hostile clients do, counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What came of the clients.
#[derive(Clone, Default)]
pub(in crate::soak) struct Tally {
    /// How often a client did what it does.
    pub(in crate::soak) acts: u64,
    pub(in crate::soak) right: u64,
    /// Why those who asked in order were not answered.
    pub(in crate::soak) unanswered: Vec<String>,
    /// Who has used a port last.
    pub(super) ports: HashMap<u16, String>,
}

/// What the clients have done until now; a clone tells of the same ones.
#[derive(Clone, Default)]
pub(in crate::soak) struct Acts(Arc<Mutex<Tally>>);

impl Acts {
    /// Returns what came of them until now.
    pub(in crate::soak) fn tally(&self) -> Tally {
        self.lock().clone()
    }

    /// Returns who had a port last, for messages.
    pub(in crate::soak) fn kind_at(&self, port: u16) -> String {
        self.lock().ports.get(&port).cloned().unwrap_or_else(|| format!("port {port}"))
    }

    /// Notes that somebody was not answered who asked in order.
    pub(super) fn unanswered(&self, why: String) {
        self.lock().unanswered.push(why);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
