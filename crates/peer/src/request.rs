//! What one node asks another.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// A question for one key, and until when the answer is of use.
///
/// It carries two limits, and whoever has it keeps to them and sets no other beside them.
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
/// assert_eq!(request.answer_by(now), request.deadline);
/// let hasty = request.with_max_silence(Duration::from_secs(1));
/// assert_eq!(hasty.answer_by(now), now + Duration::from_secs(1));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Request {
    /// Name of the group.
    pub group: Arc<str>,
    /// The key in it.
    pub key: Arc<str>,
    /// When the asking node stops waiting, whatever the owner says.
    ///
    /// An instant means nothing on another machine. Over a network goes what
    /// [`time_left`](Self::time_left) returns, and the receiver adds that to its own present.
    pub deadline: Instant,
    /// How long the asking node waits for a sign that the owner is at it. Without bounds unless set.
    ///
    /// An owner that says that it is loading is waited for until the deadline. A transport that
    /// cannot tell such an owner from a dead one waits until [`answer_by`](Self::answer_by).
    pub max_silence: Duration,
    /// Whether a load at the asking node waits for the answer. An owner that bounds its loads does not
    /// keep such a one waiting for others to end: they may wait for it.
    pub is_nested: bool,
    /// Whether the peer is asked because the key's owner cannot be. It answers as an owner does, and
    /// keeps the value as it keeps a copy, which gives way when the owner is back.
    pub is_for_stand_in: bool,
}

impl Request {
    /// Returns a request for `key` of `group`, to be answered by `deadline`.
    #[must_use]
    pub fn new(group: impl Into<Arc<str>>, key: impl Into<Arc<str>>, deadline: Instant) -> Self {
        let (group, key, max_silence) = (group.into(), key.into(), Duration::MAX);
        Self { group, key, deadline, max_silence, is_nested: false, is_for_stand_in: false }
    }

    /// Returns the request, which waits no longer than this for a sign that the owner is at it.
    #[must_use]
    pub fn with_max_silence(self, max_silence: Duration) -> Self {
        Self { max_silence, ..self }
    }

    /// Returns the request, on behalf of a load if `is_nested`.
    #[must_use]
    pub fn with_nested(self, is_nested: bool) -> Self {
        Self { is_nested, ..self }
    }

    /// Returns the request, to a peer that stands in for the owner if `is_for_stand_in`.
    #[must_use]
    pub fn with_stand_in(self, is_for_stand_in: bool) -> Self {
        Self { is_for_stand_in, ..self }
    }

    /// Returns until when an owner that is asked at `now`, and shows no sign that it is at it, has
    /// to answer.
    #[must_use]
    pub fn answer_by(&self, now: Instant) -> Instant {
        now.checked_add(self.max_silence).map_or(self.deadline, |by| by.min(self.deadline))
    }

    /// Returns how long the asking node still waits at `now`; zero once the deadline has passed.
    #[must_use]
    pub fn time_left(&self, now: Instant) -> Duration {
        self.deadline.saturating_duration_since(now)
    }
}
