//! Entries that could not be taken in, handed back.

use std::error::Error;
use std::fmt;

/// The entry is heavier than the whole bound; it is handed back and nothing was disturbed.
///
/// ```
/// use carrotcache_lru::LruCache;
///
/// let mut cache = LruCache::new(10, |_: &u8, text: &String| text.len() as u64);
/// let refused = cache.insert(1, "far too long a text".to_owned()).unwrap_err();
/// assert_eq!(refused.to_string(), "an entry of weight 19 does not fit the bound of 10");
/// let text = refused.value;
/// # drop(text);
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Oversized<K, V> {
    /// The key that was to be inserted.
    pub key: K,
    /// The value that was to be inserted.
    pub value: V,
    /// What the weigher said of them.
    pub weight: u64,
    /// The bound at that time.
    pub max_weight: u64,
}

impl<K, V> fmt::Display for Oversized<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { weight, max_weight, .. } = self;
        write!(f, "an entry of weight {weight} does not fit the bound of {max_weight}")
    }
}

// By hand, so that keys and values need not be printable and are not printed into logs.
impl<K, V> fmt::Debug for Oversized<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oversized")
            .field("weight", &self.weight)
            .field("max_weight", &self.max_weight)
            .finish_non_exhaustive()
    }
}

impl<K, V> Error for Oversized<K, V> {}

/// The entry was not taken in without evicting others; it is handed back.
///
/// Every kind gives the entry back through [`into_entry`](Self::into_entry), so that a caller who makes
/// room for it need not keep a copy.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryInsertError<K, V> {
    /// It will never fit.
    Oversized(Oversized<K, V>),
    /// It fits once something else has left.
    NoRoom {
        /// The key that was to be inserted.
        key: K,
        /// The value that was to be inserted.
        value: V,
    },
    /// The predicate of a [conditional](crate::sync::Cache::try_insert_if) insertion refused it.
    Refused {
        /// The key that was to be inserted.
        key: K,
        /// The value that was to be inserted.
        value: V,
    },
}

impl<K, V> TryInsertError<K, V> {
    /// Returns the entry that was to be inserted.
    pub fn into_entry(self) -> (K, V) {
        match self {
            Self::Oversized(Oversized { key, value, .. })
            | Self::NoRoom { key, value }
            | Self::Refused { key, value } => (key, value),
        }
    }
}

impl<K, V> fmt::Display for TryInsertError<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oversized(oversized) => oversized.fmt(f),
            Self::NoRoom { .. } => write!(f, "no room without evicting other entries"),
            Self::Refused { .. } => write!(f, "the entry was refused by the caller's predicate"),
        }
    }
}

impl<K, V> fmt::Debug for TryInsertError<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oversized(oversized) => f.debug_tuple("Oversized").field(oversized).finish(),
            Self::NoRoom { .. } => f.debug_struct("NoRoom").finish_non_exhaustive(),
            Self::Refused { .. } => f.debug_struct("Refused").finish_non_exhaustive(),
        }
    }
}

impl<K, V> Error for TryInsertError<K, V> {}
