//! Who is told that an entry left, and why.

/// Is told of every entry that leaves a cache, once, with the cause.
///
/// The cache is consistent when the listener runs, and a listener that panics leaves it so. The
/// entry is dropped afterwards, or handed to whoever asked for it. Closures are listeners:
///
/// ```
/// use carrotcache_lru::{Cause, LruCache};
/// use std::sync::mpsc;
///
/// let (tell, told) = mpsc::channel();
/// let mut cache = LruCache::<&str, u32>::by_count(1).on_evict(move |key, _, cause| {
///     let _ = tell.send((*key, cause));
/// });
/// cache.insert("Tom", 630)?;
/// cache.insert("Jack", 589)?;
/// assert_eq!(told.try_recv(), Ok(("Tom", Cause::Capacity)));
/// # Ok::<(), carrotcache_lru::Oversized<&str, u32>>(())
/// ```
pub trait Listener<K: ?Sized, V: ?Sized> {
    /// Tells that the entry left.
    fn left(&mut self, key: &K, value: &V, cause: Cause);
}

impl<K: ?Sized, V: ?Sized, F: FnMut(&K, &V, Cause)> Listener<K, V> for F {
    fn left(&mut self, key: &K, value: &V, cause: Cause) {
        self(key, value, cause);
    }
}

/// Listens to nothing; what a cache has until [`on_evict`](crate::LruCache::on_evict) is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignore;

impl<K: ?Sized, V: ?Sized> Listener<K, V> for Ignore {
    fn left(&mut self, _: &K, _: &V, _: Cause) {}
}

/// Why an entry left a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// It was the least recently used one when room was needed, or grew heavier than the bound.
    Capacity,
    /// Its value was replaced by another for the same key. The key stays.
    Replaced,
    /// It was removed by its key, by `pop_lru` or by `retain`.
    Removed,
    /// The whole cache was cleared.
    Cleared,
}
