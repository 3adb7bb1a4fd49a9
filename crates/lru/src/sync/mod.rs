//! A cache for many threads: shards under one global bound.
//!
//! [`Cache`] spreads its entries over shards, each a list in the order in which they came in, behind
//! a lock of its own. The bound is not divided among them. All shards, and all caches that share a
//! [`Budget`], reserve from one atomic counter before they take an entry in, so any entry that fits
//! the bound fits the cache, and [`Budget::used`] never exceeds the bound, at any moment, for any
//! thread that looks.
//!
//! ```text
//! insert ── hash, weigh ── lock the key's shard ─┬ the budget has room: reserve, link, unlock
//!   (no lock held)                               ├ it has not: evict here, least recent first
//!                                                └ nothing is left here: lock all, evict from the
//!                                                  heaviest shard until there is room
//! ... unlocked: tell the listener, drop what was evicted
//! ```
//!
//! While an entry is exchanged for another of the same weight, the usual case in a full cache, the
//! counter is only read, so threads in different shards do not slow each other down.
//!
//! # Who is evicted
//!
//! Strict recency would have every hit move its entry to the front of the list, and so write to it
//! and its neighbours: threads that only read would take these cache lines from each other. Here a
//! hit marks the entry, which most often is marked already, and writes nothing else. An entry that
//! comes to the end of the list with a mark gets a second chance: it goes to the front again without
//! the mark, and the next one is looked at (Corbató, 1968; known as CLOCK). An eviction spares 64 at
//! most, so that it takes microseconds at worst.
//!
//! How often that hits, on the references of a database (OLTP, see `tests/it/trace.rs`), sixteen
//! shards:
//!
//! | entries that fit | strict recency | this cache |
//! |---|---|---|
//! | 250 | .165 | .161 |
//! | 500 | .234 | .238 |
//! | 1,000 | .328 | .332 |
//! | 2,000 | .425 | .429 |
//!
//! Shards know nothing of each other, so with fewer than some twenty entries a shard it hits less.
//!
//! # What runs under a lock
//!
//! Only a key's `Eq`, a value's `Clone` (for `get` and its like: keep values cheap to clone, an
//! `Arc` or `Bytes`), the function given to [`Cache::retain`], and the predicates of the conditional
//! operations: [`Cache::get_if`], [`Cache::remove_if`], [`Cache::try_insert_if`] and their like.
//! Hashing, weighing, the listener and the `Drop` of keys and values run with no lock held and may
//! use the cache.
//!
//! A predicate must not use the cache, or it waits for itself for ever, and should do no more than
//! look: it keeps all other keys of its shard waiting. A panic in it passes to the caller, and leaves
//! the cache as it was.

mod account;
mod budget;
mod builder;
mod cache;
mod conditional;
mod insert;
mod remove;
mod shard;

pub use budget::Budget;
pub use builder::Builder;
pub use cache::Cache;
