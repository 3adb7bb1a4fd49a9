//! The cache for many threads.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::Budget;
use super::account::Account;
use super::shard::{Departed, Shard};
use crate::hash::{index_hash, shard_hash};
use crate::{Cause, DefaultHashBuilder};

/// Who is told of entries that left.
pub(super) type Observer<K, V> = dyn Fn(&K, &V, Cause) + Send + Sync;

/// A cache for many threads, bounded by the weight of its entries.
///
/// To make room, an insertion evicts from the shard of the new entry, as long as that has any, an
/// entry that has not been used for long: nearly the least recently used one. The [module](super)
/// tells how that is decided, how shards and the bound work together, and what runs under a lock.
///
/// ```
/// use carrotcache_lru::sync::Cache;
/// use std::{sync::Arc, thread};
///
/// let scores = Cache::new(1 << 20, |name: &String, _: &Arc<str>| name.len() as u64);
/// thread::scope(|scope| {
///     scope.spawn(|| scores.insert("Tom".to_owned(), "630".into()));
///     scope.spawn(|| scores.insert("Jack".to_owned(), "589".into()));
/// });
/// assert_eq!(scores.get("Tom").as_deref(), Some("630"));
/// assert_eq!(scores.weight(), 7);
/// ```
pub struct Cache<K, V, W, S = DefaultHashBuilder> {
    shards: Box<[Shard<K, V>]>,
    /// After the shards, as fields are dropped in order: what the entries weigh is given back when
    /// they are gone.
    pub(super) account: Account,
    pub(super) weigher: W,
    hash_builder: S,
    observer: Option<Box<Observer<K, V>>>,
    /// Where [`pop_lru`](Self::pop_lru) looks next.
    pub(super) turn: AtomicUsize,
}

impl<K, V, W, S> Cache<K, V, W, S> {
    /// Puts a cache together from what the builder was told. `shards` is a power of two.
    pub(super) fn assemble(
        shards: usize,
        budget: Arc<Budget>,
        weigher: W,
        hash_builder: S,
        observer: Option<Box<Observer<K, V>>>,
    ) -> Self {
        let shards = (0..shards).map(|_| Shard::new()).collect();
        let account = Account::new(budget);
        Self { shards, account, weigher, hash_builder, observer, turn: AtomicUsize::new(0) }
    }

