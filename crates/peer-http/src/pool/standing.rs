//! How a pool stands with a peer: whether there is a link to it, and where its gets go.
//!
//! ```text
//!            a get asks for a link           the peer agrees
//!     Down ───────────────────────▶ Asking ───────────────────▶ Up
//!      ▲                              │ │                        │
//!      │◀── the peer cannot be asked ─┘ └─ it answers in HTTP    │ it ends
//!      │                                          │              │
//!      │                                          ▼              │
//!      │◀──────────────── after a while ──────── Plain           │
//!      └─────────────────────────────────────────────────────────┘
//! ```
//!
//! A purge goes over a link or not at all. It asks for one too, and waits for what comes of that.

use std::sync::Arc;
use std::time::Duration;

use carrotcache_peer::{PeerError, PeerErrorKind};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::link::asker::{Link, MAX_WAITING_PURGES, Waiter};
use crate::pool::stats::{LinkState, PeerStats};

/// How a pool stands with a peer, and what it has counted of its links.
pub(super) struct State {
    standing: Standing,
    /// How often in a row a link could not be had, or did not last.
    failures: u32,
    /// Whether the peer spoke HTTP only when it was last asked.
    is_plain: bool,
    /// Whether the peer has spoken over a link, ever.
    has_met: bool,
    /// Whether the peer has said goodbye, or nobody listened there, since there was a link.
    has_ended: bool,
    /// Those who wait with a purge for what comes of the asking.
    purges: Vec<oneshot::Sender<Settled>>,
    opened: u64,
    /// What went over links that have ended, both ways.
    sent: u64,
    received: u64,
}

enum Standing {
    /// Nobody is asked for links here.
    Off,
    /// There is no link, and no get asks for one before `again`.
    Down {
        again: Instant,
    },
    /// A get or a purge asks for a link. Others wait for what comes of it; `None` when they need not any more.
    Asking {
        waiting: Option<Vec<Waiter>>,
    },
    Up(Arc<Link>),
    /// The peer speaks HTTP only, or did when it was last asked.
    Plain {
        why: &'static str,
        /// Whether it was a node that answered, and not something that stands before it.
        is_sure: bool,
        until: Instant,
    },
}

/// What became of the asking for a link, for those who wait with a purge.
#[derive(Clone)]
pub(super) enum Settled {
    /// They have to look again how the pool stands with the peer.
    Anew,
    /// They cannot tell it anything, and why.
    Failed(PeerError),
}

/// Where a purge goes.
pub(super) enum PurgeWay {
    /// Over the link; and whether the peer has spoken over an earlier one.
    Link(Arc<Link>, bool),
    /// Nowhere: the peer speaks HTTP only, and why that is thought.
    Plain(&'static str),
    /// Nowhere: as many wait as may.
    Full,
    /// Nowhere yet: it waits for a link, which has to be asked for.
    Ask(oneshot::Receiver<Settled>),
    /// Nowhere yet: it waits for the link that is asked for.
    Waits(oneshot::Receiver<Settled>),
}

/// Where a get goes.
pub(super) enum Way {
    Link(Arc<Link>, Waiter),
    Http(Waiter),
    /// Over HTTP, to ask for a link.
    Ask(Waiter),
    /// Nowhere yet: it is a look, and waits for a link, which has to be asked for.
    AskForLook,
    /// Nowhere yet: it waits for the link.
    Waits,
    /// Nowhere: as many wait as may.
    Full(Waiter),
}

/// Why peers are plain to a pool without links.
const OFF: &str = "links are off here";
/// How long a peer that speaks HTTP only is not asked for a link.
const PLAIN_FOR: Duration = Duration::from_secs(10);
/// How long no link is asked for when one could not be had: twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl State {
    /// Returns that of a peer that nobody has asked yet.
    pub(super) fn new(links: bool) -> Self {
        let standing = if links { Standing::Down { again: Instant::now() } } else { Standing::Off };
        let purges = Vec::new();
        let (failures, opened, sent, received) = (0, 0, 0, 0);
        let (is_plain, has_met, has_ended) = (false, false, false);
        Self { standing, failures, is_plain, has_met, has_ended, purges, opened, sent, received }
    }

