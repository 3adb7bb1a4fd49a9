//! A distributed read-through cache that lives inside the processes that use it.
//!
//! A service adds this crate, writes one [`Loader`], and calls [`Group::get`]. Its processes become
//! peers: a consistent-hash ring says which of them owns a key, and the owner alone asks the
//! database, once, however many callers in however many processes wait. There are no cache servers,
//! and no code that looks into a cache first, then into the database, then fills the cache.
//!
//! ```
//! use carrotcache::{HttpPool, Node};
//!
//! # async fn find(key: &str) -> Result<Option<String>, std::io::Error> {
//! #     Ok((key == "Tom").then(|| "630".to_owned()))
//! # }
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let own_url = format!("http://{}", listener.local_addr()?);
//! # let all_urls = [own_url.clone()];
//! # let shutdown = std::future::ready(());
//! let pool = HttpPool::builder(own_url).build()?;
//! pool.set_peers(all_urls)?;
//!
//! let node = Node::builder().peers(pool.clone()).build();
//! let scores = node
//!     .group("scores")
//!     .max_bytes(64 << 20)
//!     .loader(|key: String| async move { find(&key).await })
//!     .build()?;
//! tokio::spawn(pool.serve(listener, node, shutdown));
//!
//! let score = scores.get("Tom").await?;
//! assert_eq!(score, "630");
//! # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! # The way of a get
//!
//! ```text
//! get(key) ── main ── hot ── absent ── hit: return, no await, no allocation
//!                      │ miss         (about to expire, or stale: and a new value is fetched)
//!               who owns the key?
//!        this node ────┴──── a peer
//!            │                  │
//!       LOAD flight       FORWARD flight
//!   look in the cache again, for a flight may just have ended
//!   wait for its turn      ask the owner
//!     run the loader        ├ a value: return it; one in ten is mirrored in hot
//!     keep it in main       ├ its verdict (not found, loader failed): return that, ask nobody else
//!                           └ it could not be asked: the next node on the ring stands in for it, by
//!                             a LOAD flight there; if that is this node, or could not be asked
//!                             either, LOAD flight here; kept in hot only
//!
//! a request from a peer: main ── hot ── absent ── LOAD flight. It never goes to a third node.
//! ```
//!
//! A *flight* is one fetch that all callers of a key share. Loads and forwards have a table each: a
//! peer's request can join a load but never a forward, so nodes whose rings disagree cannot wait
//! for each other in a circle.
//!
//! # Values that change
//!
//! Whoever changes what the loader reads calls [`Group::remove`] after the commit: all nodes forget the
//! key, and an error names those that were not reached. [`Group::set`] removes, and has the owner keep
//! the new value. What nobody removes lasts for a [time to live](GroupBuilder::time_to_live).
//!
//! # A database that is protected
//!
//! - Of a key that many want when it expires there is one load. With
//!   [`serve_stale`](GroupBuilder::serve_stale) nobody waits for it.
//! - Equal times to live end at different times ([`jitter`](GroupBuilder::jitter)), no more than
//!   [`max_loads`](GroupBuilder::max_loads) run at once, and an expired value can stand in for a load
//!   that fails ([`stale_if_error`](GroupBuilder::stale_if_error)).
//! - That there is no such thing can be remembered
//!   ([`not_found_time_to_live`](GroupBuilder::not_found_time_to_live)).
//!
//! # What it promises
//!
//! - A value that is returned for a key came from the group's loader, for that key, or was set for it.
//! - When [`Group::remove`] has returned `Ok`, every get that begins later, on this node or a peer of
//!   its, returns a value whose load began after the remove did. How old a value can be in all other
//!   cases is on a page of its own, with the test for each: [GUARANTEES.md].
//! - On one node at most one load of a key is under way; while nodes agree on the ring and have links
//!   to each other, over all nodes, within the bounds of the links.
//! - A request crosses at most one hop.
//! - An owner that cannot be asked costs no error, and one load of a key while the askers agree that it
//!   is away. How many loads nodes run for each other beyond that is
//!   [bounded](NodeBuilder::loads_for_others).
//! - What a group holds never exceeds its `max_bytes`, keys and bookkeeping counted.
//! - Every future here may be dropped at any time; a load that everyone has left still fills the
//!   cache.
//! - A panic in a loader is an error for those who wait, and the key can be tried again at once.
//! - Nothing is global. Two nodes in one process know nothing of each other.
//!
//! What it does not do: it does not watch the database, and it stores nothing. What no node holds is
//! loaded again.
//!
//! [GUARANTEES.md]: https://github.com/carrotcache/carrotcache/blob/main/GUARANTEES.md
//!
//! # Parts
//!
//! Each part is a crate that can be used by itself: [`byteview`], [`lru`], [`consistenthash`],
//! [`singleflight`], [`peer`] and, with the default feature `http`, `peer_http`. Without that feature
//! the facade needs no HTTP; a [`Picker`] of your own links the nodes, as [`peer`] shows. With the
//! feature `tls`, `peer_http` speaks TLS.

mod builder;
mod bulk;
mod cache;
mod chance;
mod clock;
mod debts;
mod error;
mod freshness;
mod group;
mod held;
mod home;
mod load_budget;
mod loader;
mod looks;
mod names;
mod node;
mod outages;
mod peers;
mod quietly;
mod registry;
mod rules;
mod runtime;
#[cfg(test)]
mod simulation;
mod stats;
mod tell;
mod value;

pub use builder::{GroupBuilder, MAX_GROUP_NAME_BYTES};
pub use bulk::{BulkLoader, IntoLoaded, Loaded};
pub use cache::ENTRY_OVERHEAD_BYTES;
pub use error::{BuildGroupError, GetError, RemoveError, SetError};
pub use group::{GetMany, Group, Mirroring};
pub use loader::Loader;
pub use node::{Node, NodeBuilder};
pub use stats::{CacheStats, Stats};
pub use value::{IntoValue, Value};

pub use carrotcache_byteview::{self as byteview, ByteView};
pub use carrotcache_consistenthash as consistenthash;
pub use carrotcache_lru as lru;
pub use carrotcache_peer::{
    self as peer, Answer, BoxError, Entry, Handler, Owner, Peer, PeerError, PeerErrorKind, Picker,
    Request,
};
#[cfg(feature = "http")]
pub use carrotcache_peer_http::{self as peer_http, HttpPool};
pub use carrotcache_singleflight as singleflight;

/// The README's example runs as a test.
#[cfg(all(doctest, feature = "http"))]
#[doc = include_str!("../README.md")]
struct Readme;
