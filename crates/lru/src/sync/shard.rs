//! One shard, and what left it while it was locked.

use std::borrow::Borrow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Cause;
use crate::store::Store;

/// A lock and the part of the entries it guards, on cache lines of its own.
#[repr(align(128))]
pub(super) struct Shard<K, V>(Mutex<State<K, V>>);

/// What the lock of a shard guards.
pub(super) struct State<K, V> {
    /// The entries, in the order in which they came in or were last spared.
    pub(super) store: Store<K, V>,
    /// How many entries ever left for [`Cause::Capacity`].
    pub(super) evictions: u64,
    /// How many gets ever found an entry. Counted here, where the lock is held anyway: an atomic
    /// counter would cost a hit a tenth of its time.
    pub(super) hits: u64,
    /// How many gets ever found no entry.
    pub(super) misses: u64,
}

impl<K, V> Shard<K, V> {
    /// An empty shard, which allocates nothing before its first entry.
    pub(super) fn new() -> Self {
        Self(Mutex::new(State { store: Store::new(), evictions: 0, hits: 0, misses: 0 }))
    }

    /// Locks the shard. A panic of another holder does not matter: user code runs under the lock
    /// only where the store is consistent.
    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, V> State<K, V> {
    /// A clone of the value for `key`, which has this hash, if the value `is_wanted`; the entry is
    /// marked then.
    #[inline]
    pub(super) fn get_if<Q: ?Sized + Eq>(
        &mut self,
        hash: u32,
        key: &Q,
        is_wanted: impl FnOnce(&V) -> bool,
    ) -> Option<V>
    where
        K: Borrow<Q>,
        V: Clone,
    {
        let found = self.hit_if(hash, key, is_wanted);
        self.misses += u64::from(found.is_none());
        found
    }

    /// As [`get_if`](Self::get_if), but that nothing is returned is not counted.
    #[inline]
    pub(super) fn hit_if<Q: ?Sized + Eq>(
        &mut self,
        hash: u32,
        key: &Q,
        is_wanted: impl FnOnce(&V) -> bool,
    ) -> Option<V>
    where
        K: Borrow<Q>,
        V: Clone,
    {
        let slot = self.find_if(hash, key, is_wanted)?;
        self.hits += 1;
        self.store.mark(slot);
        Some(self.store.entry(slot).1.clone())
    }

    /// The slot of the entry for `key`, which has this hash, if its value `is_wanted`.
    #[inline]
    pub(super) fn find_if<Q: ?Sized + Eq>(
        &self,
        hash: u32,
        key: &Q,
        is_wanted: impl FnOnce(&V) -> bool,
    ) -> Option<u32>
    where
        K: Borrow<Q>,
    {
        let slot = self.store.find_key(hash, key)?;
        is_wanted(&self.store.entry(slot).1).then_some(slot)
    }

    /// Evicts the last entry and returns its weight.
    pub(super) fn evict(&mut self, departed: &mut Departed<K, V>) -> u64 {
        let before = self.store.weight();
        if let Some((key, value)) = self.store.pop_back() {
            self.evictions += 1;
            departed.push(key, value, Cause::Capacity);
        }
        before - self.store.weight()
    }
}

/// Entries that left under a lock, to be told of and dropped once it is released.
pub(super) struct Departed<K, V> {
    // Most insertions evict one entry, which then needs no allocation.
    first: Option<(K, V, Cause)>,
    more: Vec<(K, V, Cause)>,
}

impl<K, V> Departed<K, V> {
    /// Nothing has left yet.
    pub(super) fn new() -> Self {
        Self { first: None, more: Vec::new() }
    }

    /// Adds an entry that left, which is not dropped before all of these are.
    pub(super) fn push(&mut self, key: K, value: V, cause: Cause) {
        if self.first.is_none() {
            self.first = Some((key, value, cause));
        } else {
            self.more.push((key, value, cause));
        }
    }
}

impl<K, V> IntoIterator for Departed<K, V> {
    type Item = (K, V, Cause);
    type IntoIter =
        std::iter::Chain<std::option::IntoIter<Self::Item>, std::vec::IntoIter<Self::Item>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.more)
    }
}
