//! How much of the bound an entry takes.

/// Tells how much an entry counts towards a cache's bound.
///
/// The weight is asked for when an entry comes in and when it may have changed, and remembered in
/// between, so a weigher that later answers otherwise does no harm. Any unit will do as long as
/// the bound has the same: bytes, most of the time. Zero is allowed: such an entry takes nothing of
/// the bound and leaves when its turn comes.
///
/// Closures are weighers:
///
/// ```
/// use carrotcache_lru::LruCache;
///
/// let by_bytes = |key: &String, value: &Vec<u8>| (key.len() + value.len()) as u64;
/// let mut cache = LruCache::new(1 << 20, by_bytes);
/// cache.insert("Tom".to_owned(), b"630".to_vec())?;
/// assert_eq!(cache.weight(), 6);
/// # Ok::<(), carrotcache_lru::Oversized<String, Vec<u8>>>(())
/// ```
pub trait Weigher<K: ?Sized, V: ?Sized> {
    /// Returns the weight of the entry.
    fn weight(&self, key: &K, value: &V) -> u64;
}

impl<K: ?Sized, V: ?Sized, F: Fn(&K, &V) -> u64> Weigher<K, V> for F {
    fn weight(&self, key: &K, value: &V) -> u64 {
        self(key, value)
    }
}

/// Weighs every entry 1, so that the bound is a number of entries.
///
/// It is chosen by name, with [`LruCache::by_count`](crate::LruCache::by_count) or as a weigher:
/// a cache that should have been bounded in bytes and counts entries runs out of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count;

impl<K: ?Sized, V: ?Sized> Weigher<K, V> for Count {
    fn weight(&self, _: &K, _: &V) -> u64 {
        1
    }
}
