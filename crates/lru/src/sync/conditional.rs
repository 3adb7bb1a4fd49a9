//! Operations that leave the last word to the caller, who has it under the shard's lock.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

use super::Cache;
use crate::hash::index_hash;
use crate::{Cause, TryInsertError, Weigher};

impl<K: Hash + Eq, V: Clone, W, S: BuildHasher> Cache<K, V, W, S> {
    /// Returns a clone of the value for `key` if it `is_wanted`, and marks the entry as used.
    ///
    /// An entry whose value is refused is as good as none: this is a miss, the value is not cloned,
    /// and the entry is not marked. For values that say themselves until when they are good:
    ///
    /// ```
    /// use carrotcache_lru::{Count, sync::Cache};
    ///
    /// let cache = Cache::new(10, Count);
    /// let (now, good_until) = (7, |hour: u32| move |value: &(u32, &str)| value.0 > hour);
    /// cache.insert("Tom", (8, "630"))?;
    /// assert_eq!(cache.get_if("Tom", good_until(now)), Some((8, "630")));
    /// assert_eq!(cache.get_if("Tom", good_until(now + 1)), None);
    /// assert_eq!((cache.hits(), cache.misses(), cache.len()), (1, 1, 1));
    /// # Ok::<(), carrotcache_lru::Oversized<&str, (u32, &str)>>(())
    /// ```
    ///
    /// The predicate runs [under the shard's lock](super#what-runs-under-a-lock), once if there is an
    /// entry, and must not use the cache.
    #[inline]
    pub fn get_if<Q: ?Sized + Hash + Eq>(
        &self,
        key: &Q,
        is_wanted: impl FnOnce(&V) -> bool,
    ) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.get_hashed_if(self.hash(key), key, is_wanted)
    }

    /// As [`get_if`](Self::get_if), for a caller that has the [`hash`](Self::hash) of the key.
    #[inline]
    pub fn get_hashed_if<Q: ?Sized + Eq>(
        &self,
        hash: u64,
        key: &Q,
        is_wanted: impl FnOnce(&V) -> bool,
    ) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.shards()[self.shard_of(hash)].lock().get_if(index_hash(hash), key, is_wanted)
    }

    /// As [`get_hashed_if`](Self::get_hashed_if), for a caller that asks again if it gets nothing:
    /// only the second time counts as a [miss](Self::misses). See [`hit_hashed`](Self::hit_hashed).
    #[inline]
    pub fn hit_hashed_if<Q: ?Sized + Eq>(
        &self,
        hash: u64,
        key: &Q,
        is_wanted: impl FnOnce(&V) -> bool,
    ) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.shards()[self.shard_of(hash)].lock().hit_if(index_hash(hash), key, is_wanted)
    }

    /// As [`get_hashed_if`](Self::get_hashed_if), but it neither counts nor marks the entry: see
    /// [`peek_hashed`](Self::peek_hashed).
    #[inline]
    pub fn peek_hashed_if<Q: ?Sized + Eq>(
        &self,
        hash: u64,
        key: &Q,
        is_wanted: impl FnOnce(&V) -> bool,
    ) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let state = self.shards()[self.shard_of(hash)].lock();
        let slot = state.find_if(index_hash(hash), key, is_wanted)?;
        Some(state.store.entry(slot).1.clone())
    }
}

impl<K: Hash + Eq, V, W, S: BuildHasher> Cache<K, V, W, S> {
    /// Removes the entry for `key` if `is_unwanted` says so of its value, and returns that.
    ///
    /// `None` if there is no entry, or it stays. Between the look and the removal nobody can put
    /// another value in its place:
    ///
    /// ```
    /// use carrotcache_lru::{Count, sync::Cache};
    ///
    /// let cache = Cache::new(10, Count);
    /// cache.insert("Tom", 630)?;
    /// assert_eq!(cache.remove_if("Tom", |score| *score < 600), None);
    /// assert_eq!(cache.remove_if("Tom", |score| *score == 630), Some(630));
    /// # Ok::<(), carrotcache_lru::Oversized<&str, i32>>(())
    /// ```
    ///
    /// The predicate runs [under the shard's lock](super#what-runs-under-a-lock), once if there is an
    /// entry, and must not use the cache.
    pub fn remove_if<Q: ?Sized + Hash + Eq>(
        &self,
        key: &Q,
        is_unwanted: impl FnOnce(&V) -> bool,
    ) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.remove_hashed_if(self.hash(key), key, is_unwanted).map(|(_, value)| value)
    }

    /// As [`remove_if`](Self::remove_if), for a caller that has the [`hash`](Self::hash) of the key.
    /// Returns the key as well.
    pub fn remove_hashed_if<Q: ?Sized + Eq>(
        &self,
        hash: u64,
        key: &Q,
        is_unwanted: impl FnOnce(&V) -> bool,
    ) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        let entry = {
            let mut state = self.shards()[self.shard_of(hash)].lock();
            let slot = state.find_if(index_hash(hash), key, is_unwanted)?;
            self.take(&mut state.store, slot)
        };
        self.tell(&entry, Cause::Removed);
        Some(entry)
    }
}

impl<K, V, W, S> Cache<K, V, W, S>
where
    K: Hash + Eq,
    W: Weigher<K, V>,
    S: BuildHasher,
{
    /// Does what [`try_insert`](Self::try_insert) does if `is_wanted` says so, which is given the
    /// value that would be replaced.
    ///
    /// The decision and the insertion are one step, with respect to all that other threads do with
    /// the key. So whoever first makes a predicate say no and then removes the key knows that nothing
    /// comes in after the removal:
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering};
    ///
    /// use carrotcache_lru::{Count, TryInsertError, sync::Cache};
    ///
    /// let cache = Cache::new(10, Count);
    /// let stale = AtomicBool::new(false);
    /// let keep = || cache.try_insert_if("Tom", 630, |_| !stale.load(Ordering::Acquire));
    /// assert_eq!(keep(), Ok(None));
    ///
    /// // The row was updated: on this thread, or on any other.
    /// stale.store(true, Ordering::Release);
    /// assert_eq!(cache.remove("Tom"), Some(630));
    ///
    /// assert_eq!(keep(), Err(TryInsertError::Refused { key: "Tom", value: 630 }));
    /// ```
    ///
    /// The predicate runs [under the shard's lock](super#what-runs-under-a-lock), once unless the
    /// entry is oversized, and must not use the cache. That it says yes does not mean that there is
    /// room: a caller who makes some asks again, with a predicate that looks again.
    ///
    /// # Errors
    ///
    /// As [`try_insert`](Self::try_insert), and [`TryInsertError::Refused`], which also hands the
    /// entry back. Nothing was changed.
    pub fn try_insert_if(
        &self,
        key: K,
        value: V,
        is_wanted: impl FnOnce(Option<&V>) -> bool,
    ) -> Result<Option<V>, TryInsertError<K, V>> {
        self.try_insert_hashed_if(self.hash(&key), key, value, is_wanted)
    }

    /// As [`try_insert_if`](Self::try_insert_if), for a caller that has the [`hash`](Self::hash).
    ///
    /// # Errors
    ///
    /// As [`try_insert_if`](Self::try_insert_if).
    pub fn try_insert_hashed_if(
        &self,
        hash: u64,
        key: K,
        value: V,
        is_wanted: impl FnOnce(Option<&V>) -> bool,
    ) -> Result<Option<V>, TryInsertError<K, V>> {
        self.try_insert_wanted(hash, key, value, is_wanted)
    }
}
