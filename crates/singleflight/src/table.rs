/// A hash table for entries that come and go all the time.
///
/// Linear probing with backward shift: removing an entry closes the gap that it leaves, so there
/// are no tombstones, and a table that stays small stays fast however many entries pass through
/// it. Hashes are kept beside the entries: growing and removing never call the user's `Hash`, and
/// an entry of another hash is passed over without calling `Eq`.
///
/// ```text
///            home of c ─╮
/// slots   [   | a | b | c | d |   ]      `b` is removed; `d` would best be where `a` is
/// slots   [   | a | d | c |   |   ]      `d` moves into the gap, `c` is where it belongs
/// ```
pub(crate) struct Table<T> {
    /// Empty, or a power of two of slots of which at least a quarter is free.
    slots: Vec<Option<Slot<T>>>,
    len: usize,
}

struct Slot<T> {
    hash: u64,
    value: T,
}

/// The capacity of the first allocation.
const SMALLEST: usize = 8;

/// A table that is empty again gives its memory back if it has more slots than this.
const KEPT: usize = 1024;

impl<T> Table<T> {
    /// Returns an empty table, without allocating.
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), len: 0 }
    }

    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the entry of this hash that `eq` accepts.
    pub(crate) fn find(&self, hash: u64, eq: impl FnMut(&T) -> bool) -> Option<&T> {
        let at = self.position(hash, eq)?;
        self.slots[at].as_ref().map(|slot| &slot.value)
    }

    /// Returns all entries, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten().map(|slot| &slot.value)
    }

    /// Adds an entry. The caller knows that no equal one is present.
    pub(crate) fn insert(&mut self, hash: u64, value: T) {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        self.place(Slot { hash, value });
        self.len += 1;
    }

    /// Removes and returns the entry of this hash that `eq` accepts.
    pub(crate) fn remove(&mut self, hash: u64, eq: impl FnMut(&T) -> bool) -> Option<T> {
        let mut gap = self.position(hash, eq)?;
        let removed = self.slots[gap].take()?;
        let mut at = self.next(gap);
        while let Some(slot) = &self.slots[at] {
            // An entry moves into the gap unless that lies before the slot it would best be in.
            let mask = self.slots.len() - 1;
            let probed = at.wrapping_sub(self.home(slot.hash)) & mask;
            if probed >= at.wrapping_sub(gap) & mask {
                self.slots.swap(gap, at);
                gap = at;
            }
            at = self.next(at);
        }
        self.len -= 1;
        if self.len == 0 && self.slots.len() > KEPT {
            self.slots = Vec::new();
        }
        Some(removed.value)
    }

    fn position(&self, hash: u64, mut eq: impl FnMut(&T) -> bool) -> Option<usize> {
        if self.len == 0 {
            return None;
        }
        let mut at = self.home(hash);
        while let Some(slot) = &self.slots[at] {
            if slot.hash == hash && eq(&slot.value) {
                return Some(at);
            }
            at = self.next(at);
        }
        None
    }

    fn grow(&mut self) {
        let capacity = (self.slots.len() * 2).max(SMALLEST);
        let grown = std::iter::repeat_with(|| None).take(capacity).collect();
        for slot in std::mem::replace(&mut self.slots, grown).into_iter().flatten() {
            self.place(slot);
        }
    }

    /// Puts a slot into the first free place from its best one on.
    fn place(&mut self, slot: Slot<T>) {
        let mut at = self.home(slot.hash);
        while self.slots[at].is_some() {
            at = self.next(at);
        }
        self.slots[at] = Some(slot);
    }

    /// Returns the index that an entry of this hash would best be at.
    #[expect(clippy::cast_possible_truncation, reason = "only the lowest bits are wanted")]
    fn home(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    /// Returns the index after `at`, from the last one around to the first.
    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few homes and many entries, so that runs are long and wrap around the end.
        #[test]
        fn behaves_as_a_map(steps in proptest::collection::vec((any::<bool>(), 0_u64..40), 0..400)) {
            let mut table = Table::new();
            let mut model = HashMap::new();
            for (step, (insert, key)) in steps.into_iter().enumerate() {
                let hash = key % 5 * 3;
                let eq = |entry: &(u64, usize)| entry.0 == key;
                if insert && !model.contains_key(&key) {
                    table.insert(hash, (key, step));
                    model.insert(key, step);
                } else {
                    prop_assert_eq!(table.remove(hash, eq).map(|entry| entry.1), model.remove(&key));
                }
                prop_assert_eq!(table.len(), model.len());
                prop_assert_eq!(table.iter().copied().collect::<HashMap<_, _>>(), model.clone());
                for (key, step) in &model {
                    prop_assert_eq!(table.find(key % 5 * 3, |e| e.0 == *key), Some(&(*key, *step)));
                }
            }
        }
    }

    #[test]
    fn gives_the_memory_of_a_storm_back() {
        let mut table = Table::new();
        for key in 0..10_000_u64 {
            table.insert(spread(key), key);
        }
        for key in 0..10_000 {
            assert_eq!(table.remove(spread(key), |_| true), Some(key));
        }
        assert_eq!(table.slots.capacity(), 0);
    }

    #[test]
    fn stays_small_under_churn() {
        let mut table = Table::new();
        for key in 0..100_000_u64 {
            table.insert(spread(key), key);
            if let Some(old) = key.checked_sub(4) {
                assert_eq!(table.remove(spread(old), |_| true), Some(old));
            }
        }
        assert_eq!(table.slots.len(), 8);
    }

    /// A hash that has no order, as the group's are.
    fn spread(key: u64) -> u64 {
        key.wrapping_mul(0x9E37_79B9_7F4A_7C15).swap_bytes()
    }
}
