//! Mutable access that keeps the weights true.

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
/// The guard has the entry at the front of the order and no other way to the cache, so that the
/// entry is where it was when the guard goes. It must be dropped before the cache is used again,
/// which the borrow checker sees to.
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
