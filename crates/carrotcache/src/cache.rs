//! The caches of a group, in one budget.
//!
//! *Main* holds keys that this node owns, *hot* copies of popular keys that others own. Both draw
//! on one budget of bytes, so a node whose peers are gone may fill it with copies, and a node alone
//! with its own keys. When room is needed, hot gives way once it holds more than an eighth of what
//! main holds (golang/groupcache, `populateCache`). While owners cannot be asked, hot is where their
//! keys are kept, and gives way only beyond half of the budget.
//!
//! Of keys that are not there *absent* remembers just that, if the group is told to. It has a small
//! budget of its own, so that no flood of such keys takes room from values.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use carrotcache_lru::sync::{Budget, Cache};
use carrotcache_lru::{TryInsertError, Weigher};

use crate::chance::Chance;
use crate::clock::Clock;
use crate::freshness::Freshness;
use crate::held::{Age, Held};
use crate::outages::OwnersAway;
use crate::stats::CacheStats;

/// Bytes that an entry is charged beside its key and its value.
///
/// It stands for what the entry really costs: its node and its slot in the index, the headers of
/// key and value, and the allocator's rounding. The test `max_bytes_is_what_the_process_grows_by`
/// measures it.
pub const ENTRY_OVERHEAD_BYTES: u64 = 160;

/// Hot is the victim once it holds more than main's bytes divided by this.
const HOT_SHARE: u64 = 8;

/// While an owner is away, hot is the victim once it holds more than the budget divided by this.
const HOT_SHARE_OF_ALL: u64 = 2;

/// Absent may hold the group's bytes divided by this.
const ABSENT_SHARE: u64 = 16;

type Entries = Cache<Arc<str>, Held, Charge>;

/// Which of the caches keeps an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The key is this node's.
    Main,
    /// The key is another's, and the copy gives way first.
    Hot,
}

/// What a look-up has found.
pub(crate) struct Found {
    pub(crate) held: Held,
    /// Fresh, due or stale.
    pub(crate) age: Age,
    /// Whether it was in main.
    pub(crate) is_own: bool,
}

/// The caches of one group.
///
/// Each is sharded, so that threads seldom meet, and all reserve an entry's charge from their budget
/// before they link the entry: the sum stays within the bound at every moment, on every thread.
pub(crate) struct GroupCache {
    budget: Arc<Budget>,
    main: Entries,
    hot: Entries,
    /// `None` if absences are not remembered.
    absent: Option<Entries>,
    clock: Arc<Clock>,
    owners_away: Arc<OwnersAway>,
    chance: Chance,
    main_evictions: AtomicU64,
    hot_evictions: AtomicU64,
    /// Looks that [`get_held`](GroupCache::get_held) found in hot, so that main had missed them.
    held_in_hot: AtomicU64,
    oversized: AtomicU64,
}

impl GroupCache {
    /// Makes empty caches that together may hold `max_bytes`.
    pub(crate) fn new(
        max_bytes: u64,
        freshness: &Freshness,
        clock: Arc<Clock>,
        owners_away: Arc<OwnersAway>,
    ) -> Self {
        let absent_bytes = match freshness.not_found_time_to_live {
            Some(_) => max_bytes / ABSENT_SHARE,
            None => 0,
        };
        let budget = Budget::new(max_bytes - absent_bytes);
        let main = Entries::with_budget(Arc::clone(&budget), Charge);
        // They agree on hashes, so that a get hashes its key once.
        let alike = |budget: Arc<Budget>| {
            Entries::builder(budget, Charge).hasher(main.hasher().clone()).build()
        };
        let hot = alike(Arc::clone(&budget));
        let absent = (absent_bytes > 0).then(|| alike(Budget::new(absent_bytes)));
        Self {
            budget,
            main,
            hot,
            absent,
            clock,
            owners_away,
            chance: Chance::default(),
            main_evictions: AtomicU64::new(0),
            hot_evictions: AtomicU64::new(0),
            held_in_hot: AtomicU64::new(0),
            oversized: AtomicU64::new(0),
        }
    }

