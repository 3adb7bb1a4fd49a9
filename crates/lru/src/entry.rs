//! Look up once, then decide.

use std::fmt;
use std::hash::{BuildHasher, Hash};

use crate::{Cause, Listener, LruCache, Oversized, RefMut, Weigher};

/// The place of a key in a cache, from [`LruCache::entry`]: there or not, found by one hash.
pub enum Entry<'a, K, V, W, S, L> {
    /// There is an entry for the key.
    Occupied(OccupiedEntry<'a, K, V, W, S, L>),
    /// There is no entry for the key.
    Vacant(VacantEntry<'a, K, V, W, S, L>),
}

/// An entry that is in the cache, and is the most recently used one now.
pub struct OccupiedEntry<'a, K, V, W, S, L> {
    cache: &'a mut LruCache<K, V, W, S, L>,
}

/// A place for an entry that is not in the cache. It keeps the hash, so that nothing is hashed or
/// looked up again when the place is filled.
pub struct VacantEntry<'a, K, V, W, S, L> {
    cache: &'a mut LruCache<K, V, W, S, L>,
    hash: u64,
    key: K,
}

impl<K, V, W, S, L> LruCache<K, V, W, S, L>
where
    K: Hash + Eq,
    W: Weigher<K, V>,
    S: BuildHasher,
    L: Listener<K, V>,
{
    /// Returns the place of `key`. If an entry is there, it becomes the most recently used one.
    ///
    /// ```
    /// use carrotcache_lru::{Entry, LruCache};
    ///
    /// let mut counts = LruCache::by_count(100);
    /// for word in ["to", "be", "or", "not", "to", "be"] {
    ///     match counts.entry(word) {
    ///         Entry::Occupied(there) => *there.into_mut() += 1,
    ///         Entry::Vacant(vacant) => {
    ///             vacant.insert(1)?;
    ///         }
    ///     }
    /// }
    /// assert!(counts.iter().eq([(&"be", &2), (&"to", &2), (&"not", &1), (&"or", &1)]));
    /// # Ok::<(), carrotcache_lru::Oversized<&str, i32>>(())
    /// ```
    pub fn entry(&mut self, key: K) -> Entry<'_, K, V, W, S, L> {
        self.entry_hashed(self.hash(&key), key)
    }

    /// As [`entry`](Self::entry), for a caller that has the [`hash`](Self::hash) of the key.
    pub fn entry_hashed(&mut self, hash: u64, key: K) -> Entry<'_, K, V, W, S, L> {
        match self.find(hash, &key) {
            Some(slot) => {
                self.store.promote(slot);
                Entry::Occupied(OccupiedEntry { cache: self })
            }
            None => Entry::Vacant(VacantEntry { cache: self, hash, key }),
        }
    }

    /// Returns the value for `key`, which is made and stored if there is none.
    ///
    /// # Errors
    ///
    /// [`Oversized`] hands the new entry back if it is heavier than the whole bound.
    ///
    /// ```
    /// use carrotcache_lru::LruCache;
    ///
    /// let mut squares = LruCache::by_count(2);
    /// assert_eq!(squares.get_or_insert_with(3, |n| n * n)?, &9);
    /// assert_eq!(squares.get_or_insert_with(3, |_| unreachable!())?, &9);
    /// # Ok::<(), carrotcache_lru::Oversized<i32, i32>>(())
    /// ```
    pub fn get_or_insert_with(
        &mut self,
        key: K,
        make: impl FnOnce(&K) -> V,
    ) -> Result<&V, Oversized<K, V>> {
        match self.entry(key) {
            Entry::Occupied(there) => Ok(there.into_value()),
            Entry::Vacant(vacant) => {
                let value = make(vacant.key());
                vacant.insert(value)
            }
        }
    }

    /// As [`get_or_insert_with`](Self::get_or_insert_with), for values that may fail to be made.
    ///
    /// # Errors
    ///
    /// The error of `make`, after which nothing has changed. An entry that is heavier than the
    /// whole bound is handed back as the `Err` within `Ok`.
    pub fn try_get_or_insert_with<E>(
        &mut self,
        key: K,
        make: impl FnOnce(&K) -> Result<V, E>,
    ) -> Result<Result<&V, Oversized<K, V>>, E> {
        match self.entry(key) {
            Entry::Occupied(there) => Ok(Ok(there.into_value())),
            Entry::Vacant(vacant) => {
                let value = make(vacant.key())?;
                Ok(vacant.insert(value))
            }
        }
    }
}

