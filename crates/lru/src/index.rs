//! The index from hashes to slots: buckets of fifteen, without tombstones.
//!
//! A bucket holds fifteen slot numbers, a byte of the hash of each (its *tag*), and eight counts of
//! the entries that wanted a place here, found it full, and went on to a later bucket; three bits of
//! the hash say in which of the counts. It comes in two parts, so that what every search reads is
//! small and stays in the nearest caches:
//!
//! ```text
//! head   ├─ tags: 15 × 1 byte ─┼─ which counts are not zero: 8 bits ─┤   16 bytes
//! body   ├─ slots: 15 × 4 bytes ─┼─ counts: 8 × 4 bits ─┤               64 bytes, a cache line
//! ```
//!
//! A search compares all tags of a head at once and goes on to the next bucket only while its count
//! is not zero. In a table that is full and has seen many removals, six hits in seven and four misses
//! in five end in the bucket where they began. A removal lowers the counts it had raised instead of leaving a
//! tombstone, so steady churn never makes the table grow. The counts are the idea of F14 (Bronson and
//! Shi, Facebook, 2019); there is one for all hashes there.
//!
//! Nothing here knows keys, and no user code runs while the table grows: the hashes to file entries
//! again come from their links.

use crate::bytes::equal_bytes;

/// The largest number of slots that an index, and therefore a store, can hold.
pub(crate) const MAX_SLOTS: usize = 1 << 30;

/// Slot numbers in a bucket.
const WAYS: usize = 15;

/// A hash table of the slot numbers below `len`, searched by the 32-bit hash of the entry in a slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    heads: Vec<Head>,
    /// As many as there are heads.
    bodies: Vec<Body>,
    /// Slots that are filed.
    len: u32,
    /// Slots that fit before the table grows.
    capacity: u32,
}

/// A byte for each way, the first the lowest: the tag, or 0 if the place is free. The highest byte
/// has a bit for each class whose count is not zero.
#[derive(Clone, Debug, Default)]
struct Head(u128);

#[derive(Clone, Debug, Default)]
#[repr(align(64))]
struct Body {
    /// Where there is no tag, the slot is what was there before.
    slots: [u32; WAYS],
    /// How many entries of each class passed by, four bits a class.
    passed: u32,
}

impl Index {
    /// Returns the slot with this hash for which `is_match` is true.
    #[expect(clippy::inline_always, reason = "a call of its own takes a tenth of a hit's time")]
    #[inline(always)]
    pub(crate) fn find(&self, hash: u32, mut is_match: impl FnMut(u32) -> bool) -> Option<u32> {
        let home = self.home(hash);
        let (head, body) = (self.heads.get(home)?, self.bodies.get(home)?);
        match head.ways_with(tag(hash)).next().map(|way| body.slots[way]) {
            Some(slot) if is_match(slot) => Some(slot),
            None if !head.is_passed(hash) => None,
            // Out of line: one search in six, whose loop would take registers from the others.
            _ => self.find_further(hash, is_match),
        }
    }

    /// As [`find`](Self::find), bucket by bucket.
    #[cold]
    #[inline(never)]
    fn find_further(&self, hash: u32, mut is_match: impl FnMut(u32) -> bool) -> Option<u32> {
        // Bounded, for the case that a count in every bucket stays at 15.
        for at in self.path(hash).take(self.heads.len() + 1) {
            let (head, body) = (&self.heads[at], &self.bodies[at]);
            let mut slots = head.ways_with(tag(hash)).map(|way| body.slots[way]);
            if let Some(slot) = slots.find(|&slot| is_match(slot)) {
                return Some(slot);
            }
            if !head.is_passed(hash) {
                return None;
            }
        }
        None
    }

    /// Adds `slot`, which must be the number after the largest, or the one just removed. `hash_of`
    /// tells the hashes of all others.
    pub(crate) fn insert(&mut self, hash: u32, slot: u32, hash_of: impl Fn(u32) -> u32) {
        if self.len == self.capacity {
            self.grow(hash_of);
        }
        self.place(hash, slot);
        self.len += 1;
    }

    /// Takes a slot out.
    pub(crate) fn remove(&mut self, hash: u32, slot: u32) {
        for at in self.path(hash) {
            if let Some(way) = self.way_of(at, hash, slot) {
                self.heads[at].set_tag(way, 0);
                break;
            }
            self.count(at, hash, |passed| passed - 1);
        }
        self.len -= 1;
    }

