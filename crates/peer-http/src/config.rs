//! What a pool is told before it is built.

use std::time::Duration;

use carrotcache_consistenthash::{Ring, RingBuilder, Scheme};

use crate::BuildError;
use crate::pool::HttpPool;
use crate::pool::url::BaseUrl;
use crate::wire::path;

/// Says what an [`HttpPool`] is like before it is built; from [`HttpPool::builder`].
///
/// Every bound has a default that suits a ring of a few hundred nodes in one data centre. Three
/// settings belong to the ring and not to a node, and must be the same on all of them: the
/// [base path](Self::base_path), the [scheme](Self::ring_scheme) and the
/// [points](Self::ring_points).
///
/// ```
/// use std::time::Duration;
///
/// use carrotcache_peer_http::HttpPool;
///
/// let pool = HttpPool::builder("http://10.0.0.1:8001")
///     .base_path("/internal/cache/")
///     .attempt_timeout(Duration::from_millis(500))
///     .max_answer_bytes(8 << 20)
///     .build()?;
/// # Ok::<(), carrotcache_peer_http::BuildError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct HttpPoolBuilder {
    /// Taken apart in [`build`](Self::build), so that a fault in it is an error there.
    base_url: String,
    config: Config,
}

/// The settings, as client and server read them. The builder's methods say what they mean.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    // Both sides.
    pub(crate) base_path: String,
    /// Scheme and points, without nodes.
    pub(crate) ring: RingBuilder,
    pub(crate) max_key_bytes: usize,
    pub(crate) max_group_bytes: usize,
    // The client.
    pub(crate) connect_timeout: Duration,
    pub(crate) attempt_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) max_connections: usize,
    pub(crate) max_idle_connections: usize,
    pub(crate) max_answer_bytes: u64,
    // The server.
    pub(crate) max_time_left: Duration,
    pub(crate) header_read_timeout: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) max_accepted: usize,
}

impl HttpPoolBuilder {
    /// Returns the builder with every default.
    pub(crate) fn new(base_url: String) -> Self {
        let config = Config {
            base_path: "/_groupcache/".to_owned(),
            ring: Ring::builder(),
            connect_timeout: Duration::from_secs(1),
            attempt_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(25),
            max_connections: 128,
            max_idle_connections: 128,
            max_answer_bytes: 64 << 20,
            max_key_bytes: 1 << 10,
            max_group_bytes: 64,
            max_time_left: Duration::from_secs(60),
            header_read_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
            max_accepted: 4096,
        };
        Self { base_url, config }
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

    /// Sets the longest time that a new connection to a peer may take; 1 s unless set.
    ///
    /// A machine that is gone answers nothing at all, and this is how long it takes to notice.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout = timeout;
        self
    }

    /// Sets the longest time that one get from a peer may take in all; 5 s unless set.
    ///
    /// A caller with less time left gives that to [`HttpPeer::get`](crate::HttpPeer::get).
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.config.attempt_timeout = timeout;
        self
    }

    /// Sets how long an unused connection is kept before a new one is preferred; 25 s unless set.
    ///
    /// It is best below the [`header_read_timeout`](Self::header_read_timeout) of the peers, after
    /// which they close a connection that brings no request.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.config.idle_timeout = timeout;
        self
    }

    /// Sets the largest number of connections to one peer, and so of gets from it that are under
    /// way at one moment; 128 unless set. Further gets wait, within their time.
    ///
    /// It bounds what a slow peer can hold here in sockets and memory.
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
    /// read to its end: the get ends in [`PeerError::TooLarge`](crate::PeerError::TooLarge).
    pub fn max_answer_bytes(mut self, bytes: u64) -> Self {
        self.config.max_answer_bytes = bytes;
        self
    }

    /// Sets the longest key that is asked for or answered, in bytes; 1 KiB unless set.
    ///
    /// The head of a request may be as long as the longest names need, and 16 KiB more.
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
    /// A peer that claims more gets a [`PeerRequest`](crate::PeerRequest) with this.
    pub fn max_time_left(mut self, time: Duration) -> Self {
        self.config.max_time_left = time;
        self
    }

    /// Sets how long a peer may take to send the head of a request, counted from the end of the
    /// one before; 30 s unless set. So it is also how long an unused connection is kept open.
    pub fn header_read_timeout(mut self, timeout: Duration) -> Self {
        self.config.header_read_timeout = timeout;
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
    /// Further ones wait in the queue of the operating system. Best below the process's limit of
    /// open files, which is met with patience too, but hits everything else in the process.
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
    /// A [`BuildError`] if this node's base URL is none, the base path cannot be asked for, a bound
    /// is zero, or the ring does not take its settings.
    pub fn build(self) -> Result<HttpPool, BuildError> {
        let Self { base_url, mut config } = self;
        let url: BaseUrl = base_url.parse()?;
        config.check()?;
        config.bound_times();
        let ring = config.ring.clone().build()?;
        Ok(HttpPool::new(url, config, ring))
    }
}

/// Longer than anyone waits, and short enough to be added to any point in time.
const LONGEST_TIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Config {
    /// Cuts every time down to one that can be added to the present without an overflow.
    fn bound_times(&mut self) {
        let times = [
            &mut self.connect_timeout,
            &mut self.attempt_timeout,
            &mut self.idle_timeout,
            &mut self.max_time_left,
            &mut self.header_read_timeout,
            &mut self.drain_timeout,
        ];
        for time in times {
            *time = LONGEST_TIME.min(*time);
        }
    }

    /// Returns what is wrong with the settings, if anything is.
    fn check(&self) -> Result<(), BuildError> {
        if !path::is_base_path(&self.base_path) {
            return Err(BuildError::BasePath { base_path: self.base_path.clone() });
        }
        let bounds = [
            ("connect_timeout", self.connect_timeout.is_zero()),
            ("attempt_timeout", self.attempt_timeout.is_zero()),
            ("max_connections", self.max_connections == 0),
            ("max_key_bytes", self.max_key_bytes == 0),
            ("max_group_bytes", self.max_group_bytes == 0),
            ("header_read_timeout", self.header_read_timeout.is_zero()),
            ("max_accepted", self.max_accepted == 0),
        ];
        match bounds.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((setting, _)) => Err(BuildError::Zero { setting }),
            None => Ok(()),
        }
    }

    /// Returns why a group or a key is not taken, if it is not.
    ///
    /// Both sides ask this, so that a node never sends what its peers refuse.
    pub(crate) fn refuse(&self, group: &str, key: &str) -> Option<String> {
        let (group_bytes, key_bytes) = (group.len(), key.len());
        if group.is_empty() {
            Some("group is empty".to_owned())
        } else if key.is_empty() {
            Some("key is empty".to_owned())
        } else if group_bytes > self.max_group_bytes {
            Some(format!("group of {group_bytes} bytes is over {}", self.max_group_bytes))
        } else if key_bytes > self.max_key_bytes {
            Some(format!("key of {key_bytes} bytes is over {}", self.max_key_bytes))
        } else {
            None
        }
    }
}
