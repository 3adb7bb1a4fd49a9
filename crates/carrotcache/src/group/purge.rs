//! What this node does to forget keys for good, and what its peers ask of it to that end.

use std::collections::HashSet;
use std::sync::Arc;

use carrotcache_peer::{Fate, Keys, Member, PeerError, PeerErrorKind, Purge, Purged, Reply, Step};

use super::Group;
use super::closures::Attempt;
use crate::cache::Place;
use crate::held::Held;
use crate::rules::meanwhile;

/// What the second round of a remove does at one node.
pub(super) struct Opening<'a> {
    pub(super) attempt: Attempt,
    pub(super) token: u64,
    /// Who took part in the first round.
    pub(super) closed: &'a [Member],
    /// The value that the key is set to, at its owner.
    pub(super) value: Option<Held>,
}

impl Group {
    /// Forgets keys for good: what is cached, and what flights are about to bring.
    ///
    /// ```text
    ///  mark the flights ── delete what is cached ── owe it to those who miss it ── mark the flights again
    /// ```
    ///
    /// The first mark keeps what is fetched now from being stored after the deletion. The second one
    /// is for flights that began in between, and found what was not yet deleted. What is owed is owed
    /// before it, so that a flight that begins later asks nobody who has missed this.
    pub(super) fn purge(&self, keys: &Keys, by: Option<Attempt>, owe: impl FnOnce()) {
        let shared = &self.shared;
        shared.peers.debts.purged(&shared.name);
        self.mark(keys, by);
        meanwhile();
        match keys {
            Keys::All => shared.cache.forget_all(),
            Keys::These(keys) => keys.iter().for_each(|key| shared.cache.forget(key)),
        }
        meanwhile();
        owe();
        meanwhile();
        if shared.peers.rules.second_mark {
            self.mark(keys, by);
        }
    }

    fn mark(&self, keys: &Keys, by: Option<Attempt>) {
        let shared = &self.shared;
        let are_detached = shared.peers.rules.detached;
        for flights in [&shared.loads, &shared.forwards].into_iter().filter(|_| are_detached) {
            match keys {
                Keys::All => flights.forget_all(),
                Keys::These(keys) => keys.iter().for_each(|key| flights.forget(key)),
            }
        }
        shared.closures.met(keys, by);
    }

    /// The first round at one node. Returns the token of the closure; `None` if too much is closed.
    pub(super) fn close(&self, attempt: Attempt, keys: &Keys) -> Option<u64> {
        let token = self.shared.closures.close(attempt, keys).ok()?;
        self.purge(keys, Some(attempt), || {});
        Some(token)
    }

    /// The second round at one node. Returns whether the closure stood until now, and whether the value
    /// is kept.
    pub(super) fn open(&self, keys: &Keys, opening: Opening<'_>) -> (bool, bool) {
        let Opening { attempt, token, closed, value } = opening;
        let Group { shared } = self;
        let is_home = self.me().is_some_and(|me| me.incarnation == attempt.sender);
        self.purge(keys, Some(attempt), || {
            if is_home || shared.peers.rules.all_remember {
                shared.peers.debts.owe(&shared.name, keys, closed);
            }
        });
        let kept = match (keys, value) {
            (Keys::These(keys), Some(held)) if keys.len() == 1 => {
                // Asked under the lock under which another purge deletes. So either that comes after,
                // or is known here.
                let may_keep = || shared.closures.is_alone(token);
                shared.cache.store(Place::Main, Arc::clone(&keys[0]), held, may_keep);
                shared.closures.is_alone(token)
            }
            _ => false,
        };
        (shared.closures.open(token), kept)
    }

    /// Forgets what this node has missed, and owes it to its own peers that the teller does not speak for.
    fn be_told(&self, keys: &Keys, sender: &Member, mut told: Vec<Member>) -> Option<()> {
        let Group { shared } = self;
        let number = shared.peers.next_attempt();
        // A number that the teller has not used: it is this node's own.
        let attempt = Attempt { sender: self.me()?.incarnation, number };
        let token = shared.closures.close(attempt, keys).ok()?;
        told.push(sender.clone());
        self.purge(keys, Some(attempt), || shared.peers.debts.owe(&shared.name, keys, &told));
        shared.closures.open(token);
        Some(())
    }

    /// Does what a peer says of keys that are removed.
    pub(crate) fn purge_for(&self, purge: Purge) -> Reply<Purged> {
        let Some(me) = self.me() else {
            return Reply::ready(Err(PeerErrorKind::BadRequest.into()));
        };
        if let Err(error) = self.check_purge(&purge) {
            return Reply::ready(Err(error));
        }
        let peers = &self.shared.peers;
        peers.debts.list(&peers.picker.peers());
        let Purge { keys, sender, step, .. } = purge;
        let is_round = !matches!(step, Step::Tell { .. });
        peers.debts.introduce(&sender.label, sender.incarnation);
        self.shared.counters.purges.add_one();
        let fate = match step {
            Step::Close { attempt } => {
                let attempt = Attempt { sender: sender.incarnation, number: attempt };
                self.close(attempt, &keys).map(|token| Fate::Closed { token })
            }
            Step::Open { attempt, token, closed, value } => {
                let attempt = Attempt { sender: sender.incarnation, number: attempt };
                let now = self.shared.clock.now();
                let freshness = &self.shared.freshness;
                let value = value.map(|entry| freshness.bounded(Held::new(entry, now), now));
                let opening = Opening { attempt, token, closed: &closed, value };
                let (stood, kept) = self.open(&keys, opening);
                Some(Fate::Opened { stood, kept })
            }
            Step::Tell { told } => self.be_told(&keys, &sender, told).map(|()| Fate::Told),
        };
        // The remover remembers them too, and may not live to tell them.
        peers.tell_later();
        let Some(fate) = fate else {
            let error = PeerError::new(PeerErrorKind::Overloaded);
            return Reply::ready(Err(error.with_source("too many keys are being removed")));
        };
        let purged = Purged::new(me.incarnation, fate);
        // Whoever tells is not told before it is answered, or two nodes could wait for each other.
        if is_round { self.acknowledge(&sender, purged) } else { Reply::ready(Ok(purged)) }
    }

    /// Answers a round of `sender`, which is told first what it has missed itself.
    fn acknowledge(&self, sender: &Member, purged: Purged) -> Reply<Purged> {
        let peers = &self.shared.peers;
        if !peers.must_tell(&sender.label) {
            return Reply::ready(Ok(purged));
        }
        let (peers, label) = (Arc::clone(peers), Arc::clone(&sender.label));
        Reply::pending(async move {
            peers.tell_label(&label).await?;
            Ok(purged)
        })
    }

    /// Refuses what no node of ours would send.
    fn check_purge(&self, purge: &Purge) -> Result<(), PeerError> {
        if let Keys::These(keys) = &purge.keys {
            if keys.len() > Purge::MAX_KEYS {
                let error = PeerError::new(PeerErrorKind::BadRequest);
                return Err(error.with_source("too many keys in one message"));
            }
            let mut distinct = HashSet::with_capacity(keys.len());
            for key in keys {
                self.check(key)?;
                if !distinct.insert(key) {
                    let error = PeerError::new(PeerErrorKind::BadRequest);
                    return Err(error.with_source("a key is named twice"));
                }
            }
        }
        Ok(())
    }

    /// Returns what this node is to its peers, if they can be told to forget.
    pub(super) fn me(&self) -> Option<Member> {
        self.shared.peers.picker.this_node()
    }
}
