//! The cache for one thread at a time.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

use crate::hash::index_hash;
use crate::store::Store;
use crate::{Cause, Count, DefaultHashBuilder, Ignore, Listener, Weigher};

/// A cache that holds entries up to a total weight and lets the least recently used ones go first.
///
/// Lookups take any borrowed form of the key, as in the standard maps. All operations take constant
/// time, apart from those that evict or visit many entries and insertions that make the index grow.
///
/// If a key's `Hash` or `Eq`, the weigher, the listener or a value's `Drop` panics, the cache stays
/// usable and consistent; the operation in question is then done or not done, never half done. As
/// in the standard maps, keys whose hash or equality change while they are cached can no longer be
/// found, and leave by eviction.
///
/// ```
/// use carrotcache_lru::LruCache;
///
/// let mut scores = LruCache::by_count(2);
/// scores.insert("Tom", 630)?;
/// scores.insert("Jack", 589)?;
/// scores.get("Tom");
/// scores.insert("Sam", 567)?;
///
/// assert_eq!(scores.peek("Jack"), None);
/// assert!(scores.iter().eq([(&"Sam", &567), (&"Tom", &630)]));
/// # Ok::<(), carrotcache_lru::Oversized<&str, i32>>(())
/// ```
#[derive(Clone)]
pub struct LruCache<K, V, W = Count, S = DefaultHashBuilder, L = Ignore> {
    pub(crate) store: Store<K, V>,
    pub(crate) weigher: W,
    pub(crate) hash_builder: S,
    pub(crate) listener: L,
    pub(crate) max_weight: u64,
}

impl<K, V> LruCache<K, V> {
    /// Returns an empty cache bounded by the number of its entries.
    #[must_use]
    pub fn by_count(max_entries: u64) -> Self {
        Self::new(max_entries, Count)
    }
}

impl<K, V, W> LruCache<K, V, W> {
    /// Returns an empty cache whose entries weigh at most `max_weight` together.
    ///
    /// Nothing is allocated before the first insertion.
    #[must_use]
    pub fn new(max_weight: u64, weigher: W) -> Self {
        Self::with_hasher(max_weight, weigher, DefaultHashBuilder::default())
    }
}

impl<K, V, W, S> LruCache<K, V, W, S> {
    /// Returns an empty cache that hashes keys by `hash_builder`.
    ///
    /// Take one that is seeded at random, as the default is, where keys come from strangers.
    #[must_use]
    pub fn with_hasher(max_weight: u64, weigher: W, hash_builder: S) -> Self {
        Self { store: Store::new(), weigher, hash_builder, listener: Ignore, max_weight }
    }
}

impl<K, V, W, S, L> LruCache<K, V, W, S, L> {
    /// Returns the cache with another listener, which is told of every entry that leaves.
    ///
    /// ```
    /// use carrotcache_lru::{Cause, LruCache};
    ///
    /// let mut removed = Vec::new();
    /// let mut scores = LruCache::by_count(2).on_evict(|name: &&str, _: &i32, cause| {
    ///     if cause == Cause::Removed {
    ///         removed.push(*name);
    ///     }
    /// });
    /// scores.extend([("Tom", 630), ("Jack", 589), ("Sam", 567)]);
    /// scores.remove("Sam");
    /// drop(scores);
    /// assert_eq!(removed, ["Sam"]);
    /// ```
    #[must_use]
    pub fn on_evict<F: FnMut(&K, &V, Cause)>(self, listener: F) -> LruCache<K, V, W, S, F> {
        let Self { store, weigher, hash_builder, max_weight, .. } = self;
        LruCache { store, weigher, hash_builder, listener, max_weight }
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Returns whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns what all entries weigh together; never more than [`max_weight`](Self::max_weight).
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.store.weight()
    }

    /// Returns the bound.
    #[must_use]
    pub fn max_weight(&self) -> u64 {
        self.max_weight
    }

