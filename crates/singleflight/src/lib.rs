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
//! # Three ways to use it
//!
//! - [`Group::work`] needs no runtime: the callers drive the work themselves. The caller that
//!   leads polls it. If that caller is dropped, one of those that wait takes the work over where it
//!   stands; if nobody waits, the work is dropped.
//! - [`Group::join`] is for those who run the work in a task of their own, so that it ends even if
//!   every caller leaves. It says whether the caller leads or follows, and the [`Leader`] is moved
//!   into the task.
//! - [`sync::Group`] is for threads: the one that leads runs the work, the others block.
//!
//! # A flight
//!
//! ```text
//!  caller 1 ─ opens ──┬─ drives ──────── dropped
//!                     │                     ╰ hands the work on
//!  caller 2 ─── joins ┤   waits ────────────┬─ drives ──────────┬─ the result
//!                     │                     │                   │
//!  caller 3 ───── joins   waits ────────────╯ is woken, waits ──╯─ a clone of it
//!                                                               ╰ the key left the table just before
//! ```
//!
//! # What happens when …
//!
//! | | this crate | Go's `x/sync` | `async_singleflight` | `singleflight-async` | `get_with` of moka |
//! |---|---|---|---|---|---|
//! | the leader is dropped | a follower drives the same work on, or ([`join`](Group::join)) it has a task of its own | cannot happen | a follower starts anew | a follower starts anew | a follower starts anew |
//! | … and nobody follows | the work is dropped, the key is free | – | the key stays in the table | the key stays in the table | the key is free |
//! | a follower is dropped | it leaves alone | `DoChan`: it leaves alone | it leaves alone | it leaves alone | it leaves alone |
//! | the last waiter is dropped | the work is dropped; a task goes on | the work goes on | the work is dropped | the work is dropped | the work is dropped |
//! | the work fails | everybody gets a clone of the error | everybody gets the error | only the leader gets the error | everybody gets it, as a value | `try_get_with`: everybody gets it in an `Arc` |
//! | the work panics | [`Error::Panicked`] for everybody | a panic in everybody, or the end of the process | a panic in the leader, a follower starts anew | the same | the same |
//! | the work asks for its own key | [`Error::Reentrant`] | waits for ever | waits for ever | waits for ever | waits for ever |
//! | the key is forgotten | the next caller starts anew, and the run under way can see that it is [void](Watch) | the next caller starts anew | – | – | – |
//! | a result arrives | all are woken at once | all at once | all at once | one wakes the next | one wakes the next |
//!
//! # Several runtimes
//!
//! With [`Group::work`], the work moves from caller to caller, and so from runtime to runtime. Timers
//! and sockets that it has made do not move: they need the runtime on which they were made, and if
//! that is no longer driven, callers on other runtimes [wait in vain](Group::work).
//! Callers that share a group between runtimes run the work in tasks of one of them, which lives at
//! least as long as they need results:
//!
//! ```
//! use std::convert::Infallible;
//! use std::time::Duration;
//!
//! use carrotcache_singleflight::{Follower, Group, Role};
//! use tokio::runtime::{Builder, Handle};
//!
//! type Flights = Group<String, u32, Infallible>;
//!
//! fn load(flights: &Flights, key: &str, runtime: &Handle) -> Follower<u32, Infallible> {
//!     match flights.join(key) {
//!         Role::Follower(follower) => follower,
//!         Role::Leader(leader) => {
//!             let follower = leader.follow();
//!             runtime.spawn(leader.run(async {
//!                 tokio::time::sleep(Duration::from_millis(1)).await;
//!                 Ok(630)
//!             }));
//!             follower
//!         }
//!     }
//! }
//!
//! let loads = Builder::new_multi_thread().worker_threads(1).enable_time().build()?;
//! let caller = Builder::new_current_thread().build()?; // Without timers: it needs none.
//! let flights = Flights::new();
//! let outcome = caller.block_on(load(&flights, "Tom", loads.handle()));
//! assert_eq!(outcome.result, Ok(630));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! If that runtime is shut down, its tasks are dropped, and callers on all runtimes get
//! [`Error::Abandoned`].
//!
//! # What is promised
//!
//! - For each key, at most one flight is open at a time, and its work is started once.
//! - Any future may be dropped at any time: no other caller notices, and no key stays behind.
//! - The key leaves the table before the first caller is woken: whoever sees a result and asks
//!   again starts anew.
//! - Once [`forget`](Group::forget) or [`forget_all`](Group::forget_all) has returned, nobody joins
//!   the old flight, and on every thread that can know of the return it is [void](Watch).
//! - No lock is held while the work runs, a result is cloned or dropped, a key is cloned, hashed
//!   or dropped, or a waker is called. Only the key's `Eq` runs under a lock.
//! - All interleavings of start, join, drop, end, panic and forget for three parties are tried in
//!   the tests, against a model.
//!
//! # What is not promised
//!
//! - A result lives no longer than the last caller that waits for it, or the last [`Watch`]. This is
//!   no cache; put one in front, and look into it once more in the work.
//! - A caller of [`Group::work`] that drives and is not polled keeps the others waiting. Where
//!   callers cannot be trusted to poll, give the work a task.
//! - Circles over several tasks or threads are not detected: `a` waits for `b` here, `b` for `a`
//!   there. Only work that asks for its own key is, directly or through the work of other keys, up to
//!   sixteen deep.

mod driver;
mod error;
mod flight;
mod follower;
mod group;
mod leader;
mod nest;
mod outcome;
mod shard;
pub mod sync;
mod table;
mod waiters;
mod watch;

pub use crate::error::Error;
pub use crate::follower::Follower;
pub use crate::group::{DefaultHashBuilder, Group, Role};
pub use crate::leader::Leader;
pub use crate::outcome::Outcome;
pub use crate::watch::Watch;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
