//! What the caches promise, each promise with a test that would fail without it.

mod account;
mod cache;
mod conditional;
mod entry;
mod memory;
mod model;
mod panics;
#[cfg(feature = "serde")]
mod serde;
mod shards;
mod sync;
mod trace;
