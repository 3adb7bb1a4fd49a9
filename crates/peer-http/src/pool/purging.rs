//! The way of a purge to a peer: over its link, and over nothing else.
//!
//! While there is none, the purge asks for one by a get that harms nobody: of a group that no node has.
//! A node that knows no links says so, without having run a loader, and cannot be told.

use std::sync::Arc;

use carrotcache_peer::{Completion, PeerError, PeerErrorKind};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::http::client::within;
use crate::link::asker::{MAX_WAITING_PURGES, PurgeWaiter, UnsentPurge, Waiter};
use crate::pool::line::Line;
use crate::pool::standing::{PurgeWay, Settled, plain};
use crate::wire::upgrade;

/// How often a purge looks for a link. A peer may end each as soon as it is open.
const MAX_LOOKS: usize = 4;

impl Line {
    /// Sends a purge, and returns without waiting. Its completion is told the answer, once.
    pub(crate) fn purge(self: &Arc<Self>, waiter: PurgeWaiter) {
        if let Some((waiter, settled)) = self.try_purge(waiter) {
            self.runtime().spawn(Arc::clone(self).purge_later(waiter, settled));
        }
    }

    /// Sends a purge if there is a link, and tells it if there can be none. Returns it if there may be
    /// one, with what will say so.
    fn try_purge(
        self: &Arc<Self>,
        mut waiter: PurgeWaiter,
    ) -> Option<(PurgeWaiter, oneshot::Receiver<Settled>)> {
        loop {
            if Instant::from_std(waiter.purge.deadline) <= Instant::now() {
                return self.fail(waiter, PeerErrorKind::TimedOut.into());
            }
            let way = self.lock().purge_way();
            match way {
                PurgeWay::Link(link, has_met) => {
                    match link.purge(PurgeWaiter { has_met, ..waiter }) {
                        Ok(()) => return None,
                        Err(UnsentPurge::Refused(waiter, error)) => {
                            return self.fail(waiter, error);
                        }
                        Err(UnsentPurge::Over(unsent)) => {
                            // That link is not found any more, so this ends.
                            self.part(&link);
                            waiter = unsent;
                        }
                    }
                }
                PurgeWay::Plain(why) => return self.fail(waiter, plain(why)),
                PurgeWay::Full => return self.fail(waiter, full()),
                PurgeWay::Waits(settled) => return Some((waiter, settled)),
                PurgeWay::Ask(settled) => {
                    let request = upgrade::bare_request(waiter.purge.deadline);
                    self.spawn_asking(Waiter::new(request, Completion::new(drop)), true);
                    return Some((waiter, settled));
                }
            }
        }
    }

    /// Waits for a link to send a purge over, no longer than until its deadline.
    ///
    /// # Cancel safety
    ///
    /// Dropped only when its runtime shuts down. The purge is told so.
    async fn purge_later(
        self: Arc<Self>,
        mut waiter: PurgeWaiter,
        mut settled: oneshot::Receiver<Settled>,
    ) {
        let deadline = Instant::from_std(waiter.purge.deadline);
        for _ in 0..MAX_LOOKS {
            let told = match within(deadline, settled) {
                Ok(settled) => settled.await,
                Err(no_timer) => return self.tell(waiter, no_timer),
            };
            match told {
                Ok(Ok(Settled::Anew)) => {}
                Ok(Ok(Settled::Failed(error))) => return self.tell(waiter, error),
                // Nobody asks any more: the runtime shuts down.
                Ok(Err(_unsettled)) => return self.tell(waiter, PeerErrorKind::Dropped.into()),
                Err(_elapsed) => return self.tell(waiter, PeerErrorKind::TimedOut.into()),
            }
            match self.try_purge(waiter) {
                None => return,
                Some(again) => (waiter, settled) = again,
            }
        }
        let error = PeerError::new(PeerErrorKind::Unreachable);
        self.tell(waiter, error.with_source("no link to it lasts"));
    }

    /// Tells a purge that it is not sent.
    fn fail<T>(&self, waiter: PurgeWaiter, error: PeerError) -> Option<T> {
        self.tell(waiter, error);
        None
    }

    fn tell(&self, waiter: PurgeWaiter, error: PeerError) {
        waiter.completion.tell(Err(error.at(Arc::clone(self.label()))));
    }
}

/// Returns the error of a purge beyond the bound.
fn full() -> PeerError {
    let error = PeerError::new(PeerErrorKind::Unreachable);
    error.with_source(format!("{MAX_WAITING_PURGES} purges wait for a link to it"))
}
