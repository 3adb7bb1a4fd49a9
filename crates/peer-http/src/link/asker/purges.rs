//! The purges under way.
//!
//! There are few of them, next to gets, so they have no slots: they are found by a number of their own,
//! in an [`Id`] that no get has. Each ends by its answer, its deadline or the end of the link.

use std::collections::BTreeMap;

use carrotcache_peer::{Completion, PeerError, PeerErrorKind, Purge, Purged};
use tokio::time::Instant;

use super::waiter::millis_left;
use crate::link::config::LinkConfig;
use crate::link::frame::hello::Hello;
use crate::link::frame::purge::{self, Bounds};
use crate::link::frame::{Id, len_usize};

/// How many purges may be under way to one owner. It takes as many.
pub(crate) const MAX_PURGES: usize = 64;
/// How many there may be with those that wait until others have been answered.
pub(crate) const MAX_WAITING_PURGES: usize = 4_096;

/// A purge, and who is told its answer.
///
/// Dropping it tells an error of kind [`Dropped`](PeerErrorKind::Dropped).
#[derive(Debug)]
pub(crate) struct PurgeWaiter {
    /// Boxed, since it is large and handed back where it cannot be sent.
    pub(crate) purge: Box<Purge>,
    pub(crate) completion: Completion<Purged>,
    /// Whether the peer has spoken over a link before. One that has is not plain because a link was cut
    /// before its HELLO: it may remember what it is to forget.
    pub(crate) has_met: bool,
}

impl PurgeWaiter {
    pub(crate) fn new(purge: Purge, completion: Completion<Purged>) -> Self {
        Self { purge: Box::new(purge), completion, has_met: false }
    }
}

/// A purge that was not sent. It has not been told.
#[derive(Debug)]
pub(crate) enum UnsentPurge {
    /// The link is over, and another may take it.
    Over(PurgeWaiter),
    /// No link will, and why.
    Refused(PurgeWaiter, PeerError),
}

/// The purges under way, and those that wait to be sent.
#[derive(Default)]
pub(super) struct Purges {
    under_way: BTreeMap<u32, UnderWay>,
    /// How many of them were sent.
    sent: usize,
    /// How many there have been. A number comes again after four thousand million purges.
    count: u32,
}

struct UnderWay {
    /// What is still to be sent: whether the owner takes purges, and how long they may be, is known by its
    /// HELLO only, and it takes only so many at once.
    unsent: Option<Box<Purge>>,
    deadline: Instant,
    completion: Completion<Purged>,
    has_met: bool,
}

impl Purges {
    /// Returns whether none is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Returns why there is no room for another, if there is none. `is_full` says that as many bytes wait
    /// to be written as may.
    pub(super) fn refusal(&self, is_full: bool) -> Option<PeerError> {
        let error = PeerError::new(PeerErrorKind::Unreachable);
        if self.under_way.len() >= MAX_WAITING_PURGES {
            Some(error.with_source(format!("{MAX_WAITING_PURGES} purges wait for it")))
        } else if is_full {
            Some(error.with_source("too much waits to be written to it"))
        } else {
            None
        }
    }

    /// Returns whether the owner takes one more now.
    pub(super) fn may_send(&self) -> bool {
        self.sent < MAX_PURGES
    }

    /// Returns the id of the purge that is put next.
    pub(super) fn next_id(&self) -> Id {
        Id::of_purge(self.count)
    }

    /// Waits for the answer to a purge, under the id that is [next](Self::next_id). One that `is_sent` is
    /// not kept.
    pub(super) fn put(&mut self, waiter: PurgeWaiter, is_sent: bool) {
        let PurgeWaiter { purge, completion, has_met } = waiter;
        let deadline = Instant::from_std(purge.deadline);
        let unsent = (!is_sent).then_some(purge);
        self.under_way.insert(self.count, UnderWay { unsent, deadline, completion, has_met });
        self.sent += usize::from(is_sent);
        self.count = self.count.wrapping_add(1);
    }

    /// Takes out who waits for this answer; `None` if nobody does any more, or it is that of a get.
    pub(super) fn take(&mut self, id: Id) -> Option<Completion<Purged>> {
        Some(self.remove(id.purge()?)?.completion)
    }

    fn remove(&mut self, number: u32) -> Option<UnderWay> {
        let removed = self.under_way.remove(&number)?;
        self.sent -= usize::from(removed.unsent.is_none());
        Some(removed)
    }

    /// Takes out those that were not sent, and for which there is room now. Their answers are waited
    /// for.
    pub(super) fn unsent(&mut self) -> Vec<(Id, Box<Purge>)> {
        let room = MAX_PURGES - self.sent;
        let waiting = self.under_way.iter_mut();
        let sent: Vec<_> = waiting
            .filter_map(|(number, it)| Some((Id::of_purge(*number), it.unsent.take()?)))
            .take(room)
            .collect();
        self.sent += sent.len();
        sent
    }

    /// Takes out those whose time is over at `now`. Returns when the next one's will be.
    pub(super) fn expire(
        &mut self,
        now: Instant,
        out: &mut Vec<Completion<Purged>>,
    ) -> Option<Instant> {
        let is_over = |it: &UnderWay| it.deadline <= now;
        let under_way = self.under_way.iter();
        let over: Vec<u32> = under_way.filter(|(_, it)| is_over(it)).map(|(at, _)| *at).collect();
        let over = over.into_iter().filter_map(|number| self.remove(number));
        out.extend(over.map(|it| it.completion));
        self.under_way.values().map(|it| it.deadline).min()
    }

    /// Takes out all, each with whether the peer has spoken over a link before.
    pub(super) fn drain(&mut self) -> Vec<(Completion<Purged>, bool)> {
        self.sent = 0;
        let under_way = std::mem::take(&mut self.under_way);
        under_way.into_values().map(|it| (it.completion, it.has_met)).collect()
    }
}

/// Appends the frame of a purge to `out`, for an owner that has said `hello`.
///
/// # Errors
///
/// When it would not take it.
pub(super) fn write(
    out: &mut Vec<u8>,
    id: Id,
    purge: &Purge,
    hello: Hello,
    now: Instant,
    config: &LinkConfig,
) -> Result<(), PeerError> {
    if !hello.takes_purges {
        let error = PeerError::new(PeerErrorKind::Plain);
        return Err(error.with_source("its version takes no purges"));
    }
    let millis_left = millis_left(Instant::from_std(purge.deadline), now);
    let bounds = Bounds {
        max_bytes: len_usize(hello.max_request_bytes),
        max_value_bytes: len_usize(config.max_value_bytes.min(hello.max_value_bytes)),
    };
    if purge::encode(out, id, millis_left, purge, bounds) {
        return Ok(());
    }
    let error = PeerError::new(PeerErrorKind::BadRequest);
    Err(error.with_source("the purge is longer than it takes"))
}
