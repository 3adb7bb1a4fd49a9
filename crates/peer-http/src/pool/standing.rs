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

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::link::asker::{Link, Waiter};
use crate::pool::stats::{LinkState, PeerStats};

/// How a pool stands with a peer, and what it has counted of its links.
pub(super) struct State {
    standing: Standing,
    /// How often in a row a link could not be had, or did not last.
    failures: u32,
    /// Whether the peer spoke HTTP only when it was last asked.
    is_plain: bool,
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
    /// A get asks for a link. Others wait for what comes of it; `None` when they need not any more.
    Asking {
        waiting: Option<Vec<Waiter>>,
    },
    Up(Arc<Link>),
    /// The peer speaks HTTP only, or did when it was last asked.
    Plain {
        why: &'static str,
        until: Instant,
    },
}

/// Where a get goes.
pub(super) enum Way {
    Link(Arc<Link>, Waiter),
    Http(Waiter),
    /// Over HTTP, to ask for a link.
    Ask(Waiter),
    /// Nowhere yet: it waits for the link.
    Waits,
    /// Nowhere: as many wait as may.
    Full(Waiter),
}

/// How long a peer that speaks HTTP only is not asked for a link.
const PLAIN_FOR: Duration = Duration::from_secs(10);
/// How long no link is asked for when one could not be had: twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl State {
    /// Returns that of a peer that nobody has asked yet.
    pub(super) fn new(links: bool) -> Self {
        let standing = if links { Standing::Down { again: Instant::now() } } else { Standing::Off };
        Self { standing, failures: 0, is_plain: false, opened: 0, sent: 0, received: 0 }
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
            Standing::Plain { until, .. } if *until <= Instant::now() => None,
            Standing::Down { again } if *again <= Instant::now() => Some(Vec::new()),
            _ => return Way::Http(waiter),
        };
        self.standing = Standing::Asking { waiting };
        Way::Ask(waiter)
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
        self.is_plain = false;
        self.standing = Standing::Up(link);
        waiting
    }

    /// Notes that the peer speaks HTTP only. Returns the gets that waited, and whether that is new.
    pub(super) fn plain(&mut self, why: &'static str) -> (Vec<Waiter>, bool) {
        let waiting = self.let_go();
        self.failures = 0;
        self.standing = Standing::Plain { why, until: Instant::now() + PLAIN_FOR };
        (waiting, !std::mem::replace(&mut self.is_plain, true))
    }

    /// Notes that no link could be had. Returns the gets that waited for it.
    pub(super) fn down(&mut self) -> Vec<Waiter> {
        let waiting = self.let_go();
        self.failures += 1;
        self.standing = Standing::Down { again: Instant::now() + pause(self.failures) };
        waiting
    }

    /// Notes that nobody asks for a link any more who did. Returns the gets that waited for it.
    pub(super) fn gave_up(&mut self) -> Vec<Waiter> {
        let waiting = self.let_go();
        if let Standing::Asking { .. } = self.standing {
            self.standing = Standing::Down { again: Instant::now() };
        }
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
        self.failures = if lasted { 0 } else { self.failures + 1 };
        self.standing = Standing::Down { again: Instant::now() + pause(self.failures) };
        Some(lost)
    }
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
