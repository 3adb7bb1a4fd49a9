//! What a pool is told before it is built.

use std::time::Duration;

use carrotcache_consistenthash::Scheme;

use super::HttpPool;
use super::url::BaseUrl;
use crate::config::Config;
use crate::error::BuildError;
use crate::secret::Draft;

/// Says what an [`HttpPool`] is like before it is built; from [`HttpPool::builder`].
///
/// Every bound has a default that suits a ring of a few hundred nodes in one data centre. Three
/// settings belong to the ring and not to a node, and must be the same on all of them: the
/// [base path](Self::base_path), the [scheme](Self::ring_scheme) and the
/// [points](Self::ring_points).
///
/// # Bounds
///
/// Everything that waits or grows has one:
///
/// | asking | unless set | beyond it |
/// |---|---|---|
/// | [`connect_timeout`](Self::connect_timeout) | 250 ms | the get fails as unreachable |
/// | `tls_handshake_timeout` | 1 s | the get fails as unreachable |
/// | [`idle_timeout`](Self::idle_timeout) | 25 s | a new connection is opened instead |
/// | [`max_connections`](Self::max_connections) | 128 a peer | further gets wait, within their time |
/// | [`max_idle_connections`](Self::max_idle_connections) | 128 a peer | a connection is closed after its get |
/// | [`max_answer_bytes`](Self::max_answer_bytes) | 64 MiB | the get fails as too large, and its connection is closed |
/// | [`max_bytes_under_way`](Self::max_bytes_under_way) | 256 MiB in all | the get waits, and fails as too large |
/// | [`max_wait_percent`](Self::max_wait_percent) | 20 % of a get's time | a get that waits fails |
/// | [`first_ejection`](Self::first_ejection) | 1 s, ± 20 % | a peer that did not answer is asked again, by one get |
/// | [`longest_ejection`](Self::longest_ejection) | 30 s, ± 20 % | likewise, if it has not answered again and again |
///
/// | asking and answering | unless set | beyond it |
/// |---|---|---|
/// | [`max_key_bytes`](Self::max_key_bytes) | 1 KiB | not asked for, and refused as a bad request |
/// | [`max_group_bytes`](Self::max_group_bytes) | 64 B | likewise |
///
/// | answering | unless set | beyond it |
/// |---|---|---|
/// | [`head_timeout`](Self::head_timeout) | 5 s, with the handshake in TLS | the connection is closed |
/// | [`max_time_left`](Self::max_time_left) | 60 s | a handler is given up, the request refused as timed out; an answer half sent is cut |
/// | [`write_timeout`](Self::write_timeout) | 10 s for each 64 KiB | the connection is cut |
/// | [`max_unsent_bytes`](Self::max_unsent_bytes) | 64 MiB in all | an answer waits, and is refused as overloaded |
/// | [`idle_connection_timeout`](Self::idle_connection_timeout) | 30 s | the connection is closed |
/// | [`max_accepted`](Self::max_accepted) | 4096 connections | the one idle for longest is closed; if none is, the new one waits |
/// | [`drain_timeout`](Self::drain_timeout) | 10 s | what is still busy is cut |
///
/// | a link, asking | unless set | beyond it |
/// |---|---|---|
/// | [`max_gets_in_flight`](Self::max_gets_in_flight) | 65,536 a peer | the get fails as unreachable |
/// | [`max_link_value_bytes`](Self::max_link_value_bytes) | 1 MiB | the value is fetched over HTTP |
/// | [`link_receive_buffer_bytes`](Self::link_receive_buffer_bytes) | 512 KiB | the peer's system keeps what it sends |
/// | [`link_ping_after`](Self::link_ping_after) | 500 ms without a byte | the peer is asked for a sign of life |
/// | [`link_pong_timeout`](Self::link_pong_timeout) | 250 ms | the link ends, its gets fail as unreachable, and the peer is ejected |
///
/// | a link, answering | unless set | beyond it |
/// |---|---|---|
/// | [`max_link_loads`](Self::max_link_loads) | 1,024 a link | refused as overloaded |
/// | [`max_link_request_bytes`](Self::max_link_request_bytes) | 1 MiB and 64 KiB | the link ends |
/// | [`max_link_queued_bytes`](Self::max_link_queued_bytes) | 1 MiB a link | no more requests are read; beyond 16 times as much, values over 4 KiB come over HTTP |
/// | [`write_timeout`](Self::write_timeout) | 10 s without a byte taken | the link is cut |
/// | [`head_timeout`](Self::head_timeout) | 5 s to say HELLO | the link ends |
/// | [`link_idle_timeout`](Self::link_idle_timeout) | 5 min | the peer is told goodbye |
///
/// ```
/// use std::time::Duration;
///
/// use carrotcache_peer_http::HttpPool;
///
/// let pool = HttpPool::builder("http://10.0.0.1:8001")
///     .base_path("/internal/cache/")
///     .connect_timeout(Duration::from_millis(500))
///     .max_answer_bytes(8 << 20)
///     .build()?;
/// # Ok::<(), carrotcache_peer_http::BuildError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct HttpPoolBuilder {
    /// Taken apart in [`build`](Self::build), so that a fault in it is an error there.
    base_url: String,
    /// Looked at there too.
    pub(super) secrets: Draft,
    pub(super) config: Config,
}

