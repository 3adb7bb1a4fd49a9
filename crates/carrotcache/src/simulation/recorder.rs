//! Writes the history down.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::history::{Event, History, Id};

/// Where everybody in a world tells what happens.
pub(super) struct Recorder {
    start: Instant,
    history: Mutex<History>,
    last_id: AtomicU64,
    /// Whether notes are written down, which only a reader of the trace wants.
    takes_notes: bool,
}

impl Recorder {
    /// Returns one with an empty history, which begins now.
    pub(super) fn new(grace: Duration, has_late_loads: bool, takes_notes: bool) -> Self {
        let history = History { grace, has_late_loads, events: Vec::new() };
        let (history, last_id) = (Mutex::new(history), AtomicU64::new(0));
        Self { start: Instant::now(), history, last_id, takes_notes }
    }

    /// Returns how long it is since the begin of the world.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Returns a number that was not used before.
    pub(super) fn next_id(&self) -> Id {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn record(&self, event: Event) {
        let now = self.now();
        self.lock().events.push((now, event));
    }

    pub(super) fn note(&self, note: impl FnOnce() -> String) {
        if self.takes_notes {
            self.record(Event::Note(note()));
        }
    }

    /// Returns what has happened, and forgets it.
    pub(super) fn take(&self) -> History {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
