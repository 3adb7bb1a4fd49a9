//! Concurrent calls for one key run the work once and share its result.
//!
//! When a popular entry of a cache expires, every request that misses it would ask the database
//! for the same row at the same moment: the thundering herd. A [`Group`] lets the first caller of
//! a key lead and all others that come before the work has ended follow: the database sees one
//! query, and everybody gets a clone of its result, an error included.
//!
//! ```
//! use carrotcache_singleflight::{Error, Group};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let flights: Group<String, u32, std::num::ParseIntError> = Group::new();
//! let load = || async { "630".parse() };
//! let (a, b) = tokio::join!(flights.work("Tom", load), flights.work("Tom", load));
//! assert_eq!((a, b), (Ok(630), Ok(630))); // One of the two closures ran.
//!
//! let failed = flights.work("Jack", || async { "many".parse() }).await;
//! assert!(matches!(failed, Err(Error::Failed(_))));
//! # }
//! ```
//!
//! # Two ways to use it
//!
//! [`Group::work`] needs no runtime: the callers drive the work themselves. The caller that leads
//! polls it; if that caller is dropped, one of those that wait takes the work over where it
//! stands; if nobody waits, the work is dropped.
//!
//! [`Group::join`] is for those who run the work in a task of their own, so that it ends even
//! if every caller leaves. It says whether the caller leads or follows, and a [`Leader`] is moved
//! into the task.
//!
//! # What is promised
//!
//! - For each key, at most one flight is open at a time, and its work is started once.
//! - Any future may be dropped at any time: no other caller is hurt, and no key stays behind.
//! - A panic of the work is [`Error::Panicked`] for every caller, and the key can be tried again.
//! - The key leaves the table before the first caller is woken: whoever sees a result and asks
//!   again starts anew.
//! - A caller that follows does not allocate the key.
//! - No lock is held while the work runs, a result is cloned or dropped, a key is cloned, hashed
//!   or dropped, or a waker is called. Only the key's `Eq` runs under a lock.
//!
//! What is not promised: a result lives no longer than the last caller that waits for it. This is
//! no cache; put one before it, and look into it once more in the work.

mod driver;
mod error;
mod flight;
mod follower;
mod group;
mod leader;
mod nest;
mod shard;
pub mod sync;
mod table;
mod waiters;

pub use crate::error::Error;
pub use crate::follower::{Follower, Outcome};
pub use crate::group::{DefaultHashBuilder, Group, Role};
pub use crate::leader::Leader;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
