//! When an owner cannot be asked: who stands in for it, and what is loaded here.
//!
//! ```text
//!  the owner could not be asked
//!     who is next? ─┬─ a peer ── told what it has missed ── asked ─┬─ answer, verdict: as the owner's
//!                   │                                              └─ could not be asked either:
//!                   │                                                 LOAD here, within the load budget
//!                   ├─ this node: LOAD here
//!                   └─ nobody knows: LOAD here
//! ```
//!
//! All who find the owner dead ask the same node, so its keys are loaded once in the cluster. It is
//! asked with the time that is left, and never asks on.
//!
//! One stand-in is tried, and no second. A picker leaves out peers that it knows to be dead, so a second
//! one matters only where two nodes died within the moment before either is known to be: of ten nodes,
//! for one miss in 45. The load budget has room for those, and whoever waits has waited for two dead
//! nodes already.

use std::sync::Arc;

use carrotcache_peer::{Owner, Peer};
use tokio::time::Instant;
use tracing::Instrument;

use super::backoff::Refresh;
use super::forward::{Batch, Forward, Turn};
use super::purpose::Load;
use super::{Group, Shared};
use crate::cache::Place;
use crate::error::GetError;
use crate::quietly::quietly;

/// How a forward goes on.
enum Way {
    /// By a peer that stands in.
    Ask(Arc<dyn Peer>),
    /// By a load here, for which it takes a right of the load budget if it `needs_right`.
    Load { needs_right: bool },
}

impl Forward {
    /// Goes on without the peer that could not be asked, in a task: whoever had the answer goes on with
    /// others, and holds perhaps what a transport needs to be asked again.
    pub(super) fn go_on(mut self) {
        let (home, span) = (Arc::clone(&self.home), self.span.clone());
        // What waits in a batch does not hold it any more, or the two would hold each other for good.
        let Some(batch) = self.batch.take() else {
            let on = async move { self.go_on_alone() };
            home.handle().spawn(on.instrument(span));
            return;
        };
        if batch.add(self) {
            let on = async move { Self::go_on_together(batch) };
            home.handle().spawn(on.instrument(span));
        }
    }

    fn go_on_alone(self) {
        match self.way() {
            Way::Ask(peer) => {
                let forward = self.at_stand_in(&peer, None);
                forward.ask(&*peer);
            }
            Way::Load { needs_right } if needs_right && !self.group.has_right() => self.refuse(),
            Way::Load { .. } => self.load_here(),
        }
    }

    /// Goes on with all that wait in `batch`: by one question to each stand-in, and one load of what is
    /// to be loaded here.
    fn go_on_together(batch: Batch) {
        let mut asked: Vec<(Arc<dyn Peer>, Vec<Self>)> = Vec::new();
        let (mut free, mut others) = (Vec::new(), Vec::new());
        for forward in batch.take() {
            match forward.way() {
                Way::Ask(peer) => {
                    let forward = forward.at_stand_in(&peer, Some(&batch));
                    // By label: a transport may have a new handle of a peer for each call.
                    let known = asked.iter_mut().find(|(one, _)| one.label() == peer.label());
                    match known {
                        Some((_, forwards)) => forwards.push(forward),
                        None => asked.push((peer, vec![forward])),
                    }
                }
                Way::Load { needs_right: false } => free.push(forward),
                Way::Load { needs_right: true } => others.push(forward),
            }
        }
        for (peer, forwards) in asked {
            Self::ask_many(forwards, &*peer);
        }
        free.extend(Self::with_right(others));
        Self::load_together(free);
    }

