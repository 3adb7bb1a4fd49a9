//! Caches for many threads, each bounded by the bytes of its keys and values.

use bytes::Bytes;
use carrotcache_lru::sync;

use crate::single::{ByWeight, weigh};
use crate::workload::ENTRY;

/// What a benchmark does with a cache from several threads.
pub(crate) trait Shared: Sync {
    /// An empty cache.
    fn new(max_bytes: u64) -> Self;

    /// Whether the value is there; it is cloned and using it counts.
    fn get(&self, key: &str) -> bool;

    /// Stores the value and evicts what no longer fits.
    fn insert(&self, key: String, value: Bytes);
}

pub(crate) struct Ours(sync::Cache<String, Bytes, fn(&String, &Bytes) -> u64>);

impl Shared for Ours {
    fn new(max_bytes: u64) -> Self {
        Self(sync::Cache::new(max_bytes, |key, value| weigh(key, value)))
    }

    fn get(&self, key: &str) -> bool {
        self.0.get(key).is_some()
    }

    fn insert(&self, key: String, value: Bytes) {
        let _ = self.0.insert(key, value);
    }
}

pub(crate) struct QuickCache(quick_cache::sync::Cache<String, Bytes, ByWeight>);

impl Shared for QuickCache {
    fn new(max_bytes: u64) -> Self {
        let items = (max_bytes / ENTRY) as usize;
        Self(quick_cache::sync::Cache::with_weighter(items, max_bytes, ByWeight))
    }

    fn get(&self, key: &str) -> bool {
        self.0.get(key).is_some()
    }

    fn insert(&self, key: String, value: Bytes) {
        self.0.insert(key, value);
    }
}

pub(crate) struct Moka(moka::sync::Cache<String, Bytes>);

impl Shared for Moka {
    fn new(max_bytes: u64) -> Self {
        let weigher =
            |key: &String, value: &Bytes| u32::try_from(weigh(key, value)).unwrap_or(u32::MAX);
        Self(moka::sync::Cache::builder().max_capacity(max_bytes).weigher(weigher).build())
    }

    fn get(&self, key: &str) -> bool {
        self.0.get(key).is_some()
    }

    fn insert(&self, key: String, value: Bytes) {
        self.0.insert(key, value);
    }
}

pub(crate) struct Foyer(foyer_memory::Cache<String, Bytes>);

impl Shared for Foyer {
    fn new(max_bytes: u64) -> Self {
        let builder = foyer_memory::CacheBuilder::new(max_bytes as usize)
            .with_weighter(|key: &String, value: &Bytes| weigh(key, value) as usize)
            .with_eviction_config(foyer_memory::LruConfig::default());
        Self(builder.build())
    }

    fn get(&self, key: &str) -> bool {
        self.0.get(key).map(|entry| entry.value().clone()).is_some()
    }

    fn insert(&self, key: String, value: Bytes) {
        self.0.insert(key, value);
    }
}