    /// Notes that the peer has said goodbye, or that nobody listens there.
    pub(super) fn ended(&mut self) {
        self.has_ended = true;
    }

    /// Returns whether the peer has ended, as far as is known.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended && !matches!(self.standing, Standing::Up(_))
    }

    /// Adds what it has counted, and tells how it stands.
    pub(super) fn add_to(&self, stats: &mut PeerStats) {
        stats.links_opened += self.opened;
        stats.bytes_sent += self.sent;
        stats.bytes_received += self.received;
        stats.link = match &self.standing {
            Standing::Off => LinkState::Off,
            Standing::Down { .. } => LinkState::Down,
            Standing::Asking { .. } => LinkState::Asking,
            Standing::Plain { why, .. } => LinkState::Plain { why },
            Standing::Up(link) => {
                stats.gets_in_flight += u64::from(link.in_flight());
                let (sent, received) = link.bytes();
                stats.bytes_sent += sent;
                stats.bytes_received += received;
                LinkState::Up
            }
        };
    }

    /// Returns the link, if there is one.
    pub(super) fn link(&self) -> Option<Arc<Link>> {
        match &self.standing {
            Standing::Up(link) => Some(Arc::clone(link)),
            _ => None,
        }
    }

    /// Returns whether the peer is known to speak frames: it does, or did when it was last asked.
    pub(super) fn is_linkable(&self) -> bool {
        match &self.standing {
            Standing::Up(link) => self.has_met || link.hello().is_some(),
            Standing::Down { .. } | Standing::Asking { .. } => self.has_met && !self.is_plain,
            Standing::Off | Standing::Plain { .. } => false,
        }
    }

    /// Returns why nothing but HTTP is spoken with the peer, if a node has shown that itself.
    pub(super) fn plain_for(&self) -> Option<&'static str> {
        match &self.standing {
            Standing::Off => Some(OFF),
            Standing::Plain { why, is_sure: true, .. } => Some(why),
            _ => None,
        }
    }

    /// Returns where a get goes, and keeps it if it is to wait; up to `max_waiting` may.
    pub(super) fn way(&mut self, waiter: Waiter, max_waiting: usize) -> Way {
        let waiting = match &mut self.standing {
            Standing::Up(link) => return Way::Link(Arc::clone(link), waiter),
            Standing::Asking { waiting: Some(waiting) } => {
                if waiting.len() >= max_waiting {
                    return Way::Full(waiter);
                }
                waiting.push(waiter);
                return Way::Waits;
            }
            // It most likely still speaks HTTP only, so others need not wait for what it says.
            Standing::Plain { until, .. } if *until <= Instant::now() && !waiter.is_look => None,
            Standing::Down { again } if *again <= Instant::now() => Some(Vec::new()),
            _ => return Way::Http(waiter),
        };
        if waiter.is_look {
            self.standing = Standing::Asking { waiting: Some(vec![waiter]) };
            return Way::AskForLook;
        }
        self.standing = Standing::Asking { waiting };
        Way::Ask(waiter)
    }

    /// Returns whether there is a link, or may be one: nothing says that the peer speaks HTTP only.
    pub(super) fn may_be_linked(&self) -> bool {
        !matches!(self.standing, Standing::Off | Standing::Plain { .. })
    }

    /// Returns where a purge goes. It asks for a link without regard to how often that has failed, since
    /// purges are rare and somebody waits for each.
    pub(super) fn purge_way(&mut self) -> PurgeWay {
        self.purges.retain(|waits| !waits.is_closed());
        let waiting = match &self.standing {
            Standing::Up(link) => return PurgeWay::Link(Arc::clone(link), self.has_met),
            Standing::Off => return PurgeWay::Plain(OFF),
            Standing::Plain { why, is_sure: true, until } if *until > Instant::now() => {
                return PurgeWay::Plain(why);
            }
            _ if self.purges.len() >= MAX_WAITING_PURGES => return PurgeWay::Full,
            Standing::Asking { .. } => return PurgeWay::Waits(self.wait()),
            Standing::Plain { .. } => None,
            Standing::Down { .. } => Some(Vec::new()),
        };
        self.standing = Standing::Asking { waiting };
        PurgeWay::Ask(self.wait())
    }

    /// Returns where it will be told what becomes of the asking.
    fn wait(&mut self) -> oneshot::Receiver<Settled> {
        let (settle, settled) = oneshot::channel();
        self.purges.push(settle);
        settled
    }

    /// Tells those who wait with a purge what became of the asking.
    fn settle(&mut self, settled: &Settled) {
        for waits in self.purges.drain(..) {
            // Fails if its time was over.
            drop(waits.send(settled.clone()));
        }
    }

    /// Returns the gets that wait for a link. They need not any more, nor do others.
    pub(super) fn let_go(&mut self) -> Vec<Waiter> {
        match &mut self.standing {
            Standing::Asking { waiting } => waiting.take().unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// Notes that there is a link. Returns the gets that waited for it.
    pub(super) fn up(&mut self, link: Arc<Link>) -> Vec<Waiter> {
        let waiting = self.let_go();
        self.opened += 1;
        (self.is_plain, self.has_ended) = (false, false);
        self.standing = Standing::Up(link);
        self.settle(&Settled::Anew);
        waiting
    }

    /// Returns whether the peer has spoken over a link that was lost.
    pub(super) fn has_met(&self) -> bool {
        self.has_met
    }

    /// Notes that the peer speaks HTTP only, or that something before it does which gave this `error`.
    /// Returns the gets that waited, and whether that is new.
    pub(super) fn plain(
        &mut self,
        why: &'static str,
        error: Option<PeerError>,
    ) -> (Vec<Waiter>, bool) {
        let waiting = self.let_go();
        self.failures = 0;
        let is_sure = error.is_none();
        self.standing = Standing::Plain { why, is_sure, until: Instant::now() + PLAIN_FOR };
        self.settle(&Settled::Failed(error.unwrap_or_else(|| plain(why))));
        (waiting, !std::mem::replace(&mut self.is_plain, true))
    }

    /// Notes that no link could be had, and what that means for purges. Returns the gets that waited for
    /// it.
    pub(super) fn down(&mut self, purges: &Settled) -> Vec<Waiter> {
        let waiting = self.let_go();
        self.failures += 1;
        self.standing = Standing::Down { again: Instant::now() + pause(self.failures) };
        self.settle(purges);
        waiting
    }

    /// Notes that nobody asks for a link any more who did. Returns the gets that waited for it; purges
    /// may ask anew.
    pub(super) fn gave_up(&mut self) -> Vec<Waiter> {
        let waiting = self.let_go();
        if let Standing::Asking { .. } = self.standing {
            self.standing = Standing::Down { again: Instant::now() };
        }
        self.settle(&Settled::Anew);
        waiting
    }

    /// Notes that this link takes no more gets; `lasted` says that it was of use. Returns it if it
    /// was still in use, to be dropped without a lock.
    pub(super) fn lose(&mut self, link: *const Link, lasted: bool) -> Option<Arc<Link>> {
        let Standing::Up(up) = &self.standing else { return None };
        if Arc::as_ptr(up) != link {
            return None;
        }
        let lost = Arc::clone(up);
        let (sent, received) = lost.bytes();
        self.sent += sent;
        self.received += received;
        self.has_met |= lost.hello().is_some();
        self.failures = if lasted { 0 } else { self.failures + 1 };
        self.standing = Standing::Down { again: Instant::now() + pause(self.failures) };
        Some(lost)
    }
}

/// Returns the error of a purge for a peer that speaks HTTP only.
pub(super) fn plain(why: &'static str) -> PeerError {
    PeerError::new(PeerErrorKind::Plain).with_source(why)
}

/// Returns how long no link is asked for after so many failures in a row.
fn pause(failures: u32) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_asked_for_at_once_and_then_less_and_less_often() {
        let millis: Vec<_> = (0..=9).map(|failures| pause(failures).as_millis()).collect();
        assert_eq!(millis, [0, 100, 200, 400, 800, 1_000, 1_000, 1_000, 1_000, 1_000]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
