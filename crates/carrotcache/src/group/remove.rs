//! Removing keys, and setting them, on all nodes.
//!
//! ```text
//!          remover          peer A           peer B
//!             │ close ────────▶│ ──────────────▶│     forget; keep nothing of the keys from here on
//!             │◀──────── token │ ◀──────── token│
//!             │ open, token ──▶│ ──────────────▶│     forget again; keep what is fetched from here on
//!             │◀──────── stood │ ◀──────── stood│
//! ```
//!
//! After the first round no node holds the old value, but flights that began before it may still bring
//! it to a node, and a node may still ask another for such a flight. Since nothing is kept between the
//! rounds, all of these are over, or void, when the second round has forgotten once more. What is
//! loaded from then on was read after the remove began.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use carrotcache_peer::{Fate, Keys, Member, Owner, Peer, PeerErrorKind, Purge, Purged, Step};
use futures_util::future::join_all;
use tokio::time::sleep;

use super::Group;
use super::closures::Attempt;
use super::purge::Opening;
use crate::error::RemoveError;
use crate::held::Held;
use crate::peers::Peers;

/// How often a remove is attempted before it promises nothing.
const MAX_ATTEMPTS: usize = 3;
/// How often it is attempted while there is no room for more closed keys, as when several nodes remove
/// many at once: each has to wait for the others then.
const MAX_REFUSALS: usize = 8;
/// How long it waits before the next attempt, about: twice as long each time that there was no room.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(640);

/// A remove on its way, or a set.
pub(super) struct Removal {
    pub(super) group: Group,
    pub(super) keys: Keys,
    /// What the one key is set to.
    pub(super) value: Option<Held>,
    /// The keys as they were closed here in advance, for the first attempt.
    pub(super) closed: Option<(Attempt, u64)>,
}

/// A peer that has closed the keys.
struct Closed {
    peer: Arc<dyn Peer>,
    member: Member,
    token: u64,
}

/// How an attempt ended.
#[derive(Default)]
struct Attempted {
    /// Whether all who took part were closed to the end.
    is_settled: bool,
    /// Whether some peer had too many keys closed to close these.
    was_refused: bool,
    unreached: Vec<Arc<str>>,
    plain: Vec<Arc<str>>,
}

impl Removal {
    /// Returns that of keys which are not closed yet.
    pub(super) fn new(group: &Group, keys: Keys) -> Self {
        Self { group: group.clone(), keys, value: None, closed: None }
    }

    /// Removes the keys here and from all peers.
    ///
    /// # Errors
    ///
    /// If some peers were not reached, or not to the end.
    ///
    /// # Cancel safety
    ///
    /// Not to be dropped before it ends, as it would leave the keys closed for a while: it runs in a
    /// task of its own.
    pub(super) async fn run(mut self) -> Result<(), RemoveError> {
        let (mut attempts, mut refusals, mut pause) = (0, 0, FIRST_PAUSE);
        let attempted = loop {
            let attempted = self.attempt().await;
            let is_over = match attempted {
                Some(Attempted { was_refused: true, .. }) | None => {
                    refusals += 1;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    refusals == MAX_REFUSALS
                }
                Some(Attempted { is_settled, .. }) => {
                    attempts += 1;
                    is_settled || attempts == MAX_ATTEMPTS
                }
            };
            if is_over {
                break attempted;
            }
            if self.group.shared.peers.rules.set_in_first_attempt {
                self.value = None;
            }
            // By chance, or those who were in each other's way would be so again.
            let chance = &self.group.shared.chance;
            sleep(pause.mul_f64(0.5 + chance.fraction())).await;
        };
        let Some(Attempted { is_settled, unreached, plain, .. }) = attempted else {
            return Err(self.put_off());
        };
        self.group.shared.peers.tell_later();
        if !is_settled {
            return Err(RemoveError::Unsettled { unreached, plain });
        }
        if unreached.is_empty() && plain.is_empty() {
            return Ok(());
        }
        let stale_for_at_most = if plain.is_empty() { self.group.longest_stale() } else { None };
        Err(RemoveError::Incomplete { unreached, plain, stale_for_at_most })
    }

    /// Removes the keys here, and owes them to everybody else, who is told later: too much is being
    /// removed to do it in rounds.
    pub(super) fn put_off(&self) -> RemoveError {
        let Group { shared } = &self.group;
        let targets = self.targets();
        shared.peers.debts.list(&targets);
        let owe = || shared.peers.debts.owe(&shared.name, &self.keys, &[]);
        self.group.purge(&self.keys, None, owe);
        shared.peers.tell_later();
        let unreached = targets.iter().map(|peer| Arc::from(peer.label())).collect();
        RemoveError::Unsettled { unreached, plain: Vec::new() }
    }