    /// Gives the entry that was in slot `from` the slot number `to`.
    pub(crate) fn renumber(&mut self, hash: u32, from: u32, to: u32) {
        let place = self.path(hash).find_map(|at| Some((at, self.way_of(at, hash, from)?)));
        if let Some((at, way)) = place {
            self.bodies[at].slots[way] = to;
        }
    }

    /// Bytes on the heap.
    pub(crate) fn memory_usage(&self) -> usize {
        self.heads.capacity() * size_of::<Head>() + self.bodies.capacity() * size_of::<Body>()
    }

    /// Makes the table a sixteenth larger and files every slot again.
    ///
    /// Small steps cost a rebuild more often, some ten nanoseconds an entry each time, and keep a
    /// large table between 72 and 77 per cent full, where doubling would waste up to half of it.
    #[cold]
    fn grow(&mut self, hash_of: impl Fn(u32) -> u32) {
        let buckets = self.heads.len() + self.heads.len() / 16 + 1;
        // Given back first, so that the old table and the new one are never held at once.
        (self.heads, self.bodies) = (Vec::new(), Vec::new());
        self.heads = vec![Head::default(); buckets];
        self.bodies = vec![Body::default(); buckets];
        self.capacity = u32::try_from(buckets * 23 / 2).unwrap_or(u32::MAX);
        for slot in 0..self.len {
            self.place(hash_of(slot), slot);
        }
    }

    /// Files `slot` in the first bucket with a free place.
    #[inline]
    fn place(&mut self, hash: u32, slot: u32) {
        if !self.place_in(self.home(hash), hash, slot) {
            self.place_further(hash, slot);
        }
    }

    /// As [`place`](Self::place), out of line: rebuilding a table takes a sixth less time for it.
    #[cold]
    #[inline(never)]
    fn place_further(&mut self, hash: u32, slot: u32) {
        for at in self.path(hash) {
            if self.place_in(at, hash, slot) {
                break;
            }
            self.count(at, hash, |passed| passed + 1);
        }
    }

    /// Files `slot` in bucket `at` if that has a free place.
    #[inline]
    fn place_in(&mut self, at: usize, hash: u32, slot: u32) -> bool {
        let way = self.heads[at].ways_with(0).next();
        if let Some(way) = way {
            self.heads[at].set_tag(way, tag(hash));
            self.bodies[at].slots[way] = slot;
        }
        way.is_some()
    }

    /// Changes the count of the entries of this hash's class that passed bucket `at` by.
    ///
    /// A count that reaches 15 stays there, as nobody knows any more what it stands for, until the
    /// table grows.
    fn count(&mut self, at: usize, hash: u32, change: impl Fn(u32) -> u32) {
        const MOST: u32 = 15;
        let counts = &mut self.bodies[at].passed;
        let shift = 4 * class(hash);
        let count = *counts >> shift & MOST;
        if count < MOST {
            let changed = change(count);
            *counts ^= (count ^ changed) << shift;
            self.heads[at].set_passed(hash, changed > 0);
        }
    }

    /// The way in which `slot` is filed in bucket `at`, if it is.
    fn way_of(&self, at: usize, hash: u32, slot: u32) -> Option<usize> {
        self.heads[at].ways_with(tag(hash)).find(|&way| self.bodies[at].slots[way] == slot)
    }

    /// The buckets in which an entry of this hash may be, in the order in which they are tried.
    ///
    /// The second has nothing to do with the first, so that a full bucket does not fill its
    /// neighbour, which would fill the next; from there on one after the other, to try all.
    fn path(&self, hash: u32) -> impl Iterator<Item = usize> + use<> {
        let (buckets, home) = (self.heads.len(), self.home(hash));
        let second = self.home(hash.wrapping_mul(0x9e37_79b1));
        (0..).map(move |step| if step == 0 { home } else { (second + step - 1) % buckets })
    }

    /// Scales the hash to the number of buckets, which need not be a power of two.
    #[inline]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.heads.len() as u64) >> 32) as usize
    }
}

impl Head {
    /// The ways whose tag is `tag`.
    #[inline]
    fn ways_with(&self, tag: u8) -> Ways {
        Ways(equal_bytes(self.0, tag) & ((1 << WAYS) - 1))
    }

