//! The integration tests of `carrotcache-consistenthash`, one module a subject.

mod change;
mod golden;
mod lookup;
mod model;
