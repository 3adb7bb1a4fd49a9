//! The index from hashes to slots: Robin Hood hashing over four-byte cells, without tombstones.
//!
//! A cell holds a slot number in its low bits and, in the bits that are left, how far it lies from
//! the cell its hash points at (its *distance*, from 1) and a few bits of the hash (its *tag*):
//!
//! ```text
//! 31      27              20                    0
//! ├distance┼──── tag ──────┼─────── slot ───────┤      0 = empty, as no distance is 0
//! ```
//!
//! Cells of one cluster are kept in the order of their home cells, which buys three things: a
//! search for an absent key stops as soon as it meets a cell nearer to its home than the search is
//! to its own; a removal shifts the rest of the cluster back by one instead of leaving a tombstone,
//! so steady churn never makes the table grow; and four bytes an entry suffice at 7/8 load. Nothing
//! here knows keys: when more bits of a hash are needed than a cell has, they are read from the
//! entries' links, so no user code runs while the table grows or shrinks.

/// The largest number of slots that an index, and therefore a cache, can hold.
pub(crate) const MAX_SLOTS: usize = 1 << 30;

/// Cells that the smallest table has.
const MIN_CELLS: usize = 32;

/// Distance bits that a cell has as long as the slot numbers leave room for them.
const DISTANCE_BITS: u32 = 5;

/// A hash table of the slot numbers 1 to `len`, searched by the 32-bit hash of the entry in a slot.
///
/// The functions that may need the hash of another entry take `hash_of`, which tells it by slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    cells: Vec<u32>,
    len: u32,
    slot_bits: u32,
    distance_shift: u32,
}

impl Index {
    /// Returns the slot with this hash for which `is_match` is true.
    #[inline]
    pub(crate) fn find(&self, hash: u32, mut is_match: impl FnMut(u32) -> bool) -> Option<u32> {
        if self.cells.is_empty() {
            return None;
        }
        let mut at = self.home(hash);
        let mut wanted = self.cell_at_home(hash, 0);
        loop {
            let cell = self.cells[at];
            if (cell ^ wanted) >> self.slot_bits == 0 && is_match(cell & self.slot_mask()) {
                return Some(cell & self.slot_mask());
            }
            // Robin Hood order: an entry of ours would have taken this cell from its holder.
            if cell >> self.distance_shift < wanted >> self.distance_shift {
                return None;
            }
            at = self.after(at);
            wanted = self.one_further(wanted);
        }
    }

    /// Adds `slot`, which must be the number after the largest, or the one just removed.
    pub(crate) fn insert(&mut self, hash: u32, slot: u32, hash_of: impl Fn(u32) -> u32) {
        if self.len as usize >= capacity(self.cells.len()) {
            self.grow(&hash_of);
        }
        self.place(hash, slot, hash_of);
        self.len += 1;
    }

    /// Takes a slot out and closes the gap.
    pub(crate) fn remove(&mut self, hash: u32, slot: u32, hash_of: impl Fn(u32) -> u32) {
        let mut hole = self.position(hash, slot);
        loop {
            let next = self.after(hole);
            let cell = self.cells[next];
            // Empty, or at home: it and what follows cannot come nearer to home.
            if cell >> self.distance_shift <= 1 {
                break;
            }
            self.cells[hole] = if self.is_saturated(cell) {
                let nearer = self.distance(next, cell, &hash_of) - 1;
                self.with_distance(cell, nearer)
            } else {
                cell - (1 << self.distance_shift)
            };
            hole = next;
        }
        self.cells[hole] = 0;
        self.len -= 1;
    }

    /// Gives the entry that was in slot `from` the slot number `to`.
    pub(crate) fn renumber(&mut self, hash: u32, from: u32, to: u32) {
        let at = self.position(hash, from);
        self.cells[at] = (self.cells[at] & !self.slot_mask()) | to;
    }

    /// Bytes on the heap.
    pub(crate) fn memory_usage(&self) -> usize {
        self.cells.capacity() * size_of::<u32>()
    }

