//! Gets, with who is told the answer.

use std::sync::Arc;
use std::time::Duration;

use carrotcache_peer::{Completion, Request};
use tokio::time::Instant;

use crate::link::end::End;
use crate::link::frame::hello::Hello;

/// A question, and who is told the answer.
///
/// Dropping it tells an error of kind [`Dropped`](carrotcache_peer::PeerErrorKind::Dropped).
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) request: Request,
    pub(crate) completion: Completion,
    /// Whether it was sent together with others, for one caller that waits for all of them.
    pub(super) is_batched: bool,
    /// Whether it is a look, which is for a link only: no other way asks a cache and nothing else.
    pub(crate) is_look: bool,
}

impl Waiter {
    pub(crate) fn new(request: Request, completion: Completion) -> Self {
        Self { request, completion, is_batched: false, is_look: false }
    }

    /// Returns one of a look.
    pub(crate) fn look(request: Request, completion: Completion) -> Self {
        Self { is_look: true, ..Self::new(request, completion) }
    }
}

/// A get that was not sent, given back. It has not been told, so that it can go another way.
#[derive(Debug)]
pub(crate) struct Unsent {
    pub(crate) waiter: Waiter,
    pub(crate) why: Why,
}

/// Why a get was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// As many gets are under way as may be, or more bytes wait to be written than may.
    Full,
    /// Group or key are longer than the owner takes in a frame.
    TooLong,
    /// The owner takes no looks.
    NoLooks,
    /// The owner said goodbye, or the link has ended.
    Over,
}

/// Where gets go that are not to be answered over a link after all: over HTTP.
///
/// Called on the link's task, so it must neither block nor panic.
pub(crate) type Detour = Arc<dyn Fn(Waiter) + Send + Sync>;

/// Hears what becomes of a link, before those do who have asked over it.
///
/// Called on the link's task, so it must neither block nor panic.
pub(crate) trait Watcher: Send + Sync {
    /// The owner has said HELLO, perhaps again.
    fn met(&self, hello: Hello);

    /// The link has ended. `has_met` tells whether the owner has ever said HELLO.
    fn ended(&self, end: &Arc<End>, has_met: bool);
}

/// Returns what the owner is told of the time left: rounded up, since the asker keeps to it anyway.
pub(super) fn millis_left(deadline: Instant, now: Instant) -> u32 {
    let millis = deadline.saturating_duration_since(now).as_millis();
    u32::try_from(millis).unwrap_or(u32::MAX).saturating_add(1)
}

/// Returns whether two gets can be told one time: they were made one right after the other. Each keeps
/// to its own deadline here anyway.
pub(super) fn is_about(one: std::time::Instant, other: std::time::Instant) -> bool {
    one.max(other).duration_since(one.min(other)) <= Duration::from_millis(10)
}
