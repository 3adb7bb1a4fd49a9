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
    len: u32,
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
        let each = u64::from(tag) * EACH_BYTE;
        let low = zero_bytes(u64::from_le_bytes(low) ^ each);
        let high = zero_bytes(u64::from_le_bytes([a, b, c, d, 0, 0, 0, 0]) ^ each);
        // A way below 8 has the lowest bit of its byte, one from 8 on the bit above that.
        Ways(low >> 7 | (high >> 6 & 0x0202_0202))
    }

    fn way_of(&self, hash: u32, slot: u32) -> Option<usize> {
        self.ways_with(tag(hash)).find(|&way| self.slots[way] == slot)
    }
}

/// A set of ways, as a bit for each.
struct Ways(u64);

impl Iterator for Ways {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(bit / 8 + bit % 2 * 8)
    }
}

const EACH_BYTE: u64 = 0x0101_0101_0101_0101;

/// The highest bit of each byte that is zero. Exact: the sums carry nothing into the next byte.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    const LOW_BITS: u64 = EACH_BYTE * 0x7f;
    !(((word & LOW_BITS) + LOW_BITS) | word) & (EACH_BYTE << 7)
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
