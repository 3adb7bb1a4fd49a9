//! The index from hashes to slots: buckets of one cache line, without tombstones.
//!
//! A bucket holds twelve slot numbers, a byte of the hash of each (its *tag*), and four counts of
//! the entries that wanted a place here, found it full, and went on to a later bucket; two bits of
//! the hash say in which of the counts:
//!
//! ```text
//! ├─ tags: 12 × 1 ─┼─ passed: 4 × 1 ─┼───────── slots: 12 × 4 ─────────┤   64 bytes
//! ```
//!
//! A search compares all tags of a bucket at once and goes on to the next only while its count is
//! not zero, so nearly every one, hit or miss, ends in the cache line where it began, and without a
//! branch that the processor has to guess. A removal lowers the counts it had raised instead of
//! leaving a tombstone, so steady churn never makes the table grow. The counts are the idea of F14
//! (Bronson and Shi, Facebook, 2019); there is one for all hashes there.
//!
//! Nothing here knows keys, and no user code runs while the table grows or shrinks: the hashes to
//! file entries again come from their links.

/// The largest number of slots that an index, and therefore a store, can hold.
pub(crate) const MAX_SLOTS: usize = 1 << 30;

/// Slot numbers in a bucket.
const WAYS: usize = 12;

/// Counts in a bucket of entries that passed by.
const CLASSES: usize = 4;

/// A hash table of the slot numbers below `len`, searched by the 32-bit hash of the entry in a slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    buckets: Vec<Bucket>,
    /// Slots that are filed.
    len: u32,
    /// Slots that fit before the table grows.
    capacity: u32,
}

#[derive(Clone, Debug, Default)]
#[repr(C, align(64))]
struct Bucket {
    /// 0 marks a free place.
    tags: [u8; WAYS],
    /// How many entries of each class passed by. A count that reaches 255 stays there, as nobody
    /// knows any more what it stands for, until the table grows.
    passed: [u8; CLASSES],
    /// Of what has no tag, the slot is what was there before.
    slots: [u32; WAYS],
}

impl Index {
    /// Returns the slot with this hash for which `is_match` is true.
    #[inline]
    pub(crate) fn find(&self, hash: u32, mut is_match: impl FnMut(u32) -> bool) -> Option<u32> {
        let bucket = self.buckets.get(self.home(hash))?;
        let mut ways = bucket.ways_with(tag(hash));
        match ways.next().map(|way| bucket.slots[way]) {
            Some(slot) if is_match(slot) => Some(slot),
            None if bucket.passed[class(hash)] == 0 => None,
            // Out of line: one search in twenty, whose loop would take registers from the others.
            _ => self.find_further(hash, is_match),
        }
    }

    /// As [`find`](Self::find), bucket by bucket.
    #[cold]
    #[inline(never)]
    fn find_further(&self, hash: u32, mut is_match: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash);
        // Bounded, for the case that a count in every bucket stays at 255.
        for _ in 0..self.buckets.len() {
            let bucket = &self.buckets[at];
            let mut slots = bucket.ways_with(tag(hash)).map(|way| bucket.slots[way]);
            if let Some(slot) = slots.find(|&slot| is_match(slot)) {
                return Some(slot);
            }
            if bucket.passed[class(hash)] == 0 {
                return None;
            }
            at = self.after(at);
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
        let mut at = self.home(hash);
        let way = loop {
            let bucket = &mut self.buckets[at];
            if let Some(way) = bucket.way_of(hash, slot) {
                break way;
            }
            let count = &mut bucket.passed[class(hash)];
            *count -= u8::from(*count < u8::MAX);
            at = self.after(at);
        };
        self.buckets[at].tags[way] = 0;
        self.len -= 1;
    }

    /// Gives the entry that was in slot `from` the slot number `to`.
    pub(crate) fn renumber(&mut self, hash: u32, from: u32, to: u32) {
        let mut at = self.home(hash);
        loop {
            let bucket = &mut self.buckets[at];
            if let Some(way) = bucket.way_of(hash, from) {
                bucket.slots[way] = to;
                return;
            }
            at = self.after(at);
        }
    }

    /// Bytes on the heap.
    pub(crate) fn memory_usage(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }

    /// Makes the table a sixteenth larger and files every slot again.
    ///
    /// Small steps cost a rebuild more often, a few nanoseconds an entry each time, and keep the
    /// table between 78 and 83 per cent full, where doubling would waste up to half of it.
    #[cold]
    fn grow(&mut self, hash_of: impl Fn(u32) -> u32) {
        let buckets = self.buckets.len() + self.buckets.len() / 16 + 1;
        // Given back first, so that the old table and the new one are never held at once.
        self.buckets = Vec::new();
        self.buckets = vec![Bucket::default(); buckets];
        // At 5/6 of all places, one entry in 25 lies in a later bucket than its home.
        self.capacity = u32::try_from(buckets * WAYS * 5 / 6).unwrap_or(u32::MAX);
        for slot in 0..self.len {
            self.place(hash_of(slot), slot);
        }
    }

