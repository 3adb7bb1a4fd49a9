//! Which keys move from one ring to another.

use std::iter::Peekable;

use crate::table::Point;
use crate::{Ring, RingError};

impl Ring {
    /// Returns the ranges of positions that belong to another node in `other` than in this ring,
    /// in order.
    ///
    /// This tells what a change of nodes costs before it is made, and which keys to hand over. The
    /// ranges never overlap; one that would cross 0 is split there. Costs a walk over the points of
    /// both rings.
    ///
    /// ```
    /// # use carrotcache_consistenthash::Ring;
    /// let before = Ring::new(["a", "b", "c"])?;
    /// let after = before.with_node("d")?;
    /// let moves = before.diff(&after)?;
    ///
    /// assert!(moves.iter().all(|range| range.to == Some("d")));
    /// let moved: f64 = moves.iter().map(|range| range.share()).sum();
    /// assert!(moved < 0.5);
    ///
    /// let position = before.position("key");
    /// let moves_key = moves.iter().any(|range| range.contains(position));
    /// assert_eq!(moves_key, before.get("key") != after.get("key"));
    /// # Ok::<(), carrotcache_consistenthash::RingError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RingError::DifferentSchemes`] if the two rings place keys by different schemes.
    pub fn diff<'a>(&'a self, other: &'a Ring) -> Result<Vec<Move<'a>>, RingError> {
        let (this_scheme, other_scheme) = (self.scheme().name(), other.scheme().name());
        if this_scheme != other_scheme {
            return Err(RingError::DifferentSchemes {
                this: this_scheme.to_owned(),
                other: other_scheme.to_owned(),
            });
        }
        let mut before = Arcs::new(self, self.table().visible());
        let mut after = Arcs::new(other, other.table().visible());
        let mut moves = Moves::default();
        let mut first = Some(0);
        while let Some(start) = first {
            let last = before.end().min(after.end());
            moves.push(Move { first: start, last, from: before.owner(), to: after.owner() });
            before.pass(last);
            after.pass(last);
            first = last.checked_add(1);
        }
        Ok(moves.0)
    }
}

/// A range of positions that moves from one node to another; from [`Ring::diff`].
///
/// [`Ring::position`] tells where a key lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Move<'a> {
    /// The first position of the range.
    pub first: u64,
    /// The last position of the range, which belongs to it.
    pub last: u64,
    /// Who owns the range in the first ring; `None` if nobody does.
    pub from: Option<&'a str>,
    /// Who owns the range in the second ring; `None` if nobody does.
    pub to: Option<&'a str>,
}

impl Move<'_> {
    /// Returns whether `position` lies in the range.
    #[must_use]
    pub fn contains(&self, position: u64) -> bool {
        (self.first..=self.last).contains(&position)
    }

    /// Returns which share of all keys lies in the range, from 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        ((self.last - self.first) as f64 + 1.0) / 2_f64.powi(64)
    }
}

/// Ranges that move; neighbours that move between the same two nodes are joined.
#[derive(Default)]
struct Moves<'a>(Vec<Move<'a>>);

impl<'a> Moves<'a> {
    fn push(&mut self, range: Move<'a>) {
        if range.from == range.to {
            return;
        }
        match self.0.last_mut() {
            Some(previous)
                if previous.last.checked_add(1) == Some(range.first)
                    && (previous.from, previous.to) == (range.from, range.to) =>
            {
                previous.last = range.last;
            }
            _ => self.0.push(range),
        }
    }
}

/// The arcs of a ring in order, cut at 0.
struct Arcs<'a, I: Iterator<Item = Point>> {
    ring: &'a Ring,
    points: Peekable<I>,
}

impl<'a, I: Iterator<Item = Point>> Arcs<'a, I> {
    fn new(ring: &'a Ring, points: I) -> Self {
        Self { ring, points: points.peekable() }
    }

    /// Returns the last position of the current arc.
    fn end(&mut self) -> u64 {
        self.points.peek().map_or(u64::MAX, |point| point.position)
    }

    /// Returns who owns the current arc. Past the last point it is the first point's node again.
    fn owner(&mut self) -> Option<&'a str> {
        match self.points.peek() {
            Some(point) => self.ring.label(point.owner.into()),
            None => self.ring.label(self.ring.table().owner(0)?),
        }
    }

    /// Goes on to the next arc if the current one ends at `position`.
    fn pass(&mut self, position: u64) {
        self.points.next_if(|point| point.position == position);
    }
}
