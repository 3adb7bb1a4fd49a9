//! What a pool is told of links before it is built.

use std::time::Duration;

use super::builder::HttpPoolBuilder;

/// Links: one connection to each peer of this project that carries all gets.
impl HttpPoolBuilder {
    /// Sets whether links are asked for, and agreed to; they are unless set.
    ///
    /// Without them nodes speak HTTP only, as Go's do, and cannot be told what to forget.
    pub fn link(mut self, links: bool) -> Self {
        self.config.links = links;
        self
    }

    /// Sets the largest number of gets that are under way over the link to one peer; 65,536 unless
    /// set.
    ///
    /// One more ends at once in an error of kind
    /// [`Unreachable`](carrotcache_peer::PeerErrorKind::Unreachable), so that the value is loaded
    /// where it was asked for, and the log says of the peer that it cannot be reached. The same happens
    /// while 4 MiB of requests wait to be written. Costs nothing until they come.
    pub fn max_gets_in_flight(mut self, gets: u32) -> Self {
        self.config.link.max_in_flight = gets;
        self
    }

    /// Sets the largest number of loads that are under way for one link of a peer; 1,024 unless set.
    ///
    /// One more is refused as overloaded. Gets of what is at hand are no loads. A load that the peer
    /// does not wait for any more counts until it has ended.
    pub fn max_link_loads(mut self, loads: usize) -> Self {
        self.config.link.max_loads = loads;
        self
    }

    /// Sets the largest value that goes over a link, in bytes; 1 MiB unless set.
    ///
    /// A peer is asked for a larger one over HTTP. While a value is on its way nothing else is, so the
    /// bound is how long a small answer may have to wait for a large one. The smaller of the bounds of
    /// two nodes counts.
    pub fn max_link_value_bytes(mut self, bytes: u32) -> Self {
        self.config.link.max_value_bytes = bytes;
        self
    }

    /// Sets the longest request that is taken over a link, in bytes; 1 MiB and 64 KiB unless set,
    /// which is room for a thousand keys of 1 KiB. Less than 64 KiB is taken as 64 KiB.
    ///
    /// A longer one ends the link. Peers are told the bound, and keep to it.
    pub fn max_link_request_bytes(mut self, bytes: u32) -> Self {
        self.config.link.max_request_bytes = bytes;
        self
    }

    /// Sets how many bytes of answers may wait for a peer that does not read its link; 1 MiB unless
    /// set.
    ///
    /// Beyond it no more of its requests are read. What it has asked before is still kept for it, up
    /// to sixteen times as much; then values over 4 KiB have to be fetched over HTTP. A peer that
    /// takes nothing for the [`write_timeout`](Self::write_timeout) is cut.
    pub fn max_link_queued_bytes(mut self, bytes: usize) -> Self {
        self.config.link.max_queued_bytes = bytes;
        self
    }

    /// Sets how many bytes the operating system may keep that have come over a link and were not
    /// read; 512 KiB unless set. With 0 it decides itself.
    ///
    /// What is in there can be overtaken by nothing: a larger buffer makes large values faster, and
    /// small ones that come beside them slower. The system may allow less
    /// (`net.core.rmem_max` on Linux).
    pub fn link_receive_buffer_bytes(mut self, bytes: usize) -> Self {
        self.config.link.receive_buffer_bytes = bytes;
        self
    }

    /// Sets for how long nothing may come from a peer of which gets wait before it is asked for a sign
    /// of life; 500 ms unless set.
    ///
    /// If none comes within the [`link_pong_timeout`](Self::link_pong_timeout), the peer is ejected, its
    /// link ends, and so do the gets, in errors of kind
    /// [`Unreachable`](carrotcache_peer::PeerErrorKind::Unreachable). Without a link, the sign is the
    /// answer to a get of a group that no node has, over a connection of its own.
    pub fn link_ping_after(mut self, silence: Duration) -> Self {
        self.config.link.ping_after = silence;
        self
    }

    /// Sets how long a peer may take to give a sign of life when it is asked for one; 250 ms unless set.
    pub fn link_pong_timeout(mut self, timeout: Duration) -> Self {
        self.config.link.pong_within = timeout;
        self
    }

    /// Sets how long a link is kept over which a peer asks nothing; 5 minutes unless set.
    ///
    /// Then the peer is told goodbye, and opens another link when it needs one. It is told so earlier
    /// if the place is needed: see [`max_accepted`](Self::max_accepted).
    pub fn link_idle_timeout(mut self, timeout: Duration) -> Self {
        self.config.link.idle_timeout = timeout;
        self
    }
}
