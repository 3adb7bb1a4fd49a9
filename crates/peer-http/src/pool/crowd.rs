//! How many of a pool's peers do not answer.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The peers of a pool, counted.
///
/// When half of all peers do not answer it is most likely this node that is cut off. Not to ask them
/// would only make it slow to notice when it is not any more.
#[derive(Default)]
pub(crate) struct Crowd {
    peers: AtomicUsize,
    /// Those that are not healthy.
    down: AtomicUsize,
}

/// How many have to be down. Of one peer, one is more than half; it has most likely died all the same.
const MIN_DOWN: usize = 2;

impl Crowd {
    /// Returns whether so many peers are down that it means nothing.
    pub(crate) fn is_ignored(&self) -> bool {
        let down = self.down.load(Ordering::Relaxed);
        down >= MIN_DOWN && 2 * down >= self.peers.load(Ordering::Relaxed)
    }

    /// Notes that there is a peer more.
    pub(super) fn join(&self, is_down: bool) {
        self.peers.fetch_add(1, Ordering::Relaxed);
        self.down.fetch_add(is_down.into(), Ordering::Relaxed);
    }

    /// Notes that there is a peer less.
    pub(super) fn leave(&self, is_down: bool) {
        self.peers.fetch_sub(1, Ordering::Relaxed);
        self.down.fetch_sub(is_down.into(), Ordering::Relaxed);
    }

    /// Notes that a peer is down, or is not any more.
    pub(super) fn turn(&self, is_down: bool) {
        if is_down {
            self.down.fetch_add(1, Ordering::Relaxed);
        } else {
            self.down.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_peers_from_two_on_are_too_many() {
        for (peers, down, is_ignored) in
            [(1, 1, false), (2, 1, false), (2, 2, true), (3, 2, true), (4, 2, true), (5, 2, false)]
        {
            let crowd = Crowd::default();
            (0..peers).for_each(|peer| crowd.join(peer < down));
            assert_eq!(crowd.is_ignored(), is_ignored, "{down} of {peers}");
        }
    }

    #[test]
    fn those_who_leave_are_not_counted_any_more() {
        let crowd = Crowd::default();
        (0..4).for_each(|_| crowd.join(false));
        (0..2).for_each(|_| crowd.turn(true));
        assert!(crowd.is_ignored());
        crowd.leave(true);
        assert!(!crowd.is_ignored());
        crowd.turn(true);
        assert!(crowd.is_ignored());
        crowd.turn(false);
        assert!(!crowd.is_ignored());
    }
}
