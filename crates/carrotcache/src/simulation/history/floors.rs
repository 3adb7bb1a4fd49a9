//! What a get may not fall short of.

use std::collections::BTreeMap;

use super::event::{Key, Keys};

/// For each key, the earliest moment at which a value's load may have begun, as the place of that
/// moment in the history.
#[derive(Debug, Clone, Default)]
pub(super) struct Floors {
    all: usize,
    keys: BTreeMap<Key, usize>,
}

impl Floors {
    /// Returns the floor of `key`.
    pub(super) fn of(&self, key: Key) -> usize {
        self.keys.get(&key).copied().unwrap_or(0).max(self.all)
    }

    /// Raises the floor of these keys, unless it is higher already.
    pub(super) fn raise(&mut self, keys: &Keys, floor: usize) {
        match keys {
            Keys::All => self.all = self.all.max(floor),
            Keys::These(keys) => keys.iter().for_each(|&key| self.raise_one(key, floor)),
        }
    }

    /// Raises the floor of these keys to what it is in `other`, unless it is higher already.
    pub(super) fn raise_to(&mut self, keys: &Keys, other: &Self) {
        match keys {
            Keys::All => {
                self.all = self.all.max(other.all);
                other.keys.iter().for_each(|(&key, &floor)| self.raise_one(key, floor));
            }
            Keys::These(keys) => keys.iter().for_each(|&key| self.raise_one(key, other.of(key))),
        }
    }

    fn raise_one(&mut self, key: Key, floor: usize) {
        let of = self.keys.entry(key).or_default();
        *of = floor.max(*of);
    }
}
