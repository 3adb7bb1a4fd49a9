//! Caches for one thread, each bounded by the bytes of its keys and values.

use std::hash::RandomState;
use std::num::NonZero;

use bytes::Bytes;
use carrotcache_lru::LruCache;

/// What a benchmark does with a cache.
pub(crate) trait Contender {
    /// An empty cache.
    fn new(max_bytes: u64) -> Self;

    /// Whether the value is there; using it counts.
    fn get(&mut self, key: &str) -> bool;

    /// Stores the value and evicts what no longer fits.
    fn insert(&mut self, key: String, value: Bytes);
}

/// What an entry counts for in every one of them.
pub(crate) fn weigh(key: &str, value: &Bytes) -> u64 {
    (key.len() + value.len()) as u64
}

pub(crate) struct Ours(LruCache<String, Bytes, fn(&String, &Bytes) -> u64>);

impl Contender for Ours {
    fn new(max_bytes: u64) -> Self {
        Self(LruCache::new(max_bytes, |key, value| weigh(key, value)))
    }

    fn get(&mut self, key: &str) -> bool {
        self.0.get(key).is_some()
    }

    fn insert(&mut self, key: String, value: Bytes) {
        let _ = self.0.insert(key, value);
    }
}

/// Bounded by count only, so the bytes are counted beside it.
pub(crate) struct Lru {
    cache: lru::LruCache<String, Bytes>,
    bytes: u64,
    max_bytes: u64,
}

impl Contender for Lru {
    fn new(max_bytes: u64) -> Self {
        Self { cache: lru::LruCache::unbounded(), bytes: 0, max_bytes }
    }

    fn get(&mut self, key: &str) -> bool {
        self.cache.get(key).is_some()
    }

    fn insert(&mut self, key: String, value: Bytes) {
        self.bytes += weigh(&key, &value);
        if let Some((key, old)) = self.cache.push(key, value) {
            self.bytes -= weigh(&key, &old);
        }
        while self.bytes > self.max_bytes
            && let Some((key, value)) = self.cache.pop_lru()
        {
            self.bytes -= weigh(&key, &value);
        }
    }
}

/// Bounded by count only, so the bytes are counted beside it.
pub(crate) struct Hashlink {
    cache: hashlink::LruCache<String, Bytes>,
    bytes: u64,
    max_bytes: u64,
}

impl Contender for Hashlink {
    fn new(max_bytes: u64) -> Self {
        Self { cache: hashlink::LruCache::new_unbounded(), bytes: 0, max_bytes }
    }

    fn get(&mut self, key: &str) -> bool {
        self.cache.get(key).is_some()
    }

    fn insert(&mut self, key: String, value: Bytes) {
        let key_len = key.len() as u64;
        self.bytes += weigh(&key, &value);
        if let Some(old) = self.cache.insert(key, value) {
            self.bytes -= key_len + old.len() as u64;
        }
        while self.bytes > self.max_bytes
            && let Some((key, value)) = self.cache.remove_lru()
        {
            self.bytes -= weigh(&key, &value);
        }
    }
}

pub(crate) struct Schnellru(schnellru::LruMap<String, Bytes, ByBytes>);

/// `schnellru`'s way to bound a map by anything.
struct ByBytes {
    bytes: u64,
    max_bytes: u64,
}

impl schnellru::Limiter<String, Bytes> for ByBytes {
    type KeyToInsert<'a> = String;
    type LinkType = u32;

    fn is_over_the_limit(&self, _: usize) -> bool {
        self.bytes > self.max_bytes
    }

    fn on_insert(&mut self, _: usize, key: String, value: Bytes) -> Option<(String, Bytes)> {
        self.bytes += weigh(&key, &value);
        Some((key, value))
    }

    fn on_replace(
        &mut self,
        _: usize,
        _: &mut String,
        _: String,
        old: &mut Bytes,
        new: &mut Bytes,
    ) -> bool {
        self.bytes = self.bytes - old.len() as u64 + new.len() as u64;
        true
    }

    fn on_removed(&mut self, key: &mut String, value: &mut Bytes) {
        self.bytes -= weigh(key, value);
    }

    fn on_cleared(&mut self) {
        self.bytes = 0;
    }

    fn on_grow(&mut self, _: usize) -> bool {
        true
    }
}

impl Contender for Schnellru {
    fn new(max_bytes: u64) -> Self {
        Self(schnellru::LruMap::new(ByBytes { bytes: 0, max_bytes }))
    }

    fn get(&mut self, key: &str) -> bool {
        self.0.get(key).is_some()
    }

    fn insert(&mut self, key: String, value: Bytes) {
        self.0.insert(key, value);
    }
}

pub(crate) struct Clru(clru::CLruCache<String, Bytes, RandomState, Scale>);

/// `clru` adds one for each entry.
pub(crate) struct Scale;

impl clru::WeightScale<String, Bytes> for Scale {
    fn weight(&self, key: &String, value: &Bytes) -> usize {
        weigh(key, value) as usize - 1
    }
}

impl Contender for Clru {
    fn new(max_bytes: u64) -> Self {
        let max_bytes = NonZero::new(max_bytes as usize).unwrap_or(NonZero::<usize>::MIN);
        Self(clru::CLruCache::with_config(clru::CLruCacheConfig::new(max_bytes).with_scale(Scale)))
    }

    fn get(&mut self, key: &str) -> bool {
        self.0.get(key).is_some()
    }

    fn insert(&mut self, key: String, value: Bytes) {
        let _ = self.0.put_with_weight(key, value);
    }
}

pub(crate) struct QuickCache(quick_cache::unsync::Cache<String, Bytes, ByWeight>);

/// `quick_cache`'s weigher.
#[derive(Clone)]
pub(crate) struct ByWeight;

impl quick_cache::Weighter<String, Bytes> for ByWeight {
    fn weight(&self, key: &String, value: &Bytes) -> u64 {
        weigh(key, value)
    }
}

impl Contender for QuickCache {
    fn new(max_bytes: u64) -> Self {
        let items = (max_bytes / crate::workload::ENTRY) as usize;
        Self(quick_cache::unsync::Cache::with_weighter(items, max_bytes, ByWeight))
    }

    fn get(&mut self, key: &str) -> bool {
        self.0.get(key).is_some()
    }

    fn insert(&mut self, key: String, value: Bytes) {
        self.0.insert(key, value);
    }
}
