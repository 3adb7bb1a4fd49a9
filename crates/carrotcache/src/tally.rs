//! Counts of what look-ups came to, kept so that threads do not queue for them.

use std::sync::atomic::{AtomicU64, Ordering};

const STRIPES: usize = 16;

/// What one look-up came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    MainHit,
    HotHit,
    Miss,
}

/// One count per [`Outcome`].
///
/// A hit costs tens of nanoseconds, so a counter that every thread writes to would be the place
/// where they queue. The key's hash picks one of several cache lines instead, as it picks a shard
/// of the cache: threads that meet here have met there before.
#[derive(Default)]
pub(crate) struct Tally {
    stripes: [Stripe; STRIPES],
}

#[derive(Default)]
#[repr(align(64))]
struct Stripe {
    counts: [AtomicU64; 3],
}

impl Tally {
    pub(crate) fn count(&self, hash: u64, outcome: Outcome) {
        // The shard is picked by other bits of the hash than these, which does no harm.
        let stripe = (hash >> 32) as usize % STRIPES;
        self.stripes[stripe].counts[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn total(&self, outcome: Outcome) -> u64 {
        let counts = self.stripes.iter().map(|stripe| &stripe.counts[outcome as usize]);
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// All look-ups, whatever they came to.
    pub(crate) fn gets(&self) -> u64 {
        [Outcome::MainHit, Outcome::HotHit, Outcome::Miss]
            .map(|outcome| self.total(outcome))
            .iter()
            .sum()
    }
}
