//! The bound that shards and caches share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A bound on the weight of everything in one or several caches.
///
/// ```
/// use carrotcache_lru::sync::{Budget, Cache};
///
/// let weigh = |_: &u32, value: &u64| *value;
/// let budget = Budget::new(100);
/// let main = Cache::with_budget(budget.clone(), weigh);
/// let hot = Cache::with_budget(budget.clone(), weigh);
/// main.try_insert(1, 60)?;
/// assert!(hot.try_insert(2, 60).is_err());
/// hot.try_insert(3, 40)?;
/// assert_eq!(budget.used(), 100);
/// # Ok::<(), carrotcache_lru::TryInsertError<u32, u64>>(())
/// ```
#[derive(Debug)]
pub struct Budget {
    max: u64,
    used: AtomicU64,
}

impl Budget {
    /// Returns a budget of which nothing is used.
    #[must_use]
    pub fn new(max_weight: u64) -> Arc<Self> {
        Arc::new(Self { max: max_weight, used: AtomicU64::new(0) })
    }

    /// Returns the bound.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Returns the weight that is reserved; never more than [`max`](Self::max).
    ///
    /// The entries that are cached never weigh more than this, and exactly this when no operation
    /// is under way. It is then the sum of what the caches of the budget say they
    /// [weigh](super::Cache::weight).
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    /// Adds `weight` to what is used if it fits.
    pub(super) fn try_reserve(&self, weight: u64) -> bool {
        // Fails without a write: the counter's cache line stays with every thread that reads it.
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                used.checked_add(weight).filter(|&sum| sum <= self.max)
            })
            .is_ok()
    }

    /// Takes what was reserved off what is used.
    pub(super) fn release(&self, weight: u64) {
        self.used.fetch_sub(weight, Ordering::AcqRel);
    }
}
