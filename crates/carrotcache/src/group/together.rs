//! What comes to the same thing at about the same time, and is seen to at once.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Gathers what has to wait for a task anyway, until that begins.
pub(super) struct Together<T> {
    waiting: Mutex<Vec<T>>,
}

impl<T> Together<T> {
    /// Adds one more. Returns whether it is the first, who has to see to it that a task takes all.
    pub(super) fn add(&self, one: T) -> bool {
        let mut waiting = self.lock();
        waiting.push(one);
        waiting.len() == 1
    }

    /// Returns all that wait. The next one is the first again.
    pub(super) fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Together<T> {
    fn default() -> Self {
        Self { waiting: Mutex::default() }
    }
}
