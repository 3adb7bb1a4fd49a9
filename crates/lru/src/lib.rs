//! A least-recently-used cache bounded by weight, with an eviction callback that tells the cause.

mod cache;
mod error;
mod guard;
mod hash;
mod index;
mod insert;
mod iter;
mod listener;
mod store;
pub mod sync;
mod weigher;

pub use cache::LruCache;
pub use error::{Oversized, TryInsertError};
pub use guard::RefMut;
pub use iter::{IntoIter, Iter};
pub use listener::{Cause, Ignore, Listener};
pub use weigher::{Count, Weigher};

/// Hashes keys unless another hash builder is given: fast, and seeded anew for every cache.
pub type DefaultHashBuilder = foldhash::fast::RandomState;
