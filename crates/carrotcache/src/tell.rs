//! Telling peers what they have missed.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use carrotcache_peer::{Completion, Peer, PeerError, PeerErrorKind, Purge, Purged, Step};
use carrotcache_singleflight as singleflight;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::debts::{Bill, Standing};
use crate::peers::Peers;
use crate::quietly::quietly;

/// How long a peer may take to answer one message of a purge. Two rounds of it, and what a receiver
/// has to tell before it answers, are shorter than a key stays closed.
pub(crate) const ROUND_TIMEOUT: Duration = Duration::from_millis(1_200);

/// How often a peer is told in one go, should it start anew or miss more meanwhile.
const MAX_TELLINGS: usize = 4;

/// How long the teller waits before it looks again for whom it can tell.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Peers {
    /// Returns a number for an attempt to remove something, which no other has.
    pub(crate) fn next_attempt(&self) -> u64 {
        self.teller.attempts.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns whether a peer has to be told something before it is asked, or answered.
    pub(crate) fn must_tell(&self, label: &str) -> bool {
        self.rules.told_before_asked && !matches!(self.debts.standing(label), Standing::Even(_))
    }

    /// Sends one message, and waits for what is answered.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the message is on its way.
    pub(crate) async fn send(peer: &dyn Peer, purge: Purge) -> Result<Purged, PeerError> {
        let (tell, told) = oneshot::channel();
        // A transport that panics drops the completion, which tells an error.
        quietly(|| peer.purge(purge, Completion::new(|answer| drop(tell.send(answer)))));
        told.await.unwrap_or(Err(PeerErrorKind::Dropped.into()))
    }

    /// Returns until when a message that is sent now is to be answered.
    pub(crate) fn round_deadline(&self) -> std::time::Instant {
        (Instant::now() + ROUND_TIMEOUT.min(self.timeout)).into_std()
    }

    /// Tells the peer of that label what it has missed.
    ///
    /// # Errors
    ///
    /// If it cannot be reached, or is no peer of this node.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: whoever else wants it told goes on.
    pub(crate) async fn tell_label(self: &Arc<Self>, label: &str) -> Result<(), PeerError> {
        let peer = self.picker.peers().into_iter().find(|peer| peer.label() == label);
        let peer = peer.ok_or_else(|| PeerError::new(PeerErrorKind::Unreachable))?;
        self.tell(&peer).await
    }

    /// Tells a peer what it has missed.
    ///
    /// # Errors
    ///
    /// If it cannot be reached, or misses more all the time. A peer that can never be told is none.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: whoever else wants it told goes on.
    pub(crate) async fn tell(self: &Arc<Self>, peer: &Arc<dyn Peer>) -> Result<(), PeerError> {
        let (peers, itself) = (Arc::clone(self), Arc::clone(peer));
        let telling = move || async move {
            let told = peers.tell_all(&itself).await;
            if told.is_err() {
                peers.debts.failed(itself.label());
            }
            told
        };
        let tellings = self.teller.tellings.get_or_init(singleflight::Group::new);
        let told = tellings.work(peer.label(), telling).await;
        told.map_err(|error| match error {
            singleflight::Error::Failed(error) => error,
            _ => PeerErrorKind::Dropped.into(),
        })
    }

    /// Tells a peer all that it has missed, message by message.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. What it was told is settled.
    async fn tell_all(&self, peer: &Arc<dyn Peer>) -> Result<(), PeerError> {
        let me = self.picker.this_node();
        for _ in 0..MAX_TELLINGS {
            let bills = self.debts.bills(peer.label(), &self.picker.peers(), Purge::MAX_KEYS);
            if bills.is_empty() {
                return Ok(());
            }
            for bill in bills {
                let Some(me) = me.clone() else {
                    self.debts.waive(peer.label());
                    return Ok(());
                };
                let step = Step::Tell { told: bill.told.clone() };
                let (group, keys) = (Arc::clone(&bill.group), bill.keys.clone());
                let purge = Purge::new(group, keys, me, step, self.round_deadline());
                self.settle(&**peer, &bill, Self::send(&**peer, purge).await)?;
            }
        }
        Err(PeerErrorKind::Overloaded.into())
    }

    /// Notes what a peer has answered to one message.
    fn settle(
        &self,
        peer: &dyn Peer,
        bill: &Bill,
        answer: Result<Purged, PeerError>,
    ) -> Result<(), PeerError> {
        match answer {
            Ok(purged) => {
                // Another process than the one that was known: it has missed more, and is told again.
                self.debts.introduce(peer.label(), purged.incarnation);
                self.debts.settle(peer.label(), bill);
            }
            // It has nothing of the group, and so nothing to forget.
            Err(error) if error.kind == PeerErrorKind::NoSuchGroup => {
                self.debts.settle(peer.label(), bill);
            }
            Err(error) if error.kind == PeerErrorKind::Plain => self.debts.waive(peer.label()),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Sees to it that whoever has missed something is told once that is possible, in a task. There is
    /// none if nobody has.
    pub(crate) fn tell_later(self: &Arc<Self>) {
        if !self.debts.are_any() {
            return;
        }
        // Without a runtime whoever asks such a peer tells it first.
        let Ok(home) = self.runtime.home() else { return };
        let at = home.number() + 1;
        if self.teller.runs_at.swap(at, Ordering::AcqRel) != at {
            home.handle().spawn(Running { peers: Arc::downgrade(self), at }.run());
        }
    }
}

/// The task that tells whoever can be told, until all are. It does not keep the node alive.
struct Running {
    peers: Weak<Peers>,
    /// What the teller says of this task; zero once it has said that it ends.
    at: u64,
}

impl Running {
    /// Says that it ends, unless something was missed meanwhile that nobody else sees to.
    fn ends(&mut self, peers: &Peers) -> bool {
        let at = std::mem::take(&mut self.at);
        if peers.teller.replace(at, 0) && peers.debts.are_any() && peers.teller.replace(0, at) {
            self.at = at;
        }
        self.at == 0
    }

    /// # Cancel safety
    ///
    /// Dropped with its runtime; another one is started then.
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            sleep(pause).await;
            let Some(peers) = self.peers.upgrade() else { return };
            let listed = peers.picker.peers();
            peers.debts.list(&listed);
            let mut told = false;
            for peer in &listed {
                if matches!(peers.debts.standing(peer.label()), Standing::Owed) {
                    told |= peers.tell(peer).await.is_ok();
                }
            }
            if !peers.debts.are_any() && self.ends(&peers) {
                return;
            }
            pause = if told { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.at != 0
            && let Some(peers) = self.peers.upgrade()
        {
            // Unless another has taken its place.
            let _ = peers.teller.replace(self.at, 0);
        }
    }
}
