//! The integration tests of `carrotcache-consistenthash`, one module a subject.

#![allow(clippy::unwrap_used, reason = "a test may panic anywhere")]

mod allocations;
mod balance;
mod bounded;
mod change;
mod diff;
mod golden;
mod lookup;
mod model;
