//! The behaviour of `ByteView`, seen from outside.

mod allocations;
mod compare;
mod convert;
#[cfg(feature = "serde")]
mod serde;
mod view;
