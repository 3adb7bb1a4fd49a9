//! What the nodes of a distributed cache say to each other.
//!
//! A cache that lives inside many processes needs three things of whatever links them, and this
//! crate is the three traits that say so. It knows no socket, no ring and no cache: a cache is
//! written against it on one side, a transport on the other, and neither knows the other.
//!
//! ```text
//!      the asking node                                          the owner's node
//!  ┌───────────────────────┐                                 ┌────────────────────┐
//!  │ Picker: who owns it?  │                                 │                    │
//!  │   └▶ Owner::Remote    │                                 │                    │
//!  │        └▶ Peer::ask ──┼── Request: group, key, deadline ┼─▶ Handler::answer  │
//!  │                       │                                 │      │ at once, or │
//!  │  Completion::tell ◀───┼── Answer { Entry } / PeerError ─┼──────┘ by a future │
//!  └───────────────────────┘                                 └────────────────────┘
//! ```
//!
//! - A [`Picker`] says who owns a key.
//! - A [`Peer`] asks one node. It is handed a [`Request`] and a [`Completion`], which it tells the
//!   [`Answer`] once, from whatever task or thread has it. Nobody has to poll anything, so a
//!   transport that reads many answers from one connection hands each of them over as it arrives.
//! - A [`Handler`] answers what other nodes ask of this one: at once if it has the value at hand,
//!   and then even before the names are copied into a request ([`Handler::at_hand`]).
//!
//! An [`Entry`] is a value as it flows from the loader that made it to the caller who wanted it. A
//! [`PeerError`] is one failure with one type, from the socket to the statistics.
//!
//! # A transport of one's own
//!
//! With the feature `tokio`, `peer_fn` makes a peer of an async function and `handler_fn` a handler;
//! `ask` waits for an answer. Here a "network" is a call in the same process:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::{Duration, Instant};
//!
//! use carrotcache_peer::{Answer, Handler, Request, ask, handler_fn, peer_fn};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let owner = Arc::new(handler_fn(|request: Request| async move {
//!     Ok(Answer::new(request.key.to_uppercase()))
//! }));
//! let peer = peer_fn("the owner", move |request| {
//!     let owner = Arc::clone(&owner);
//!     async move { owner.answer(request).await }
//! });
//!
//! let deadline = Instant::now() + Duration::from_secs(1);
//! let answer = ask(&peer, Request::new("names", "tom", deadline)).await?;
//! assert_eq!(answer.entry.value().unwrap(), "TOM");
//! # Ok::<(), carrotcache_peer::PeerError>(()) }).unwrap();
//! ```
//!
//! # What nodes forget together
//!
//! A value that has changed has to leave every cache. A [`Purge`] tells one node to forget keys of a
//! group, and is answered by a [`Purged`]; [`purge`](Purge) has the steps. A transport that does not
//! carry purges leaves [`Peer::purge`] and [`Picker::this_node`] as they are.
//!
//! # Whose time it is
//!
//! A request carries its limits, set where it begins: a deadline, and how long an owner may show no
//! sign that it is at it. The transport keeps to both (it tells its completion
//! [`PeerErrorKind::TimedOut`] then), and the owner is told what is left until the deadline, since
//! clocks of two machines need not agree. There is no other timer above or below.

mod entry;
mod error;
#[cfg(feature = "tokio")]
mod functions;
mod handler;
mod peer;
mod purge;
mod request;

pub use entry::{Answer, Entry};
pub use error::{BoxError, PeerError, PeerErrorKind};
#[cfg(feature = "tokio")]
pub use functions::{HandlerFn, PeerFn, ask, handler_fn, peer_fn};
pub use handler::{Handler, Reply};
pub use peer::{Completion, Limits, Owner, Peer, Picker};
pub use purge::{Fate, Keys, Member, Purge, Purged, Step};
pub use request::Request;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
