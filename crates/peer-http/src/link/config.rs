//! Every bound of a link.
//!
//! A peer may be broken, or not be ours. What it can make this node wait for or hold follows from
//! the numbers here, and from nothing that it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::link::frame::hello::{Hello, MIN_VALUE_BYTES, VERSION};
use crate::link::frame::reply::MAX_PREFIX_BYTES;

/// The settings of a link, as both of its sides read them. The pool's builder sets them, and has
/// the docs for users.
#[derive(Debug, Clone)]
pub(crate) struct LinkConfig {
    // The asker.
    /// How many gets may be under way to one owner. One more is not sent: it is loaded here, at
    /// once.
    pub(crate) max_in_flight: u32,
    /// How many bytes of requests may wait to be written. A get beyond that is not sent.
    pub(crate) max_unsent_bytes: usize,
    /// For how long nothing may come while gets are under way, before the owner is pinged. With the
    /// time for its answer this is how long a dead owner goes unnoticed.
    pub(crate) ping_after: Duration,
    /// How long the owner may take to answer a ping, or to send anything.
    pub(crate) pong_within: Duration,
    /// How much the system may hold that has come and was not read; zero leaves it to the system.
    /// Small answers wait behind what is in there, so it bounds how long large values can hold them
    /// up.
    pub(crate) receive_buffer_bytes: usize,

    // The owner.
    /// How many loads may be under way for one asker. One more is refused as overload.
    pub(crate) max_loads: usize,
    /// How many bytes may wait for an asker that does not read, before it is not listened to.
    pub(crate) max_queued_bytes: usize,
    /// How long an asker may take to read anything at all of what waits for it.
    pub(crate) write_within: Duration,
    /// How long a new asker may take to say HELLO.
    pub(crate) hello_within: Duration,
    /// How long an asker may ask nothing before it is bidden farewell. It opens a new link when it
    /// has something to ask.
    pub(crate) idle_timeout: Duration,
    /// How long gets may go on after a GOAWAY.
    pub(crate) drain_timeout: Duration,

    // Both.
    /// The longest value that goes over a link. Larger ones are fetched over HTTP, so that none
    /// keeps the small ones waiting.
    pub(crate) max_value_bytes: u32,
    /// The longest payload of a request that is taken; at least
    /// [`MIN_REQUEST_BYTES`](crate::link::frame::hello::MIN_REQUEST_BYTES).
    pub(crate) max_request_bytes: u32,
    /// A random number that this process drew when it started: a peer that was started anew has
    /// another.
    pub(crate) incarnation: u64,
    /// The fingerprint of the ring, as the pool sees it at the moment. Shared with the pool, and
    /// read when a HELLO is written.
    pub(crate) ring: Arc<AtomicU64>,
}

impl LinkConfig {
    /// Returns what the other side is told.
    pub(crate) fn hello(&self) -> Hello {
        Hello {
            version: VERSION,
            oldest: VERSION,
            takes_purges: true,
            takes_looks: true,
            incarnation: self.incarnation,
            ring: self.ring.load(Ordering::Relaxed),
            max_request_bytes: self.max_request_bytes,
            max_value_bytes: self.max_value_bytes,
        }
    }

    /// Returns the longest payload that the asker reads. A longer one ends the link: the owner was
    /// told.
    pub(crate) fn max_reply_bytes(&self) -> u32 {
        let prefix = u32::try_from(MAX_PREFIX_BYTES).unwrap_or(u32::MAX);
        self.max_value_bytes.max(MIN_VALUE_BYTES).saturating_add(prefix)
    }
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            max_in_flight: 65_536,
            max_unsent_bytes: 4 << 20,
            ping_after: Duration::from_millis(500),
            pong_within: Duration::from_millis(250),
            receive_buffer_bytes: 512 << 10,
            max_loads: 1_024,
            max_queued_bytes: 1 << 20,
            write_within: Duration::from_secs(10),
            hello_within: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(5 * 60),
            drain_timeout: Duration::from_secs(10),
            max_value_bytes: 1 << 20,
            // A thousand keys of a kilobyte, and their ids.
            max_request_bytes: (1 << 20) + (64 << 10),
            incarnation: 0,
            ring: Arc::default(),
        }
    }
}
