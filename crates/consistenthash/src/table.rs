//! The sorted points, and the index that leads to the right eight of them.

/// How many points a lookup compares at once: as many as two vector instructions take.
pub(crate) const WINDOW: usize = 8;

/// The largest number of points, so that every index fits in a `u32` beside the padding.
pub(crate) const MAX_POINTS: u64 = (u32::MAX - 64) as u64;

/// The largest number of nodes, so that two bytes name an owner.
pub(crate) const MAX_NODES: usize = u16::MAX as usize;

/// One point of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    /// Where it lies on the circle.
    pub(crate) position: u64,
    /// The index of the node it belongs to.
    pub(crate) owner: u16,
}

impl Point {
    /// Points are sorted by position. Where two tie, the node that was added last comes first and
    /// so owns the arc; the other stays in the table, in case the winner is taken away.
    pub(crate) fn rank(&self) -> (u64, u16) {
        (self.position, !self.owner)
    }
}

/// All points of a ring, sorted by [`Point::rank`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    /// The upper halves of the positions, as [`head`] keeps them. `WINDOW` sentinels at the end of
    /// the circle follow, so that a window never ends past the last.
    pub(crate) heads: Box<[i32]>,
    /// The owners of the points. The first point's owner follows once more, so that a lookup past
    /// the last point comes round to the first without a branch.
    pub(crate) owners: Box<[u16]>,
    /// The lower halves of the positions. Empty if all are 0, as with any 32-bit hash.
    pub(crate) lows: Box<[u32]>,
    /// For each value of a position's top bits, the first point at or after it.
    pub(crate) starts: Box<[u32]>,
    /// How far to shift a position to get its top bits.
    pub(crate) shift: u32,
}

impl Table {
    /// Returns the number of points.
    pub(crate) fn len(&self) -> usize {
        self.owners.len().saturating_sub(1)
    }

    /// Returns the owner of `position`, or `None` if there are no points.
    #[inline]
    pub(crate) fn owner(&self, position: u64) -> Option<usize> {
        Some(self.owners[self.lookup(position)?].into())
    }

    /// Returns all points in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Point> {
        (0..self.len()).map(|at| self.point(at))
    }

    /// Returns all points but those that lost a tie, in order.
    pub(crate) fn visible(&self) -> impl Iterator<Item = Point> {
        let mut last = None;
        self.iter().filter(move |point| last.replace(point.position) != Some(point.position))
    }

    /// Returns the length of each arc that ends at a visible point, with its owner.
    pub(crate) fn arcs(&self) -> impl Iterator<Item = (u128, usize)> {
        let mut visible = self.visible();
        // The first arc begins at the last point, on the other side of 0.
        let last = self.len().checked_sub(1).map(|last| self.point(last).position);
        let mut begin = last.map_or(0, |last| i128::from(last) - (1 << 64));
        std::iter::from_fn(move || {
            let point = visible.next()?;
            let end = i128::from(point.position);
            let length = (end - begin).unsigned_abs();
            begin = end;
            Some((length, usize::from(point.owner)))
        })
    }

    /// Returns the point at `at`, which must be below [`len`](Self::len).
    pub(crate) fn point(&self, at: usize) -> Point {
        let high = u64::from(unhead(self.heads[at])) << 32;
        let low = self.lows.get(at).copied().unwrap_or(0);
        Point { position: high | u64::from(low), owner: self.owners[at] }
    }

    /// Returns the index of the point that owns `position`, or 0 if there are no points.
    pub(crate) fn find(&self, position: u64) -> usize {
        self.lookup(position).filter(|&at| at < self.len()).unwrap_or(0)
    }

    /// Returns the index of the first point at or after `position`: that of a sentinel if there
    /// is none, and `None` if there are no points at all.
    #[inline]
    pub(crate) fn lookup(&self, position: u64) -> Option<usize> {
        let bucket = usize::try_from(position >> self.shift).unwrap_or(usize::MAX);
        let mut at = *self.starts.get(bucket)? as usize;
        let wanted = head(position);
        loop {
            // Comparing all of them costs less than the branch that guesses where to stop.
            let window = self.heads.get(at..)?.first_chunk::<WINDOW>()?;
            let before: u32 = window.iter().map(|&head| u32::from(head < wanted)).sum();
            at += before as usize;
            if (before as usize) < WINDOW {
                break;
            }
        }
        if low_half(position) == 0 { Some(at) } else { Some(self.find_low(at, position)) }
    }

    /// Goes on from `at`, the first point with the upper half of `position` or more, to the first
    /// that is not before `position` in its lower half either.
    fn find_low(&self, mut at: usize, position: u64) -> usize {
        while at < self.len() && self.point(at).position < position {
            at += 1;
        }
        at
    }
}

/// Returns how many top bits index `points` points: two to four points to a bucket.
pub(crate) fn index_bits(points: usize) -> u32 {
    (points / 2).max(2).ilog2()
}

pub(crate) fn bucket(high_half: u32, bits: u32) -> usize {
    (high_half >> (u32::BITS - bits)) as usize
}

/// The bit in which [`head`] differs from the upper half of a position.
const SIGN: u32 = 1 << 31;

/// Returns the upper half of `position` with its top bit flipped: signed order is then the order
/// on the circle, and vector units compare signed numbers only.
pub(crate) fn head(position: u64) -> i32 {
    (high_half(position) ^ SIGN).cast_signed()
}

/// Returns the upper half of the position whose [`head`] is `head`.
pub(crate) fn unhead(head: i32) -> u32 {
    head.cast_unsigned() ^ SIGN
}

pub(crate) fn high_half(value: u64) -> u32 {
    (value >> 32) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
pub(crate) fn low_half(value: u64) -> u32 {
    value as u32
}
