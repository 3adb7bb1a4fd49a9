//! Which peers fail, so that the log tells when it began and when it was over, and not each get.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use carrotcache_peer::PeerError;
use tokio::time::Instant;

/// The peers that fail at present.
///
/// A peer that answers some requests and not others, because it lacks one of two groups, is not back
/// with each answer: it is back once it has answered and did not fail for a while.
#[derive(Default)]
pub(crate) struct Outages {
    failing: Mutex<HashMap<Arc<str>, Outage>>,
    /// How many there are: read without the lock by every answer of every peer.
    count: AtomicUsize,
}

struct Outage {
    /// Gets whose owner could not be asked since it began.
    gets: u64,
    last: Instant,
}

/// How long a peer must not fail to be back.
const QUIET: Duration = Duration::from_secs(10);
/// How many are remembered. Peers come and go, and those that went do not come back to be told of.
const MAX_FAILING: usize = 1_024;

impl Outages {
    /// Notes that `peer` could not be asked, and tells of it if that is new.
    ///
    /// What the peer or the network said of it may hold a key, and is told at level debug only.
    pub(crate) fn failed(&self, peer: &Arc<str>, error: &PeerError) {
        let now = Instant::now();
        let mut failing = self.lock();
        if let Some(outage) = failing.get_mut(peer) {
            outage.gets += 1;
            outage.last = now;
            return;
        }
        if failing.len() >= MAX_FAILING {
            let oldest = failing.iter().min_by_key(|(_, outage)| outage.last);
            let oldest = oldest.map(|(peer, _)| Arc::clone(peer));
            oldest.and_then(|peer| failing.remove(&peer));
        }
        failing.insert(Arc::clone(peer), Outage { gets: 1, last: now });
        self.count.store(failing.len(), Ordering::Relaxed);
        drop(failing);
        let (peer, kind) = (&**peer, error.kind);
        tracing::warn!(peer, %kind, "a peer began to fail: its keys are had elsewhere");
        let error: &(dyn std::error::Error + 'static) = error;
        tracing::debug!(peer, error, "how the peer began to fail");
    }

    /// Returns whether any peer fails at present.
    pub(crate) fn are_any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Notes that `peer` answered, and tells if it is back.
    pub(crate) fn answered(&self, peer: &str) {
        let mut failing = self.lock();
        let is_over = failing.get(peer).is_some_and(|outage| outage.last.elapsed() >= QUIET);
        let Some(outage) = is_over.then(|| failing.remove(peer)).flatten() else { return };
        self.count.store(failing.len(), Ordering::Relaxed);
        drop(failing);
        tracing::warn!(peer, gets = outage.gets, "a peer is back: so many gets did without it");
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Outage>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When an owner could last not be asked, by this node or by a peer that it stands in for an owner for.
#[derive(Default)]
pub(crate) struct OwnersAway {
    /// One more than the time in milliseconds; zero if that was never so.
    last: AtomicU64,
}

/// How long after that an owner is taken to be away, in milliseconds.
const AWAY: u64 = 10_000;

impl OwnersAway {
    pub(crate) fn note(&self, now: u64) {
        // Most often it is noted already: who only reads shares the line.
        if self.last.load(Ordering::Relaxed) != now.saturating_add(1) {
            self.last.store(now.saturating_add(1), Ordering::Relaxed);
        }
    }

    /// Returns whether an owner is away. The time is asked for only if one ever was.
    pub(crate) fn are_any(&self, now: impl FnOnce() -> u64) -> bool {
        match self.last.load(Ordering::Relaxed) {
            0 => false,
            last => now().saturating_sub(last) < AWAY,
        }
    }
}
