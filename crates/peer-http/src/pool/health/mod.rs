//! Whether a peer can be asked, as a machine without a clock, a lock or a socket.
//!
//! ```text
//!             refused twice, or silent             its time is over, and a get comes
//!  Healthy ───────────────────────────▶ Ejected ────────────────────────────────────▶ Probing
//!     ▲                                  │   ▲                                          │  │
//!     │                                  │   └──── refused, or silent: twice as long ───┘  │
//!     └───────── a sign of life ─────────┴─────────────────────────────────────────────────┘
//! ```
//!
//! - *Refused* is a peer that takes no connection, or ends one without a byte. Once can be a restart:
//!   it takes two without a sign of life in between. A link that breaks counts as one of the two.
//! - *Silent* is one that does not answer a ping: of its link, or, without one, a request that every
//!   node answers at once. A get that is slow says nothing: its loader may be.
//! - A *sign of life* is anything that comes from the peer, refusals of every kind among them.
//!
//! While there is a link, that alone judges: it carries the gets, and is pinged. Connections beside
//! it may be refused because the peer has too many.

#[cfg(test)]
mod tests;

use std::time::Duration;

use carrotcache_peer::PeerError;
use tokio::time::Instant;

/// Whether a peer can be asked, and what is known of it.
#[derive(Debug)]
pub(super) struct Health {
    times: Times,
    stage: Stage,
    /// When the peer became healthy, or ceased to be.
    since: Instant,
    /// Why the peer is not healthy, or has a strike.
    why: Option<PeerError>,
    /// How often it was refused without a sign of life since.
    strikes: u32,
    /// How often it was ejected in a row.
    ejections: u32,
    /// How many links there are to it.
    links: u32,
    /// The ping that is under way over HTTP.
    ping: Option<u64>,
    /// When the last sign of life came that was of interest.
    heard: Option<Instant>,
    /// The number of the next probe or ping.
    next: u64,
}

/// How long a peer is not asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// The first time. Each further one is twice as long.
    pub(crate) first: Duration,
    /// No time is longer, before the jitter. One that was healthy for so long begins anew.
    pub(crate) longest: Duration,
}

/// Where a peer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Healthy,
    /// Not asked before then.
    Ejected {
        until: Instant,
    },
    /// Asked by one request, of this number.
    Probing {
        probe: u64,
    },
}

/// Whether a request may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Open,
    /// It may, and shows whether the peer is back. Its end is to be told by this number.
    Probe(u64),
    Ejected,
}

/// What has changed that somebody wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The peer was healthy.
    Ejected,
    /// The peer is healthy, after so long.
    Back { after: Duration },
}

/// How many refusals in a row end a peer's health.
const STRIKES: u32 = 2;
/// By how many percent the time of an ejection is longer or shorter, so that not all nodes probe a
/// peer at one moment.
const JITTER_PERCENT: u32 = 20;