    /// Attempts it once; `None` if there is no room here for more closed keys.
    ///
    /// # Cancel safety
    ///
    /// As [`run`](Self::run).
    async fn attempt(&mut self) -> Option<Attempted> {
        let Some(me) = self.group.me() else { return Some(self.attempt_alone()) };
        let targets = self.targets();
        self.group.shared.peers.debts.list(&targets);
        let (attempt, token) = self.close_here(&me)?;
        let (closed, mut attempted) = self.close_at(targets, &me, attempt).await;
        // A peer that was leaving may have turned out to have ended. It is none any more.
        let left: HashSet<Arc<str>> =
            self.targets().iter().map(|peer| Arc::from(peer.label())).collect();
        attempted.unreached.retain(|label| left.contains(label));
        let mut members = vec![me.clone()];
        members.extend(closed.iter().map(|closed| closed.member.clone()));
        // A set's value is kept only if nothing else was removed meanwhile, here or at its owner.
        let is_alone = self.group.shared.closures.is_alone(token);
        let value = self.value.clone().filter(|_| is_alone);
        let owner = value.and_then(|value| self.owner_of_the_key().map(|owner| (owner, value)));
        if self.group.shared.peers.rules.second_round {
            let here = match &owner {
                Some((Owner::Local, value)) => Some(value.clone()),
                _ => None,
            };
            let opening = Opening { attempt, token, closed: &members, value: here };
            let (mut stood, _) = self.group.open(&self.keys, opening);
            for (label, has_stood) in self.open_at(closed, &me, attempt, &members, owner).await {
                if !has_stood {
                    stood = false;
                    attempted.unreached.push(label);
                }
            }
            attempted.is_settled = stood;
        } else {
            self.group.shared.closures.open(token);
            attempted.is_settled = true;
        }
        Some(attempted)
    }

    /// Removes the keys here, of a node whose peers cannot be told.
    fn attempt_alone(&self) -> Attempted {
        self.group.purge(&self.keys, None, || {});
        let plain = self.targets().iter().map(|peer| Arc::from(peer.label())).collect();
        Attempted { is_settled: true, plain, ..Attempted::default() }
    }

    /// Returns whom a remove has to reach: the peers, those that leave among them.
    fn targets(&self) -> Vec<Arc<dyn Peer>> {
        self.group.shared.peers.picker.peers()
    }

    /// The first round here, unless it was done in advance.
    fn close_here(&mut self, me: &Member) -> Option<(Attempt, u64)> {
        if let Some(closed) = self.closed.take() {
            self.group.purge(&self.keys, Some(closed.0), || {});
            return Some(closed);
        }
        let number = self.group.shared.peers.next_attempt();
        let attempt = Attempt { sender: me.incarnation, number };
        Some((attempt, self.group.close(attempt, &self.keys)?))
    }

    /// The first round at the peers: who has closed the keys, and who has not.
    ///
    /// # Cancel safety
    ///
    /// As [`run`](Self::run).
    async fn close_at(
        &self,
        targets: Vec<Arc<dyn Peer>>,
        me: &Member,
        attempt: Attempt,
    ) -> (Vec<Closed>, Attempted) {
        let peers = &self.group.shared.peers;
        let rounds = targets.into_iter().map(|peer| async move {
            let purge = self.message(me, Step::Close { attempt: attempt.number });
            let mut answer = Peers::send(&*peer, purge.clone()).await;
            // Its connection broke, which says nothing of the peer: asked again it is found, or is not.
            if answer.as_ref().is_err_and(|error| error.kind == PeerErrorKind::Truncated) {
                answer = Peers::send(&*peer, purge).await;
            }
            (peer, answer)
        });
        let (mut closed, mut attempted) = (Vec::new(), Attempted::default());
        for (peer, answer) in join_all(rounds).await {
            let label: Arc<str> = Arc::from(peer.label());
            match answer {
                Ok(Purged { incarnation, fate: Fate::Closed { token } }) => {
                    peers.debts.introduce(&label, incarnation);
                    closed.push(Closed { peer, member: Member { label, incarnation }, token });
                }
                // It holds nothing of the group. Should it have the group one day, it is told first.
                Err(error) if error.kind == PeerErrorKind::NoSuchGroup => {}
                Err(error) if error.kind == PeerErrorKind::Plain => attempted.plain.push(label),
                Err(error) => {
                    attempted.was_refused |= error.kind == PeerErrorKind::Overloaded;
                    attempted.unreached.push(label);
                }
                Ok(_other) => attempted.unreached.push(label),
            }
        }
        (closed, attempted)
    }

    /// The second round at the peers: whether the keys were closed to the end, of each.
    ///
    /// # Cancel safety
    ///
    /// As [`run`](Self::run).
    async fn open_at(
        &self,
        closed: Vec<Closed>,
        me: &Member,
        attempt: Attempt,
        members: &[Member],
        owner: Option<(Owner, Held)>,
    ) -> Vec<(Arc<str>, bool)> {
        let owner = &owner;
        let rounds = closed.into_iter().map(|closed| async move {
            let Closed { peer, member, token } = closed;
            let value = match owner {
                Some((Owner::Remote(owner), value)) if *owner.label() == *member.label => {
                    Some(value.to_entry(self.group.shared.clock.now()))
                }
                _ => None,
            };
            let (attempt, members) = (attempt.number, members.to_vec());
            let step = Step::Open { attempt, token, closed: members, value };
            let answer = Peers::send(&*peer, self.message(me, step)).await;
            let has_stood = answer.is_ok_and(|purged| {
                let is_same = purged.incarnation == member.incarnation;
                is_same && matches!(purged.fate, Fate::Opened { stood: true, .. })
            });
            (member.label, has_stood)
        });
        join_all(rounds).await
    }

    fn message(&self, me: &Member, step: Step) -> Purge {
        let Group { shared } = &self.group;
        let deadline = shared.peers.round_deadline();
        Purge::new(Arc::clone(&shared.name), self.keys.clone(), me.clone(), step, deadline)
    }

    /// Returns the owner of the key that is set.
    fn owner_of_the_key(&self) -> Option<Owner> {
        match &self.keys {
            Keys::These(keys) if keys.len() == 1 => {
                Some(self.group.shared.peers.picker.owner(&keys[0]))
            }
            _ => None,
        }
    }
}
