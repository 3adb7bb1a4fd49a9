//! Chance, for decisions that are made often and need no secrecy.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

/// A row of random numbers that threads draw from together.
///
/// Hashing the number of the draw under a random key is all the chance that is needed; a bare
/// counter would fall into step with callers that ask for keys in turn.
///
/// In the tests of this crate it is the same row each time, so that what they find they find again.
#[derive(Debug, Default)]
pub(crate) struct Chance {
    draws: AtomicU64,
    keys: Keys,
}

#[cfg(not(test))]
type Keys = std::hash::RandomState;
#[cfg(test)]
type Keys = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

impl Chance {
    /// Returns a random number.
    pub(crate) fn draw(&self) -> u64 {
        self.keys.hash_one(self.draws.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns a random number from 0 up to, and not including, 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what an f64 has")]
    pub(crate) fn fraction(&self) -> f64 {
        const BITS: u32 = f64::MANTISSA_DIGITS;
        (self.draw() >> (u64::BITS - BITS)) as f64 / (1_u64 << BITS) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_spread_over_the_whole_range() {
        let chance = Chance::default();
        let mut tenths = [0; 10];
        for _ in 0..10_000 {
            let fraction = chance.fraction();
            assert!((0.0..1.0).contains(&fraction), "{fraction}");
            let tenth = (1..10).filter(|tenth| fraction >= f64::from(*tenth) / 10.0).count();
            tenths[tenth] += 1;
        }
        // A tenth of 10,000 draws has a standard deviation of 30: these bounds are 10 of them off.
        assert!(tenths.iter().all(|count| (700..1_300).contains(count)), "{tenths:?}");
    }
}