impl Health {
    /// Returns that of a peer that nobody has asked yet.
    pub(super) fn new(times: Times, now: Instant) -> Self {
        Self {
            times,
            stage: Stage::Healthy,
            since: now,
            why: None,
            strikes: 0,
            ejections: 0,
            links: 0,
            ping: None,
            heard: None,
            next: 0,
        }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// Returns when the peer became healthy, or ceased to be.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Returns why the peer is not healthy; of a healthy one, how it failed last, if it has not shown
    /// life since.
    pub(super) fn why(&self) -> Option<&PeerError> {
        self.why.as_ref()
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.stage == Stage::Healthy
    }

    /// Returns whether a sign of life would change anything.
    pub(super) fn wants_life(&self) -> bool {
        !self.is_healthy() || self.strikes > 0 || self.ping.is_some()
    }

    /// Returns whether a request may be sent at `now`. The first after an ejection's time is the probe.
    pub(super) fn admit(&mut self, now: Instant) -> Admission {
        match self.stage {
            Stage::Healthy => Admission::Open,
            Stage::Ejected { until } if until <= now => {
                let probe = self.number();
                self.stage = Stage::Probing { probe };
                Admission::Probe(probe)
            }
            Stage::Ejected { .. } | Stage::Probing { .. } => Admission::Ejected,
        }
    }

    /// Returns whether the peer is asked by this probe.
    pub(super) fn is_probe(&self, probe: u64) -> bool {
        self.stage == (Stage::Probing { probe })
    }

    /// Notes that a probe has ended. If it has shown nothing, the next request is another.
    pub(super) fn probed(&mut self, probe: u64, now: Instant) {
        if self.is_probe(probe) {
            self.stage = Stage::Ejected { until: now };
        }
    }

    /// Notes that something came from the peer.
    pub(super) fn alive(&mut self, now: Instant) -> Option<Change> {
        self.strikes = 0;
        self.ping = None;
        self.why = None;
        self.heard = Some(now);
        if self.is_healthy() {
            return None;
        }
        let after = now - self.since;
        self.stage = Stage::Healthy;
        self.since = now;
        Some(Change::Back { after })
    }

    /// Notes that the peer took no connection, or ended one without a byte. `draw` is a random number.
    pub(super) fn refused(&mut self, why: &PeerError, now: Instant, draw: u64) -> Option<Change> {
        if self.links > 0 {
            return None;
        }
        self.strikes += 1;
        self.why = Some(why.clone());
        if self.is_healthy() && self.strikes < STRIKES {
            return None;
        }
        self.eject(now, draw)
    }

    /// Returns the number of a ping that is to be sent, unless one is under way or something came within
    /// this time. A link has pings of its own.
    pub(super) fn ping(&mut self, now: Instant, patience: Duration) -> Option<u64> {
        let is_quiet = self.heard.is_none_or(|heard| heard + patience <= now);
        if self.links > 0 || self.ping.is_some() || !is_quiet {
            return None;
        }
        let ping = self.number();
        self.ping = Some(ping);
        Some(ping)
    }

    /// Notes that a ping has told nothing of the peer.
    pub(super) fn pinged(&mut self, ping: u64) {
        self.ping.take_if(|its| *its == ping);
    }

    /// Notes that a ping was not answered in time. Returns whether that means anything, which it does
    /// not if something else came meanwhile, and the change.
    pub(super) fn unanswered(
        &mut self,
        ping: u64,
        why: &PeerError,
        now: Instant,
        draw: u64,
    ) -> (bool, Option<Change>) {
        let is_last = self.ping.take_if(|its| *its == ping).is_some();
        if !is_last || self.links > 0 {
            return (false, None);
        }
        self.why = Some(why.clone());
        (true, self.eject(now, draw))
    }

    /// Notes that there is a link, to which the peer has agreed.
    pub(super) fn linked(&mut self, now: Instant) -> Option<Change> {
        self.links += 1;
        self.alive(now)
    }

    /// Notes that a link has ended in good order, or for a reason of ours.
    pub(super) fn unlinked(&mut self) {
        self.links = self.links.saturating_sub(1);
    }

    /// Notes that the peer was silent on its link, which has ended. (Other runtimes may have others,
    /// which find out for themselves.)
    pub(super) fn silent(&mut self, why: &PeerError, now: Instant, draw: u64) -> Option<Change> {
        self.unlinked();
        self.why = Some(why.clone());
        self.eject(now, draw)
    }

    /// Ejects the peer; anew if it is ejected and its time is over.
    fn eject(&mut self, now: Instant, draw: u64) -> Option<Change> {
        let was_healthy = self.is_healthy();
        match self.stage {
            Stage::Ejected { until } if until > now => return None,
            Stage::Healthy => {
                if now - self.since >= self.times.longest {
                    self.ejections = 0;
                }
                self.since = now;
            }
            Stage::Ejected { .. } | Stage::Probing { .. } => {}
        }
        self.stage = Stage::Ejected { until: now + self.times.ejection(self.ejections, draw) };
        self.ejections = self.ejections.saturating_add(1);
        self.strikes = 0;
        was_healthy.then_some(Change::Ejected)
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Times {
    /// Returns how long a peer is not asked that was ejected so many times before.
    fn ejection(self, before: u32, draw: u64) -> Duration {
        let time = self.first.saturating_mul(2_u32.saturating_pow(before)).min(self.longest);
        let spread = u64::from(2 * JITTER_PERCENT + 1);
        let percent = 100 - JITTER_PERCENT + u32::try_from(draw % spread).unwrap_or(0);
        time / 100 * percent
    }
}