    /// Makes the table an eighth larger and files every slot again.
    ///
    /// Small steps cost a rebuild more often, a few nanoseconds an entry each time, and keep the
    /// table between 77 and 88 per cent full, where doubling would waste up to half of it.
    #[cold]
    fn grow(&mut self, hash_of: impl Fn(u32) -> u32) {
        let cells = (self.cells.len() / 8 * 9).next_multiple_of(8).max(MIN_CELLS);
        // Given back first, so that the old table and the new one are never held at once.
        self.cells = Vec::new();
        self.cells = vec![0; cells];
        self.slot_bits = usize::BITS - capacity(cells).leading_zeros();
        self.distance_shift = u32::BITS - DISTANCE_BITS.min(u32::BITS - self.slot_bits);
        for slot in 1..=self.len {
            self.place(hash_of(slot), slot, &hash_of);
        }
    }

    /// Files `slot` behind the cells that have come at least as far, and moves the rest up by one.
    fn place(&mut self, hash: u32, slot: u32, hash_of: impl Fn(u32) -> u32) {
        let mut at = self.home(hash);
        let mut distance = 1;
        while self.distance(at, self.cells[at], &hash_of) >= distance {
            at = self.after(at);
            distance += 1;
        }
        let mut moving = self.with_distance(self.cell_at_home(hash, slot), distance);
        while moving != 0 {
            std::mem::swap(&mut self.cells[at], &mut moving);
            if moving != 0 {
                moving = self.one_further(moving);
            }
            at = self.after(at);
        }
    }

    /// Where the cell of `slot`, which is in the index, lies.
    fn position(&self, hash: u32, slot: u32) -> usize {
        let mut at = self.home(hash);
        while self.cells[at] & self.slot_mask() != slot {
            at = self.after(at);
        }
        at
    }

    /// How many cells the one at `at` lies from the cell before its home; 0 if it is empty.
    fn distance(&self, at: usize, cell: u32, hash_of: impl Fn(u32) -> u32) -> usize {
        if !self.is_saturated(cell) {
            return (cell >> self.distance_shift) as usize;
        }
        // The cell's own bits only say "far". Long clusters are rare unless hashes collide.
        let home = self.home(hash_of(cell & self.slot_mask()));
        1 + if at >= home { at - home } else { at + self.cells.len() - home }
    }

    /// Scales the hash to the number of cells. The order of homes is the order of hashes.
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.cells.len() as u64) >> 32) as usize
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.cells.len() { 0 } else { at + 1 }
    }

    fn slot_mask(&self) -> u32 {
        (1 << self.slot_bits) - 1
    }

    /// The cell for `slot` at distance 1. Its tag is from the hash's low bits, its home from the high.
    fn cell_at_home(&self, hash: u32, slot: u32) -> u32 {
        let below_distance = (1 << self.distance_shift) - 1;
        let tag = (hash << self.slot_bits) & below_distance;
        (1 << self.distance_shift) | tag | slot
    }

    /// The same cell one further from home. The distance is in the highest bits, so it is at its
    /// largest, where it stays, exactly when the sum does not fit.
    fn one_further(&self, cell: u32) -> u32 {
        cell.checked_add(1 << self.distance_shift).unwrap_or(cell)
    }

    fn is_saturated(&self, cell: u32) -> bool {
        cell >> self.distance_shift == u32::MAX >> self.distance_shift
    }

    fn with_distance(&self, cell: u32, distance: usize) -> u32 {
        let largest = u32::MAX >> self.distance_shift;
        let distance = u32::try_from(distance).map_or(largest, |distance| distance.min(largest));
        (cell & ((1 << self.distance_shift) - 1)) | (distance << self.distance_shift)
    }
}

/// Slots that a table of so many cells takes before it grows: 7/8, so that a search always ends.
fn capacity(cells: usize) -> usize {
    cells / 8 * 7
}
