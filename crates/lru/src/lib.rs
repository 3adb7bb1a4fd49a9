//! A least-recently-used cache bounded by weight, with an eviction callback that tells the cause.
//!
//! A cache must forget. When room is needed for a new entry, the one that has gone longest without
//! being asked for is the best guess at what will not be asked for soon. [`LruCache`] keeps its
//! entries in the order of their last use and lets the ones at the end go first:
//!
//! ```text
//! most recently used                              least recently used
//!        Sam ────── Tom ────── Lily ────── Jack ────── Pity  → evicted next
//!        ↑                      │
//!        └── get("Lily") ───────┘
//! ```
//!
//! How much fits is a matter of *weight*, not of number: a cache of images is bounded in bytes, by a
//! [`Weigher`] that tells how many an entry has. Nothing is weighed 1 by default, since a cache that
//! counts entries where its user thinks of bytes runs out of memory. [`LruCache::by_count`] is there
//! where a number of entries is meant.
//!
//! ```
//! use carrotcache_lru::{Cause, LruCache};
//!
//! let bytes = |name: &String, score: &String| (name.len() + score.len()) as u64;
//! let mut cache = LruCache::new(12, bytes).on_evict(|name: &String, _: &String, cause| {
//!     assert_eq!((name.as_str(), cause), ("Sam", Cause::Capacity));
//! });
//! cache.insert("Tom".to_owned(), "630".to_owned())?;
//! cache.insert("Sam".to_owned(), "567".to_owned())?;
//! assert_eq!(cache.get("Tom").map(String::as_str), Some("630"));
//! cache.insert("Jack".to_owned(), "58".to_owned())?;
//! assert_eq!((cache.len(), cache.weight()), (2, 12));
//! # Ok::<(), carrotcache_lru::Oversized<String, String>>(())
//! ```
//!
//! # How it works
//!
//! Entries lie in one slab, each beside 16 bytes of the cache's own: the slots of its neighbours in
//! the order of use, its hash, its weight. Using an entry changes a few slot numbers and moves
//! nothing. An index of buckets of fifteen slot numbers, with a byte of the hash of each, finds a key
//! with one look in nearly every case. An eviction hands its slot to the entry that it makes room
//! for, so a warm cache allocates nothing. None of it calls a key's `Hash` or `Eq` while it grows or
//! evicts. All is safe code but the comparison of tags on x86-64.
//!
//! What follows from that, with 5,000 entries or more: at most 24 bytes an entry beside the headers of
//! keys and values (and a 128th of these), and a heap that stays as large as it was when the cache was
//! first full, whatever is inserted and evicted later.
//!
//! # What a caller can rely on
//!
//! - The bound is never exceeded. An entry that is heavier than the whole bound is handed back, as
//!   [`Oversized`], and evicts nothing.
//! - A replaced entry makes room for its successor; only the difference has to be found elsewhere.
//! - Each entry that leaves is told of once, with its [`Cause`], when the cache is consistent again.
//! - A panic in `Hash`, `Eq`, `Drop`, `Clone`, the weigher, the listener or a predicate leaves the
//!   cache usable.
//!
//! # Several threads
//!
//! [`sync::Cache`] is the same for threads: shards with locks of their own, under one bound that
//! several caches can share. It is nearly as exact: a hit marks its entry instead of moving it, which
//! would have threads that read write to each other's cache lines.
//!
//! # What it does not do
//!
//! It knows nothing of time, of loading, or of async, and its policy is recency: a long scan over
//! keys that are never asked for again flushes it.

mod bytes;
mod cache;
mod entry;
mod error;
mod guard;
mod hash;
mod index;
mod insert;
mod iter;
mod listener;
#[cfg(feature = "serde")]
mod serde;
mod store;
pub mod sync;
mod weigher;

pub use cache::LruCache;
pub use entry::{Entry, OccupiedEntry, VacantEntry};
pub use error::{Oversized, TryInsertError};
pub use guard::RefMut;
pub use iter::{IntoIter, Iter};
pub use listener::{Cause, Ignore, Listener};
pub use weigher::{Count, Weigher};

/// Hashes keys unless another hash builder is given: fast, and seeded anew for every cache.
pub type DefaultHashBuilder = foldhash::fast::RandomState;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
