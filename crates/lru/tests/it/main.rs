//! What the caches promise, each promise with a test that would fail without it.

mod cache;
mod model;
mod sync;
