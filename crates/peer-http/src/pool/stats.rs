//! What a pool tells of its peers.

use std::sync::Arc;
use std::time::Instant;

use carrotcache_peer::PeerError;

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

/// Which peers can be asked, as a pool sees it; from [`HttpPool::health`](crate::HttpPool::health).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PoolHealth {
    /// The peers that this node asks, in the order of the ring's labels.
    pub peers: Vec<PeerHealth>,
    /// Whether so many do not answer, half of them and two at least, that it is most likely this node
    /// that is cut off. Those are asked all the same then, by up to 16 requests at a time.
    pub is_ignored: bool,
}

/// Whether one peer can be asked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PeerHealth {
    /// The peer's base URL, as it was given.
    pub peer: Arc<str>,
    /// Where it stands.
    pub state: HealthState,
    /// Since when it is healthy, or is not. One that was never asked is healthy since it was listed.
    pub since: Instant,
    /// Why it is not healthy; of a healthy peer, how it failed last, unless it has shown life since.
    pub why: Option<PeerError>,
    /// Since when it has another ring than this node, if that has lasted for ten seconds: the nodes
    /// were given different peers, or different settings of the ring. As the peer has last said over a
    /// link; one that is asked nothing says nothing.
    pub ring_differs_since: Option<Instant>,
}

/// Where a peer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthState {
    /// It is asked.
    Healthy,
    /// It is not asked: it was refused or silent. The first request after this instant is a probe.
    Ejected {
        /// When that is.
        until: Instant,
    },
    /// One request is on its way to it, and nobody else asks it before that has shown whether it is back.
    Probing,
}
