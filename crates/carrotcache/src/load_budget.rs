//! How many loads may run here of keys that are another node's to load.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// How long what is not used is saved, in seconds.
const SAVED_SECONDS: f64 = 10.0;

/// The rights of a node to load keys that neither it owns nor stands in for.
///
/// When an owner and its stand-in fail, each of the other nodes would load all of their keys. A
/// database that sees so many times its usual queries fails next. So each node has a few rights, which
/// grow with its misses and with time, as in a retry budget (Finagle's `RetryBudget`: 20 % of the
/// requests and ten a second, for ten seconds).
pub(crate) struct LoadBudget {
    rates: Rates,
    /// All misses of callers here until now. A miss costs no more than that.
    misses: AtomicU64,
    saved: Mutex<Saved>,
}

/// How fast rights grow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    /// How many for a hundred misses.
    pub(crate) percent: u32,
    pub(crate) per_second: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self { percent: 20, per_second: 10 }
    }
}

/// What there was at some moment.
struct Saved {
    rights: f64,
    at: u64,
    misses: u64,
}

impl LoadBudget {
    /// Returns that of a node which begins now, with all that it can save from time alone.
    pub(crate) fn new(rates: Rates, now: u64) -> Self {
        let rights = f64::from(rates.per_second) * SAVED_SECONDS;
        let saved = Mutex::new(Saved { rights, at: now, misses: 0 });
        Self { rates, misses: AtomicU64::new(0), saved }
    }

    /// Notes that a caller has missed.
    pub(crate) fn missed(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes the right to one load, if there is one.
    pub(crate) fn take(&self, now: u64) -> bool {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        saved.grow(self.rates, now, self.misses.load(Ordering::Relaxed));
        // Sums of fifths are not exact.
        let may_load = saved.rights > 1.0 - 1e-6;
        if may_load {
            saved.rights -= 1.0;
        }
        may_load
    }
}

impl Saved {
    /// Adds what has come since, evenly, and lets go what was not used: of each right so much is left
    /// as of a charge that leaks away. So it never adds up to more than ten seconds bring.
    fn grow(&mut self, rates: Rates, now: u64, misses: u64) {
        let seconds = now.saturating_sub(self.at) as f64 / 1_000.0;
        let of_misses =
            misses.saturating_sub(self.misses) as f64 * f64::from(rates.percent) / 100.0;
        let grown = of_misses + seconds * f64::from(rates.per_second);
        let left = (-seconds / SAVED_SECONDS).exp();
        let left_of_grown = match seconds > 0.0 {
            true => (1.0 - left) * SAVED_SECONDS / seconds,
            false => 1.0,
        };
        self.rights = self.rights * left + grown * left_of_grown;
        (self.at, self.misses) = (now.max(self.at), misses.max(self.misses));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many loads may run now.
    fn take_all(budget: &LoadBudget, now: u64) -> usize {
        (0..100_000).take_while(|_| budget.take(now)).count()
    }

    #[test]
    fn ten_seconds_of_time_are_there_at_first_and_never_more_than_that() {
        let budget = LoadBudget::new(Rates::default(), 5_000);
        assert_eq!(take_all(&budget, 5_000), 100);
        assert_eq!(take_all(&budget, 5_000), 0);
        assert_eq!(take_all(&budget, 1_000_000), 100);
    }

    #[test]
    fn who_takes_all_that_comes_has_ten_a_second() {
        let budget = LoadBudget::new(Rates::default(), 0);
        take_all(&budget, 0);
        let taken: usize = (1..=1_000).map(|tenth| take_all(&budget, tenth * 100)).sum();
        assert!((990..=1_000).contains(&taken), "{taken} in 100 seconds");
    }

    #[test]
    fn of_five_misses_one_may_load() {
        let budget = LoadBudget::new(Rates { per_second: 0, ..Rates::default() }, 0);
        for _ in 0..1_000 {
            assert_eq!(take_all(&budget, 0), 0);
            (0..5).for_each(|_| budget.missed());
            assert_eq!(take_all(&budget, 0), 1);
        }
    }

    #[test]
    fn misses_of_long_ago_do_not_count() {
        let budget = LoadBudget::new(Rates { percent: 20, per_second: 0 }, 0);
        // A hundred a second, for an hour: a fifth of those of ten seconds are left.
        (0..360_000).for_each(|_| budget.missed());
        assert_eq!(take_all(&budget, 3_600_000), 200);
        (0..1_000).for_each(|_| budget.missed());
        assert!(budget.take(3_600_000));
        assert_eq!(take_all(&budget, 7_200_000), 0);
    }

    #[test]
    fn without_rates_nothing_may_load() {
        let budget = LoadBudget::new(Rates { percent: 0, per_second: 0 }, 0);
        (0..1_000).for_each(|_| budget.missed());
        assert_eq!(take_all(&budget, 1_000_000), 0);
    }

    #[test]
    fn a_clock_that_goes_back_takes_nothing_away() {
        let budget = LoadBudget::new(Rates::default(), 10_000);
        assert!(budget.take(10_000));
        assert_eq!(take_all(&budget, 0), 99);
        assert_eq!(take_all(&budget, 10_000), 0, "it counts once");
    }
}