impl HttpPool {
    /// Returns a builder for the pool of the node that its peers reach at `base_url`.
    ///
    /// The URL is `http://host[:port]`, or `https://host[:port]` if peers ask it in TLS. It tells this node which of the
    /// [peers](HttpPool::set_peers) it is, in any spelling that means the same node: its label on
    /// the ring is what the list of peers says, because that is what the nodes have to agree on.
    pub fn builder(base_url: impl Into<String>) -> HttpPoolBuilder {
        HttpPoolBuilder::new(base_url.into())
    }
}

impl HttpPoolBuilder {
    /// Returns the builder with every default.
    pub(crate) fn new(base_url: String) -> Self {
        Self { base_url, secrets: Draft::default(), config: Config::default() }
    }

    /// Sets the path below which peers ask for values; `/_groupcache/` unless set.
    ///
    /// All nodes of a ring must agree on it. It starts and ends with a `/`.
    pub fn base_path(mut self, base_path: impl Into<String>) -> Self {
        self.config.base_path = base_path.into();
        self
    }

    /// Sets how the ring places keys; as Go's groupcache does unless set.
    ///
    /// All nodes of a ring must agree on it.
    pub fn ring_scheme(mut self, scheme: Scheme) -> Self {
        self.config.ring = self.config.ring.scheme(scheme);
        self
    }

    /// Sets the points of each node on the ring; the scheme's own number unless set.
    ///
    /// All nodes of a ring must agree on it.
    pub fn ring_points(mut self, points: u32) -> Self {
        self.config.ring = self.config.ring.points_per_node(points);
        self
    }

    /// Sets for how long the peers before a change are remembered; 60 s unless set.
    ///
    /// For so long a node looks at the former owner of a key that it has come to own, before it loads
    /// that. A node that has just started looks at who would own the key without it. And for so long
    /// a peer that was taken off the list is told what is removed, if it does not end before. With
    /// zero, neither is done. It costs memory for eight rings at most.
    pub fn hand_off(mut self, time: Duration) -> Self {
        self.config.hand_off = time;
        self
    }

