//! A pool of HTTP peers on a consistent-hash ring: the wire of groupcache, client and server.
//!
//! Each node of a cache has an [`HttpPool`]. It says by a ring who owns a key
//! ([`owner`](HttpPool::owner)), asks owners elsewhere for values ([`HttpPeer::get`]), and answers
//! those who ask this node ([`HttpPool::serve`], or [`HttpPool::service`] inside another server). What
//! answers is a [`Handler`]; this crate knows nothing of caches.
//!
//! # The wire
//!
//! A get is `GET {base URL}{base path}{group}/{key}`, the base path `/_groupcache/` unless set. The
//! answer is the protobuf message `GetResponse { 1: bytes value, 2: double minute_qps }` of
//! `proto/groupcache.proto`, in full what Go's groupcache sends. [`path`] says how names are escaped.
//!
//! | how it ended | status | `carrotcache-outcome` | at the asking node |
//! |---|---|---|---|
//! | a value | 200 | | [`Answer`] |
//! | no such key | 404 | `not-found` | [`PeerError::NotFound`], a verdict |
//! | the loader failed | 500 | `load-failed` | [`PeerError::LoadFailed`], a verdict |
//! | no such group | 404 | `no-such-group` | [`PeerError::NoSuchGroup`] |
//! | too much to do | 503 | `overloaded` | [`PeerError::Overloaded`] |
//! | not in time | 504 | `timed-out` | [`PeerError::TimedOut`] |
//! | malformed request | 400 | `invalid` | [`PeerError::BadRequest`] |
//!
//! Everything but a value comes with one line of text. A Go node takes any status but 200 as a
//! reason to load locally. It sends no `carrotcache-outcome`; its 404 means no such group, and its
//! 500 that the getter failed. The request header `carrotcache-time-left` tells the owner how many
//! milliseconds the asking node still waits.
//!
//! # What is believed
//!
//! Nothing that comes from the network, until it is bounded in size and in time. The bounds are
//! methods of [`HttpPoolBuilder`]: connecting, a whole get, the head of a request, the size of an
//! answer, of keys and of groups, the number of connections both ways. An answer is counted as it
//! is read; a value is copied out of the buffer that it was read into, so that a hundred bytes in
//! a cache do not hold a hundred kilobytes.
//!
//! # Connections
//!
//! A peer has up to [`max_connections`](HttpPoolBuilder::max_connections), each with one get under
//! way. The one that was used last is used next. No task stands behind a connection: the future of
//! a get moves the bytes itself, and takes its connection along when it is dropped. The price is that
//! a connection which the peer closes while it is unused is noticed by the next get, which then
//! opens another.

mod answer;
mod client;
mod config;
mod connection;
mod error;
mod generated;
mod idle;
mod outcome;
pub mod path;
mod pool;
mod serve;
mod server;
mod url;

pub use answer::{Answer, AnswerBody};
pub use client::HttpPeer;
pub use config::HttpPoolBuilder;
pub use error::{BuildError, PeerError, ServeError, SetPeersError};
pub use pool::{HttpPool, Owner};
pub use server::{Handler, PeerRequest, PeerResponse, PeerService, Refusal};
pub use url::UrlError;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
