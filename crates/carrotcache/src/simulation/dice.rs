//! Chance that a seed repeats.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A row of numbers that is the same for the same seed: SplitMix64, by S. Vigna.
///
/// Its own ten lines, since a seed is to mean the same schedule after the next update of a library.
#[derive(Debug)]
pub(super) struct Dice(Mutex<u64>);

/// For how long something takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// So many turns of the other tasks, in no time.
    Turns(usize),
    Time(Duration),
}

/// How long steps of a kind take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Some milliseconds at most.
    Quick,
    /// Mostly some milliseconds, so that steps overlap in all orders, and now and then so much longer
    /// that whatever else is under way ends before.
    Mixed,
    /// Longer than all that is quick.
    Slow,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// Returns other dice, which do not depend on how often these are thrown from now on.
    pub(super) fn fork(&self) -> Self {
        Self::new(self.draw())
    }

    /// Returns a number from 0 up to, and not including, `bound`.
    pub(super) fn below(&self, bound: usize) -> usize {
        (self.draw() >> 1) as usize % bound
    }

    /// Returns a number from `least` up to `most`.
    pub(super) fn between(&self, least: usize, most: usize) -> usize {
        least + self.below(most - least + 1)
    }

    /// Returns `true` with a chance of one in `many`.
    pub(super) fn one_in(&self, many: usize) -> bool {
        self.below(many) == 0
    }

    /// Returns one of these.
    pub(super) fn pick<T: Clone>(&self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    /// Returns how long a step takes at this pace.
    pub(super) fn pause(&self, pace: Pace) -> Pause {
        let millis =
            |least, most| Pause::Time(Duration::from_millis(self.between(least, most) as u64));
        match (pace, self.below(24)) {
            (Pace::Quick, 0..=9) | (Pace::Mixed, 0..=5) => Pause::Turns(self.below(4)),
            (Pace::Quick, _) | (Pace::Mixed, 6..=15) => millis(1, 12),
            (Pace::Mixed, 16..=20) | (Pace::Slow, 0..=9) => millis(10, 60),
            (Pace::Mixed, 21..=22) | (Pace::Slow, 10..=20) => millis(50, 400),
            (Pace::Mixed | Pace::Slow, _) => millis(300, 3_000),
        }
    }

    fn draw(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

impl Pause {
    /// Waits for so long.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(super) async fn wait(self) {
        match self {
            Self::Turns(turns) => {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
            }
            Self::Time(time) => tokio::time::sleep(time).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_row_on_every_machine() {
        let row = |seed| {
            let dice = Dice::new(seed);
            [0; 4].map(|_| dice.draw())
        };
        // The first numbers of the reference implementation for the seed 0.
        assert_eq!(row(0)[..2], [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4]);
        assert_ne!(row(0), row(1));
    }

    #[test]
    fn draws_reach_all_that_they_may() {
        let dice = Dice::new(1);
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[dice.below(5)] = true;
            assert!((3..=4).contains(&dice.between(3, 4)));
        }
        assert_eq!(seen, [true; 5]);
    }
}
