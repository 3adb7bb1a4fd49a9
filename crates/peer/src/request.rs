//! What one node asks another.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// A question for one key, and until when the answer is of use.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use carrotcache_peer::Request;
///
/// let now = Instant::now();
/// let request = Request::new("scores", "Tom", now + Duration::from_secs(5));
/// assert_eq!(request.time_left(now + Duration::from_secs(2)), Duration::from_secs(3));
/// assert_eq!(request.time_left(now + Duration::from_secs(9)), Duration::ZERO);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Request {
    /// Name of the group.
    pub group: Arc<str>,
    /// The key in it.
    pub key: Arc<str>,
    /// When the asking node stops waiting. It is the one time limit of the request: whoever has it
    /// keeps to it and sets no other beside it.
    ///
    /// An instant means nothing on another machine. Over a network goes what
    /// [`time_left`](Self::time_left) returns, and the receiver adds that to its own present.
    pub deadline: Instant,
}

impl Request {
    /// Returns a request for `key` of `group`, to be answered by `deadline`.
    #[must_use]
    pub fn new(group: impl Into<Arc<str>>, key: impl Into<Arc<str>>, deadline: Instant) -> Self {
        Self { group: group.into(), key: key.into(), deadline }
    }

    /// Returns how long the asking node still waits at `now`; zero once the deadline has passed.
    #[must_use]
    pub fn time_left(&self, now: Instant) -> Duration {
        self.deadline.saturating_duration_since(now)
    }
}
