//! What has been seen of a history, up to some event. Times of events are their places in it, but for
//! what lasts for some time.

use std::collections::BTreeSet;
use std::time::Duration;

use super::event::{Got, Key, Keys, Label, Lifetime, Loaded, Process};
use super::floors::Floors;

/// A process.
pub(super) struct Running {
    pub(super) label: Label,
    pub(super) began: usize,
    pub(super) has_ended: bool,
    pub(super) lists: BTreeSet<Label>,
    pub(super) floors: Floors,
    pub(super) arrived: Vec<Arrived>,
    /// When it was last told to forget each key.
    pub(super) forgot: Floors,
}

/// An answer of a peer.
pub(super) struct Arrived {
    pub(super) at: usize,
    pub(super) key: Key,
    pub(super) got: Got,
    pub(super) asked: Duration,
}

/// A floor that holds from some time on.
pub(super) struct Later {
    pub(super) from: Duration,
    pub(super) label: Label,
    pub(super) keys: Keys,
    pub(super) floor: usize,
}

/// A call of a loader.
pub(super) struct Load {
    pub(super) process: Process,
    pub(super) key: Key,
    pub(super) began: usize,
    /// The first event of that time: whatever started the load is not earlier.
    pub(super) moment: usize,
    /// When it ended, and what it came to.
    pub(super) ended: Option<(Duration, Loaded)>,
}

/// A get under way.
pub(super) struct Get {
    pub(super) process: Process,
    pub(super) key: Key,
    pub(super) began: usize,
    pub(super) since: Duration,
    pub(super) floor: usize,
}

/// A remove, a set or a clear.
pub(super) struct Remove {
    pub(super) process: Process,
    pub(super) keys: Keys,
    pub(super) began: usize,
    pub(super) since: Duration,
    pub(super) sets: Option<Lifetime>,
    /// The place and the time of its end, if it has one.
    pub(super) ended: Option<(usize, Duration)>,
    /// The nodes that its own node has listed all the while.
    pub(super) listed: BTreeSet<Label>,
}

/// A value that somebody might hold, and until when.
pub(super) struct Candidate {
    pub(super) born: usize,
    /// The time from which on it exists.
    pub(super) made: Duration,
    /// Until when it may be served; `None` if for good.
    pub(super) until: Lifetime,
}

impl Load {
    /// Returns what it has found if that was nothing.
    pub(super) fn absent(&self, key: Key) -> Option<Candidate> {
        match self.ended.filter(|_| self.key == key)? {
            (end, Loaded::Absent(lifetime)) => {
                let until = lifetime.map(|lifetime| end + lifetime);
                Some(Candidate { born: self.began, made: end, until })
            }
            _ => None,
        }
    }
}