    /// Looks a key up on behalf of a caller, which counts.
    #[inline]
    pub(crate) fn get(&self, key: &str) -> Option<Found> {
        let hash = self.main.hash(key);
        let mut age = Age::Over;
        // One after the other, and not as a chain: an entry is copied once then.
        if let Some(held) = self.main.get_hashed_if(hash, key, |held| self.is_good(held, &mut age))
        {
            return Some(Found { held, age, is_own: true });
        }
        if let Some(held) = self.hot.get_hashed_if(hash, key, |held| self.is_good(held, &mut age)) {
            return Some(Found { held, age, is_own: false });
        }
        let held = self.get_absent(hash, key, &mut age)?;
        Some(Found { held, age, is_own: false })
    }

    /// Looks a key up on behalf of a caller who comes to [`get`](Self::get) if there is nothing. So
    /// a look that finds an entry counts as a get does, and one that finds none not at all.
    pub(crate) fn get_held(&self, key: &str) -> Option<Found> {
        let hash = self.main.hash(key);
        let mut age = Age::Over;
        if let Some(held) = self.main.hit_hashed_if(hash, key, |held| self.is_good(held, &mut age))
        {
            return Some(Found { held, age, is_own: true });
        }
        let held = self.hot.hit_hashed_if(hash, key, |held| self.is_good(held, &mut age))?;
        self.held_in_hot.fetch_add(1, Ordering::Relaxed);
        Some(Found { held, age, is_own: false })
    }

    /// Looks a key up without counting it: again from within a flight, whose caller's own look has
    /// been counted already, or out of curiosity. Only what `suits` is found.
    pub(crate) fn peek(&self, key: &str, suits: impl Fn(&Held) -> bool) -> Option<Held> {
        let hash = self.main.hash(key);
        let found = self.main.peek_hashed_if(hash, key, &suits);
        let found = found.or_else(|| self.hot.peek_hashed_if(hash, key, &suits));
        found.or_else(|| self.absent.as_ref()?.peek_hashed_if(hash, key, &suits))
    }

    /// Returns whether a caller can do with an entry, and how good it is.
    #[inline]
    fn is_good(&self, held: &Held, age: &mut Age) -> bool {
        *age = held.age(&self.clock, &self.chance);
        *age != Age::Over
    }

    fn get_absent(&self, hash: u64, key: &str, age: &mut Age) -> Option<Held> {
        self.absent.as_ref()?.get_hashed_if(hash, key, |held| self.is_good(held, age))
    }

    /// Keeps an entry if `may_keep` says so, evicting what it must, and returns the entry as it is now
    /// kept.
    ///
    /// `may_keep` is asked under the lock of the key's shard: what is removed after it has answered
    /// is removed. What is kept is a copy that owns just its bytes: a loader may hand over a slice of
    /// something large, and the cache must not keep all of that alive. An entry that cannot fit, or is
    /// no longer fresh, comes back as is. What there was of the key is older, and forgotten even then.
    pub(crate) fn store(
        &self,
        place: Place,
        key: Arc<str>,
        held: Held,
        may_keep: impl Fn() -> bool,
    ) -> Held {
        let is_fresh = held.age_at(self.clock.now()) == Age::Fresh;
        let is_oversized = Charge.weight(&key, &held) > self.budget.max();
        if held.value().is_none() || !is_fresh || is_oversized {
            self.forget_if(&key, &may_keep);
            match held.value() {
                None if is_fresh => self.store_absent(key, held.clone(), may_keep),
                Some(_) if is_oversized => _ = self.oversized.fetch_add(1, Ordering::Relaxed),
                _ => {}
            }
            return held;
        }
        let held = held.compact();
        if let Some(absent) = &self.absent {
            drop(absent.remove(&*key));
        }
        // The key may have been another's, or this node's, until the ring changed. One copy of it is
        // enough.
        let (cache, other) = match place {
            Place::Main => (&self.main, &self.hot),
            Place::Hot => (&self.hot, &self.main),
        };
        drop(other.remove(&*key));
        self.insert(cache, key, held.clone(), may_keep);
        held
    }

    /// Remembers that there is no such thing, if the group does.
    fn store_absent(&self, mut key: Arc<str>, mut held: Held, may_keep: impl Fn() -> bool) {
        let Some(absent) = &self.absent else { return };
        while let Err(TryInsertError::NoRoom { key: same_key, value: same }) =
            absent.try_insert_if(key, held, |_| may_keep())
        {
            (key, held) = (same_key, same);
            if absent.pop_lru().is_none() {
                return;
            }
        }
    }

