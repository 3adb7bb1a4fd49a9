//! Whether it is worth while to look at former owners.
//!
//! For a while after a start or a change of the ring, a key's new owner looks at the former one before
//! it loads. That is for nothing where the former one has little, as in a cluster that starts cold, and
//! costs time where it does not answer. Both are noticed here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;

/// How long a load waits for a look at most. It is a cache that is asked, over a link that is open.
pub(crate) const LOOK_TIMEOUT: Duration = Duration::from_millis(50);

/// After so many looks it is reckoned up how many of them found something.
const SAMPLE: u32 = 100;
/// If fewer did, none is begun for a while, or until the ring changes, which is another matter.
const ENOUGH: u32 = SAMPLE / 10;
/// For how long, in milliseconds.
const REST: u64 = 10_000;
/// After so many looks in a row that it did not answer, none is begun at a peer for a while.
const MAX_FAILURES: u32 = 3;
/// How many peers are remembered that do not answer.
const MAX_SILENT: usize = 1_024;

/// What has become of the looks of a node.
pub(crate) struct Looks {
    sample: Mutex<Sample>,
    silent: Mutex<HashMap<Arc<str>, Silent>>,
    /// How many peers are `silent`: read without the lock by every look.
    count: AtomicUsize,
    clock: Arc<Clock>,
}

/// The looks since the last reckoning.
#[derive(Default)]
struct Sample {
    looks: u32,
    hits: u32,
    /// How often the ring had changed.
    changes: u64,
    /// Before that moment none is begun.
    again: u64,
}

/// A peer that did not answer the last look at it.
#[derive(Default)]
struct Silent {
    failures: u32,
    again: u64,
}

impl Looks {
    /// Returns those of a node: none.
    pub(crate) fn new(clock: Arc<Clock>) -> Self {
        let (sample, silent) = (Mutex::default(), Mutex::default());
        Self { sample, silent, count: AtomicUsize::new(0), clock }
    }

    /// Returns whether a look at the peer of that label may be worth its time, now that the ring has
    /// changed so often.
    pub(crate) fn may_look(&self, label: &str, changes: u64) -> bool {
        let now = self.clock.now();
        let mut sample = self.sample();
        if sample.changes != changes {
            *sample = Sample { changes, ..Sample::default() };
        }
        if now < sample.again {
            return false;
        }
        drop(sample);
        self.count.load(Ordering::Relaxed) == 0
            || self.silent().get(label).is_none_or(|silent| now >= silent.again)
    }

    /// Notes that a peer has answered, and whether it had the value.
    pub(crate) fn answered(&self, label: &str, is_hit: bool) {
        if self.count.load(Ordering::Relaxed) > 0 {
            let mut silent = self.silent();
            silent.remove(label);
            self.count.store(silent.len(), Ordering::Relaxed);
        }
        let mut sample = self.sample();
        sample.looks += 1;
        sample.hits += u32::from(is_hit);
        if sample.looks >= SAMPLE {
            let again = if sample.hits < ENOUGH { self.clock.now() + REST } else { 0 };
            *sample = Sample { again, changes: sample.changes, ..Sample::default() };
        }
    }

    /// Notes that a peer has not answered.
    pub(crate) fn failed(&self, label: &str) {
        let now = self.clock.now();
        let mut silent = self.silent();
        if silent.len() >= MAX_SILENT && !silent.contains_key(label) {
            silent.retain(|_, silent| now < silent.again);
            if silent.len() >= MAX_SILENT {
                // One more is looked at too often, for as long as there are former owners.
                return;
            }
        }
        let this = silent.entry(Arc::from(label)).or_default();
        this.failures += 1;
        if this.failures >= MAX_FAILURES {
            *this = Silent { failures: 0, again: now + REST };
        }
        self.count.store(silent.len(), Ordering::Relaxed);
    }

    fn sample(&self) -> MutexGuard<'_, Sample> {
        self.sample.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn silent(&self) -> MutexGuard<'_, HashMap<Arc<str>, Silent>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    /// The looks of a node, and the hand of its clock.
    fn looks() -> (Looks, Arc<AtomicU64>) {
        let hand = Arc::new(AtomicU64::new(0));
        let reads = Arc::clone(&hand);
        let clock = Clock::given(move || Duration::from_millis(reads.load(Ordering::Relaxed)));
        (Looks::new(Arc::new(clock)), hand)
    }

    #[test]
    fn looks_rest_for_a_while_when_fewer_than_a_tenth_of_a_hundred_hit() {
        let (looks, hand) = looks();
        for hit in 0..SAMPLE {
            assert!(looks.may_look("a", 1), "before look {hit}");
            looks.answered("a", hit < ENOUGH - 1);
        }
        assert!(
            !looks.may_look("a", 1) && !looks.may_look("b", 1),
            "nine of a hundred are too few"
        );
        assert!(looks.may_look("a", 2), "the ring has changed");
        (0..SAMPLE).for_each(|_| looks.answered("a", false));
        assert!(!looks.may_look("a", 2));
        hand.store(REST, Ordering::Relaxed);
        assert!(looks.may_look("a", 2));
        for hit in 0..SAMPLE {
            looks.answered("a", hit < ENOUGH);
        }
        assert!(looks.may_look("a", 2), "ten of a hundred are enough");
    }

    #[test]
    fn a_peer_that_does_not_answer_three_times_in_a_row_is_let_alone() {
        let (looks, hand) = looks();
        looks.failed("a");
        looks.failed("a");
        looks.answered("a", true);
        looks.failed("a");
        looks.failed("a");
        assert!(looks.may_look("a", 1), "it has answered in between");
        looks.failed("a");
        assert!(!looks.may_look("a", 1) && looks.may_look("b", 1));
        hand.store(REST, Ordering::Relaxed);
        assert!(looks.may_look("a", 1));
    }

    #[test]
    fn silent_peers_are_forgotten_rather_than_kept_without_bound() {
        let (looks, hand) = looks();
        for peer in 0..2 * MAX_SILENT {
            (0..MAX_FAILURES).for_each(|_| looks.failed(&peer.to_string()));
        }
        assert_eq!(looks.silent().len(), MAX_SILENT);
        hand.store(REST, Ordering::Relaxed);
        looks.failed("late");
        assert_eq!(looks.silent().len(), 1);
    }
}
