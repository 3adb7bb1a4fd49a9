//! Visiting entries in the order of their use.

use std::fmt;
use std::iter::FusedIterator;

use crate::LruCache;
use crate::store::Store;

impl<K, V, W, S, L> LruCache<K, V, W, S, L> {
    /// Returns the entries from the most to the least recently used, without using them.
    ///
    /// ```
    /// use carrotcache_lru::LruCache;
    ///
    /// let mut scores = LruCache::by_count(3);
    /// scores.extend([("Tom", 630), ("Jack", 589), ("Sam", 567)]);
    /// scores.get("Tom");
    /// assert!(scores.iter().eq([(&"Tom", &630), (&"Sam", &567), (&"Jack", &589)]));
    /// assert_eq!(scores.iter().next_back(), Some((&"Jack", &589)));
    /// ```
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter {
            store: &self.store,
            front: self.store.first(),
            back: self.store.last(),
            left: self.len(),
        }
    }

    /// Returns the keys from the most to the least recently used.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + ExactSizeIterator {
        self.iter().map(|(key, _)| key)
    }

    /// Returns the values from the most to the least recently used, without using them.
    ///
    /// ```
    /// use carrotcache_lru::LruCache;
    ///
    /// let mut scores = LruCache::by_count(3);
    /// scores.extend([("Tom", 630), ("Jack", 589), ("Sam", 567)]);
    /// assert!(scores.values().rev().eq(&[630, 589, 567]));
    /// assert_eq!(scores.values().len(), 3);
    /// ```
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + ExactSizeIterator {
        self.iter().map(|(_, value)| value)
    }
}

/// Entries from the most to the least recently used; from [`LruCache::iter`].
#[must_use = "iterators do nothing unless consumed"]
pub struct Iter<'a, K, V> {
    store: &'a Store<K, V>,
    front: u32,
    back: u32,
    left: usize,
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (key, value) = self.store.entry(self.front);
        self.front = self.store.next(self.front);
        Some((key, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<K, V> DoubleEndedIterator for Iter<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (key, value) = self.store.entry(self.back);
        self.back = self.store.prev(self.back);
        Some((key, value))
    }
}

impl<K, V> ExactSizeIterator for Iter<'_, K, V> {}

impl<K, V> FusedIterator for Iter<'_, K, V> {}

// By hand, so that keys and values need not be `Clone`.
impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Iter<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<'a, K, V, W, S, L> IntoIterator for &'a LruCache<K, V, W, S, L> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Owned entries from the most to the least recently used; from [`LruCache::into_iter`].
#[must_use = "iterators do nothing unless consumed"]
pub struct IntoIter<K, V> {
    store: Store<K, V>,
}

impl<K, V> Iterator for IntoIter<K, V> {
    type Item = (K, V);

    fn next(&mut self) -> Option<Self::Item> {
        self.store.pop_front()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.store.len(), Some(self.store.len()))
    }
}

impl<K, V> DoubleEndedIterator for IntoIter<K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.store.pop_back()
    }
}

impl<K, V> ExactSizeIterator for IntoIter<K, V> {}

impl<K, V> FusedIterator for IntoIter<K, V> {}

impl<K, V> fmt::Debug for IntoIter<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoIter").field("len", &self.store.len()).finish_non_exhaustive()
    }
}

/// Takes the cache apart; the listener is not told.
impl<K, V, W, S, L> IntoIterator for LruCache<K, V, W, S, L> {
    type Item = (K, V);
    type IntoIter = IntoIter<K, V>;

    fn into_iter(self) -> IntoIter<K, V> {
        IntoIter { store: self.store }
    }
}

/// Shows the entries as a map, from the most to the least recently used.
impl<K: fmt::Debug, V: fmt::Debug, W, S, L> fmt::Debug for LruCache<K, V, W, S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}