    /// Inserts what is known to fit the bound, one eviction after the other until there is room.
    fn insert(
        &self,
        cache: &Entries,
        mut key: Arc<str>,
        mut held: Held,
        may_keep: impl Fn() -> bool,
    ) {
        while let Err(TryInsertError::NoRoom { key: same_key, value: same }) =
            cache.try_insert_if(key, held, |_| may_keep())
        {
            (key, held) = (same_key, same);
            if !self.evict_one() {
                // All room is taken by inserts that are under way on other threads. A cache may
                // forget, so forgetting this value beats waiting for them.
                return;
            }
        }
    }

    /// Returns whether a value of this length could be kept.
    pub(crate) fn fits(&self, key: &str, value_bytes: usize) -> bool {
        charge(key, value_bytes) <= self.budget.max()
    }

    /// Forgets what is known of a key.
    pub(crate) fn forget(&self, key: &str) {
        self.forget_if(key, || true);
    }

    /// Forgets what is known of a key if whoever knows better `may_keep` that, which is asked as in
    /// [`store`](Self::store).
    pub(crate) fn forget_if(&self, key: &str, may_keep: impl Fn() -> bool) {
        let hash = self.main.hash(key);
        for cache in self.all() {
            drop(cache.remove_hashed_if(hash, key, |_| may_keep()));
        }
    }

    /// Forgets everything.
    pub(crate) fn forget_all(&self) {
        self.all().for_each(Cache::clear);
    }

    fn all(&self) -> impl Iterator<Item = &Entries> {
        [&self.main, &self.hot].into_iter().chain(&self.absent)
    }

    /// Evicts one entry; `false` if there is none.
    fn evict_one(&self) -> bool {
        let share = match self.owners_away.are_any(|| self.clock.roughly()) {
            true => self.budget.max() / HOT_SHARE_OF_ALL,
            false => self.main.weight() / HOT_SHARE,
        };
        let is_hot_first = self.hot.weight() > share;
        (is_hot_first && self.evict_from_hot()) || self.evict_from_main() || self.evict_from_hot()
    }

    fn evict_from_main(&self) -> bool {
        let evicted = self.main.pop_lru().is_some();
        self.main_evictions.fetch_add(u64::from(evicted), Ordering::Relaxed);
        evicted
    }

    fn evict_from_hot(&self) -> bool {
        let evicted = self.hot.pop_lru().is_some();
        self.hot_evictions.fetch_add(u64::from(evicted), Ordering::Relaxed);
        evicted
    }

    /// Charges of all caches.
    pub(crate) fn bytes(&self) -> u64 {
        self.budget.used() + self.absent.as_ref().map_or(0, Cache::weight)
    }

    /// How many values were too large to be kept.
    pub(crate) fn oversized(&self) -> u64 {
        self.oversized.load(Ordering::Relaxed)
    }

    /// Counts of main, which every get asks.
    pub(crate) fn main_stats(&self) -> CacheStats {
        let misses = self.main.misses() + self.held_in_hot.load(Ordering::Relaxed);
        CacheStats::of(&self.main, misses, self.main_evictions.load(Ordering::Relaxed))
    }

    /// Counts of hot, which the gets ask that main had no answer for.
    pub(crate) fn hot_stats(&self) -> CacheStats {
        CacheStats::of(&self.hot, self.hot.misses(), self.hot_evictions.load(Ordering::Relaxed))
    }

    /// Counts of absent, which the gets ask that neither had an answer for.
    pub(crate) fn absent_stats(&self) -> CacheStats {
        let stats = |absent: &Entries| CacheStats::of(absent, absent.misses(), 0);
        self.absent.as_ref().map_or(CacheStats::default(), stats)
    }
}

impl CacheStats {
    fn of(cache: &Entries, misses: u64, evictions: u64) -> Self {
        let hits = cache.hits();
        Self {
            bytes: cache.weight(),
            items: cache.len() as u64,
            gets: hits + misses,
            hits,
            evictions,
        }
    }
}

/// What an entry counts for in the budget.
struct Charge;

impl Weigher<Arc<str>, Held> for Charge {
    fn weight(&self, key: &Arc<str>, held: &Held) -> u64 {
        charge(key, held.value().map_or(0, |value| value.len()))
    }
}

fn charge(key: &str, value_bytes: usize) -> u64 {
    key.len() as u64 + value_bytes as u64 + ENTRY_OVERHEAD_BYTES
}