    /// Files `slot` in the first bucket with a free place.
    fn place(&mut self, hash: u32, slot: u32) {
        let mut at = self.home(hash);
        loop {
            let bucket = &mut self.buckets[at];
            if let Some(way) = bucket.ways_with(0).next() {
                bucket.tags[way] = tag(hash);
                bucket.slots[way] = slot;
                return;
            }
            let count = &mut bucket.passed[class(hash)];
            *count = count.saturating_add(1);
            at = self.after(at);
        }
    }

    /// Scales the hash to the number of buckets, which need not be a power of two.
    #[inline]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.buckets.len() as u64) >> 32) as usize
    }

    /// The next bucket, which is the first after the last.
    #[inline]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.buckets.len() { 0 } else { at + 1 }
    }
}

impl Bucket {
    /// The ways whose tag is `tag`.
    #[inline]
    fn ways_with(&self, tag: u8) -> Ways {
        let [low @ .., a, b, c, d] = self.tags;
        let [e, f, g, h] = self.passed;
        // The counts are read along, for a single load, and masked off.
        let head = [u64::from_le_bytes(low), u64::from_le_bytes([a, b, c, d, e, f, g, h])];
        Ways(equal_bytes(head, tag) & ((1 << WAYS) - 1))
    }

    /// The way in which `slot` is filed here, if it is.
    fn way_of(&self, hash: u32, slot: u32) -> Option<usize> {
        self.ways_with(tag(hash)).find(|&way| self.slots[way] == slot)
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

/// A bit for each of 16 bytes that is equal to `byte`.
#[cfg(target_arch = "x86_64")]
#[inline]
#[expect(unsafe_code, reason = "a hit takes a tenth less time: `cargo bench --bench lru`")]
fn equal_bytes([low, high]: [u64; 2], byte: u8) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};

    // SAFETY: these need SSE2, which every x86-64 processor has, and touch no memory.
    let mask = unsafe {
        let bytes = _mm_set_epi64x(high.cast_signed(), low.cast_signed());
        _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte.cast_signed())))
    };
    mask.cast_unsigned()
}

/// A bit for each of 16 bytes that is equal to `byte`.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn equal_bytes(words: [u64; 2], byte: u8) -> u32 {
    let [low, high] = words.map(|word| zero_bytes(word ^ (u64::from(byte) * EACH_BYTE)));
    u32::from(low) | u32::from(high) << 8
}

#[cfg(any(test, not(target_arch = "x86_64")))]
const EACH_BYTE: u64 = 0x0101_0101_0101_0101;

/// A bit for each byte that is zero.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline]
fn zero_bytes(word: u64) -> u8 {
    const LOW_BITS: u64 = EACH_BYTE * 0x7f;
    // Exact: the sums carry nothing into the next byte.
    let zero = !(((word & LOW_BITS) + LOW_BITS) | word) >> 7 & EACH_BYTE;
    // Moves the lowest bit of each byte into the highest one.
    zero.wrapping_mul(0x0102_0408_1020_4080).to_le_bytes()[7]
}

/// The byte by which an entry is recognised: bits that its home does not depend on, never 0.
#[inline]
fn tag(hash: u32) -> u8 {
    hash.to_le_bytes()[0].max(1)
}

/// Which count of a bucket an entry raises when it passes by.
#[inline]
fn class(hash: u32) -> usize {
    usize::from(hash.to_le_bytes()[1]) % CLASSES
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
        fn zero_bytes_are_those_that_are_zero(bytes: [u8; 8], zeros: u8) {
            let bytes: [u8; 8] =
                std::array::from_fn(|at| if zeros >> at & 1 == 1 { 0 } else { bytes[at] });
            let expected = (0..8).fold(0, |bits, at| bits | u8::from(bytes[at] == 0) << at);
            prop_assert_eq!(zero_bytes(u64::from_le_bytes(bytes)), expected);
        }

        #[test]
        fn equal_bytes_are_those_that_are_equal(bytes in prop::array::uniform16(0..3_u8)) {
            let words = [0, 8].map(|at| {
                u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]))
            });
            let expected = (0..16).fold(0, |bits, at| bits | u32::from(bytes[at] == 1) << at);
            prop_assert_eq!(equal_bytes(words, 1), expected);
        }

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
}
