//! What a pool tells of its peers.

use std::sync::Arc;

/// What a pool counted until now, and how it stands with its peers; from
/// [`HttpPool::stats`](crate::HttpPool::stats).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Links over which peers ask this node, at this moment.
    pub links_served: u64,
    /// The peers that this node asks, in the order of the ring's labels.
    pub peers: Vec<PeerStats>,
}

/// How a pool stands with one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStats {
    /// The peer's base URL, as it was given.
    pub peer: Arc<str>,
    /// The link to it, at this moment.
    pub link: LinkState,
    /// How many links to it have been opened. All but the first are reconnects.
    pub links_opened: u64,
    /// Gets under way over the link.
    pub gets_in_flight: u64,
    /// Bytes that were written to it over links.
    pub bytes_sent: u64,
    /// Bytes that were read from it over links.
    pub bytes_received: u64,
}

/// The state of the link to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkState {
    /// Links are [switched off](crate::HttpPoolBuilder::link) here.
    Off,
    /// There is none. A get or a purge will ask for one.
    Down,
    /// A get or a purge asks for one.
    Asking,
    /// Gets go over it.
    Up,
    /// The peer speaks HTTP only. It will be asked again.
    Plain {
        /// How that showed.
        why: &'static str,
    },
}

impl PeerStats {
    /// Returns those of a peer that was never asked.
    pub(crate) fn new(peer: Arc<str>, links: bool) -> Self {
        let link = if links { LinkState::Down } else { LinkState::Off };
        let (links_opened, gets_in_flight, bytes_sent, bytes_received) = (0, 0, 0, 0);
        Self { peer, link, links_opened, gets_in_flight, bytes_sent, bytes_received }
    }
}