    /// Returns the number of entries, counted shard by shard.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().store.len()).sum()
    }

    /// Returns whether every shard was empty when it was looked at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| shard.lock().store.len() == 0)
    }

    /// Returns what this cache has reserved of its budget: what its entries weigh together.
    ///
    /// This reads one counter and takes no lock, so it may be asked before each insertion, and from
    /// [`retain`](Self::retain)'s function too. While operations are under way on other threads it
    /// includes what they have reserved for entries that are about to come in, and what they have not
    /// yet given back for entries that have just left. It is never less than the entries weigh, never
    /// more than the bound, and exact when no operation is under way, whether operations succeeded,
    /// were refused, or ended with a panic of the user's code. The weights of all caches of a budget
    /// then add up to [`Budget::used`].
    ///
    /// ```
    /// use carrotcache_lru::sync::{Budget, Cache};
    ///
    /// let weigh = |_: &u32, value: &u64| *value;
    /// let budget = Budget::new(100);
    /// let main = Cache::with_budget(budget.clone(), weigh);
    /// let hot = Cache::with_budget(budget.clone(), weigh);
    /// main.insert(1, 60)?;
    /// hot.insert(1, 30)?;
    /// assert_eq!((main.weight(), hot.weight(), budget.used()), (60, 30, 90));
    /// # Ok::<(), carrotcache_lru::Oversized<u32, u64>>(())
    /// ```
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.account.reserved()
    }

    /// Returns how many entries have ever been evicted to make room.
    ///
    /// Entries taken out by [`pop_lru`](Self::pop_lru) are not counted.
    ///
    /// ```
    /// use carrotcache_lru::sync::Cache;
    ///
    /// let cache = Cache::new(10, |_: &&str, _: &i32| 10);
    /// cache.insert("Tom", 630)?;
    /// cache.insert("Jack", 589)?;
    /// assert_eq!((cache.len(), cache.evictions()), (1, 1));
    /// # Ok::<(), carrotcache_lru::Oversized<&str, i32>>(())
    /// ```
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.shards.iter().map(|shard| shard.lock().evictions).sum()
    }

    /// Returns how many gets have ever found their entry, those of [`get_many`](Self::get_many) one by
    /// one.
    ///
    /// ```
    /// use carrotcache_lru::sync::Cache;
    ///
    /// let cache = Cache::new(10, |_: &&str, _: &i32| 1);
    /// cache.insert("Tom", 630)?;
    /// cache.get_many(["Tom", "Jack"]);
    /// cache.peek("Tom");
    /// assert_eq!((cache.hits(), cache.misses()), (1, 1));
    /// # Ok::<(), carrotcache_lru::Oversized<&str, i32>>(())
    /// ```
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.shards.iter().map(|shard| shard.lock().hits).sum()
    }

    /// Returns how many gets have ever found no entry.
    #[must_use]
    pub fn misses(&self) -> u64 {
        self.shards.iter().map(|shard| shard.lock().misses).sum()
    }

    /// Returns the bound, which other caches may share.
    #[must_use]
    pub fn budget(&self) -> &Arc<Budget> {
        self.account.budget()
    }

    /// Returns the hash builder.
    #[must_use]
    pub fn hasher(&self) -> &S {
        &self.hash_builder
    }

    /// Returns the bytes that the cache itself has on the heap, spare room included.
    ///
    /// What keys and values own elsewhere, such as the text of a `String`, is not known here.
    #[must_use]
    pub fn memory_usage(&self) -> usize {
        let stores = self.shards.iter().map(|shard| shard.lock().store.memory_usage());
        stores.sum::<usize>() + size_of_val(&*self.shards)
    }

    /// All shards, in the order in which whoever needs several must lock them.
    pub(super) fn shards(&self) -> &[Shard<K, V>] {
        &self.shards
    }

    /// Which shard holds the keys of this hash.
    pub(super) fn shard_of(&self, hash: u64) -> usize {
        (usize::from(shard_hash(hash)) * self.shards.len()) >> 16
    }

    /// Tells of an entry that left. No lock may be held.
    pub(super) fn tell(&self, (key, value): &(K, V), cause: Cause) {
        if let Some(observer) = &self.observer {
            observer(key, value, cause);
        }
    }

    /// Tells of what left and drops it. No lock may be held.
    pub(super) fn tell_all(&self, departed: Departed<K, V>) {
        for (key, value, cause) in departed {
            self.tell(&(key, value), cause);
        }
    }
}

impl<K: Hash + Eq, V, W, S: BuildHasher> Cache<K, V, W, S> {
    /// Returns the hash of a key, for the functions that take one.
    pub fn hash<Q: ?Sized + Hash>(&self, key: &Q) -> u64
    where
        K: Borrow<Q>,
    {
        self.hash_builder.hash_one(key)
    }

    /// Returns whether there is an entry for `key`, which does not count as a use.
    pub fn contains_key<Q: ?Sized + Hash + Eq>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        let hash = self.hash(key);
        self.shards[self.shard_of(hash)].lock().store.find_key(index_hash(hash), key).is_some()
    }
}

