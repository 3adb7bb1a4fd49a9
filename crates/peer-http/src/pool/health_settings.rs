//! What a pool is told of ejecting peers before it is built.

use std::time::Duration;

use super::builder::HttpPoolBuilder;

/// Ejection: a peer that does not answer is not asked for a while.
impl HttpPoolBuilder {
    /// Sets whether a peer that does not answer is ejected; it is unless set.
    ///
    /// Without it every get asks its owner, whatever is known of that, and waits for it again.
    /// [`HttpPool::health`](crate::HttpPool::health) tells the same.
    pub fn eject(mut self, ejects: bool) -> Self {
        self.config.ejects = ejects;
        self
    }

    /// Sets for how long a peer is ejected that was healthy before; 1 s unless set.
    ///
    /// Then one request asks it. If that fails too, it is ejected for twice as long, up to the
    /// [`longest_ejection`](Self::longest_ejection). Each time is up to a fifth longer or shorter, so
    /// that not all nodes ask at one moment.
    pub fn first_ejection(mut self, time: Duration) -> Self {
        self.config.first_ejection = time;
        self
    }

    /// Sets the longest time for which a peer is ejected at once; 30 s unless set. No less than the
    /// [`first_ejection`](Self::first_ejection).
    ///
    /// So long may a peer be back that nobody asks. One that was healthy for so long is ejected for the
    /// first time again.
    pub fn longest_ejection(mut self, time: Duration) -> Self {
        self.config.longest_ejection = time;
        self
    }
}
