//! How a table is put together.

use std::ops::Range;

use crate::table::{Point, Table, WINDOW, bucket, head, high_half, index_bits, low_half, unhead};

impl Table {
    /// Makes the table of `points`, given in any order.
    pub(crate) fn new(points: &[Point]) -> Self {
        let mut columns = Columns::with_capacity(points.len());
        sort(points).into_iter().for_each(|point| columns.push(point));
        columns.finish()
    }

    /// Returns the table with the points of one more node, which comes after all others and so
    /// wins every tie. `added` may be in any order.
    pub(crate) fn with(&self, added: &[Point]) -> Self {
        let mut columns = Columns::with_capacity(self.len() + added.len());
        let mut begin = 0;
        for point in sort(added) {
            let end = self.lookup(point.position).unwrap_or(0);
            columns.copy(self, begin..end);
            columns.push(point);
            begin = end;
        }
        columns.copy(self, begin..self.len());
        columns.finish()
    }

    /// Returns the table without the points of the node `gone`; later nodes move up by one.
    pub(crate) fn without(&self, gone: usize) -> Self {
        let mut columns = Columns::with_capacity(self.len());
        let mut begin = 0;
        for run in self.owners[..self.len()].split(|owner| usize::from(*owner) == gone) {
            columns.copy(self, begin..begin + run.len());
            begin += run.len() + 1;
        }
        columns.move_up_owners(gone);
        columns.finish()
    }
}

/// Points in order of rank, column by column.
///
/// A ring that changes by one node copies the columns of the old one in long runs, between the few
/// points that come or go.
pub(crate) struct Columns {
    heads: Vec<i32>,
    /// May end early: what is missing are zeros, and all of it is with a 32-bit hash.
    lows: Vec<u32>,
    owners: Vec<u16>,
}

impl Columns {
    /// Makes room for `points` points and their sentinels.
    pub(crate) fn with_capacity(points: usize) -> Self {
        Self {
            heads: Vec::with_capacity(points + WINDOW),
            lows: Vec::new(),
            owners: Vec::with_capacity(points + 1),
        }
    }

    /// Appends a point, which must not rank before the last.
    pub(crate) fn push(&mut self, point: Point) {
        let low = low_half(point.position);
        if low != 0 {
            self.lows.resize(self.owners.len(), 0);
            self.lows.push(low);
        }
        self.heads.push(head(point.position));
        self.owners.push(point.owner);
    }

    /// Appends the points of `table` in `range`.
    pub(crate) fn copy(&mut self, table: &Table, range: Range<usize>) {
        if !table.lows.is_empty() {
            self.lows.resize(self.owners.len(), 0);
            self.lows.extend_from_slice(&table.lows[range.clone()]);
        }
        self.heads.extend_from_slice(&table.heads[range.clone()]);
        self.owners.extend_from_slice(&table.owners[range]);
    }

    /// Moves all nodes after `gone` up by one.
    pub(crate) fn move_up_owners(&mut self, gone: usize) {
        for owner in &mut self.owners {
            *owner -= u16::from(usize::from(*owner) > gone);
        }
    }

    /// Returns the table of all points.
    pub(crate) fn finish(mut self) -> Table {
        let Some(&first) = self.owners.first() else { return Table::default() };
        let bits = index_bits(self.owners.len());
        let starts = starts(self.heads.iter().map(|&head| unhead(head)), bits);
        if !self.lows.is_empty() {
            self.lows.resize(self.owners.len(), 0);
        }
        self.heads.extend([i32::MAX; WINDOW]);
        self.owners.push(first);
        Table {
            heads: self.heads.into(),
            owners: self.owners.into(),
            lows: self.lows.into(),
            starts: starts.into(),
            shift: u64::BITS - bits,
        }
    }
}

/// Returns `points` sorted by rank.
///
/// Positions are hashes and so lie evenly: dealt out by their top bits, they form runs of two or
/// three, which takes half the time of a sort that knows nothing of them.
pub(crate) fn sort(points: &[Point]) -> Vec<Point> {
    let bits = index_bits(points.len());
    let high_half = |point: &Point| high_half(point.position);
    let mut ends = starts(points.iter().map(high_half), bits);
    let mut sorted = points.to_vec();
    for point in points {
        let end = &mut ends[bucket(high_half(point), bits)];
        sorted[*end as usize] = *point;
        *end += 1;
    }
    let mut begin = 0;
    for end in ends {
        let end = end as usize;
        sorted[begin..end].sort_unstable_by_key(Point::rank);
        begin = end;
    }
    sorted
}

/// Returns for each value of the top `bits` bits the first point at or after it, given the upper
/// halves of all positions in any order.
fn starts(high_halves: impl Iterator<Item = u32>, bits: u32) -> Vec<u32> {
    let mut starts = vec![0; 1 << bits];
    for high_half in high_halves {
        starts[bucket(high_half, bits)] += 1;
    }
    let mut begin = 0;
    for start in &mut starts {
        begin += std::mem::replace(start, begin);
    }
    starts
}