    /// Sets the longest time that a new connection to a peer may take; 250 ms unless set.
    ///
    /// It is for the look-up of the peer's name and for all of its addresses, which are raced; the
    /// handshake in TLS has a time of its own. A
    /// machine that is gone answers nothing at all, and this is how long it takes to notice.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout = timeout;
        self
    }

    /// Sets how long an unused connection is kept; 25 s unless set. With zero, none is.
    ///
    /// It is best below the [`idle_connection_timeout`](Self::idle_connection_timeout) of the peers, after
    /// which they close a connection that brings no request. It may take a second longer until one
    /// is closed, but it is not used again.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.config.idle_timeout = timeout;
        self
    }

    /// Sets the largest number of connections to one peer, and so of gets from it over HTTP that are
    /// under way at one moment; 128 unless set. Over a link it is
    /// [`max_gets_in_flight`](Self::max_gets_in_flight).
    ///
    /// It bounds what a slow peer can hold here in sockets and memory. Further gets wait for a
    /// [share](Self::max_wait_percent) of their time, and then end in an error of kind
    /// [`Unreachable`](carrotcache_peer::PeerErrorKind::Unreachable), so that the value is loaded
    /// where it was asked for.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.config.max_connections = connections;
        self
    }

    /// Sets the largest number of unused connections kept to one peer; 128 unless set.
    ///
    /// Fewer save descriptors on a large ring, more save connecting again after a burst. (Go's
    /// default of 2 a host makes a busy groupcache open a connection for most gets.)
    pub fn max_idle_connections(mut self, connections: usize) -> Self {
        self.config.max_idle_connections = connections;
        self
    }

    /// Sets the largest answer that is accepted from a peer; 64 MiB unless set.
    ///
    /// It counts the message, which is a few bytes longer than its value. A larger answer is not
    /// read to its end: the get ends in an error of kind
    /// [`TooLarge`](carrotcache_peer::PeerErrorKind::TooLarge).
    pub fn max_answer_bytes(mut self, bytes: u64) -> Self {
        self.config.max_answer_bytes = bytes;
        self
    }

    /// Sets how much of the answers that are under way may have been read at one moment, over all
    /// peers; four times [`max_answer_bytes`](Self::max_answer_bytes) unless set, and so 256 MiB. It
    /// cannot be less than the largest answer.
    ///
    /// It is what peers together can make this process hold, by answers that are large, slow, or
    /// never end: beside the first 66 KiB of each, which are not counted, and a buffer of up to as
    /// much for each connection. Room is taken as bytes come, not as they are announced. A get whose answer
    /// finds no room waits for it a [share](Self::max_wait_percent) of its time, and then ends in an
    /// error of kind [`TooLarge`](carrotcache_peer::PeerErrorKind::TooLarge). The last part of the
    /// room, as large as the largest answer, is for one answer at a time, so that answers that each
    /// hold a part never wait for each other.
    pub fn max_bytes_under_way(mut self, bytes: u64) -> Self {
        self.config.max_bytes_under_way = Some(bytes);
        self
    }

    /// Sets how long a get waits for a free connection, or for room for its answer, in percent of
    /// the time that it has left; 20 unless set.
    ///
    /// With 0 it does not wait, with 100 (and more) until its time is over. In the time that is left
    /// the value can be loaded elsewhere.
    pub fn max_wait_percent(mut self, percent: u8) -> Self {
        self.config.max_wait_percent = percent;
        self
    }

    /// Sets the longest key that is asked for or answered, in bytes; 1 KiB unless set.
    ///
    /// The head of a request may be as long as the longest names need, and 16 KiB more. A path holds
    /// 65,534 bytes and a byte of a name may need three of them, so keys of some 21,000 bytes are the
    /// most that can be asked for. A group of the node may not allow longer keys than this.
    pub fn max_key_bytes(mut self, bytes: usize) -> Self {
        self.config.max_key_bytes = bytes;
        self
    }

    /// Sets the longest group name that is asked for or answered, in bytes; 64 unless set.
    pub fn max_group_bytes(mut self, bytes: usize) -> Self {
        self.config.max_group_bytes = bytes;
        self
    }

    /// Sets the longest time that a peer is believed to wait for its answer; 60 s unless set.
    ///
    /// A peer that claims more gets this much, and so does one that claims nothing. It is the time
    /// for all of an exchange over HTTP: the handler, the wait for room, and the sending of the
    /// answer. Over a link a peer hears that its value is being loaded, and is believed to wait for up
    /// to an hour.
    pub fn max_time_left(mut self, time: Duration) -> Self {
        self.config.max_time_left = time;
        self
    }

    /// Sets how long a peer may take to send the head of a request; 5 s unless set.
    ///
    /// It is counted from the first byte of the head, or for the first head of a connection from
    /// the moment at which that was accepted. What takes longer is closed.
    pub fn head_timeout(mut self, timeout: Duration) -> Self {
        self.config.head_timeout = timeout;
        self
    }

    /// Sets how long a connection is kept open on which no request follows the one before; 30 s
    /// unless set.
    ///
    /// It is closed earlier if its place is needed: see [`max_accepted`](Self::max_accepted).
    pub fn idle_connection_timeout(mut self, timeout: Duration) -> Self {
        self.config.idle_connection_timeout = timeout;
        self
    }

    /// Sets how long the sending of an answer may make no progress; 10 s unless set.
    ///
    /// Progress is 64 KiB, or the rest of the answer if that is less: a peer that takes less within
    /// this time is cut off. It is cut off as well when it has no
    /// [time left](Self::max_time_left), however well it reads. What goes into the buffer of the
    /// operating system counts as taken.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.config.write_timeout = timeout;
        self
    }

    /// Sets how many bytes of answers may wait to be sent, over all connections of the pool's
    /// services; 64 MiB unless set.
    ///
    /// An answer that exceeds it waits until others are sent, for at most half of the time that its
    /// peer has left, and is then refused as overloaded. As many bytes again may wait so; what
    /// exceeds those is refused at once. A larger answer than the bound is sent when no other is
    /// on its way. Values of up to 4 KiB are not counted, because a connection has larger buffers.
    /// Nor are those over links, of which each has its own
    /// [`max_link_queued_bytes`](Self::max_link_queued_bytes).
    pub fn max_unsent_bytes(mut self, bytes: u64) -> Self {
        self.config.max_unsent_bytes = bytes;
        self
    }

    /// Sets how long requests that are under way at the shutdown may take; 10 s unless set.
    ///
    /// What is not answered by then is cut, and
    /// [`ServeError::DrainTimedOut`](crate::ServeError::DrainTimedOut) tells.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.config.drain_timeout = timeout;
        self
    }

    /// Sets the largest number of connections that are served at one moment; 4096 unless set.
    ///
    /// When one more comes, the one on which nothing has been asked for longest is closed, and its
    /// place goes to the new one. If a request or half a head is under way on each, the new one
    /// waits, and those after it wait in the queue of the operating system.
    ///
    /// Best below the process's limit of open files, which is met with patience too, but hits
    /// everything else in the process.
    pub fn max_accepted(mut self, connections: usize) -> Self {
        self.config.max_accepted = connections;
        self
    }

    /// Returns the pool, which owns all keys until it is told its peers.
    ///
    /// Times of more than a year are taken as a year.
    ///
    /// # Errors
    ///
    /// A [`BuildError`] if this node's base URL is not `http://host[:port]` or with `https`, the base path cannot be
    /// asked for, a secret cannot be one, a bound is zero, the largest answer or the longest names have no room, or the ring
    /// does not take its settings.
    pub fn build(self) -> Result<HttpPool, BuildError> {
        let Self { base_url, secrets, mut config } = self;
        let url: BaseUrl = base_url.parse()?;
        config.secrets = secrets.settle()?;
        config.check()?;
        config.bound_times();
        config.settle_link();
        let ring = config.ring.clone().build()?;
        Ok(HttpPool::new(url, config, ring))
    }
}
