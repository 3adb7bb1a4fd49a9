//! Loads whose callers have an answer already.
//!
//! An entry that is about to expire, or is stale, is returned as it is, and a flight is started that
//! fetches a new one. It never waits for its turn: when there is none, the next caller tries. When it
//! fails, it is not tried again for a while, and the old entry does not last longer for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carrotcache_peer::Owner;

use super::Group;
use super::flights::Where;
use super::load::{Load, LoadFlight};
use super::nesting::Nesting;
use crate::cache::{Found, Place};
use crate::held::Age;

/// How long a key is not refreshed after that has failed, in milliseconds: twice as long each time.
const FIRST_PAUSE: u64 = 1_000;
const LONGEST_PAUSE: u64 = 30_000;
/// How many keys are remembered whose refresh has failed.
const MAX_FAILING: usize = 4_096;

impl Group {
    /// Starts a flight that fetches a new entry for what was found, unless one is under way.
    ///
    /// Nobody waits for it: an error of any kind only means that the entry stays as it is.
    #[cold]
    pub(super) fn refresh(&self, key: &str, found: &Found) {
        let shared = &self.shared;
        // An entry that is still fresh is refreshed by its owner alone: the others ask that.
        if found.age == Age::Due && !found.is_own {
            return;
        }
        if !shared.refreshes.may_try(key, shared.clock.now()) {
            return;
        }
        match shared.peers.picker.owner(key) {
            Owner::Local => {
                let Some(permit) = shared.limits.try_permit() else { return };
                let newer_than = Some(found.held.expires());
                let (place, within) = (Place::Main, Nesting::default());
                let load = Load { place, within, is_nested: false, newer_than };
                shared.loads.start(key, |leader, key: Arc<str>, at: Where<'_>| {
                    let refresh = Some(Refresh::new(self, &key, found.held.expires()));
                    let (group, permit) = (self.clone(), Some(permit));
                    // In a task at once: whoever has the answer already is not to run the loader.
                    let apart = Where { is_here: false, ..at };
                    LoadFlight { group, key, load, permit, refresh }.start(leader, apart);
                });
            }
            Owner::Remote(owner) => {
                shared.forwards.start(key, |leader, key: Arc<str>, at: Where<'_>| {
                    let refresh = Some(Refresh::new(self, &key, found.held.expires()));
                    self.start_forward(leader, key, at, &owner, Nesting::default(), refresh);
                });
            }
        }
    }
}

/// A refresh under way. It has failed if it is dropped without having succeeded.
pub(super) struct Refresh {
    group: Group,
    key: Arc<str>,
    newer_than: u64,
    has_succeeded: bool,
}

impl Refresh {
    fn new(group: &Group, key: &Arc<str>, newer_than: u64) -> Self {
        group.shared.counters.refreshes.add_one();
        Self { group: group.clone(), key: Arc::clone(key), newer_than, has_succeeded: false }
    }

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
        let refreshes = &self.group.shared.refreshes;
        if self.has_succeeded {
            refreshes.succeeded(&self.key);
        } else {
            refreshes.failed(&self.key, self.group.shared.clock.now());
        }
    }
}

/// The keys whose refresh has failed of late.
#[derive(Default)]
pub(super) struct Refreshes {
    /// How many there are: read without the lock by all who have fetched something.
    count: AtomicUsize,
    failing: Mutex<HashMap<Arc<str>, Failing>>,
}

struct Failing {
    pause: u64,
    again: u64,
}

impl Refreshes {
    /// Returns whether a key may be refreshed at `now`.
    fn may_try(&self, key: &str, now: u64) -> bool {
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

    fn failed(&self, key: &Arc<str>, now: u64) {
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
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_minute_and_end_with_a_success() {
        let (refreshes, key) = (Refreshes::default(), Arc::from("Tom"));
        let mut now = 0;
        for pause in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            assert!(refreshes.may_try(&key, now));
            refreshes.failed(&key, now);
            assert!(!refreshes.may_try(&key, now + pause - 1), "after a pause of {pause}");
            now += pause;
        }
        refreshes.succeeded(&key);
        refreshes.failed(&key, now);
        assert!(refreshes.may_try(&key, now + FIRST_PAUSE));
        assert!(refreshes.may_try("Jack", 0));
    }

    #[test]
    fn failing_keys_are_forgotten_rather_than_kept_without_bound() {
        let refreshes = Refreshes::default();
        for key in 0..2 * MAX_FAILING {
            refreshes.failed(&Arc::from(key.to_string()), 0);
        }
        assert_eq!(refreshes.lock().len(), MAX_FAILING);
        refreshes.failed(&Arc::from("late"), FIRST_PAUSE);
        assert_eq!(refreshes.lock().len(), 1, "those whose pause is over made room");
    }
}
