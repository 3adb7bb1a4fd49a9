//! Whether a peer has the same ring as this node.

use std::time::Duration;

use tokio::time::Instant;

/// What is known of a peer's ring, by its fingerprint.
#[derive(Debug, Default)]
pub(super) struct Rings {
    theirs: Option<u64>,
    /// Since when it has differed from ours.
    since: Option<Instant>,
    /// Whether that was told.
    is_told: bool,
}

/// What a comparison brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    /// They differ from now on. Whether that lasts shows after [`LASTING`].
    Begins,
    /// They have differed for long enough to say so.
    Lasts,
    /// They agree again, after they were said to differ.
    Over,
}

/// How long rings have to differ. While a deployment rolls they do for a moment.
pub(super) const LASTING: Duration = Duration::from_secs(10);

impl Rings {
    /// Notes what the peer says, and compares it.
    pub(super) fn meet(&mut self, theirs: u64, ours: u64, now: Instant) -> Told {
        self.theirs = Some(theirs);
        self.look(ours, now)
    }

    /// Compares what the peer has said last.
    pub(super) fn look(&mut self, ours: u64, now: Instant) -> Told {
        if self.theirs.is_none_or(|theirs| theirs == ours) {
            self.since = None;
            let was_told = std::mem::take(&mut self.is_told);
            return if was_told { Told::Over } else { Told::Nothing };
        }
        if self.since.is_none() {
            self.since = Some(now);
            return Told::Begins;
        }
        if !self.is_told && self.differs_since(now).is_some() {
            self.is_told = true;
            return Told::Lasts;
        }
        Told::Nothing
    }

    /// Returns since when the rings differ, if that has lasted.
    pub(super) fn differs_since(&self, now: Instant) -> Option<Instant> {
        self.since.filter(|since| now.duration_since(*since) >= LASTING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_that_lasts_is_told_once_and_so_is_its_end() {
        let (mut rings, start) = (Rings::default(), Instant::now());
        assert_eq!(rings.look(1, start), Told::Nothing, "nobody was met");
        assert_eq!(rings.meet(2, 1, start), Told::Begins);
        assert_eq!(rings.look(1, start + LASTING / 2), Told::Nothing);
        assert_eq!(rings.differs_since(start + LASTING / 2), None);
        assert_eq!(rings.meet(3, 1, start + LASTING), Told::Lasts);
        assert_eq!(rings.differs_since(start + LASTING), Some(start));
        assert_eq!(rings.look(1, start + LASTING * 2), Told::Nothing);
        assert_eq!(rings.look(3, start + LASTING * 3), Told::Over);
        assert_eq!(rings.look(3, start + LASTING * 3), Told::Nothing);
    }

    #[test]
    fn a_difference_of_a_moment_is_not_told_and_the_next_begins_anew() {
        let (mut rings, start) = (Rings::default(), Instant::now());
        assert_eq!(rings.meet(2, 1, start), Told::Begins);
        assert_eq!(rings.meet(1, 1, start + LASTING / 2), Told::Nothing);
        assert_eq!(rings.meet(2, 1, start + LASTING), Told::Begins);
        assert_eq!(rings.look(1, start + LASTING), Told::Nothing);
    }
}
