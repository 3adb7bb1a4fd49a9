//! How entries are taken out of a shared cache.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::Ordering;

use super::Cache;
use super::shard::Departed;
use crate::Cause;
use crate::hash::index_hash;
use crate::store::Store;

impl<K, V, W, S> Cache<K, V, W, S> {
    /// Takes an entry out: the one that its shard would evict next.
    ///
    /// Shards take turns, and empty ones are passed over. `None` means that each was empty when it
    /// was looked at. The cause is [`Cause::Removed`].
    ///
    /// ```
    /// use carrotcache_lru::sync::Cache;
    ///
    /// let cache = Cache::new(10, |_: &&str, _: &i32| 5);
    /// cache.insert("Tom", 630)?;
    /// assert_eq!(cache.pop_lru(), Some(("Tom", 630)));
    /// assert_eq!((cache.pop_lru(), cache.budget().used()), (None, 0));
    /// # Ok::<(), carrotcache_lru::Oversized<&str, i32>>(())
    /// ```
    pub fn pop_lru(&self) -> Option<(K, V)> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        (0..self.shards().len()).find_map(|step| {
            let shard = &self.shards()[turn.wrapping_add(step) % self.shards().len()];
            let entry = {
                let store = &mut shard.lock().store;
                let slot = store.spare_marked()?;
                self.take(store, slot)
            };
            self.tell(&entry, Cause::Removed);
            Some(entry)
        })
    }

    /// Removes every entry, shard by shard, and gives the memory back.
    ///
    /// ```
    /// use carrotcache_lru::sync::Cache;
    ///
    /// let cache = Cache::new(10, |_: &&str, _: &i32| 5);
    /// cache.insert("Tom", 630)?;
    /// cache.clear();
    /// assert_eq!((cache.len(), cache.budget().used()), (0, 0));
    /// # Ok::<(), carrotcache_lru::Oversized<&str, i32>>(())
    /// ```
    pub fn clear(&self) {
        for shard in self.shards() {
            let mut cleared = {
                let store = &mut shard.lock().store;
                let cleared = std::mem::replace(store, Store::new());
                self.account.release(cleared.weight());
                cleared
            };
            while let Some(entry) = cleared.pop_front() {
                self.tell(&entry, Cause::Cleared);
            }
        }
    }

    /// Removes the entries for which `keep` is false, shard by shard, with the shard locked.
    ///
    /// `keep` must not use the cache: it would wait for itself.
    ///
    /// ```
    /// use carrotcache_lru::sync::Cache;
    ///
    /// let cache = Cache::new(10, |_: &&str, _: &i32| 1);
    /// cache.insert("Tom", 630)?;
    /// cache.insert("Jack", 589)?;
    /// cache.retain(|_, score| *score > 600);
    /// assert_eq!((cache.len(), cache.contains_key("Tom")), (1, true));
    /// # Ok::<(), carrotcache_lru::Oversized<&str, i32>>(())
    /// ```
    pub fn retain(&self, mut keep: impl FnMut(&K, &V) -> bool) {
        for shard in self.shards() {
            let mut departed = Departed::new();
            shard.lock().store.retain(&mut keep, |(key, value), weight| {
                // At once, so that the budget is right even if `keep` panics at the next entry.
                self.account.release(weight);
                departed.push(key, value, Cause::Removed);
            });
            self.tell_all(departed);
        }
    }

    /// Takes an entry out of a locked shard and gives its weight back before that is unlocked: who
    /// locks all shards to find room finds every weight in a shard or free.
    pub(super) fn take(&self, store: &mut Store<K, V>, slot: u32) -> (K, V) {
        let weight = store.weight_of(slot);
        let entry = store.remove(slot);
        self.account.release(weight);
        entry
    }
}

impl<K: Hash + Eq, V, W, S: BuildHasher> Cache<K, V, W, S> {
    /// Removes the entry for `key` and returns its value.
    pub fn remove<Q: ?Sized + Hash + Eq>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.remove_hashed(self.hash(key), key).map(|(_, value)| value)
    }

    /// As [`remove`](Self::remove), for a caller that has the [`hash`](Self::hash) of the key.
    /// Returns the key as well.
    pub fn remove_hashed<Q: ?Sized + Eq>(&self, hash: u64, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        let entry = {
            let store = &mut self.shards()[self.shard_of(hash)].lock().store;
            let slot = store.find_key(index_hash(hash), key)?;
            self.take(store, slot)
        };
        self.tell(&entry, Cause::Removed);
        Some(entry)
    }
}
