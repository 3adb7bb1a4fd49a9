//! Which values of other owners are worth a copy here.

use std::num::NonZeroU32;

use crate::chance::Chance;

/// Which values fetched from their owners are mirrored in the hot cache.
///
/// A key that many callers want is fetched from its owner often, so a small chance at each fetch
/// finds the popular keys without counting anything: a key asked for a hundred times is mirrored
/// almost surely, one asked for once almost never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mirroring {
    /// Nothing is mirrored: each get of another's key asks its owner.
    Never,
    /// Each fetch is mirrored with this chance: `OneIn(10)` is one fetch in ten on average, which
    /// is what Go's groupcache does and the default here.
    OneIn(NonZeroU32),
    /// Every fetch is mirrored.
    Always,
}

impl Default for Mirroring {
    fn default() -> Self {
        const { Self::OneIn(NonZeroU32::new(10).expect("ten is not zero")) }
    }
}

/// A [`Mirroring`] policy at work.
#[derive(Debug)]
pub(crate) struct Mirror {
    policy: Mirroring,
    chance: Chance,
}

impl Mirror {
    pub(crate) fn new(policy: Mirroring) -> Self {
        Self { policy, chance: Chance::default() }
    }

    /// Decides about one value that was just fetched from its owner.
    pub(crate) fn admits(&self) -> bool {
        match self.policy {
            Mirroring::Never => false,
            Mirroring::Always => true,
            Mirroring::OneIn(odds) => self.chance.draw().is_multiple_of(u64::from(odds.get())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(policy: Mirroring, draws: usize) -> usize {
        let mirror = Mirror::new(policy);
        (0..draws).filter(|_| mirror.admits()).count()
    }

    #[test]
    fn never_and_always_leave_nothing_to_chance() {
        assert_eq!(admitted(Mirroring::Never, 100), 0);
        assert_eq!(admitted(Mirroring::Always, 100), 100);
    }

    #[test]
    fn one_in_ten_admits_about_a_tenth() {
        // 10,000 draws of chance 1/10 have a standard deviation of 30: these bounds are 10 of them
        // off.
        let admitted = admitted(Mirroring::default(), 10_000);
        assert!((700..1_300).contains(&admitted), "{admitted} of 10,000");
    }
}