impl<K: Hash + Eq, V: Clone, W, S: BuildHasher> Cache<K, V, W, S> {
    /// Returns a clone of the value for `key`, and marks the entry as used. The value is cloned under
    /// the shard's lock.
    pub fn get<Q: ?Sized + Hash + Eq>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.get_hashed(self.hash(key), key)
    }

    /// As [`get`](Self::get), for a caller that has the [`hash`](Self::hash) of the key.
    ///
    /// ```
    /// use carrotcache_lru::sync::Cache;
    ///
    /// use carrotcache_lru::sync::Budget;
    ///
    /// let one = Cache::<&str, i32, _>::builder(Budget::new(10), carrotcache_lru::Count).build();
    /// let hasher = one.hasher().clone();
    /// let other = Cache::builder(Budget::new(10), carrotcache_lru::Count).hasher(hasher).build();
    /// other.insert("Tom", 630)?;
    ///
    /// let hash = one.hash("Tom");
    /// let score = one.get_hashed(hash, "Tom").or_else(|| other.get_hashed(hash, "Tom"));
    /// assert_eq!(score, Some(630));
    /// # Ok::<(), carrotcache_lru::Oversized<&str, i32>>(())
    /// ```
    #[inline]
    pub fn get_hashed<Q: ?Sized + Eq>(&self, hash: u64, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.shards[self.shard_of(hash)].lock().get_if(index_hash(hash), key, |_| true)
    }

    /// As [`get_hashed`](Self::get_hashed), for a caller that asks again if there is no entry: only
    /// the second time counts as a [miss](Self::misses).
    ///
    /// ```
    /// use carrotcache_lru::{Count, sync::Cache};
    ///
    /// let scores = Cache::new(10, Count);
    /// scores.insert("Tom", 630)?;
    /// let (tom, jack) = (scores.hash("Tom"), scores.hash("Jack"));
    /// assert_eq!(scores.hit_hashed(tom, "Tom"), Some(630));
    /// assert_eq!(scores.hit_hashed(jack, "Jack"), None);
    /// assert_eq!((scores.hits(), scores.misses()), (1, 0));
    /// # Ok::<(), carrotcache_lru::Oversized<&str, i32>>(())
    /// ```
    #[inline]
    pub fn hit_hashed<Q: ?Sized + Eq>(&self, hash: u64, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.shards[self.shard_of(hash)].lock().hit_if(index_hash(hash), key, |_| true)
    }

    /// Returns clones of the values for `keys`, in their order, and locks each shard once. The
    /// entries are marked as used.
    ///
    /// ```
    /// use carrotcache_lru::{Count, sync::Cache};
    ///
    /// let scores = Cache::new(100, Count);
    /// scores.insert("Tom", 630)?;
    /// scores.insert("Sam", 567)?;
    /// assert_eq!(scores.get_many(["Sam", "Jack", "Tom"]), [Some(567), None, Some(630)]);
    /// # Ok::<(), carrotcache_lru::Oversized<&str, i32>>(())
    /// ```
    pub fn get_many<'q, Q>(&self, keys: impl IntoIterator<Item = &'q Q>) -> Vec<Option<V>>
    where
        K: Borrow<Q>,
        Q: ?Sized + Hash + Eq + 'q,
    {
        let hashed = keys.into_iter().map(|key| (self.hash(key), key)).enumerate();
        let mut wanted: Vec<_> =
            hashed.map(|(at, (hash, key))| (self.shard_of(hash), at, hash, key)).collect();
        wanted.sort_unstable_by_key(|&(shard, at, ..)| (shard, at));
        let mut values: Vec<_> = wanted.iter().map(|_| None).collect();
        for same_shard in wanted.chunk_by(|one, other| one.0 == other.0) {
            let mut state = self.shards[same_shard[0].0].lock();
            for &(_, at, hash, key) in same_shard {
                values[at] = state.get_if(index_hash(hash), key, |_| true);
            }
        }
        values
    }

    /// Returns a clone of the value for `key`, which does not count as a use.
    pub fn peek<Q: ?Sized + Hash + Eq>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.peek_hashed(self.hash(key), key)
    }

    /// As [`peek`](Self::peek), for a caller that has the [`hash`](Self::hash) of the key.
    pub fn peek_hashed<Q: ?Sized + Eq>(&self, hash: u64, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let store = &self.shards[self.shard_of(hash)].lock().store;
        let slot = store.find_key(index_hash(hash), key)?;
        Some(store.entry(slot).1.clone())
    }
}

impl<K, V, W, S> fmt::Debug for Cache<K, V, W, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("len", &self.len())
            .field("weight", &self.weight())
            .field("shards", &self.shards.len())
            .field("budget", self.budget())
            .finish_non_exhaustive()
    }
}
