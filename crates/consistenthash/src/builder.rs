//! Says what is on a ring before it is built.

use std::collections::HashSet;

use crate::nodes::Nodes;
use crate::{Ring, RingError, Scheme};

/// Says what is on a ring before it is built; from [`Ring::builder`].
///
/// ```
/// use carrotcache_consistenthash::{Ring, Scheme};
///
/// let ring = Ring::builder()
///     .scheme(Scheme::Balanced)
///     .points_per_node(256)
///     .nodes(["small-1", "small-2"])
///     .weighted_node("large", 4)
///     .build()?;
/// assert_eq!(ring.len(), 3);
/// # Ok::<(), carrotcache_consistenthash::RingError>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct RingBuilder {
    scheme: Scheme,
    points_per_node: Option<u32>,
    nodes: Nodes,
}

impl RingBuilder {
    /// Sets where keys and points lie; [`Scheme::Groupcache`] unless set.
    pub fn scheme(mut self, scheme: Scheme) -> Self {
        self.scheme = scheme;
        self
    }

    /// Sets the number of points of a node of weight 1; the scheme's own default unless set.
    ///
    /// All processes must agree on it. More points make the shares more even, and the ring larger
    /// in proportion: the deviation of a share falls with the square root.
    pub fn points_per_node(mut self, points: u32) -> Self {
        self.points_per_node = Some(points);
        self
    }

    /// Adds a node of weight 1.
    pub fn node(self, label: impl Into<String>) -> Self {
        self.weighted_node(label, 1)
    }

    /// Adds nodes of weight 1, in order.
    pub fn nodes(mut self, labels: impl IntoIterator<Item = impl Into<String>>) -> Self {
        labels.into_iter().for_each(|label| self.nodes.push(label.into().into(), 1));
        self
    }

    /// Adds a node with `weight` times the points, and so about `weight` times the keys, of a
    /// node of weight 1. A node of weight 0 is on the ring but owns nothing.
    pub fn weighted_node(mut self, label: impl Into<String>, weight: u32) -> Self {
        self.nodes.push(label.into().into(), weight);
        self
    }

    /// Returns the ring. A ring without nodes is allowed: no key has an owner then.
    ///
    /// Costs a hash for each point and a sort of them all.
    ///
    /// # Errors
    ///
    /// [`RingError::DuplicateLabel`] if two nodes have the same label, [`RingError::NoPoints`] if
    /// the points per node are set to 0, [`RingError::TooManyNodes`] or
    /// [`RingError::TooManyPoints`] if there are more than fit.
    pub fn build(self) -> Result<Ring, RingError> {
        let points_per_node = self.points_per_node.unwrap_or(self.scheme.points_per_node());
        if points_per_node == 0 {
            return Err(RingError::NoPoints);
        }
        let labels = self.nodes.labels();
        let mut seen = HashSet::with_capacity(labels.len());
        if let Some(label) = labels.iter().find(|label| !seen.insert(&***label)) {
            return Err(RingError::DuplicateLabel { label: label.to_string() });
        }
        Ring::place(self.scheme, points_per_node, self.nodes)
    }
}

impl Ring {
    /// Returns the ring of the nodes `labels` as groupcache places them: CRC-32, 50 points each.
    ///
    /// The order of the labels matters only where two points fall on the same hash: the label
    /// given last has it.
    ///
    /// # Errors
    ///
    /// [`RingError::DuplicateLabel`] if a label is given twice.
    pub fn new(labels: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, RingError> {
        Self::builder().nodes(labels).build()
    }

    /// Returns a builder for a ring with another scheme, other points per node, or weights.
    pub fn builder() -> RingBuilder {
        RingBuilder::default()
    }
}
