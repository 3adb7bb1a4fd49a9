//! An entry as a node holds it.

use std::time::Duration;

use carrotcache_byteview::ByteView;
use carrotcache_peer::Entry;

use crate::chance::Chance;
use crate::clock::{Clock, LAG, millis};

/// An entry with moments of this node's clock where an [`Entry`] has spans, so that it can lie
/// around: in a cache, or in a flight.
///
/// Times take 16 bytes of it. A shorter form would need a clock that wraps, and save one word.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    value: Option<ByteView>,
    /// Until when it is fresh; [`NEVER`] if that does not end.
    expires: u64,
    /// For how long after that it is stale, in milliseconds.
    stale_ms: u32,
    /// How long the load took, in milliseconds: what a refresh has to be ahead by. Zero if it was not
    /// loaded here.
    cost_ms: u32,
}

/// The moment that does not come.
pub(crate) const NEVER: u64 = u64::MAX;

/// How good an entry is at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    Fresh,
    /// Fresh, and near enough to its end that a new one is fetched now.
    Due,
    /// Good enough while a new one is fetched.
    Stale,
    /// Of no use.
    Over,
}

impl Held {
    /// Returns an entry that is held from `since` on.
    pub(crate) fn new(entry: Entry, since: u64) -> Self {
        let expires = entry.fresh_for().map_or(NEVER, |fresh| since.saturating_add(millis(fresh)));
        let stale_ms = u32::try_from(entry.stale_for().as_millis()).unwrap_or(u32::MAX);
        Self { value: entry.into_value(), expires, stale_ms, cost_ms: 0 }
    }

    /// Returns the entry with what its load has taken.
    pub(crate) fn with_cost(self, cost: Duration) -> Self {
        Self { cost_ms: u32::try_from(cost.as_millis()).unwrap_or(u32::MAX), ..self }
    }

    /// Returns the entry, fresh until `moment` at the latest.
    pub(crate) fn until(self, moment: u64) -> Self {
        Self { expires: self.expires.min(moment), ..self }
    }

    /// Returns the entry, stale for at most this long once it is no longer fresh.
    pub(crate) fn stale_at_most(self, time: Duration) -> Self {
        let longest = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        Self { stale_ms: self.stale_ms.min(longest), ..self }
    }

    /// Returns the value, or `None` if there is no such thing.
    pub(crate) fn value(&self) -> Option<&ByteView> {
        self.value.as_ref()
    }

    /// Returns the value and drops the rest.
    pub(crate) fn into_value(self) -> Option<ByteView> {
        self.value
    }

    /// Returns the entry with a value that owns just its own bytes.
    pub(crate) fn compact(&self) -> Self {
        Self { value: self.value.as_ref().map(ByteView::compact), ..*self }
    }

    /// Returns the entry as it is told to others at `now`.
    pub(crate) fn to_entry(&self, now: u64) -> Entry {
        let entry = self.value.clone().map_or(Entry::absent(), Entry::new);
        if self.expires == NEVER {
            return entry;
        }
        let stale_left = self.stale_until().saturating_sub(now.max(self.expires));
        entry
            .with_fresh_for(Duration::from_millis(self.expires.saturating_sub(now)))
            .with_stale_for(Duration::from_millis(stale_left))
    }

    /// Returns until when it is fresh: a larger number is a newer entry of the same key.
    pub(crate) fn expires(&self) -> u64 {
        self.expires
    }

    /// Returns how good it is. One that does not expire asks no clock, and one that does not expire
    /// soon asks roughly.
    #[inline]
    pub(crate) fn age(&self, clock: &Clock, chance: &Chance) -> Age {
        if self.expires == NEVER { Age::Fresh } else { self.age_by(clock, chance) }
    }

    fn age_by(&self, clock: &Clock, chance: &Chance) -> Age {
        let rough = clock.roughly();
        let left = self.expires.saturating_sub(rough);
        if left > LAG && left > self.first_due() {
            return Age::Fresh;
        }
        match self.age_at(clock.now()) {
            Age::Fresh if self.is_due(left, chance) => Age::Due,
            age => age,
        }
    }

    /// Returns how good it is at `now`, without regard to when a new one is due.
    pub(crate) fn age_at(&self, now: u64) -> Age {
        if now < self.expires {
            Age::Fresh
        } else if now < self.stale_until() {
            Age::Stale
        } else {
            Age::Over
        }
    }

