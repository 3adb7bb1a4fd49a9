//! The sorted points and the index that finds the right one within two cache lines.

/// How many points a lookup compares at once. Eight points of eight bytes are one cache line.
const WINDOW: usize = 8;

/// The largest number of points, so that every index fits in a `u32` beside the padding.
pub(crate) const MAX_POINTS: u64 = (u32::MAX - 64) as u64;

/// The upper half of a position.
const HIGH: u64 = 0xffff_ffff_0000_0000;

/// One point of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    /// Where it lies on the circle.
    pub(crate) position: u64,
    /// The index of the node it belongs to.
    pub(crate) owner: u32,
}

impl Point {
    /// Points are sorted by position. Where two tie, the node that was added last comes first and
    /// so owns the arc; the other stays in the table, in case the winner is taken away.
    fn rank(&self) -> (u64, u32) {
        (self.position, !self.owner)
    }
}

/// All points of a ring, sorted by [`Point::rank`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    /// The upper half of the position, then the owner's complement: `u64` order is rank order as
    /// far as the upper halves go. `WINDOW` sentinels follow the last point. They lie at the end
    /// of the circle and belong to the first point's owner, so that a lookup past the last point
    /// comes round to the first without a branch.
    points: Box<[u64]>,
    /// The lower halves of the positions. Empty if all are 0, as with any 32-bit hash.
    lows: Box<[u32]>,
    /// For each value of a position's top bits, the first point at or after it.
    starts: Box<[u32]>,
    /// How far to shift a position to get its top bits.
    shift: u32,
}

impl Table {
    /// Makes the table of `points`, given in any order.
    pub(crate) fn new(mut points: Vec<Point>) -> Self {
        points.sort_unstable_by_key(Point::rank);
        Self::from_sorted(&points)
    }

    /// Returns the table with the points of one more node, which comes after all others and so
    /// wins every tie. `added` may be in any order.
    pub(crate) fn with(&self, mut added: Vec<Point>) -> Self {
        added.sort_unstable_by_key(Point::rank);
        let mut merged = Vec::with_capacity(self.len() + added.len());
        let mut added = added.into_iter().peekable();
        for point in self.iter() {
            while let Some(new) = added.next_if(|new| new.position <= point.position) {
                merged.push(new);
            }
            merged.push(point);
        }
        merged.extend(added);
        Self::from_sorted(&merged)
    }

    /// Returns the table without the points of node `gone`; later nodes move up by one.
    pub(crate) fn without(&self, gone: usize) -> Self {
        let kept: Vec<Point> = self
            .iter()
            .filter(|point| point.owner as usize != gone)
            .map(|point| Point {
                owner: point.owner - u32::from(point.owner as usize > gone),
                ..point
            })
            .collect();
        Self::from_sorted(&kept)
    }

    /// Returns the number of points.
    pub(crate) fn len(&self) -> usize {
        self.points.len().saturating_sub(WINDOW)
    }

    /// Returns the owner of `position`, or `None` if there are no points.
    pub(crate) fn owner(&self, position: u64) -> Option<usize> {
        // A table without points has no sentinels either, and so nobody at 0.
        self.points.get(self.lookup(position)).map(|&packed| owner_of(packed))
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
            Some((length, point.owner as usize))
        })
    }

    /// Returns the point at `at`, which must be below [`len`](Self::len).
    pub(crate) fn point(&self, at: usize) -> Point {
        let low = self.lows.get(at).copied().unwrap_or(0);
        let position = (self.points[at] & HIGH) | u64::from(low);
        Point { position, owner: !low_half(self.points[at]) }
    }

    /// Returns the index of the point that owns `position`, or 0 if there are no points.
    pub(crate) fn find(&self, position: u64) -> usize {
        let at = self.lookup(position);
        if at == self.len() { 0 } else { at }
    }

    /// Returns the index of the first point at or after `position`: that of a sentinel if there
    /// is none, and 0 if there are no points.
    fn lookup(&self, position: u64) -> usize {
        if self.points.is_empty() {
            return 0;
        }
        let wanted = position & HIGH;
        let bucket = usize::try_from(position >> self.shift).unwrap_or(usize::MAX);
        let mut at = self.starts[bucket] as usize;
        loop {
            // Comparing all eight costs less than the branch that guesses where to stop.
            let window = &self.points[at..at + WINDOW];
            let before = window.iter().filter(|&&point| point < wanted).count();
            at += before;
            if before < WINDOW {
                break;
            }
        }
        if low_half(position) == 0 { at } else { self.find_low(at, position) }
    }

    /// Goes on from `at`, the first point with the upper half of `position` or more, to the first
    /// that is not before `position` in its lower half either.
    fn find_low(&self, mut at: usize, position: u64) -> usize {
        while at < self.len() && self.point(at).position < position {
            at += 1;
        }
        at
    }

    fn from_sorted(sorted: &[Point]) -> Self {
        let Some(first) = sorted.first() else { return Self::default() };
        let sentinel = Point { position: u64::MAX, ..*first };
        let padding = std::iter::repeat_n(&sentinel, WINDOW);
        let wide = sorted.iter().any(|point| low_half(point.position) != 0);
        let bits = (sorted.len() / 2).max(2).ilog2();
        let shift = u64::BITS - bits;
        Self {
            points: sorted.iter().chain(padding).map(pack).collect(),
            lows: sorted.iter().filter(|_| wide).map(|point| low_half(point.position)).collect(),
            starts: starts(sorted, bits, shift),
            shift,
        }
    }
}

/// Returns for each value of the top `bits` bits the index of the first point at or after it.
fn starts(sorted: &[Point], bits: u32, shift: u32) -> Box<[u32]> {
    let mut starts = Vec::with_capacity(1 << bits);
    for (at, point) in (0..).zip(sorted) {
        let bucket = usize::try_from(point.position >> shift).unwrap_or(usize::MAX);
        if starts.len() <= bucket {
            starts.resize(bucket + 1, at);
        }
    }
    let len = u32::try_from(sorted.len()).expect("the builder holds the points to MAX_POINTS");
    starts.resize(1 << bits, len);
    starts.into()
}

fn pack(point: &Point) -> u64 {
    (point.position & HIGH) | u64::from(!point.owner)
}

fn owner_of(packed: u64) -> usize {
    !low_half(packed) as usize
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
fn low_half(value: u64) -> u32 {
    value as u32
}
