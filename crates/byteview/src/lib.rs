//! An immutable view of bytes that clones and slices without copying.
//!
//! A cache hands the same value to many callers at once. Copying it for each of them would cost
//! time and memory in proportion to its size, and a mutable buffer would let one caller change
//! what the others read. [`ByteView`] is the answer of the groupcache family: bytes that nobody
//! can change, behind a handle that costs a reference count to clone.
//!
//! ```
//! use carrotcache_byteview::ByteView;
//!
//! let view = ByteView::from("name=Tom;score=630");
//! let score = view.slice(15..);
//! assert_eq!(score, "630");
//! assert_eq!(score.as_str(), Ok("630"));
//! ```
//!
//! # Where the bytes live
//!
//! | made by | bytes live in | making it | its first clone | later clones |
//! |---|---|---|---|---|
//! | [`from_static`](ByteView::from_static), `From<&'static str>` | the program | – | – | – |
//! | [`copy_from_slice`](ByteView::copy_from_slice), [`compact`](ByteView::compact), `collect` | an `Arc<[u8]>` | 1 allocation, 1 copy | a count | a count |
//! | `From<Arc<[u8]>>`, `From<Arc<str>>` | that `Arc` | – | a count | a count |
//! | `From<Vec<u8>>`, `From<String>`, `From<Box<[u8]>>` | that buffer | at most 1 small allocation | at most 1 small allocation | a count |
//! | `From<Bytes>` | that `Bytes` | – | as `Bytes` does | as `Bytes` does |
//!
//! A view in an `Arc<[u8]>` needs one allocation for its whole life, which holds the bytes and two
//! words of counts. A `Bytes` or a `Vec` keeps its count in a second allocation, made at the first
//! clone, and a cache clones each value at its first hit. So it should keep what
//! [`compact`](ByteView::compact) returns. The tests count the allocations of this table.
//!
//! # What it looks like from outside
//!
//! A view is its bytes, whatever holds them. It dereferences to `[u8]`; it compares with slices,
//! arrays, vectors, strings, `Cow`, `Arc`, `Box` and [`Bytes`], from both sides; and it hashes as
//! `[u8]` does, so that a map with views for keys is asked with a slice:
//!
//! ```
//! use std::collections::HashMap;
//!
//! use carrotcache_byteview::ByteView;
//!
//! let mut scores: HashMap<ByteView, u32> = HashMap::new();
//! scores.insert(ByteView::from("Tom"), 630);
//! assert_eq!(scores.get(b"Tom".as_slice()), Some(&630));
//! ```
//!
//! It is read with the traits of the ecosystem: [`bytes::Buf`] by consuming it, [`std::io::Read`]
//! through [`Buf::reader`](bytes::Buf::reader) or [`std::io::Cursor`]. With the feature `serde` it
//! is stored as bytes.
//!
//! # Slices pin their buffer
//!
//! A slice shares the buffer that it was cut from, so ten bytes cut from a read buffer of a
//! megabyte keep the megabyte alive. Before such a slice is kept for long, [`ByteView::compact`]
//! copies it free:
//!
//! ```
//! use carrotcache_byteview::ByteView;
//!
//! let answer = ByteView::from(vec![b'x'; 1 << 20]);
//! let kept = answer.slice(..10).compact();
//! drop(answer); // The megabyte is freed here; `kept` owns ten bytes.
//! assert_eq!(kept, "xxxxxxxxxx");
//! ```
//!
//! # What it is not
//!
//! It is not a buffer to write to (build a `Vec` or a [`BytesMut`](bytes::BytesMut) and convert it),
//! not a rope (joining two views copies), and not a string: [`ByteView::as_str`] checks each time
//! that the bytes are text.

mod compare;
mod convert;
#[cfg(feature = "serde")]
mod serde;
mod view;

pub use bytes::Bytes;

pub use crate::view::ByteView;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
