//! A consistent-hash ring that places keys as groupcache does.
//!
//! A set of nodes wants to share keys out among themselves, each knowing who owns which, without
//! asking anyone. Taking `hash(key) % nodes` does it until a node comes or goes: then nearly every
//! key changes hands at once. A ring moves only what must move.
//!
//! Think of all hash values as a circle. Each node puts a few dozen *points* on it, at the hashes
//! of `0label`, `1label`, `2label` and so on. A key belongs to the node whose point comes first
//! at or after the key's own hash, going round:
//!
//! ```text
//!            0
//!        a ──┴── b          hash(key) lies here ──╮
//!      ╱           ╲                              ▼
//!     c             a       ──────a──────────b────x───────c──────▶ hash values
//!      ╲           ╱                                      ▲
//!        b ───── c                      so c owns it ─────╯
//! ```
//!
//! A node that joins takes the arcs that end at its own points, a little from each, and no key
//! moves between two others. A node that leaves gives its arcs to whoever comes next. The more
//! points, the more even the shares.
//!
//! ```
//! use carrotcache_consistenthash::Ring;
//!
//! let ring = Ring::new(["http://10.0.0.1:8001", "http://10.0.0.2:8001", "http://10.0.0.3:8001"])?;
//! let owner = ring.get("Tom").expect("the ring has nodes");
//!
//! // One node leaves: the keys of the others stay where they are.
//! let smaller = ring.without_node("http://10.0.0.1:8001")?;
//! if owner != "http://10.0.0.1:8001" {
//!     assert_eq!(smaller.get("Tom"), Some(owner));
//! }
//! # Ok::<(), carrotcache_consistenthash::RingError>(())
//! ```
//!
//! # Agreeing
//!
//! Where the points lie is a contract: two processes agree on every owner only if they place
//! alike. A [`Scheme`] names such a contract. The default is that of Go's groupcache, so that a
//! ring can hold nodes in both languages; [`balance`] shows what it costs and which scheme to
//! choose. [`Ring::fingerprint`] tells whether two rings agree, and [`Ring::diff`] where not.
//!
//! # Cost
//!
//! A lookup hashes the key, takes the position's top bits to where the right point must be, and
//! compares eight points at once: no allocation, no lock, no loop over nodes. A point takes at
//! most 10 bytes with a 32-bit hash and 14 with a 64-bit one. A ring never changes; one that
//! differs by a node is made by copying the old points around the new ones.

pub mod balance;
mod bounded;
mod builder;
mod columns;
mod diff;
mod error;
mod fingerprint;
mod md5;
mod nodes;
mod placer;
mod ring;
mod scheme;
mod successors;
mod table;

pub use builder::RingBuilder;
pub use diff::Move;
pub use error::RingError;
pub use ring::Ring;
pub use scheme::{Placement, Scheme};
pub use successors::Successors;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