    /// Whether an entry of the class of this hash passed by.
    #[inline]
    fn is_passed(&self, hash: u32) -> bool {
        let [.., passed] = self.0.to_le_bytes();
        passed >> class(hash) & 1 == 1
    }

    fn set_passed(&mut self, hash: u32, is_passed: bool) {
        let bit = 1 << (8 * WAYS) << class(hash);
        self.0 = if is_passed { self.0 | bit } else { self.0 & !bit };
    }

    fn set_tag(&mut self, way: usize, tag: u8) {
        let shift = 8 * way;
        self.0 = self.0 & !(0xff << shift) | u128::from(tag) << shift;
    }
}

/// A set of ways, as a bit for each.
struct Ways(u32);

impl Iterator for Ways {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let way = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(way)
    }
}

/// The byte by which an entry is recognised, never 0: bits that its home does not depend on in
/// tables of up to 16 million buckets.
#[inline]
fn tag(hash: u32) -> u8 {
    hash.to_le_bytes()[0].max(1)
}

/// Which count of a bucket an entry raises when it passes by: one of eight.
#[inline]
fn class(hash: u32) -> u32 {
    hash >> 8 & 7
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "there are few slots here")]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Hashes of few values in each part, so that buckets overflow and tags are alike.
    fn hash() -> impl Strategy<Value = u32> {
        (0..4_u32, 0..3_u32, 0..3_u32).prop_map(|(home, class, tag)| home << 29 | class << 8 | tag)
    }

    proptest! {
        #[test]
        fn slots_are_found_until_they_are_removed(
            steps in prop::collection::vec((hash(), any::<bool>()), 0..600),
        ) {
            let (mut index, mut hashes) = (Index::default(), Vec::<u32>::new());
            for (hash, adds) in steps {
                if adds || hashes.is_empty() {
                    hashes.push(hash);
                    let slot = hashes.len() as u32 - 1;
                    index.insert(hash, slot, |slot| hashes[slot as usize]);
                } else {
                    // As the store does: the last slot's entry moves into the hole.
                    let (slot, last) = (hash as usize % hashes.len(), hashes.len() - 1);
                    index.remove(hashes[slot], slot as u32);
                    if slot != last {
                        index.renumber(hashes[last], last as u32, slot as u32);
                    }
                    hashes.swap_remove(slot);
                }
                let mut found = HashMap::new();
                for (slot, &hash) in hashes.iter().enumerate() {
                    let slot = slot as u32;
                    found.insert(slot, index.find(hash, |candidate| candidate == slot));
                }
                prop_assert!(found.iter().all(|(slot, found)| *found == Some(*slot)));
                prop_assert_eq!(index.find(7 << 29 | 9, |_| true), None);
            }
        }
    }

    #[test]
    fn entries_of_one_hash_are_found_and_removed() {
        const ALIKE: u32 = 2_000;
        let mut index = Index::default();
        (0..ALIKE).for_each(|slot| index.insert(7, slot, |_| 7));
        for slot in (0..ALIKE).rev() {
            assert_eq!(index.find(7, |candidate| candidate == slot), Some(slot));
            index.remove(7, slot);
        }
        // The counts they passed are stuck, and no search goes round for ever.
        assert_eq!(index.find(7, |_| true), None);
        index.insert(8, 0, |_| 8);
        assert_eq!(index.find(8, |_| true), Some(0));
    }

    #[test]
    fn searches_stay_short_under_churn() {
        const FIT: u32 = 10_000;
        let mut random = 1_u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 32) as u32
        };
        let (mut index, mut hashes) = (Index::default(), Vec::new());
        for slot in 0..FIT {
            hashes.push(next());
            index.insert(hashes[slot as usize], slot, |slot| hashes[slot as usize]);
        }
        let mut looked_at = 0;
        for _ in 0..50 * FIT {
            let (slot, hash) = (next() % FIT, next());
            let passes = |&at: &usize| index.heads[at].is_passed(hash);
            looked_at += 1 + index.path(hash).take_while(passes).count();
            index.remove(hashes[slot as usize], slot);
            hashes[slot as usize] = hash;
            index.insert(hash, slot, |_| unreachable!("the table does not grow"));
        }
        let each = f64::from(looked_at as u32) / f64::from(50 * FIT);
        assert!(each < 1.3, "{each} buckets a search of what is not there");
    }
}
