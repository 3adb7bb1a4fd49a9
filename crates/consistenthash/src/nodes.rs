//! Who is on a ring, before anyone is placed.

use std::sync::Arc;

use crate::placer::Placer;
use crate::table::{MAX_NODES, MAX_POINTS, Point};
use crate::{RingError, Scheme};

/// The nodes of a ring, in the order in which they were given.
///
/// Labels lie apart from weights, since every lookup ends at a label and none asks for a weight.
#[derive(Debug, Clone, Default)]
pub(crate) struct Nodes {
    labels: Vec<Arc<str>>,
    weights: Vec<u32>,
}

impl Nodes {
    pub(crate) fn push(&mut self, label: Arc<str>, weight: u32) {
        self.labels.push(label);
        self.weights.push(weight);
    }

    pub(crate) fn remove(&mut self, index: usize) {
        self.labels.remove(index);
        self.weights.remove(index);
    }

    pub(crate) fn labels(&self) -> &[Arc<str>] {
        &self.labels
    }

    /// Returns the weight of the node with the index `index`, which must be below the length.
    pub(crate) fn weight(&self, index: usize) -> u32 {
        self.weights[index]
    }

    /// Refuses more nodes or points than a table can index.
    pub(crate) fn check_size(&self, points_per_node: u32) -> Result<(), RingError> {
        if self.labels.len() > MAX_NODES {
            return Err(RingError::TooManyNodes { nodes: self.labels.len(), max: MAX_NODES });
        }
        let points = self.counts(points_per_node).fold(0, u64::saturating_add);
        if points > MAX_POINTS {
            return Err(RingError::TooManyPoints { points, max: MAX_POINTS });
        }
        Ok(())
    }

    /// Returns the points of all nodes from the one with the index `first` on.
    pub(crate) fn points(&self, scheme: &Scheme, points_per_node: u32, first: usize) -> Vec<Point> {
        let counts = || self.counts(points_per_node).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        let mut points = Vec::with_capacity(counts().skip(first).map(|n| n as usize).sum());
        let mut placer = Placer::new(scheme);
        for ((owner, label), count) in (0..).zip(&self.labels).zip(counts()).skip(first) {
            placer.place(label, count, |position| points.push(Point { position, owner }));
        }
        points
    }

    /// The number of points that each node has.
    fn counts(&self, points_per_node: u32) -> impl Iterator<Item = u64> {
        self.weights.iter().map(move |weight| u64::from(points_per_node) * u64::from(*weight))
    }
}
