//! What one cache has reserved of a budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Budget;

/// A cache's part of a budget that other caches may share.
///
/// The account is never less than what the cache's entries weigh, if its user reserves before it
/// links an entry and releases after it has unlinked one. It is never more than the bound either: a
/// reservation enters the budget first and leaves it last, so the accounts of a budget are covered
/// by what is used of it, whatever threads do in between.
///
/// It lies on cache lines of its own. A hit reads the cache's other fields, and must not wait for
/// them because another thread has just reserved something.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Account {
    budget: Arc<Budget>,
    reserved: AtomicU64,
}

impl Account {
    /// An account of which nothing is reserved.
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self { budget, reserved: AtomicU64::new(0) }
    }

    /// The budget that this is a part of.
    pub(super) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// What is reserved, for entries and for operations that are under way.
    pub(super) fn reserved(&self) -> u64 {
        // Relaxed is enough, here and below. Whoever has seen an entry has locked its shard since
        // the entry was linked, and so sees the reservation that came before it. And a release
        // leaves the budget, which is synchronised, after the account: who reserves the room that
        // it left adds to the account after it.
        self.reserved.load(Ordering::Relaxed)
    }

    /// Reserves what `credit` lacks to `weight`, if it fits, and raises it.
    pub(super) fn top_up(&self, credit: &mut u64, weight: u64) -> bool {
        let lacking = weight.saturating_sub(*credit);
        if lacking > 0 {
            if !self.budget.try_reserve(lacking) {
                return false;
            }
            self.reserved.fetch_add(lacking, Ordering::Relaxed);
            *credit += lacking;
        }
        true
    }

    /// Gives back what was reserved, after the entry it was reserved for is gone.
    pub(super) fn release(&self, weight: u64) {
        if weight > 0 {
            self.reserved.fetch_sub(weight, Ordering::Relaxed);
            self.budget.release(weight);
        }
    }
}

/// Gives everything back, which other caches may then reserve.
impl Drop for Account {
    fn drop(&mut self) {
        self.budget.release(*self.reserved.get_mut());
    }
}
