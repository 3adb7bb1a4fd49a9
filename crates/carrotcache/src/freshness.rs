//! How long the entries of a group are good.

use std::time::Duration;

use carrotcache_peer::Entry;

use crate::chance::Chance;
use crate::clock::millis;
use crate::held::{Held, NEVER};
use crate::value::Value;

/// What a group's builder was told of time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Freshness {
    /// How long a value is fresh, at most; for good unless set.
    pub(crate) time_to_live: Option<Duration>,
    /// Which part of a time to live may be cut off, by chance.
    pub(crate) jitter: f64,
    /// How long a value that is no longer fresh is returned while a new one is fetched.
    pub(crate) serve_stale: Duration,
    /// How long one is returned if no new one can be had.
    pub(crate) stale_if_error: Duration,
    /// How long a copy of another node's value is fresh, at most.
    pub(crate) mirror_time_to_live: Option<Duration>,
    /// How long it is remembered that there is no such thing; not at all unless set.
    pub(crate) not_found_time_to_live: Option<Duration>,
}

/// What is fresh for so long is fresh for good.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A tenth.
const DEFAULT_JITTER: f64 = 0.1;

impl Default for Freshness {
    fn default() -> Self {
        Self {
            time_to_live: None,
            jitter: DEFAULT_JITTER,
            serve_stale: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            mirror_time_to_live: None,
            not_found_time_to_live: None,
        }
    }
}

impl Freshness {
    /// Returns the entry of a value that the loader has just returned, or the user has set.
    ///
    /// Its own time to live counts, or the group's if that is shorter: so whoever knows the group's
    /// knows the longest there is.
    pub(crate) fn entry(&self, value: Value, chance: &Chance) -> Entry {
        let own = value.time_to_live();
        let time_to_live = own.into_iter().chain(self.time_to_live).min();
        let entry = Entry::new(value.into_bytes());
        match time_to_live {
            None => entry,
            Some(time) => {
                entry.with_fresh_for(self.jittered(time, chance)).with_stale_for(self.serve_stale)
            }
        }
    }

    /// Returns the entry of a key of which the loader has just said that there is no such thing. It is
    /// good for those who wait, and for whoever else asks in time.
    pub(crate) fn absent(&self, chance: &Chance) -> Entry {
        let time_to_live = self.not_found_time_to_live.unwrap_or(Duration::ZERO);
        Entry::absent().with_fresh_for(self.jittered(time_to_live, chance))
    }

    /// Returns what another node says, which was true at `since`, within the bounds of this group: a
    /// plain peer knows of no times, and any peer may claim what it likes.
    pub(crate) fn bounded(&self, held: Held, since: u64) -> Held {
        held.until(end(since, self.time_to_live)).stale_at_most(self.serve_stale)
    }

    /// Returns a copy of what the owner has said, as it is kept here.
    pub(crate) fn mirrored(&self, held: Held, since: u64, chance: &Chance) -> Held {
        let time_to_live = self.mirror_time_to_live.map(|time| self.jittered(time, chance));
        self.bounded(held, since).until(end(since, time_to_live))
    }

    /// Returns how old a value can be when a get returns it, counted from the end of its load; `None`
    /// if it can be of any age.
    pub(crate) fn longest(&self) -> Option<Duration> {
        let stale = self.serve_stale.max(self.stale_if_error);
        let longest = self.time_to_live.map(|time| time.saturating_add(stale));
        longest.filter(|time| *time < CENTURY)
    }

    /// Cuts a part off, so that what came in together does not expire together.
    fn jittered(&self, time: Duration, chance: &Chance) -> Duration {
        if time >= CENTURY {
            return time;
        }
        time - time.mul_f64(self.jitter * chance.fraction())
    }
}

/// Returns when what is fresh for so long from `since` on is no longer so.
fn end(since: u64, fresh_for: Option<Duration>) -> u64 {
    match fresh_for {
        Some(time) if time < CENTURY => since.saturating_add(millis(time)),
        _ => NEVER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_shorter_time_to_live_counts() {
        let exact = Freshness { jitter: 0.0, ..Freshness::default() };
        let group = Freshness { time_to_live: Some(10 * SECOND), ..exact };
        let fresh_for = |freshness: &Freshness, own: Option<Duration>| {
            let value = Value::from("630");
            let value = own.map_or(value.clone(), |own| value.with_time_to_live(own));
            freshness.entry(value, &Chance::default()).fresh_for()
        };
        assert_eq!(fresh_for(&exact, None), None);
        assert_eq!(fresh_for(&exact, Some(SECOND)), Some(SECOND));
        assert_eq!(fresh_for(&exact, Some(Duration::MAX)), None);
        assert_eq!(fresh_for(&group, None), Some(10 * SECOND));
        assert_eq!(fresh_for(&group, Some(SECOND)), Some(SECOND));
        assert_eq!(fresh_for(&group, Some(99 * SECOND)), Some(10 * SECOND));
    }

    #[test]
    fn jitter_cuts_off_up_to_its_part_and_never_adds() {
        let (chance, freshness) = (Chance::default(), Freshness::default());
        let drawn: Vec<_> = (0..1_000).map(|_| freshness.jittered(100 * SECOND, &chance)).collect();
        let (least, most) = (drawn.iter().min().unwrap(), drawn.iter().max().unwrap());
        assert!((90 * SECOND..91 * SECOND).contains(least), "{least:?}");
        assert!((99 * SECOND..=100 * SECOND).contains(most), "{most:?}");
        let whole = Freshness { jitter: 1.0, ..freshness };
        assert_eq!(whole.jittered(Duration::MAX, &chance), Duration::MAX);
        assert!(whole.jittered(CENTURY - SECOND, &chance) < CENTURY);
    }

    #[test]
    fn what_others_claim_is_bounded_by_what_the_group_allows() {
        let group = Freshness {
            jitter: 0.0,
            time_to_live: Some(10 * SECOND),
            serve_stale: 5 * SECOND,
            ..Freshness::default()
        };
        let entry = |fresh: Duration, stale: Duration| {
            Entry::new("630").with_fresh_for(fresh).with_stale_for(stale)
        };
        let bounded = |freshness: &Freshness, claim: &Entry| {
            freshness.bounded(Held::new(claim.clone(), 1_000), 1_000).to_entry(1_000)
        };
        let (claim, modest) = (entry(Duration::MAX, Duration::MAX), entry(SECOND, SECOND));
        assert_eq!(bounded(&group, &claim), entry(10 * SECOND, 5 * SECOND));
        assert_eq!(bounded(&group, &modest), modest);
        let for_good = Freshness { time_to_live: Some(3 * CENTURY), ..group };
        assert_eq!(bounded(&for_good, &claim).fresh_for(), None, "no clock is to be asked");
    }

    #[test]
    fn an_absence_is_remembered_only_if_that_is_asked_for() {
        let chance = Chance::default();
        let forgets = Freshness::default();
        assert_eq!(forgets.absent(&chance).fresh_for(), Some(Duration::ZERO));
        let remembers =
            Freshness { jitter: 0.0, not_found_time_to_live: Some(SECOND), ..Freshness::default() };
        assert_eq!(remembers.absent(&chance).fresh_for(), Some(SECOND));
        assert_eq!(remembers.absent(&chance).stale_for(), Duration::ZERO);
    }
}
