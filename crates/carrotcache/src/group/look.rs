//! Looks: a new owner asks the former one for a value that it may have cached, before it loads.
//!
//! A look is a question to a cache. It starts no load, so it takes no permit, and waits for a moment
//! only. What it brings is kept as whatever a flight brings: a purge in between makes it void.

use std::sync::Arc;

use carrotcache_peer::{Answer, Completion, Owner, Peer, PeerError, PeerErrorKind, Request};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::Group;
use super::flights::Ticket;
use super::purpose::Load;
use crate::cache::Place;
use crate::debts::Standing;
use crate::held::{Age, Held};
use crate::looks::LOOK_TIMEOUT;
use crate::quietly::quietly;

/// A look that is under way.
pub(super) struct Look {
    former: Arc<dyn Peer>,
    /// The process that is asked, if that is known and matters.
    known: Option<u64>,
    /// When it was asked. What it says of time counts from here.
    asked: u64,
    until: Instant,
    told: oneshot::Receiver<Result<Answer, PeerError>>,
}

impl Group {
    /// Looks at the former owner of `key`, if there is one that may be looked at, on behalf of a flight
    /// that is in its table already. Returns what it had, which is kept here now.
    ///
    /// # Cancel safety
    ///
    /// Dropped only when its runtime shuts down; the load then counts as refused.
    pub(super) async fn look(&self, key: &Arc<str>, load: &Load, ticket: &Ticket) -> Option<Held> {
        let look = self.begin_look(key, load)?;
        let dropped = self.shared.counters.loads_refused.otherwise(1);
        let found = self.end_look(key, look, ticket).await;
        dropped.call_off();
        found
    }

    /// Asks the former owner of `key`, if there is one that may be looked at. Called within the home.
    ///
    /// Only for a key of this node's, by its own list of peers or by that of the peer that asks for it, of
    /// which nobody here has a value. A key that is being removed is
    /// looked for nowhere: between the rounds of its remove the peer may still have the old value. For
    /// the same reason none is looked at that has missed a remove.
    pub(super) fn begin_look(&self, key: &Arc<str>, load: &Load) -> Option<Look> {
        let peers = &self.shared.peers;
        if load.place != Place::Main || load.newer_than.is_some() {
            return None;
        }
        let former = match peers.picker.owner(key) {
            Owner::Local => peers.picker.former_owner(key)?,
            // A peer asks for it whose list is another. The node that it takes for a former owner is this
            // node's present one.
            Owner::Remote(owner) => owner,
        };
        let changes = peers.picker.changes();
        if !peers.looks.may_look(former.label(), changes) || self.is_closed_for_looks(key) {
            return None;
        }
        let known = match peers.rules.told_before_asked {
            true => match peers.debts.standing(former.label()) {
                Standing::Even(known) => known,
                Standing::Owed | Standing::Unreached => return None,
            },
            false => None,
        };
        self.shared.counters.looks.add_one();
        let (asked, until) = (self.shared.clock.now(), Instant::now() + LOOK_TIMEOUT);
        let request = Request::new(self.shared_name(), Arc::clone(key), until.into_std());
        let (tell, told) = oneshot::channel();
        let completion = Completion::new(|answer| drop(tell.send(answer)));
        quietly(|| former.look(request, completion));
        Some(Look { former, known, asked, until, told })
    }

    /// Waits for a look, and keeps what it has brought.
    ///
    /// # Cancel safety
    ///
    /// As [`look`](Self::look), but that it counts nothing then: whoever calls it does.
    pub(super) async fn end_look(
        &self,
        key: &Arc<str>,
        look: Look,
        ticket: &Ticket,
    ) -> Option<Held> {
        let Look { former, known, asked, until, told } = look;
        let shared = &self.shared;
        let looks = &shared.peers.looks;
        let answer = match timeout_at(until, told).await {
            Ok(Ok(Ok(answer))) => answer,
            Ok(Ok(Err(error))) if error.kind == PeerErrorKind::NotCached => {
                looks.answered(former.label(), false);
                return None;
            }
            _failed => {
                looks.failed(former.label());
                return None;
            }
        };
        let held = self.of_look(former.label(), answer, known, asked);
        looks.answered(former.label(), held.is_some());
        let held = held?;
        shared.counters.handed_off.add_one();
        shared.refreshes.succeeded(key);
        let may_keep = || self.may_keep(key, &shared.loads, ticket);
        Some(shared.cache.store(Place::Main, Arc::clone(key), held, may_keep))
    }

    /// Returns what a former owner has answered, if it can be taken for a value of this node's own.
    fn of_look(&self, label: &str, answer: Answer, known: Option<u64>, asked: u64) -> Option<Held> {
        let Self { shared } = self;
        let peers = &shared.peers;
        let is_of_another = answer.incarnation.is_some_and(|incarnation| {
            known != Some(incarnation)
                && peers.debts.met(label, incarnation)
                && peers.rules.told_before_asked
        });
        if is_of_another {
            // It has missed what was removed before it was known.
            peers.tell_later();
            return None;
        }
        let held = shared.freshness.bounded(Held::new(answer.entry, asked), asked);
        let is_fresh = held.age_at(shared.clock.now()) == Age::Fresh;
        (is_fresh && held.value().is_some()).then_some(held)
    }

    /// Answers a peer that owns `key` now from what is cached here, and counts as nothing: neither a get,
    /// nor a use of the entry.
    pub(crate) fn show(&self, key: &str) -> Option<Answer> {
        self.check(key).ok()?;
        let now = self.shared.clock.now();
        let suits = |held: &Held| held.value().is_some() && held.age_at(now) == Age::Fresh;
        let held = self.shared.cache.peek(key, suits)?;
        (!self.is_closed_for_looks(key)).then(|| self.answer_with(&held))
    }

    fn is_closed_for_looks(&self, key: &str) -> bool {
        let Self { shared } = self;
        shared.peers.rules.looks_only_while_open && shared.closures.is_closed(key)
    }
}
