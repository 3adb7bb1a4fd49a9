//! The two caches of a group, in one budget.
//!
//! *Main* holds keys that this node owns, *hot* copies of popular keys that others own. Both draw
//! on one budget of bytes, so a node whose peers are gone may fill it with copies, and a node alone
//! with its own keys. When room is needed, hot gives way once it holds more than an eighth of what
//! main holds (golang/groupcache, `populateCache`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use carrotcache_lru::sync::{Budget, Cache};
use carrotcache_lru::{TryInsertError, Weigher};
use carrotcache_peer::Entry;

use crate::stats::CacheStats;

/// Bytes that an entry is charged beside its key and its value.
///
/// It stands for what the entry really costs: its node and its slot in the index, the headers of
/// key and value, and the allocator's rounding. The test `max_bytes_is_what_the_process_grows_by`
/// measures it.
pub const ENTRY_OVERHEAD_BYTES: u64 = 144;

/// Hot is the victim once it holds more than main's bytes divided by this.
const HOT_SHARE: u64 = 8;

type Entries = Cache<Arc<str>, Entry, Charge>;

/// Which of the two caches keeps a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The key is this node's.
    Main,
    /// The key is another's, and the copy gives way first.
    Hot,
}

/// Main and hot cache of one group.
///
/// Each is sharded, so that threads seldom meet, and both reserve an entry's charge from the budget
/// before they link the entry: the sum stays within the bound at every moment, on every thread.
pub(crate) struct GroupCache {
    budget: Arc<Budget>,
    main: Entries,
    hot: Entries,
    main_evictions: AtomicU64,
    hot_evictions: AtomicU64,
    /// Looks that [`get_held`](GroupCache::get_held) found in hot, so that main had missed them.
    held_in_hot: AtomicU64,
    oversized: AtomicU64,
}

impl GroupCache {
    /// Makes two empty caches that together may hold `max_bytes`.
    pub(crate) fn new(max_bytes: u64) -> Self {
        let budget = Budget::new(max_bytes);
        let main = Entries::with_budget(Arc::clone(&budget), Charge);
        // The two agree on hashes, so that a get hashes its key once.
        let hot =
            Entries::builder(Arc::clone(&budget), Charge).hasher(main.hasher().clone()).build();
        Self {
            budget,
            main,
            hot,
            main_evictions: AtomicU64::new(0),
            hot_evictions: AtomicU64::new(0),
            held_in_hot: AtomicU64::new(0),
            oversized: AtomicU64::new(0),
        }
    }

    /// Looks a key up on behalf of a caller, which counts.
    pub(crate) fn get(&self, key: &str) -> Option<Entry> {
        let hash = self.main.hash(key);
        self.main.get_hashed(hash, key).or_else(|| self.hot.get_hashed(hash, key))
    }

    /// Looks a key up on behalf of a caller who comes to [`get`](Self::get) if there is nothing. So
    /// a look that finds an entry counts as a get does, and one that finds none not at all.
    pub(crate) fn get_held(&self, key: &str) -> Option<Entry> {
        let hash = self.main.hash(key);
        self.main.hit_hashed(hash, key).or_else(|| {
            let held = self.hot.hit_hashed(hash, key)?;
            self.held_in_hot.fetch_add(1, Ordering::Relaxed);
            Some(held)
        })
    }

    /// Looks a key up again from within a flight; the caller's own look has been counted already.
    pub(crate) fn get_again(&self, key: &str) -> Option<Entry> {
        let hash = self.main.hash(key);
        self.main.peek_hashed(hash, key).or_else(|| self.hot.peek_hashed(hash, key))
    }

    /// Keeps an entry, evicting what it must, and returns the entry as it is now kept.
    ///
    /// What is kept is a copy that owns just its bytes: a loader may hand over a slice of something
    /// large, and the cache must not keep all of that alive. An entry that cannot fit comes back as
    /// is.
    pub(crate) fn store(&self, place: Place, key: Arc<str>, entry: Entry) -> Entry {
        if Charge.weight(&key, &entry) > self.budget.max() {
            self.oversized.fetch_add(1, Ordering::Relaxed);
            return entry;
        }
        let entry = entry.compact();
        match place {
            Place::Main => self.insert_in_main(key, entry.clone()),
            Place::Hot => self.insert(&self.hot, key, entry.clone()),
        }
        entry
    }

    fn insert_in_main(&self, key: Arc<str>, entry: Entry) {
        // The key was another's until the ring changed. One copy of it is enough.
        drop(self.hot.remove(&*key));
        self.insert(&self.main, key, entry);
    }

    /// Inserts what is known to fit the bound, one eviction after the other until there is room.
    fn insert(&self, cache: &Entries, mut key: Arc<str>, mut entry: Entry) {
        while let Err(TryInsertError::NoRoom { key: same_key, value: same }) =
            cache.try_insert(key, entry)
        {
            (key, entry) = (same_key, same);
            if !self.evict_one() {
                // All room is taken by inserts that are under way on other threads. A cache may
                // forget, so forgetting this value beats waiting for them.
                return;
            }
        }
    }

    /// Evicts one entry; `false` if there is none.
    fn evict_one(&self) -> bool {
        let is_hot_first = self.hot.weight() > self.main.weight() / HOT_SHARE;
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

    /// Charges of both caches, in one reading.
    pub(crate) fn bytes(&self) -> u64 {
        self.budget.used()
    }

    /// How many values were too large to be kept.
    pub(crate) fn oversized(&self) -> u64 {
        self.oversized.load(Ordering::Relaxed)
    }

    /// Counts of main, which every get asks.
    pub(crate) fn main_stats(&self) -> CacheStats {
        let misses = self.main.misses() + self.held_in_hot.load(Ordering::Relaxed);
        CacheStats::of(&self.main, misses, &self.main_evictions)
    }

    /// Counts of hot, which the gets ask that main had no answer for.
    pub(crate) fn hot_stats(&self) -> CacheStats {
        CacheStats::of(&self.hot, self.hot.misses(), &self.hot_evictions)
    }
}

impl CacheStats {
    fn of(cache: &Entries, misses: u64, evictions: &AtomicU64) -> Self {
        let hits = cache.hits();
        Self {
            bytes: cache.weight(),
            items: cache.len() as u64,
            gets: hits + misses,
            hits,
            evictions: evictions.load(Ordering::Relaxed),
        }
    }
}

/// What an entry counts for in the budget.
struct Charge;

impl Weigher<Arc<str>, Entry> for Charge {
    fn weight(&self, key: &Arc<str>, entry: &Entry) -> u64 {
        let value_bytes = entry.value().map_or(0, |value| value.len());
        key.len() as u64 + value_bytes as u64 + ENTRY_OVERHEAD_BYTES
    }
}
