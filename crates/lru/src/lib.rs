//! A least-recently-used cache bounded by weight, with an eviction callback that tells the cause.

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
