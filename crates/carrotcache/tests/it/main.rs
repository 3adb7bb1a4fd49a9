//! The facade's promises, each with a test that would fail without it.

#![allow(clippy::unwrap_used, reason = "a test may panic anywhere")]

mod allocations;
mod at_hand;
mod bad_input;
mod bad_settings;
mod bulk;
mod cancel;
mod cluster;
mod expiry;
mod get;
#[cfg(feature = "http")]
mod hard_removes;
mod http;
mod interleavings;
mod invariants;
mod limits;
#[cfg(feature = "http")]
mod linked_writes;
#[cfg(feature = "http")]
mod links;
mod logs;
mod looks;
mod many;
mod many_peers;
mod memory;
mod messages;
mod mirror;
mod negatives;
mod peers;
#[cfg(all(unix, feature = "http"))]
mod processes;
mod quickstart;
mod refresh;
mod remove;
#[cfg(feature = "http")]
mod rolling;
mod rounds;
mod rows;
mod runtimes;
mod set;
mod stale_if_error;
mod stand_in;
mod stand_in_budget;
mod stand_in_many;
mod support;
mod transport;