    /// Returns the bytes that the cache itself has on the heap, spare room included.
    ///
    /// What keys and values own elsewhere, such as the text of a `String`, is not known here.
    ///
    /// ```
    /// use carrotcache_lru::LruCache;
    ///
    /// let mut scores = LruCache::by_count(1_000);
    /// assert_eq!(scores.memory_usage(), 0);
    /// scores.extend((0..1_000_u64).map(|key| (key, key)));
    /// // Two numbers of eight bytes and at most 24 bytes of the cache's own for each, and room for
    /// // a few more.
    /// assert!(scores.memory_usage() < 1_000 * 42);
    /// ```
    #[must_use]
    pub fn memory_usage(&self) -> usize {
        self.store.memory_usage()
    }

    /// Returns the hash builder.
    #[must_use]
    pub fn hasher(&self) -> &S {
        &self.hash_builder
    }

    /// Returns the least recently used entry without using it.
    ///
    /// ```
    /// use carrotcache_lru::LruCache;
    ///
    /// let mut scores = LruCache::by_count(2);
    /// scores.extend([("Tom", 630), ("Jack", 589)]);
    /// assert_eq!(scores.peek_lru(), Some((&"Tom", &630)));
    /// ```
    #[must_use]
    pub fn peek_lru(&self) -> Option<(&K, &V)> {
        let (key, value) = self.store.entry(self.store.back()?);
        Some((key, value))
    }
}

impl<K, V, W, S, L: Listener<K, V>> LruCache<K, V, W, S, L> {
    /// Takes the least recently used entry out. The cause is [`Cause::Removed`].
    ///
    /// ```
    /// use carrotcache_lru::LruCache;
    ///
    /// let mut scores = LruCache::by_count(2);
    /// scores.extend([("Tom", 630), ("Jack", 589)]);
    /// assert_eq!(scores.pop_lru(), Some(("Tom", 630)));
    /// assert_eq!(scores.len(), 1);
    /// ```
    pub fn pop_lru(&mut self) -> Option<(K, V)> {
        self.store.back().map(|slot| self.take(slot, Cause::Removed))
    }

    /// Sets the bound and evicts what no longer fits.
    ///
    /// ```
    /// use carrotcache_lru::LruCache;
    ///
    /// let mut scores = LruCache::by_count(3);
    /// scores.extend([("Tom", 630), ("Jack", 589), ("Sam", 567)]);
    /// scores.set_max_weight(1);
    /// assert!(scores.keys().eq(&["Sam"]));
    /// ```
    pub fn set_max_weight(&mut self, max_weight: u64) {
        self.max_weight = max_weight;
        self.make_room(0);
    }

    /// Removes the entries for which `keep` is false, from the most to the least recently used.
    ///
    /// ```
    /// use carrotcache_lru::LruCache;
    ///
    /// let mut scores = LruCache::by_count(3);
    /// scores.extend([("Tom", 630), ("Jack", 589), ("Sam", 567)]);
    /// scores.retain(|_, score| *score > 570);
    /// assert!(scores.keys().eq(&["Jack", "Tom"]));
    /// ```
    pub fn retain(&mut self, keep: impl FnMut(&K, &V) -> bool) {
        self.store.retain(keep, |(key, value), _| self.listener.left(&key, &value, Cause::Removed));
    }

    /// Removes every entry, from the most to the least recently used, and gives the memory back.
    pub fn clear(&mut self) {
        let mut cleared = std::mem::replace(&mut self.store, Store::new());
        while let Some((key, value)) = cleared.pop_front() {
            self.listener.left(&key, &value, Cause::Cleared);
        }
    }

    /// Evicts until entries of `weight` fit in. They must fit in an empty cache.
    pub(crate) fn make_room(&mut self, weight: u64) {
        while self.store.weight() > self.max_weight - weight
            && let Some(slot) = self.store.back()
        {
            self.take(slot, Cause::Capacity);
        }
    }

