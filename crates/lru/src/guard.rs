//! Mutable access that keeps the weights true.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::ops::{Deref, DerefMut};

use crate::{Cause, Ignore, Listener, LruCache, Weigher};

/// Mutable access to a cached value, from [`LruCache::get_mut`].
///
/// When it is dropped the entry is weighed again. If it has grown, less recently used entries are
/// evicted until the bound holds; if it has outgrown the whole bound, only it is evicted. A guard
/// that is leaked leaves the entry with the weight it had.
///
/// The entry is at the front of the order, and nothing else reaches the cache while the guard lives,
/// so it is still there when the guard is dropped. That must be before the cache is used again, which
/// the borrow checker sees to.
#[must_use = "taking a guard and dropping it only uses and weighs the entry"]
pub struct RefMut<'a, K, V, W, S, L = Ignore>
where
    K: Hash + Eq,
    W: Weigher<K, V>,
    S: BuildHasher,
    L: Listener<K, V>,
{
    cache: &'a mut LruCache<K, V, W, S, L>,
}

impl<'a, K, V, W, S, L> RefMut<'a, K, V, W, S, L>
where
    K: Hash + Eq,
    W: Weigher<K, V>,
    S: BuildHasher,
    L: Listener<K, V>,
{
    /// Guards the most recently used entry. The cache must not be empty.
    pub(crate) fn new(cache: &'a mut LruCache<K, V, W, S, L>) -> Self {
        Self { cache }
    }

    /// Returns the key of the entry.
    #[must_use]
    pub fn key(&self) -> &K {
        &self.cache.store.entry(self.cache.store.first()).0
    }
}

impl<K, V, W, S, L> LruCache<K, V, W, S, L>
where
    K: Hash + Eq,
    W: Weigher<K, V>,
    S: BuildHasher,
    L: Listener<K, V>,
{
    /// Returns the value for `key` behind a guard, and makes it the most recently used one.
    ///
    /// The entry is weighed again when the guard is dropped: see [`RefMut`].
    ///
    /// ```
    /// use carrotcache_lru::LruCache;
    ///
    /// let mut texts = LruCache::new(5, |_: &u8, text: &String| text.len() as u64);
    /// texts.insert(1, "one".to_owned())?;
    /// texts.insert(2, "2".to_owned())?;
    /// if let Some(mut text) = texts.get_mut(&2) {
    ///     text.push_str("nd");
    /// }
    /// // Three bytes and three are more than five, so the one used longer ago had to leave.
    /// assert!(texts.keys().eq(&[2]));
    /// # Ok::<(), carrotcache_lru::Oversized<u8, String>>(())
    /// ```
    pub fn get_mut<Q: ?Sized + Hash + Eq>(&mut self, key: &Q) -> Option<RefMut<'_, K, V, W, S, L>>
    where
        K: Borrow<Q>,
    {
        self.get_mut_hashed(self.hash(key), key)
    }

    /// As [`get_mut`](Self::get_mut), for a caller that has the [`hash`](Self::hash) of the key.
    pub fn get_mut_hashed<Q: ?Sized + Eq>(
        &mut self,
        hash: u64,
        key: &Q,
    ) -> Option<RefMut<'_, K, V, W, S, L>>
    where
        K: Borrow<Q>,
    {
        let slot = self.find(hash, key)?;
        self.store.promote(slot);
        Some(RefMut::new(self))
    }
}

impl<K, V, W, S, L> Deref for RefMut<'_, K, V, W, S, L>
where
    K: Hash + Eq,
    W: Weigher<K, V>,
    S: BuildHasher,
    L: Listener<K, V>,
{
    type Target = V;

    fn deref(&self) -> &V {
        &self.cache.store.entry(self.cache.store.first()).1
    }
}

impl<K, V, W, S, L> DerefMut for RefMut<'_, K, V, W, S, L>
where
    K: Hash + Eq,
    W: Weigher<K, V>,
    S: BuildHasher,
    L: Listener<K, V>,
{
    fn deref_mut(&mut self) -> &mut V {
        &mut self.cache.store.entry_mut(self.cache.store.first()).1
    }
}

impl<K, V, W, S, L> Drop for RefMut<'_, K, V, W, S, L>
where
    K: Hash + Eq,
    W: Weigher<K, V>,
    S: BuildHasher,
    L: Listener<K, V>,
{
    fn drop(&mut self) {
        let slot = self.cache.store.first();
        let (key, value) = self.cache.store.entry(slot);
        let weight = self.cache.weigher.weight(key, value);
        if weight > self.cache.max_weight {
            self.cache.take(slot, Cause::Capacity);
        } else {
            self.cache.reweigh_front(weight);
        }
    }
}

impl<K, V, W, S, L> fmt::Debug for RefMut<'_, K, V, W, S, L>
where
    K: Hash + Eq,
    V: fmt::Debug,
    W: Weigher<K, V>,
    S: BuildHasher,
    L: Listener<K, V>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
