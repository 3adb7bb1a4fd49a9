//! Random numbers that a seed says.

use std::hash::{BuildHasher, RandomState};

use rand::SeedableRng;
use rand::rngs::StdRng;

/// Returns another seed each time, short enough to be typed.
#[must_use]
pub fn any() -> u64 {
    RandomState::new().hash_one(()) >> 40
}

/// Returns the random numbers of one of those who draw them: each has its own, which do not depend on
/// who else draws when.
#[must_use]
pub fn rng(seed: u64, who: u64) -> StdRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&who.to_le_bytes());
    StdRng::from_seed(bytes)
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    #[test]
    fn who_draws_has_the_same_numbers_each_time_and_nobody_else_has() {
        let draw = |seed, who| rng(seed, who).random::<u64>();
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(2, 1));
        assert_ne!(draw(1, 2), draw(1, 3));
    }
}
