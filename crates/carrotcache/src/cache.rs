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
    /// What hot holds, or a little more while an insert is under way. Main holds the rest of what is
    /// used of the budget, so that whoever looks for a victim need not lock every shard.
    hot_bytes: AtomicU64,
    main_evictions: AtomicU64,
    hot_evictions: AtomicU64,
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
            hot_bytes: AtomicU64::new(0),
            main_evictions: AtomicU64::new(0),
            hot_evictions: AtomicU64::new(0),
            oversized: AtomicU64::new(0),
        }
    }

    /// Looks a key up on behalf of a caller, which counts.
    pub(crate) fn get(&self, key: &str) -> Option<Entry> {
        let hash = self.main.hash(key);
        self.main.get_hashed(hash, key).or_else(|| self.hot.get_hashed(hash, key))
    }

    /// Looks a key up again from within a flight; the caller's own look has been counted already.
    pub(crate) fn get_again(&self, key: &str) -> Option<Entry> {
        let hash = self.main.hash(key);
        self.main.peek_hashed(hash, key).or_else(|| self.hot.peek_hashed(hash, key))
    }

    /// Keeps a value, evicting what it must, and returns the value as it is now kept.
    ///
    /// What is kept is a copy that owns just its bytes: a loader may hand over a slice of something
    /// large, and the cache must not keep all of that alive. A value that cannot fit comes back as
    /// is.
    pub(crate) fn store(&self, place: Place, key: Arc<str>, value: Entry) -> Entry {
        if Charge.weight(&key, &value) > self.budget.max() {
            self.oversized.fetch_add(1, Ordering::Relaxed);
            return value;
        }
        let value = value.compact();
        match place {
            Place::Main => self.insert_in_main(key, value.clone()),
            Place::Hot => self.insert_in_hot(key, value.clone()),
        }
        value
    }

    fn insert_in_main(&self, key: Arc<str>, value: Entry) {
        // The key was another's until the ring changed. One copy of it is enough.
        if let Some(copy) = self.hot.remove(&*key) {
            self.left_hot(&key, &copy);
        }
        self.insert(&self.main, key, value);
    }

    fn insert_in_hot(&self, key: Arc<str>, value: Entry) {
        // Counted first: once it is in, another thread may evict it and count it out.
        self.hot_bytes.fetch_add(Charge.weight(&key, &value), Ordering::Relaxed);
        match self.insert(&self.hot, Arc::clone(&key), value.clone()) {
            Inserted::New => {}
            Inserted::Replaced(old) => self.left_hot(&key, &old),
            Inserted::Not => self.left_hot(&key, &value),
        }
    }

    /// Inserts what is known to fit the bound, one eviction after the other until there is room.
    fn insert(&self, cache: &Entries, mut key: Arc<str>, mut value: Entry) -> Inserted {
        loop {
            match cache.try_insert(key, value) {
                Ok(None) => return Inserted::New,
                Ok(Some(old)) => return Inserted::Replaced(old),
                Err(TryInsertError::NoRoom { key: same_key, value: same_value }) => {
                    (key, value) = (same_key, same_value);
                }
                Err(_) => return Inserted::Not,
            }
            if !self.evict_one() {
                // All room is taken by inserts that are under way on other threads. A cache may
                // forget, so forgetting this value beats waiting for them.
                return Inserted::Not;
            }
        }
    }

    /// Evicts one entry; `false` if there is none.
    fn evict_one(&self) -> bool {
        let hot_bytes = self.hot_bytes.load(Ordering::Relaxed);
        let main_bytes = self.budget.used().saturating_sub(hot_bytes);
        let is_hot_first = hot_bytes > main_bytes / HOT_SHARE;
        (is_hot_first && self.evict_from_hot()) || self.evict_from_main() || self.evict_from_hot()
    }

    fn evict_from_main(&self) -> bool {
        let evicted = self.main.pop_lru().is_some();
        self.main_evictions.fetch_add(u64::from(evicted), Ordering::Relaxed);
        evicted
    }

    fn evict_from_hot(&self) -> bool {
        let Some((key, value)) = self.hot.pop_lru() else { return false };
        self.left_hot(&key, &value);
        self.hot_evictions.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Counts an entry out of hot.
    fn left_hot(&self, key: &Arc<str>, value: &Entry) {
        self.hot_bytes.fetch_sub(Charge.weight(key, value), Ordering::Relaxed);
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
        CacheStats::of(&self.main, &self.main_evictions)
    }

    /// Counts of hot, which the gets ask that main had no answer for.
    pub(crate) fn hot_stats(&self) -> CacheStats {
        CacheStats::of(&self.hot, &self.hot_evictions)
    }
}

impl CacheStats {
    fn of(cache: &Entries, evictions: &AtomicU64) -> Self {
        let hits = cache.hits();
        Self {
            bytes: cache.weight(),
            items: cache.len() as u64,
            gets: hits + cache.misses(),
            hits,
            evictions: evictions.load(Ordering::Relaxed),
        }
    }
}

/// What became of an entry that was to be inserted.
enum Inserted {
    New,
    Replaced(Entry),
    Not,
}

/// What an entry counts for in the budget.
struct Charge;

impl Weigher<Arc<str>, Entry> for Charge {
    fn weight(&self, key: &Arc<str>, entry: &Entry) -> u64 {
        let value_bytes = entry.value().map_or(0, |value| value.len());
        key.len() as u64 + value_bytes as u64 + ENTRY_OVERHEAD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hot_holds_is_counted_whatever_threads_do_at_once() {
        let cache = GroupCache::new(20_000);
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                let cache = &cache;
                scope.spawn(move || {
                    for i in 0..20_000 {
                        // Few keys, in both caches: entries are replaced, evicted and taken over.
                        let key = Arc::from(format!("key-{}", (i * 7 + thread) % 150));
                        let place = if (i + thread) % 3 == 0 { Place::Main } else { Place::Hot };
                        cache.store(place, key, Entry::new(vec![7; i % 90]));
                    }
                });
            }
        });
        assert_eq!(cache.hot_bytes.load(Ordering::Relaxed), cache.hot.weight());
        assert_eq!(cache.bytes(), cache.hot.weight() + cache.main.weight());
        assert!(cache.hot.weight() > 0, "hot was put to use");
    }
}