    /// Takes the entry in `slot` out and tells the listener.
    pub(crate) fn take(&mut self, slot: u32, cause: Cause) -> (K, V) {
        let (key, value) = self.store.remove(slot);
        self.listener.left(&key, &value, cause);
        (key, value)
    }
}

impl<K: Hash + Eq, V, W, S: BuildHasher, L> LruCache<K, V, W, S, L> {
    /// Returns the hash of a key, for the functions that take one.
    ///
    /// ```
    /// use carrotcache_lru::LruCache;
    ///
    /// let mut scores = LruCache::by_count(2);
    /// let hash = scores.hash("Tom");
    /// scores.insert_hashed(hash, "Tom", 630)?;
    /// assert_eq!(scores.get_hashed(hash, "Tom"), Some(&630));
    /// # Ok::<(), carrotcache_lru::Oversized<&str, i32>>(())
    /// ```
    #[inline]
    pub fn hash<Q: ?Sized + Hash>(&self, key: &Q) -> u64
    where
        K: Borrow<Q>,
    {
        self.hash_builder.hash_one(key)
    }

    /// Returns the value for `key`, which becomes the most recently used one.
    ///
    /// ```
    /// use carrotcache_lru::LruCache;
    ///
    /// let mut scores = LruCache::by_count(2);
    /// scores.extend([("Tom".to_owned(), 630), ("Jack".to_owned(), 589)]);
    /// assert_eq!(scores.get("Tom"), Some(&630));
    /// assert_eq!(scores.peek_lru(), Some((&"Jack".to_owned(), &589)));
    /// ```
    #[inline]
    pub fn get<Q: ?Sized + Hash + Eq>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.get_hashed(self.hash(key), key)
    }

    /// As [`get`](Self::get), for a caller that has the [`hash`](Self::hash) of the key.
    #[inline]
    pub fn get_hashed<Q: ?Sized + Eq>(&mut self, hash: u64, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let slot = self.find(hash, key)?;
        self.store.promote(slot);
        Some(&self.store.entry(slot).1)
    }

    /// Returns the value for `key` and leaves the order of use as it is.
    #[inline]
    pub fn peek<Q: ?Sized + Hash + Eq>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.peek_hashed(self.hash(key), key)
    }

    /// As [`peek`](Self::peek), for a caller that has the [`hash`](Self::hash) of the key.
    #[inline]
    pub fn peek_hashed<Q: ?Sized + Eq>(&self, hash: u64, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        Some(&self.store.entry(self.find(hash, key)?).1)
    }

    /// Returns whether there is an entry for `key`, and leaves the order of use as it is.
    pub fn contains_key<Q: ?Sized + Hash + Eq>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(self.hash(key), key).is_some()
    }

    #[inline]
    pub(crate) fn find<Q: ?Sized + Eq>(&self, hash: u64, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
    {
        self.store.find_key(index_hash(hash), key)
    }
}

impl<K, V, W, S, L> LruCache<K, V, W, S, L>
where
    K: Hash + Eq,
    W: Weigher<K, V>,
    S: BuildHasher,
    L: Listener<K, V>,
{
    /// Removes the entry for `key` and returns its value.
    ///
    /// ```
    /// use carrotcache_lru::LruCache;
    ///
    /// let mut scores = LruCache::by_count(2);
    /// scores.extend([("Tom", 630)]);
    /// assert_eq!(scores.remove("Tom"), Some(630));
    /// assert_eq!(scores.remove("Tom"), None);
    /// ```
    pub fn remove<Q: ?Sized + Hash + Eq>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.remove_entry(key).map(|(_, value)| value)
    }

    /// Removes the entry for `key` and returns it.
    pub fn remove_entry<Q: ?Sized + Hash + Eq>(&mut self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        self.remove_hashed(self.hash(key), key)
    }

    /// As [`remove_entry`](Self::remove_entry), for a caller that has the key's hash.
    pub fn remove_hashed<Q: ?Sized + Eq>(&mut self, hash: u64, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        self.find(hash, key).map(|slot| self.take(slot, Cause::Removed))
    }
}
