//! Refreshes under way, and those that have failed of late.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Clock;

/// How long a key is not refreshed after that has failed, in milliseconds: twice as long each time.
const FIRST_PAUSE: u64 = 1_000;
const LONGEST_PAUSE: u64 = 30_000;
/// How many keys are remembered whose refresh has failed.
const MAX_FAILING: usize = 4_096;

/// A refresh under way. It has failed if it is dropped without having succeeded.
pub(super) struct Refresh {
    refreshes: Arc<Refreshes>,
    key: Arc<str>,
    newer_than: u64,
    has_succeeded: bool,
}

impl Refresh {
    /// Returns when the entry expires that it is to replace.
    pub(super) fn newer_than(&self) -> u64 {
        self.newer_than
    }

    /// Notes that a new entry was had.
    pub(super) fn succeeded(mut self) {
        self.has_succeeded = true;
    }
}

impl Drop for Refresh {
    fn drop(&mut self) {
        if self.has_succeeded {
            self.refreshes.succeeded(&self.key);
        } else {
            self.refreshes.failed(&self.key);
        }
    }
}

/// The keys whose refresh has failed of late.
pub(super) struct Refreshes {
    /// How many there are: read without the lock by all who have fetched something.
    count: AtomicUsize,
    failing: Mutex<HashMap<Arc<str>, Failing>>,
    clock: Arc<Clock>,
}

struct Failing {
    pause: u64,
    again: u64,
}

impl Refreshes {
    /// Returns those of a group: none.
    pub(super) fn new(clock: Arc<Clock>) -> Arc<Self> {
        Arc::new(Self { count: AtomicUsize::new(0), failing: Mutex::default(), clock })
    }

    /// Begins to replace the entry of a key that expires at `newer_than`.
    pub(super) fn begin(self: &Arc<Self>, key: &Arc<str>, newer_than: u64) -> Refresh {
        let (refreshes, key) = (Arc::clone(self), Arc::clone(key));
        Refresh { refreshes, key, newer_than, has_succeeded: false }
    }

    /// Returns whether a key may be refreshed now.
    pub(super) fn may_try(&self, key: &str) -> bool {
        let now = self.clock.now();
        self.lock().get(key).is_none_or(|failing| now >= failing.again)
    }

    /// Notes that a new entry of a key was had, by a refresh or otherwise.
    pub(super) fn succeeded(&self, key: &str) {
        if self.count.load(Ordering::Relaxed) > 0 {
            let mut failing = self.lock();
            failing.remove(key);
            self.count.store(failing.len(), Ordering::Relaxed);
        }
    }

    fn failed(&self, key: &Arc<str>) {
        let now = self.clock.now();
        let mut failing = self.lock();
        if failing.len() >= MAX_FAILING && !failing.contains_key(key) {
            failing.retain(|_, failing| now < failing.again);
            self.count.store(failing.len(), Ordering::Relaxed);
            if failing.len() >= MAX_FAILING {
                // One more is tried too often, which is no more than without all this.
                return;
            }
        }
        let this = failing.entry(Arc::clone(key)).or_insert(Failing { pause: 0, again: 0 });
        this.pause = (this.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        this.again = now.saturating_add(this.pause);
        self.count.store(failing.len(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    use super::*;

    /// The refreshes of a group, and the hand of its clock.
    fn refreshes() -> (Arc<Refreshes>, Arc<AtomicU64>) {
        let hand = Arc::new(AtomicU64::new(0));
        let reads = Arc::clone(&hand);
        let clock = Clock::given(move || Duration::from_millis(reads.load(Ordering::Relaxed)));
        (Refreshes::new(Arc::new(clock)), hand)
    }

    #[test]
    fn pauses_double_up_to_half_a_minute_and_end_with_a_success() {
        let ((refreshes, now), key) = (refreshes(), Arc::from("Tom"));
        for pause in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            assert!(refreshes.may_try(&key));
            drop(refreshes.begin(&key, 0));
            now.fetch_add(pause - 1, Ordering::Relaxed);
            assert!(!refreshes.may_try(&key), "after a pause of {pause}");
            now.fetch_add(1, Ordering::Relaxed);
        }
        refreshes.begin(&key, 0).succeeded();
        drop(refreshes.begin(&key, 0));
        now.fetch_add(FIRST_PAUSE, Ordering::Relaxed);
        assert!(refreshes.may_try(&key));
        assert!(refreshes.may_try("Jack"));
    }

    #[test]
    fn failing_keys_are_forgotten_rather_than_kept_without_bound() {
        let (refreshes, now) = refreshes();
        for key in 0..2 * MAX_FAILING {
            drop(refreshes.begin(&Arc::from(key.to_string()), 0));
        }
        assert_eq!(refreshes.lock().len(), MAX_FAILING);
        now.store(FIRST_PAUSE, Ordering::Relaxed);
        drop(refreshes.begin(&Arc::from("late"), 0));
        assert_eq!(refreshes.lock().len(), 1, "those whose pause is over made room");
    }
}
