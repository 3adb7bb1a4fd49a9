//! How entries come in, and what gives way to them.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

use crate::hash::index_hash;
use crate::{Cause, Listener, LruCache, Oversized, Weigher};

impl<K, V, W, S, L> LruCache<K, V, W, S, L>
where
    K: Hash + Eq,
    W: Weigher<K, V>,
    S: BuildHasher,
    L: Listener<K, V>,
{
    /// Stores the value as the most recently used one and returns the one it replaces, if any.
    ///
    /// Least recently used entries are evicted until there is room for the entry; for one that
    /// replaces another, the difference of their weights counts, and the replaced entry is never
    /// evicted to make that room. As in the standard maps, a replaced entry keeps its key.
    ///
    /// # Errors
    ///
    /// [`Oversized`] hands an entry back that is heavier than the whole bound. Nothing was
    /// disturbed: what was cached for the key before still is.
    ///
    /// ```
    /// use carrotcache_lru::LruCache;
    ///
    /// let mut scores = LruCache::new(10, |_: &&str, score: &i32| *score as u64);
    /// assert_eq!(scores.insert("Tom", 6)?, None);
    /// assert_eq!(scores.insert("Tom", 9)?, Some(6));
    /// let refused = scores.insert("Jack", 11).unwrap_err();
    /// assert_eq!((refused.key, refused.weight), ("Jack", 11));
    /// assert_eq!(scores.peek("Tom"), Some(&9));
    /// # Ok::<(), carrotcache_lru::Oversized<&str, i32>>(())
    /// ```
    #[inline]
    pub fn insert(&mut self, key: K, value: V) -> Result<Option<V>, Oversized<K, V>> {
        self.insert_hashed(self.hash(&key), key, value)
    }

    /// As [`insert`](Self::insert), for a caller that has the [`hash`](Self::hash) of the key.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert).
    #[inline]
    pub fn insert_hashed(
        &mut self,
        hash: u64,
        key: K,
        value: V,
    ) -> Result<Option<V>, Oversized<K, V>> {
        let weight = self.weigher.weight(&key, &value);
        if weight > self.max_weight {
            return Err(Oversized { key, value, weight, max_weight: self.max_weight });
        }
        if let Some(slot) = self.find(hash, key.borrow()) {
            return Ok(Some(self.replace(slot, value, weight)));
        }
        self.insert_new(hash, key, value, weight);
        Ok(None)
    }

    /// Adds an entry that fits the bound and is not there yet.
    #[inline]
    pub(crate) fn insert_new(&mut self, hash: u64, key: K, value: V, weight: u64) {
        let hash = index_hash(hash);
        while let Some(slot) = self.store.back()
            && !self.has_room(weight)
        {
            let freed = self.store.weight_of(slot);
            if self.store.weight() - freed <= self.max_weight - weight {
                // The last eviction that is needed hands its slot to the new entry.
                if let Some((key, value)) = self.store.replace_back(hash, key, value, weight) {
                    self.listener.left(&key, &value, Cause::Capacity);
                }
                return;
            }
            self.take(slot, Cause::Capacity);
        }
        self.store.push_front(hash, key, value, weight);
    }

    /// Gives the entry in `slot` another value, which fits the bound, and returns the old one.
    pub(crate) fn replace(&mut self, slot: u32, value: V, weight: u64) -> V {
        // First out of the way of evictions, which take entries from the other end.
        self.store.promote(slot);
        let slot = self.reweigh_front(weight);
        let (key, current) = self.store.entry_mut(slot);
        let old = std::mem::replace(current, value);
        self.listener.left(key, &old, Cause::Replaced);
        old
    }

    /// Changes the weight of the most recently used entry to one that fits the bound, evicts what
    /// has to give way to it, and returns the slot that the entry is in afterwards.
    pub(crate) fn reweigh_front(&mut self, weight: u64) -> u32 {
        loop {
            let front = self.store.first();
            let others = self.store.weight() - self.store.weight_of(front);
            if others <= self.max_weight - weight {
                self.store.set_weight(front, weight);
                return front;
            }
            self.take(self.store.last(), Cause::Capacity);
        }
    }

    /// Whether an entry of `weight` can come in as things are.
    fn has_room(&self, weight: u64) -> bool {
        !self.store.is_full() && self.store.weight() <= self.max_weight - weight
    }
}

/// Inserts each entry; those that are heavier than the whole bound are left out.
impl<K, V, W, S, L> Extend<(K, V)> for LruCache<K, V, W, S, L>
where
    K: Hash + Eq,
    W: Weigher<K, V>,
    S: BuildHasher,
    L: Listener<K, V>,
{
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            // An extension has no way to hand an entry back, and a cache may forget what it likes.
            let _ = self.insert(key, value);
        }
    }
}
