//! How entries come into a shared cache.

use std::hash::{BuildHasher, Hash};
use std::sync::MutexGuard;

use super::Cache;
use super::shard::{Departed, Shard, State};
use crate::hash::index_hash;
use crate::{Cause, Oversized, TryInsertError, Weigher};

/// An entry on its way in, weighed and hashed.
struct Incoming<K, V> {
    hash: u64,
    key: K,
    value: V,
    weight: u64,
}

impl<K, V, W, S> Cache<K, V, W, S>
where
    K: Hash + Eq,
    W: Weigher<K, V>,
    S: BuildHasher,
{
    /// Stores the value and returns the one it replaces, if any.
    ///
    /// While the budget has no room for the entry, or for the difference to the one it replaces,
    /// entries of this cache that have not been used for long are evicted: from the entry's own shard,
    /// and when nothing is left there, from the heaviest. The replaced entry is never evicted for that,
    /// and keeps its key.
    ///
    /// # Errors
    ///
    /// [`Oversized`] hands an entry back that is heavier than the whole bound, and what was cached
    /// for the key before still is. So it does when other caches of the budget hold so much that
    /// there is no room for the entry even with this cache empty, which it then is.
    ///
    /// ```
    /// use carrotcache_lru::sync::Cache;
    ///
    /// let cache = Cache::new(10, |_: &&str, score: &i32| *score as u64);
    /// cache.insert("Tom", 6)?;
    /// cache.insert("Jack", 9)?;
    /// assert_eq!((cache.get("Tom"), cache.get("Jack")), (None, Some(9)));
    /// assert!(cache.insert("Sam", 11).is_err());
    /// # Ok::<(), carrotcache_lru::Oversized<&str, i32>>(())
    /// ```
    pub fn insert(&self, key: K, value: V) -> Result<Option<V>, Oversized<K, V>> {
        self.insert_hashed(self.hash(&key), key, value)
    }

    /// As [`insert`](Self::insert), for a caller that has the [`hash`](Self::hash) of the key.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert).
    pub fn insert_hashed(&self, hash: u64, key: K, value: V) -> Result<Option<V>, Oversized<K, V>> {
        let incoming = self.weigh(hash, key, value)?;
        let mut departed = Departed::new();
        let own = self.shard_of(hash);
        let mut result = self.put(&mut [self.shards()[own].lock()], 0, incoming, &mut departed);
        if let Err(incoming) = result {
            // Locked in one order, by everyone who needs more than one, so no two wait in a circle.
            let mut all: Vec<_> = self.shards().iter().map(Shard::lock).collect();
            result = self.put(&mut all, own, incoming, &mut departed);
        }
        self.tell_all(departed);
        match result {
            Ok(replaced) => Ok(self.tell_replaced(replaced)),
            Err(incoming) => Err(self.oversized(incoming)),
        }
    }

    /// Stores the value if the budget has room for it, and evicts nothing.
    ///
    /// # Errors
    ///
    /// [`TryInsertError`] hands the entry back: it is heavier than the whole bound, or there is no
    /// room for it, or for the difference to the entry it would replace. Nothing was changed.
    ///
    /// ```
    /// use carrotcache_lru::sync::Cache;
    ///
    /// let cache = Cache::new(10, |_: &&str, score: &i32| *score as u64);
    /// cache.insert("Tom", 6)?;
    /// // The caller's choice of who has to leave.
    /// while cache.try_insert("Jack", 9).is_err() {
    ///     cache.pop_lru();
    /// }
    /// assert_eq!(cache.get("Jack"), Some(9));
    /// # Ok::<(), carrotcache_lru::Oversized<&str, i32>>(())
    /// ```
    pub fn try_insert(&self, key: K, value: V) -> Result<Option<V>, TryInsertError<K, V>> {
        self.try_insert_hashed(self.hash(&key), key, value)
    }

    /// As [`try_insert`](Self::try_insert), for a caller that has the [`hash`](Self::hash).
    ///
    /// # Errors
    ///
    /// As [`try_insert`](Self::try_insert).
    pub fn try_insert_hashed(
        &self,
        hash: u64,
        key: K,
        value: V,
    ) -> Result<Option<V>, TryInsertError<K, V>> {
        self.try_insert_wanted(hash, key, value, |_| true)
    }

    /// Stores the value if it `is_wanted` where it would replace what that is given, and there is
    /// room for it.
    pub(super) fn try_insert_wanted(
        &self,
        hash: u64,
        key: K,
        value: V,
        is_wanted: impl FnOnce(Option<&V>) -> bool,
    ) -> Result<Option<V>, TryInsertError<K, V>> {
        let incoming = self.weigh(hash, key, value).map_err(TryInsertError::Oversized)?;
        Ok(self.tell_replaced(self.put_if_room(incoming, is_wanted)?))
    }

    /// Weighs an entry, with no lock held.
    fn weigh(&self, hash: u64, key: K, value: V) -> Result<Incoming<K, V>, Oversized<K, V>> {
        let weight = self.weigher.weight(&key, &value);
        let incoming = Incoming { hash, key, value, weight };
        if weight > self.budget().max() {
            return Err(self.oversized(incoming));
        }
        Ok(incoming)
    }

    /// Hands an entry back.
    fn oversized(&self, incoming: Incoming<K, V>) -> Oversized<K, V> {
        let Incoming { key, value, weight, .. } = incoming;
        Oversized { key, value, weight, max_weight: self.budget().max() }
    }

    /// Tells of the replaced value, of which the key that came with the new one is the key too.
    fn tell_replaced(&self, replaced: Option<(K, V)>) -> Option<V> {
        let entry = replaced?;
        self.tell(&entry, Cause::Replaced);
        Some(entry.1)
    }

    /// Puts the entry in if it is wanted, and what it weighs more than the one it replaces is free.
    fn put_if_room(
        &self,
        incoming: Incoming<K, V>,
        is_wanted: impl FnOnce(Option<&V>) -> bool,
    ) -> Result<Option<(K, V)>, TryInsertError<K, V>> {
        let mut state = self.shards()[self.shard_of(incoming.hash)].lock();
        let slot = state.find(&incoming);
        // Before anything is reserved or moved, since it may panic.
        if !is_wanted(slot.map(|slot| &state.store.entry(slot).1)) {
            let Incoming { key, value, .. } = incoming;
            return Err(TryInsertError::Refused { key, value });
        }
        let held = slot.map_or(0, |slot| state.store.weight_of(slot));
        let mut credit = held;
        let is_full = slot.is_none() && state.store.is_full();
        if is_full || !self.account.top_up(&mut credit, incoming.weight) {
            let Incoming { key, value, .. } = incoming;
            return Err(TryInsertError::NoRoom { key, value });
        }
        if let Some(slot) = slot {
            state.store.promote(slot);
        }
        let surplus = credit - incoming.weight;
        let replaced = state.put(slot.is_some(), incoming);
        self.account.release(surplus);
        Ok(replaced)
    }

    /// Puts the entry in, with one or all shards locked, of which `states[own]` is the entry's.
    ///
    /// What the evicted and the replaced entry weighed stays reserved and is this insertion's to
    /// use, so no other thread can take the room that was made. Fails when nothing is left to evict.
    fn put(
        &self,
        states: &mut [MutexGuard<'_, State<K, V>>],
        own: usize,
        incoming: Incoming<K, V>,
        departed: &mut Departed<K, V>,
    ) -> Result<Option<(K, V)>, Incoming<K, V>> {
        let slot = states[own].find(&incoming);
        let held = slot.map_or(0, |slot| states[own].store.weight_of(slot));
        let mut credit = held;
        if let Some(slot) = slot {
            // Out of the way of evictions, which take entries from the other end.
            states[own].store.promote(slot);
        } else if states[own].store.is_full() {
            states[own].store.spare_marked();
            credit += states[own].evict(departed);
        }
        while !self.account.top_up(&mut credit, incoming.weight) {
            let Some(heaviest) = heaviest(states, own, held) else {
                self.account.release(credit - held);
                return Err(incoming);
            };
            let state = &mut states[heaviest];
            let front = state.store.first();
            state.store.spare_marked();
            if slot.is_some() && heaviest == own {
                // What was spared passed the entry that is replaced, and may have pushed it to the end.
                state.store.promote(front);
            }
            let lightest_credit = credit + state.store.weight_of(state.store.last());
            if slot.is_none() && heaviest == own && lightest_credit >= incoming.weight {
                // The last eviction that is needed hands its slot to the new entry.
                let surplus = lightest_credit - incoming.weight;
                state.put_over_last(incoming, departed);
                self.account.release(surplus);
                return Ok(None);
            }
            credit += state.evict(departed);
        }
        let surplus = credit - incoming.weight;
        let replaced = states[own].put(slot.is_some(), incoming);
        self.account.release(surplus);
        Ok(replaced)
    }
}

/// The shard with the most weight to evict, the `held` weight of an entry in `own` apart.
fn heaviest<K, V>(states: &[MutexGuard<'_, State<K, V>>], own: usize, held: u64) -> Option<usize> {
    let weights = states.iter().map(|state| state.store.weight()).enumerate();
    let evictable = weights.map(|(at, weight)| (weight - if at == own { held } else { 0 }, at));
    evictable.max().filter(|&(weight, _)| weight > 0).map(|(_, at)| at)
}

impl<K: Eq, V> State<K, V> {
    /// The slot of the entry with the same key.
    fn find(&self, incoming: &Incoming<K, V>) -> Option<u32> {
        self.store.find_key(index_hash(incoming.hash), &incoming.key)
    }

    /// Puts the entry in, over the one at the front if that `is_there` for the same key, and
    /// returns the old value with the new key.
    fn put(&mut self, is_there: bool, incoming: Incoming<K, V>) -> Option<(K, V)> {
        let Incoming { hash, key, value, weight } = incoming;
        if !is_there {
            self.store.push_front(index_hash(hash), key, value, weight);
            return None;
        }
        let front = self.store.first();
        self.store.set_weight(front, weight);
        Some((key, std::mem::replace(&mut self.store.entry_mut(front).1, value)))
    }

    /// Evicts the last entry and puts the new one into its slot.
    fn put_over_last(&mut self, incoming: Incoming<K, V>, departed: &mut Departed<K, V>) {
        let Incoming { hash, key, value, weight } = incoming;
        let evicted = self.store.replace_back(index_hash(hash), key, value, weight);
        if let Some((key, value)) = evicted {
            self.evictions += 1;
            departed.push(key, value, Cause::Capacity);
        }
    }
}
