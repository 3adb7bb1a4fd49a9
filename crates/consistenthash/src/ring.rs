//! The ring itself.

use std::fmt;
use std::sync::Arc;

use crate::nodes::Nodes;
use crate::table::Table;
use crate::{RingError, Scheme};

/// Nodes on a circle, each owning the keys that fall in its arcs.
///
/// A ring never changes: [`with_node`](Self::with_node) and [`without_node`](Self::without_node)
/// return another. Clones share one table, so hand them out freely, and swap the whole ring when
/// the nodes change.
///
/// ```
/// use carrotcache_consistenthash::Ring;
///
/// let ring = Ring::new(["a", "b", "c"])?;
/// assert_eq!(ring.get("key"), ring.successors("key").next());
///
/// let larger = ring.with_node("d")?;
/// // A key stays where it was, or goes to the new node.
/// assert!(larger.get("key") == ring.get("key") || larger.get("key") == Some("d"));
/// # Ok::<(), carrotcache_consistenthash::RingError>(())
/// ```
#[derive(Clone)]
pub struct Ring {
    shared: Arc<Shared>,
}

/// What the clones of a ring share.
struct Shared {
    scheme: Scheme,
    points_per_node: u32,
    nodes: Nodes,
    table: Table,
}

impl Ring {
    /// Returns the label of the node that owns `key`, or `None` if the ring has no points.
    ///
    /// Costs the hash of the key and about as much again, however many nodes there are.
    #[must_use]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<&str> {
        self.label(self.get_index(key)?)
    }

    /// Returns the index in [`labels`](Self::labels) of the node that owns `key`, or `None` if
    /// the ring has no points.
    #[must_use]
    pub fn get_index(&self, key: impl AsRef<[u8]>) -> Option<usize> {
        self.shared.table.owner(self.position(key))
    }

    /// Returns the labels in the order in which they were given.
    #[must_use]
    pub fn labels(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.shared.nodes.labels().iter().map(|label| &**label)
    }

    /// Returns the label of the node with the index `index` in [`labels`](Self::labels), or
    /// `None` if there is none.
    #[must_use]
    pub fn label(&self, index: usize) -> Option<&str> {
        self.shared.nodes.labels().get(index).map(|label| &**label)
    }

    /// Returns the number of nodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.nodes.labels().len()
    }

    /// Returns whether the ring has no nodes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.nodes.labels().is_empty()
    }

    /// Returns the scheme that places keys and points.
    #[must_use]
    pub fn scheme(&self) -> &Scheme {
        &self.shared.scheme
    }

    /// Returns where `key` lies on the circle.
    #[must_use]
    pub fn position(&self, key: impl AsRef<[u8]>) -> u64 {
        self.shared.scheme.key_position(key.as_ref())
    }

    /// Returns this ring and one more node, of weight 1, which takes keys from all others.
    ///
    /// The points are merged, not sorted again.
    ///
    /// # Errors
    ///
    /// [`RingError::DuplicateLabel`] if the label is on the ring, [`RingError::TooManyNodes`] or
    /// [`RingError::TooManyPoints`] if it does not fit.
    pub fn with_node(&self, label: impl Into<String>) -> Result<Self, RingError> {
        self.with_weighted_node(label, 1)
    }

    /// Returns this ring and one more node, of the given weight.
    ///
    /// # Errors
    ///
    /// As [`with_node`](Self::with_node).
    pub fn with_weighted_node(
        &self,
        label: impl Into<String>,
        weight: u32,
    ) -> Result<Self, RingError> {
        let label = label.into();
        if self.index_of(&label).is_some() {
            return Err(RingError::DuplicateLabel { label });
        }
        let Shared { scheme, points_per_node, table, .. } = &*self.shared;
        let mut nodes = self.shared.nodes.clone();
        nodes.push(label.into(), weight);
        nodes.check_size(*points_per_node)?;
        let added = nodes.points(scheme, *points_per_node, self.len());
        Ok(self.replaced(nodes, table.with(&added)))
    }

    /// Returns this ring without one of its nodes, whose keys go to their next successors.
    ///
    /// # Errors
    ///
    /// [`RingError::UnknownLabel`] if the label is not on the ring.
    pub fn without_node(&self, label: &str) -> Result<Self, RingError> {
        let Some(gone) = self.index_of(label) else {
            return Err(RingError::UnknownLabel { label: label.to_owned() });
        };
        let mut nodes = self.shared.nodes.clone();
        nodes.remove(gone);
        Ok(self.replaced(nodes, self.shared.table.without(gone)))
    }

    /// Returns each label with its share of all keys, from 0 to 1, in the order of
    /// [`labels`](Self::labels).
    ///
    /// The shares are exact for keys that hash evenly, and sum up to 1 unless the ring has no
    /// points. Costs a walk over all points.
    #[must_use]
    pub fn shares(&self) -> Vec<(&str, f64)> {
        let mut owned = vec![0_u128; self.len()];
        for (length, owner) in self.shared.table.arcs() {
            owned[owner] += length;
        }
        let circle = 2_f64.powi(64);
        self.labels().zip(owned).map(|(label, length)| (label, length as f64 / circle)).collect()
    }

    /// Builds the ring of `nodes`, which have distinct labels.
    pub(crate) fn place(
        scheme: Scheme,
        points_per_node: u32,
        nodes: Nodes,
    ) -> Result<Self, RingError> {
        nodes.check_size(points_per_node)?;
        let table = Table::new(&nodes.points(&scheme, points_per_node, 0));
        Ok(Self { shared: Arc::new(Shared { scheme, points_per_node, nodes, table }) })
    }

    pub(crate) fn table(&self) -> &Table {
        &self.shared.table
    }

    pub(crate) fn nodes(&self) -> &Nodes {
        &self.shared.nodes
    }

    fn index_of(&self, label: &str) -> Option<usize> {
        self.labels().position(|other| other == label)
    }

    fn replaced(&self, nodes: Nodes, table: Table) -> Self {
        let Shared { scheme, points_per_node, .. } = &*self.shared;
        let (scheme, points_per_node) = (scheme.clone(), *points_per_node);
        Self { shared: Arc::new(Shared { scheme, points_per_node, nodes, table }) }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("scheme", &self.shared.scheme)
            .field("points_per_node", &self.shared.points_per_node)
            .field("nodes", &self.shared.nodes)
            .finish_non_exhaustive()
    }
}