    /// Returns how it goes on.
    fn way(&self) -> Way {
        if self.turn == Turn::Here {
            return Way::Load { needs_right: false };
        }
        let Shared { peers, clock, .. } = &*self.group.shared;
        peers.owners_away.note(clock.now());
        if self.turn == Turn::StandIn {
            return Way::Load { needs_right: true };
        }
        // The user's code, whose panic is not to take others along.
        let mut next = None;
        quietly(|| next = self.group.next_after(&self.key, &*self.peer));
        let has_time = self.deadline.is_none_or(|deadline| Instant::now() < deadline);
        match next {
            Some(Owner::Remote(peer)) if has_time && !self.home.is_shut_down() => Way::Ask(peer),
            Some(Owner::Remote(_)) => Way::Load { needs_right: true },
            Some(Owner::Local) | None => Way::Load { needs_right: false },
        }
    }

    /// Returns those of `forwards` whose loads the load budget allows, and refuses the others. A call
    /// of the bulk loader is one load.
    fn with_right(forwards: Vec<Self>) -> Vec<Self> {
        let Some(Self { group, .. }) = forwards.first() else { return forwards };
        let group = group.clone();
        let is_one_load = group.shared.loaders.bulk().is_some();
        let has_right = is_one_load && group.has_right();
        let mut with_right = Vec::new();
        for forward in forwards {
            if has_right || (!is_one_load && group.has_right()) {
                with_right.push(forward);
            } else {
                forward.refuse();
            }
        }
        with_right
    }

    /// Ends the flight without a load. Who waits has what is stale, if that is allowed.
    fn refuse(self) {
        self.group.shared.counters.loads_over_budget.add_one();
        let (group, key) = (self.group.shared_name(), self.key);
        self.leader.finish(Err(GetError::Overloaded { group, key }));
    }

    /// Ends the flight with what the loader brings.
    fn load_here(self) {
        let Self { group, key, leader, within, refresh, home, span, .. } = self;
        let mut permit = None;
        if refresh.is_some() && !leader.is_awaited() {
            // A refresh does not wait for its turn.
            permit = group.try_permit();
            if permit.is_none() {
                let group = group.shared_name();
                return leader.finish(Err(GetError::Overloaded { group, key }));
            }
        }
        let is_nested = within.is_within(&group.shared);
        let newer_than = refresh.as_ref().map(Refresh::newer_than);
        let load = Load { place: Place::Hot, within, is_nested, newer_than };
        let load = async move {
            let loaded = group.load(&key, load, permit).await;
            if loaded.is_ok() {
                refresh.into_iter().for_each(Refresh::succeeded);
            }
            leader.finish(loaded);
        };
        home.handle().spawn(load.instrument(span));
    }

    /// Ends flights with what the loader brings for them, which is asked for all of them at once.
    fn load_together(forwards: Vec<Self>) {
        let Some(Self { group, within, .. }) = forwards.first() else { return };
        let (group, within) = (group.clone(), within.clone());
        let is_nested = within.is_within(&group.shared);
        let load = Load { place: Place::Hot, within, is_nested, newer_than: None };
        match group.join_loads(forwards.iter().map(|forward| &forward.key), &load) {
            Err(error) => {
                forwards.into_iter().for_each(|forward| forward.leader.finish(Err(error.clone())));
            }
            Ok(joined) => {
                for (forward, joined) in forwards.into_iter().zip(joined) {
                    let Self { key, leader, home, span, .. } = forward;
                    let (group, load) = (group.clone(), load.clone());
                    // A task each: none waits for what is loaded elsewhere for another.
                    let load = async move {
                        leader.finish(group.end_of_load(&key, joined, load).await);
                    };
                    home.handle().spawn(load.instrument(span));
                }
            }
        }
    }
}

impl Group {
    /// Returns who stands in for `key` when `failed` cannot be asked.
    pub(super) fn next_after(&self, key: &str, failed: &dyn Peer) -> Option<Owner> {
        self.shared.peers.picker.next(key, failed.label())
    }

    /// Takes the right to load a key here that is another node's to load, if there is one.
    fn has_right(&self) -> bool {
        self.shared.peers.load_budget.take(self.shared.clock.now())
    }
}
