//! What can go wrong, an enum per operation.

use std::time::Duration;

use carrotcache_consistenthash::RingError;
use thiserror::Error;

use crate::pool::url::UrlError;
use crate::secret::SecretError;

/// The longest path that a request can have, in bytes: a limit of the crate `http`.
pub(crate) const MAX_PATH_BYTES: usize = u16::MAX as usize - 1;

/// Why a pool could not be built; from [`HttpPoolBuilder::build`](crate::HttpPoolBuilder::build).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// This node's own base URL cannot be one.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The base path is not one that peers could ask for.
    #[error("base path {base_path:?} should start and end with a / and hold nothing to escape")]
    BasePath {
        /// The path that was given.
        base_path: String,
    },
    /// A bound is zero, so that no request could ever succeed.
    #[error("{setting} is zero, nothing could be asked or answered")]
    Zero {
        /// The name of the builder's method.
        setting: &'static str,
    },
    /// The longest names, escaped, make a longer path than a request can have.
    #[error(
        "a group of {max_group_bytes} and a key of {max_key_bytes} bytes, three bytes each when \
         escaped, make a path over {MAX_PATH_BYTES}: lower max_key_bytes or max_group_bytes"
    )]
    NamesTooLong {
        /// The longest name of a group, in bytes.
        max_group_bytes: usize,
        /// The longest key, in bytes.
        max_key_bytes: usize,
    },
    /// The largest answer that is accepted would find no room.
    #[error(
        "max_bytes_under_way {max_bytes_under_way} is below max_answer_bytes {max_answer_bytes}, \
         the largest answer could not be read"
    )]
    NoRoomForAnswer {
        /// The room for all answers that are under way, in bytes.
        max_bytes_under_way: u64,
        /// The largest answer, in bytes.
        max_answer_bytes: u64,
    },
    /// A text cannot be the secret of a cluster.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The ring cannot be built with these settings.
    #[error("the ring cannot be built")]
    Ring(#[from] RingError),
}

/// Why a set of peers was refused; from [`HttpPool::set_peers`](crate::HttpPool::set_peers).
///
/// The old set stays.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SetPeersError {
    /// A peer's base URL cannot be one.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// Two URLs mean one node, which would have two labels on the ring.
    ///
    /// They may be written differently: `http://node-1` is `http://NODE-1:80`.
    #[error("peers {first} and {second} are one node, which should be listed once")]
    SameNode {
        /// The URL that comes first.
        first: String,
        /// The URL that means the same node.
        second: String,
    },
    /// A peer is to be asked in TLS, and the pool has no configuration to do that with.
    #[error("peer {url} wants TLS: give the builder a tls_client, which the feature `tls` has")]
    NoTls {
        /// The peer's base URL.
        url: String,
    },
    /// This node's own base URL is not among the peers, so that the others would send it keys that
    /// it sends back.
    #[error(
        "this node's own URL {own} is missing from the list of peers (localhost and 127.0.0.1 are two \
         hosts to it: write one of them everywhere)"
    )]
    OwnUrlMissing {
        /// This node's own base URL.
        own: String,
    },
    /// The ring cannot be built from these peers, for one because there are too many.
    #[error("the ring cannot be built from these peers")]
    Ring(#[from] RingError),
}

/// How serving ended, if not in good order; from [`HttpPool::serve`](crate::HttpPool::serve).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Some connections were still busy when the time to drain them was over, and were cut.
    #[error("{connections} connections were cut, still busy {after:?} after the shutdown began")]
    DrainTimedOut {
        /// The number of connections that were cut.
        connections: usize,
        /// The time that they were given.
        after: Duration,
    },
}
