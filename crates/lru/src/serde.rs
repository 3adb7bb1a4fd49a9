//! Caches as sequences of entries, from the most to the least recently used.

use std::hash::{BuildHasher, Hash};

use serde::de::{Deserialize, DeserializeSeed, Deserializer};
use serde::ser::{Serialize, Serializer};

use crate::{Listener, LruCache, Weigher};

/// A sequence of pairs, so that keys need not be strings and the order is kept in every format.
impl<K: Serialize, V: Serialize, W, S, L> Serialize for LruCache<K, V, W, S, L> {
    fn serialize<T: Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        serializer.collect_seq(self)
    }
}

/// Reads entries into an existing cache, as a weigher cannot be read. Entries that do not fit
/// any more are evicted in turn, the least recently used ones first.
///
/// ```
/// use carrotcache_lru::LruCache;
/// use serde::de::DeserializeSeed;
///
/// let mut saved = LruCache::by_count(10);
/// saved.insert("Tom".to_owned(), 630)?;
/// saved.insert("Jack".to_owned(), 589)?;
/// let json = serde_json::to_string(&saved)?;
/// assert_eq!(json, r#"[["Jack",589],["Tom",630]]"#);
///
/// let mut restored = LruCache::<String, i32>::by_count(10);
/// (&mut restored).deserialize(&mut serde_json::Deserializer::from_str(&json))?;
/// assert!(restored.iter().eq(saved.iter()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl<'de, K, V, W, S, L> DeserializeSeed<'de> for &mut LruCache<K, V, W, S, L>
where
    K: Deserialize<'de> + Hash + Eq,
    V: Deserialize<'de>,
    W: Weigher<K, V>,
    S: BuildHasher,
    L: Listener<K, V>,
{
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let entries: Vec<(K, V)> = Deserialize::deserialize(deserializer)?;
        self.extend(entries.into_iter().rev());
        Ok(())
    }
}
