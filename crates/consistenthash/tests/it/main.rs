//! The integration tests of `carrotcache-consistenthash`, one module a subject.

#![allow(clippy::unwrap_used, reason = "a test may panic anywhere")]

mod change;
mod golden;
mod lookup;
mod model;