    /// Returns whether a caller can do with it.
    pub(crate) fn is_good(&self, clock: &Clock) -> bool {
        self.expires == NEVER || self.age_at(clock.now()) != Age::Over
    }

    /// Returns whether it expired no longer than `grace` ago.
    pub(crate) fn is_within(&self, grace: Duration, now: u64) -> bool {
        now < self.expires.saturating_add(millis(grace))
    }

    fn stale_until(&self) -> u64 {
        self.expires.saturating_add(self.stale_ms.into())
    }

    /// Before so many milliseconds are left, no new one is ever due.
    fn first_due(&self) -> u64 {
        u64::from(self.cost_ms) * MAX_COSTS
    }

    /// Decides whether a new one is fetched with `left` milliseconds to go (A. Vattani, F. Chierichetti
    /// and K. Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", 2015). The nearer the end
    /// and the dearer the load, the likelier: so of many who ask, one fetches it in time.
    #[expect(clippy::cast_precision_loss, reason = "it is chance anyway")]
    fn is_due(&self, left: u64, chance: &Chance) -> bool {
        let spread = -(1.0 - chance.fraction()).ln();
        self.cost_ms > 0 && left as f64 <= f64::from(self.cost_ms) * spread
    }
}

/// A draw beyond so many times the cost happens to one in 22,000 look-ups, and is left out.
const MAX_COSTS: u64 = 10;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// An entry of the moment 1,000 that is fresh for a second and stale for half of one.
    fn held() -> Held {
        Held::new(Entry::new("630").with_fresh_for(SECOND).with_stale_for(SECOND / 2), 1_000)
    }

    /// A clock, and the hand that moves it.
    fn clock_at(millis: u64) -> (Clock, Arc<AtomicU64>) {
        let hand = Arc::new(AtomicU64::new(millis));
        let reads = Arc::clone(&hand);
        (Clock::given(move || Duration::from_millis(reads.load(Ordering::Relaxed))), hand)
    }

    #[test]
    fn an_entry_ages_to_the_millisecond() {
        let (clock, hand) = clock_at(1_000);
        let (held, chance) = (held(), Chance::default());
        let ages = [
            (1_000, Age::Fresh),
            (1_999, Age::Fresh),
            (2_000, Age::Stale),
            (2_499, Age::Stale),
            (2_500, Age::Over),
            (u64::MAX, Age::Over),
        ];
        for (now, age) in ages {
            hand.store(now, Ordering::Relaxed);
            assert_eq!((held.age(&clock, &chance), held.age_at(now)), (age, age), "at {now}");
        }
    }

    #[test]
    fn one_that_does_not_expire_asks_no_clock() {
        let clock = Clock::given(|| panic!("the clock was asked"));
        let held = Held::new(Entry::new("630"), 1_000);
        assert_eq!(held.age(&clock, &Chance::default()), Age::Fresh);
        assert_eq!(held.to_entry(u64::MAX), Entry::new("630"));
    }

    #[test]
    fn what_is_told_is_what_remains() {
        let entry = |fresh, stale| {
            let entry = Entry::new("630").with_fresh_for(Duration::from_millis(fresh));
            entry.with_stale_for(Duration::from_millis(stale))
        };
        for (now, left) in [(1_000, (1_000, 500)), (1_400, (600, 500)), (2_100, (0, 400))] {
            assert_eq!(held().to_entry(now), entry(left.0, left.1), "at {now}");
        }
        assert_eq!(held().to_entry(9_000), entry(0, 0));
        assert_eq!(held().until(1_300).to_entry(1_100), entry(200, 500));
    }

    #[test]
    fn a_new_one_is_due_near_the_end_and_the_sooner_the_dearer_the_load() {
        let chance = Chance::default();
        let due = |cost: u64, left: u64| {
            let held = held().with_cost(Duration::from_millis(cost));
            let (clock, _) = clock_at(2_000 - left);
            let ages = (0..1_000).map(|_| held.age(&clock, &chance));
            ages.filter(|age| *age == Age::Due).count()
        };
        assert_eq!((due(0, 1), due(50, 501)), (0, 0), "it cost nothing, or is far from its end");
        // By chance 368 and 135 of 1,000; the standard deviations are 15 and 11.
        let (near, far) = (due(50, 50), due(50, 100));
        assert!((250..500).contains(&near) && (50..250).contains(&far), "{near} and {far}");
        assert!(due(100, 100) > due(50, 100), "the dearer one is not due sooner");
    }
}
