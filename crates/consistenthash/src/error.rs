//! Why a ring could not be built.

use std::fmt;

/// Why a [`Ring`](crate::Ring) could not be built or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingError {
    /// A label was given twice.
    ///
    /// Go's groupcache takes it silently. Here it is an error, because a list that names a node
    /// twice is a mistake somewhere, and an index or a weight would mean two things.
    DuplicateLabel {
        /// The label that is there already.
        label: String,
    },
    /// The label to take away is not on the ring.
    UnknownLabel {
        /// The label that was asked for.
        label: String,
    },
    /// The number of points per node is 0, so that nobody would own anything.
    NoPoints,
    /// Two rings cannot be compared, because they place keys by different schemes.
    DifferentSchemes {
        /// The name of this ring's scheme.
        this: String,
        /// The name of the other ring's scheme.
        other: String,
    },
    /// There are more nodes than a ring can hold.
    TooManyNodes {
        /// The number of nodes that were asked for.
        nodes: usize,
        /// The largest number that a ring holds.
        max: usize,
    },
    /// Nodes times points times weights is more than a ring can hold.
    TooManyPoints {
        /// The number of points that were asked for.
        points: u64,
        /// The largest number that a ring holds.
        max: u64,
    },
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateLabel { label } => {
                write!(f, "label {label:?} is given twice; each node needs a label of its own")
            }
            Self::UnknownLabel { label } => write!(f, "label {label:?} is not on the ring"),
            Self::NoPoints => f.write_str("a node needs at least 1 point"),
            Self::DifferentSchemes { this, other } => write!(
                f,
                "scheme {this:?} places keys elsewhere than scheme {other:?}, \
                 so the rings cannot be compared"
            ),
            Self::TooManyNodes { nodes, max } => {
                write!(f, "{nodes} nodes are more than a ring holds ({max})")
            }
            Self::TooManyPoints { points, max } => write!(
                f,
                "{points} points are more than a ring holds ({max}); \
                 lower the weights or the points per node"
            ),
        }
    }
}

impl std::error::Error for RingError {}
