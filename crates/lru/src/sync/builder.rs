//! What a shared cache can be told before it exists.

use std::marker::PhantomData;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use super::Budget;
use super::cache::{Cache, Observer};
use crate::{Cause, DefaultHashBuilder};

/// Makes a [`Cache`]; from [`Cache::builder`].
///
/// ```
/// use carrotcache_lru::sync::{Budget, Cache};
/// use carrotcache_lru::{Cause, Count};
/// use std::sync::mpsc;
///
/// let (tell, told) = mpsc::channel();
/// let cache = Cache::builder(Budget::new(1), Count)
///     .shards(4)
///     .on_evict(move |key: &&str, _, cause| {
///         let _ = tell.send((*key, cause));
///     })
///     .build();
/// cache.insert("Tom", 630)?;
/// cache.insert("Jack", 589)?;
/// assert_eq!(told.try_recv(), Ok(("Tom", Cause::Capacity)));
/// # Ok::<(), carrotcache_lru::Oversized<&str, u32>>(())
/// ```
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder<K, V, W, S = DefaultHashBuilder> {
    budget: Arc<Budget>,
    weigher: W,
    hash_builder: S,
    shards: usize,
    observer: Option<Box<Observer<K, V>>>,
    entries: PhantomData<fn() -> (K, V)>,
}

impl<K, V, W> Builder<K, V, W> {
    pub(super) fn new(budget: Arc<Budget>, weigher: W) -> Self {
        let threads = thread::available_parallelism().map_or(4, NonZero::get);
        Self {
            budget,
            weigher,
            hash_builder: DefaultHashBuilder::default(),
            // With sixteen shards a thread, one get in sixteen at most finds its shard taken. More
            // than that would leave small caches with a handful of entries a shard.
            shards: threads.saturating_mul(16).min(128),
            observer: None,
            entries: PhantomData,
        }
    }
}

impl<K, V, W, S> Builder<K, V, W, S> {
    /// Sets the number of shards, which is rounded up to a power of two: more of them let threads
    /// wait less for each other, and know less of what is used elsewhere when they evict. Sixteen for
    /// each thread the machine runs at once, and at most 128, unless set.
    pub fn shards(self, shards: usize) -> Self {
        Self { shards, ..self }
    }

    /// Sets the hash builder. Caches whose hash builders are clones of one another agree on every
    /// hash, so a caller that asks two of them hashes a key once.
    pub fn hasher<T>(self, hash_builder: T) -> Builder<K, V, W, T> {
        let Self { budget, weigher, shards, observer, entries, .. } = self;
        Builder { budget, weigher, hash_builder, shards, observer, entries }
    }

    /// Sets who is told of every entry that leaves, with the cause. No lock is held meanwhile, so
    /// the listener may use the cache, and several threads may call it at once.
    pub fn on_evict(self, listener: impl Fn(&K, &V, Cause) + Send + Sync + 'static) -> Self {
        Self { observer: Some(Box::new(listener)), ..self }
    }

    /// Returns the cache, which is empty.
    #[must_use]
    pub fn build(self) -> Cache<K, V, W, S> {
        const MOST_SHARDS: usize = 1 << 16;
        let shards = self.shards.clamp(1, MOST_SHARDS).next_power_of_two();
        Cache::assemble(shards, self.budget, self.weigher, self.hash_builder, self.observer)
    }
}

impl<K, V, W> Cache<K, V, W> {
    /// Returns an empty cache whose entries weigh at most `max_weight` together.
    #[must_use]
    pub fn new(max_weight: u64, weigher: W) -> Self {
        Self::with_budget(Budget::new(max_weight), weigher)
    }

    /// Returns an empty cache that shares its bound with the others of the budget.
    #[must_use]
    pub fn with_budget(budget: Arc<Budget>, weigher: W) -> Self {
        Self::builder(budget, weigher).build()
    }

    /// Returns a builder, with which hashing, shards and a listener can be chosen.
    pub fn builder(budget: Arc<Budget>, weigher: W) -> Builder<K, V, W> {
        Builder::new(budget, weigher)
    }
}
