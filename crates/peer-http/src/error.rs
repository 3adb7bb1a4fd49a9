//! What can go wrong, an enum per operation.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use carrotcache_consistenthash::RingError;
use thiserror::Error;

use crate::pool::url::UrlError;

/// Why a get from a peer brought no value.
///
/// [`NotFound`](Self::NotFound) and [`LoadFailed`](Self::LoadFailed) are the owner's verdicts: it
/// was asked, its loader ran, and asking again or elsewhere would only ask the database twice. All
/// others say that the owner could not be asked, so that the value is better loaded here.
///
/// It can be cloned, because all who wait for one get share its error. The cause, where there is
/// one, is the [`source`](StdError::source) and not repeated in the text.
///
/// ```
/// use carrotcache_peer_http::PeerError;
///
/// let error = PeerError::Status { peer: "http://10.0.0.2:8001".into(), status: 302 };
/// assert!(!error.is_verdict());
/// assert_eq!(error.to_string(), "peer http://10.0.0.2:8001 answered with status 302");
/// ```
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The owner's loader said that there is no such thing. A verdict.
    #[error("peer {peer} found no such key")]
    NotFound {
        /// The peer's base URL.
        peer: Arc<str>,
    },
    /// The owner's loader failed. A verdict.
    ///
    /// So is a bare status 500, which is how Go's groupcache says it.
    #[error("peer {peer} failed to load the key: {message}")]
    LoadFailed {
        /// The peer's base URL.
        peer: Arc<str>,
        /// What the peer said about it, as one line.
        message: String,
    },
    /// The peer does not have the group.
    ///
    /// It may run another version, or may still be starting. So is a bare status 404, which is how
    /// Go's groupcache says it.
    #[error("peer {peer} has no such group")]
    NoSuchGroup {
        /// The peer's base URL.
        peer: Arc<str>,
    },
    /// The peer has too much to do.
    #[error("peer {peer} is overloaded: {message}")]
    Overloaded {
        /// The peer's base URL.
        peer: Arc<str>,
        /// What the peer said about it, as one line.
        message: String,
    },
    /// No connection came about.
    #[error("could not connect to peer {peer}")]
    Connect {
        /// The peer's base URL.
        peer: Arc<str>,
        /// What the network said; of kind `TimedOut` when the connect timeout passed.
        source: Arc<io::Error>,
    },
    /// The answer did not come in time, or the peer says that the load did not end in time.
    ///
    /// The load may still go on at the owner, so that the next get may find the value there.
    #[error("peer {peer} did not answer within {after:?}")]
    TimedOut {
        /// The peer's base URL.
        peer: Arc<str>,
        /// The time that the peer was given.
        after: Duration,
    },
    /// The connection ended before the answer did, or before it began.
    #[error("peer {peer} cut its answer short")]
    Truncated {
        /// The peer's base URL.
        peer: Arc<str>,
        /// How the connection ended.
        source: Arc<dyn StdError + Send + Sync>,
    },
    /// The answer is larger than this node accepts. The rest of it was not read.
    #[error("peer {peer} answered with more than {max_bytes} bytes")]
    TooLarge {
        /// The peer's base URL.
        peer: Arc<str>,
        /// The largest answer that is accepted.
        max_bytes: u64,
    },
    /// The answer is no HTTP, or its body is not the message that it should be.
    #[error("peer {peer} sent an answer that cannot be read")]
    Malformed {
        /// The peer's base URL.
        peer: Arc<str>,
        /// What the parser said.
        source: Arc<dyn StdError + Send + Sync>,
    },
    /// The peer answered with a status that no node of a ring sends: something else listens there,
    /// or stands in between.
    #[error("peer {peer} answered with status {status}")]
    Status {
        /// The peer's base URL.
        peer: Arc<str>,
        /// The HTTP status code.
        status: u16,
    },
    /// The peer, or this node before it, found the request itself wrong.
    #[error("peer {peer} cannot be asked that: {message}")]
    BadRequest {
        /// The peer's base URL.
        peer: Arc<str>,
        /// What is wrong with the request.
        message: String,
    },
}

impl PeerError {
    /// Returns whether the owner was asked and this is its answer, which is final.
    #[must_use]
    pub fn is_verdict(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::LoadFailed { .. })
    }

    /// Returns the base URL of the peer that was asked.
    #[must_use]
    pub fn peer(&self) -> &str {
        match self {
            Self::NotFound { peer }
            | Self::LoadFailed { peer, .. }
            | Self::NoSuchGroup { peer }
            | Self::Overloaded { peer, .. }
            | Self::Connect { peer, .. }
            | Self::TimedOut { peer, .. }
            | Self::Truncated { peer, .. }
            | Self::TooLarge { peer, .. }
            | Self::Malformed { peer, .. }
            | Self::Status { peer, .. }
            | Self::BadRequest { peer, .. } => peer,
        }
    }
}

/// Why a pool could not be built; from [`HttpPoolBuilder::build`](crate::HttpPoolBuilder::build).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// This node's own base URL is none.
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
    /// A peer's base URL is none.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// This node's own base URL is not among the peers, so that the others would send it keys that
    /// it sends back.
    #[error("own URL {own} is not among the peers, each written as it is there")]
    OwnUrlMissing {
        /// This node's own base URL.
        own: String,
    },
    /// The ring cannot be built from these peers, for one because a URL is given twice.
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
