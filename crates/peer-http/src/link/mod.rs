//! The link: one connection between two of our nodes that carries many gets at a time.
//!
//! HTTP stays groupcache's protocol, for whoever has only that. Two nodes of ours agree on frames
//! instead, over the connection that there is. No get waits behind another then: each has a slot, its
//! answer names the slot, and answers come in whatever order they are ready.
//!
//! ```text
//!      asker                                              owner
//!  Link::get ─▶ slot, out ─┐                          ┌─ Handler::answer: at hand ─▶ out
//!                          ├─ Driver ═══ frames ══ Serving                          ▲
//!  Completion ◀── slot ◀───┘   one task      one task └─ a load: its own task ──────┘
//! ```
//!
//! On each side one task reads and writes. It owns the socket; what others hand it lies under one
//! mutex, which nobody holds while waiting or while code of somebody else runs. What is here knows
//! neither HTTP nor how a connection comes about: it takes any stream of bytes.
//!
//! An owner that loads says LOADING, once for each get. The stream loses nothing, so that holds until
//! the answer comes or the link ends; and whether the owner lives, a ping of the link tells for all
//! gets at once.
//!
//! - [`frame`]: what is sent, as pure functions on bytes.
//! - [`input`]: bytes that have been read and not yet taken.
//! - [`asker`]: slots, deadlines, and the completions that are told.
//! - [`owner`]: requests, answers, and the order in which they leave.
//! - [`config`]: every bound. [`end`]: why a link ended.

pub(crate) mod asker;
pub(crate) mod config;
pub(crate) mod end;
pub(crate) mod frame;
mod input;
pub(crate) mod owner;

#[cfg(fuzzing)]
pub mod fuzzing;
#[cfg(any(test, fuzzing))]
mod scripted;
#[cfg(test)]
mod tests;