impl<'a, K, V, W, S, L> Entry<'a, K, V, W, S, L>
where
    K: Hash + Eq,
    W: Weigher<K, V>,
    S: BuildHasher,
    L: Listener<K, V>,
{
    /// Returns the key: the cached one if there is one, else the one that was looked up.
    pub fn key(&self) -> &K {
        match self {
            Self::Occupied(there) => there.key(),
            Self::Vacant(vacant) => vacant.key(),
        }
    }

    /// Returns the value that is there, or stores `default`.
    ///
    /// # Errors
    ///
    /// [`Oversized`] hands the new entry back if it is heavier than the whole bound.
    ///
    /// ```
    /// use carrotcache_lru::LruCache;
    ///
    /// let mut scores = LruCache::new(700, |_: &&str, score: &u64| *score);
    /// assert_eq!(scores.entry("Tom").or_insert(630)?, &630);
    /// assert_eq!(scores.entry("Tom").or_insert(0)?, &630);
    /// assert_eq!(scores.entry("Jack").or_insert(701).unwrap_err().value, 701);
    /// # Ok::<(), carrotcache_lru::Oversized<&str, u64>>(())
    /// ```
    pub fn or_insert(self, default: V) -> Result<&'a V, Oversized<K, V>> {
        match self {
            Self::Occupied(there) => Ok(there.into_value()),
            Self::Vacant(vacant) => vacant.insert(default),
        }
    }
}

impl<'a, K, V, W, S, L> OccupiedEntry<'a, K, V, W, S, L>
where
    K: Hash + Eq,
    W: Weigher<K, V>,
    S: BuildHasher,
    L: Listener<K, V>,
{
    /// Returns the cached key.
    #[must_use]
    pub fn key(&self) -> &K {
        &self.cache.store.entry(self.cache.store.first()).0
    }

    /// Returns the value.
    #[must_use]
    pub fn value(&self) -> &V {
        &self.cache.store.entry(self.cache.store.first()).1
    }

    /// Returns the value for as long as the cache is borrowed.
    #[must_use]
    pub fn into_value(self) -> &'a V {
        &self.cache.store.entry(self.cache.store.first()).1
    }

    /// Returns the value behind a guard that weighs the entry again when it is dropped.
    ///
    /// The entry is gone afterwards if it has outgrown the bound, so the guard takes the place.
    pub fn into_mut(self) -> RefMut<'a, K, V, W, S, L> {
        RefMut::new(self.cache)
    }

    /// Replaces the value and returns the old one.
    ///
    /// # Errors
    ///
    /// The value itself, if the entry would be heavier than the whole bound with it. The old value
    /// is still there then.
    ///
    /// ```
    /// use carrotcache_lru::{Entry, LruCache};
    ///
    /// let mut scores = LruCache::new(700, |_: &&str, score: &u64| *score);
    /// scores.insert("Tom", 630)?;
    /// if let Entry::Occupied(there) = scores.entry("Tom") {
    ///     assert_eq!(there.insert(701), Err(701));
    /// }
    /// assert_eq!(scores.peek("Tom"), Some(&630));
    /// # Ok::<(), carrotcache_lru::Oversized<&str, u64>>(())
    /// ```
    pub fn insert(self, value: V) -> Result<V, V> {
        let slot = self.cache.store.first();
        let weight = self.cache.weigher.weight(&self.cache.store.entry(slot).0, &value);
        if weight > self.cache.max_weight {
            return Err(value);
        }
        Ok(self.cache.replace(slot, value, weight))
    }

    /// Removes the entry and returns it.
    #[must_use]
    pub fn remove_entry(self) -> (K, V) {
        self.cache.take(self.cache.store.first(), Cause::Removed)
    }
}

impl<'a, K, V, W, S, L> VacantEntry<'a, K, V, W, S, L>
where
    K: Hash + Eq,
    W: Weigher<K, V>,
    S: BuildHasher,
    L: Listener<K, V>,
{
    /// Returns the key that was looked up.
    #[must_use]
    pub fn key(&self) -> &K {
        &self.key
    }

    /// Returns the key and leaves the cache as it is.
    #[must_use]
    pub fn into_key(self) -> K {
        self.key
    }

    /// Stores the value as [`LruCache::insert`] does and returns it.
    ///
    /// # Errors
    ///
    /// [`Oversized`] hands the entry back if it is heavier than the whole bound.
    pub fn insert(self, value: V) -> Result<&'a V, Oversized<K, V>> {
        let Self { cache, hash, key } = self;
        let weight = cache.weigher.weight(&key, &value);
        if weight > cache.max_weight {
            return Err(Oversized { key, value, weight, max_weight: cache.max_weight });
        }
        cache.insert_new(hash, key, value, weight);
        Ok(&cache.store.entry(cache.store.first()).1)
    }
}

impl<K: fmt::Debug, V: fmt::Debug, W, S, L> fmt::Debug for Entry<'_, K, V, W, S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Occupied(there) => there.fmt(f),
            Self::Vacant(vacant) => vacant.fmt(f),
        }
    }
}

impl<K: fmt::Debug, V: fmt::Debug, W, S, L> fmt::Debug for OccupiedEntry<'_, K, V, W, S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, value) = self.cache.store.entry(self.cache.store.first());
        f.debug_struct("OccupiedEntry").field("key", key).field("value", value).finish()
    }
}

impl<K: fmt::Debug, V, W, S, L> fmt::Debug for VacantEntry<'_, K, V, W, S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VacantEntry").field("key", &self.key).finish_non_exhaustive()
    }
}
