//! The FORWARD flight: the owner is asked, or whoever stands in for it.

use std::sync::Arc;

use carrotcache_peer::{Answer, Completion, Peer, PeerError, PeerErrorKind, Request};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::backoff::Refresh;
use super::flights::{Leader, Led, Ticket, Where};
use super::nesting::Nesting;
use super::together::Together;
use super::{Group, LONGEST, Shared};
use crate::cache::Place;
use crate::debts::Standing;
use crate::error::GetError;
use crate::held::{Age, Held};
use crate::home::Home;
use crate::quietly::quietly;

impl Group {
    /// Starts the FORWARD flight of `leader`.
    pub(super) fn start_forward(
        &self,
        leader: Leader,
        key: Arc<str>,
        at: Where<'_>,
        owner: &Arc<dyn Peer>,
        within: Nesting,
        refresh: Option<Refresh>,
    ) {
        let led = Led { ticket: Ticket::new(&leader, at.home), key, leader };
        if let Some(forward) = self.new_forward(led, at, owner, within, refresh) {
            let _entered = (!at.is_here).then(|| at.home.handle().enter());
            forward.ask(&**owner);
        }
    }

    /// Starts the FORWARD flights of all who are `led`: the owner is asked for them at once.
    pub(super) fn start_forwards(
        &self,
        led: Vec<Led>,
        at: Where<'_>,
        owner: &Arc<dyn Peer>,
        within: &Nesting,
    ) {
        let batch = Batch::default();
        let forwards = led.into_iter().filter_map(|led| {
            let forward = self.new_forward(led, at, owner, within.clone(), None)?;
            Some(Forward { batch: Some(Arc::clone(&batch)), ..forward })
        });
        let forwards: Vec<_> = forwards.collect();
        let _entered = (!at.is_here).then(|| at.home.handle().enter());
        Forward::ask_many(forwards, &**owner);
    }

    /// Returns the FORWARD flight of who is `led`, unless its second look ends it.
    fn new_forward(
        &self,
        led: Led,
        at: Where<'_>,
        owner: &Arc<dyn Peer>,
        within: Nesting,
        refresh: Option<Refresh>,
    ) -> Option<Forward> {
        let Led { key, leader, ticket } = led;
        let newer_than = refresh.as_ref().map(Refresh::newer_than);
        if let Some(held) = self.look_again(&key, newer_than) {
            refresh.into_iter().for_each(Refresh::succeeded);
            leader.finish(Ok(held));
            return None;
        }
        Some(Forward {
            group: self.clone(),
            key,
            peer: Arc::clone(owner),
            turn: Turn::Owner,
            deadline: None,
            ticket,
            leader,
            asked: self.shared.clock.now(),
            within,
            refresh,
            home: Arc::clone(at.home),
            span: Span::current(),
            known: None,
            tellings: 0,
            asking: Asking(Some(self.clone())),
            batch: None,
        })
    }

    /// Returns what an owner is asked, with the two limits that the transport keeps to.
    pub(super) fn request_for(&self, key: Arc<str>, deadline: Instant, is_nested: bool) -> Request {
        Request::new(self.shared_name(), key, deadline.into_std())
            .with_max_silence(self.shared.peers.timeout.min(LONGEST))
            .with_nested(is_nested)
    }

    /// Returns until when a forward that begins now is waited for. Called within the home, since it is of
    /// the clock that the transport will look at.
    ///
    /// An owner that says that it is loading may take as long as a load may. It gets the peer timeout
    /// on top, so that its verdict, that the load took too long, is here before the flight gives up
    /// and loads a second time.
    pub(super) fn forward_deadline(&self) -> Instant {
        let Shared { load_timeout, peers, .. } = &*self.shared;
        Instant::now() + load_timeout.saturating_add(peers.timeout).min(LONGEST)
    }
}

/// A flight that waits for an owner's answer, or for that of whoever stands in for it.
///
/// No task stands behind it. The transport has the completion, which has this, which ends the flight.
pub(super) struct Forward {
    pub(super) group: Group,
    pub(super) key: Arc<str>,
    /// Who is asked, and what that is to the key.
    pub(super) peer: Arc<dyn Peer>,
    pub(super) turn: Turn,
    /// Until when it is waited for, by whomever; `None` until somebody is asked.
    pub(super) deadline: Option<Instant>,
    pub(super) leader: Leader,
    ticket: Ticket,
    /// When the peer was asked. What it says of time counts from here, so a copy never outlives what
    /// it is a copy of.
    asked: u64,
    /// The load that waits for the value.
    pub(super) within: Nesting,
    /// `None` if somebody waits for the value, and has none.
    pub(super) refresh: Option<Refresh>,
    pub(super) home: Arc<Home>,
    pub(super) span: Span,
    /// The process that is asked, if that is known and matters.
    known: Option<u64>,
    /// How often the peer was told what it had missed.
    tellings: usize,
    asking: Asking,
    /// Those that were asked for with it, with whom it goes on if the peer could not be asked. `None` if
    /// it was asked for on its own, and while it waits there.
    pub(super) batch: Option<Batch>,
}

/// The forwards that were asked for at once, and could not be asked for: they go on together. An owner
/// that dies must not turn one query into a thousand.
pub(super) type Batch = Arc<Together<Forward>>;

/// Whose turn it is to bring the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Owner,
    /// The owner could not be asked.
    StandIn,
    /// No other node can.
    Here,
}

/// Counts what comes of asking an owner: that it could not be asked, if this is dropped before.
struct Asking(Option<Group>);

impl Asking {
    /// Counts that, if it has not been counted yet.
    fn end(&mut self, was_asked: bool) {
        if let Some(Group { shared }) = self.0.take() {
            let counters = &shared.counters;
            let counter = if was_asked { &counters.peer_loads } else { &counters.peer_errors };
            counter.add_one();
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.end(false);
    }
}

/// How often a peer is told what it has missed, for one get. One that is another process each time
/// is not asked.
const MAX_TELLINGS: usize = 2;

impl Forward {
    /// Returns the forward as one that asks `peer`, which stands in for the owner.
    pub(super) fn at_stand_in(self, peer: &Arc<dyn Peer>, batch: Option<&Batch>) -> Self {
        let (peer, turn) = (Arc::clone(peer), Turn::StandIn);
        let (asked, batch) = (self.group.shared.clock.now(), batch.map(Arc::clone));
        Self { peer, turn, asked, batch, known: None, tellings: 0, ..self }
    }

    /// Asks the peer, and returns without waiting. Called within the home.
    pub(super) fn ask(self, peer: &dyn Peer) {
        if let Some((request, completion)) = self.question(peer) {
            // A transport that panics drops the completion, which tells an error. The panic itself is
            // of no use to whoever wants the value.
            quietly(|| peer.ask(request, completion));
        }
    }

    /// Asks the peer for many keys at once, as [`ask`](Self::ask) for one.
    pub(super) fn ask_many(forwards: Vec<Self>, peer: &dyn Peer) {
        let ask = |forward: Self| forward.question(peer);
        let questions: Vec<_> = forwards.into_iter().filter_map(ask).collect();
        if !questions.is_empty() {
            quietly(|| peer.ask_many(questions));
        }
    }

    /// Returns what the peer is asked, and what ends the flight with its answer.
    ///
    /// A peer that has missed a remove is told first: what it says before is not believed. Then there
    /// is nothing to ask now.
    fn question(mut self, peer: &dyn Peer) -> Option<(Request, Completion)> {
        let deadline = *self.deadline.get_or_insert_with(|| self.group.forward_deadline());
        let debts = &self.group.shared.peers.debts;
        let standing = match debts.can_be_any() && self.is_told_before_asked() {
            true => debts.standing(peer.label()),
            false => Standing::Even(None),
        };
        match standing {
            Standing::Even(known) => {
                self.known = known;
                let request =
                    self.group.request_for(Arc::clone(&self.key), deadline, self.is_nested());
                let request = request.with_stand_in(self.turn == Turn::StandIn);
                return Some((request, Completion::new(move |answer| self.end(answer))));
            }
            Standing::Owed => self.tell_and_ask(),
            Standing::Unreached => self.give_up(),
        }
        None
    }

    /// Returns whether a load waits for the value. One may have joined since the owner was asked, which
    /// has only asked the owner once more.
    fn is_nested(&self) -> bool {
        let shared = &self.group.shared;
        let is_urgent = || shared.limits.is_urgent(&self.key);
        self.within.is_within(shared) || (self.turn == Turn::StandIn && is_urgent())
    }

    fn is_told_before_asked(&self) -> bool {
        let rules = &self.group.shared.peers.rules;
        match self.turn {
            Turn::StandIn => rules.stand_in_told_before_asked,
            _ => rules.told_before_asked,
        }
    }

    /// Tells the peer what it has missed, and asks it then, in a task. If it cannot be told, the value
    /// is had elsewhere.
    fn tell_and_ask(mut self) {
        let (home, span) = (Arc::clone(&self.home), self.span.clone());
        let telling = async move {
            self.tellings += 1;
            let told = match self.tellings <= MAX_TELLINGS {
                true => self.group.shared.peers.tell(&self.peer).await.is_ok(),
                false => false,
            };
            if told {
                let peer = Arc::clone(&self.peer);
                self.ask(&*peer);
            } else {
                self.give_up();
            }
        };
        home.handle().spawn(telling.instrument(span));
    }

    /// Returns whether the answer is one of a process that has missed what this node has purged, which is
    /// so of one that was started anew.
    fn is_of_another(&self, answer: &Result<Answer, PeerError>) -> bool {
        let incarnation = answer.as_ref().ok().and_then(|answer| answer.incarnation);
        let debts = &self.group.shared.peers.debts;
        incarnation.is_some_and(|incarnation| {
            self.known != Some(incarnation)
                && debts.met(self.peer.label(), incarnation)
                && self.is_told_before_asked()
        })
    }

    /// Ends the flight with the peer's answer, or goes on if the peer could not be asked.
    ///
    /// Runs wherever the transport has the answer, a panic's unwinding included, so it neither waits
    /// nor panics. Should what is the user's code in it panic, such as the drop of a value, the
    /// flight is abandoned, and those who wait start anew.
    fn end(mut self, answer: Result<Answer, PeerError>) {
        let mut is_of_another = false;
        quietly(|| is_of_another = self.is_of_another(&answer));
        if is_of_another {
            return self.tell_and_ask();
        }
        let was_asked = answer.as_ref().map_or_else(PeerError::is_verdict, |_| true);
        self.count(was_asked);
        quietly(|| match answer {
            Ok(answer) => self.end_with(answer),
            Err(error) => {
                let error = error.at(self.label());
                if was_asked { self.end_with_verdict(error) } else { self.end_unanswered(error) }
            }
        });
    }

    /// Counts whether the peer was asked.
    fn count(&mut self, was_asked: bool) {
        if self.turn == Turn::StandIn && was_asked {
            self.group.shared.counters.stand_in_loads.add_one();
        }
        self.asking.end(was_asked);
    }

    fn end_with(mut self, answer: Answer) {
        self.note_answer();
        let is_refresh = self.refresh.take().map(Refresh::succeeded).is_some();
        self.group.shared.refreshes.succeeded(&self.key);
        let held = self.mirror(Held::new(answer.entry, self.asked), is_refresh);
        self.leader.finish(Ok(held));
    }

    /// Keeps a copy of the peer's value if the group's policy is in favour, which it was if there is
    /// one already. Of what is not there no copy is left.
    fn mirror(&self, held: Held, is_refresh: bool) -> Held {
        let shared = &self.group.shared;
        let may_keep = || self.group.may_keep(&self.key, &shared.forwards, &self.ticket);
        if held.value().is_none() {
            shared.cache.forget_if(&self.key, may_keep);
            return held;
        }
        if !(is_refresh || shared.mirror.admits()) {
            return held;
        }
        let held = shared.freshness.mirrored(held, self.asked, &shared.chance);
        if held.age_at(shared.clock.now()) != Age::Fresh {
            return held;
        }
        shared.counters.mirrored.add_one();
        shared.cache.store(Place::Hot, Arc::clone(&self.key), held, may_keep)
    }

    fn end_with_verdict(self, verdict: PeerError) {
        self.note_answer();
        let (group, key) = (self.group.shared_name(), self.key);
        self.leader.finish(Err(match verdict.kind {
            PeerErrorKind::TooManyLoads => GetError::Overloaded { group, key },
            _ => GetError::LoadFailed { group, key, source: Arc::new(verdict) },
        }));
    }

    fn end_unanswered(mut self, error: PeerError) {
        if error.kind == PeerErrorKind::Runtime {
            return self.leader.finish(Err(GetError::CannotAskPeers { source: error }));
        }
        // Our own runtime's end is no outage of the peer's, and what its transport tells is told once.
        let is_ours = error.kind == PeerErrorKind::Dropped && self.home.is_shut_down();
        let is_told = !std::thread::panicking() && self.peer.is_doubted();
        if !is_ours && !is_told {
            self.group.shared.peers.outages.failed(&self.label(), &error);
        }
        if error.kind == PeerErrorKind::TooLarge {
            // It would be too large from anybody.
            self.turn = Turn::Here;
        }
        self.go_on();
    }

    /// Notes that the peer has answered, which matters only while some peer fails.
    fn note_answer(&self) {
        let outages = &self.group.shared.peers.outages;
        if outages.are_any() {
            outages.answered(&self.label());
        }
    }

    /// Returns the label of the peer. It is the user's code, which must not run, and perhaps panic,
    /// while the transport panics already.
    fn label(&self) -> Arc<str> {
        if std::thread::panicking() { "(panicking)".into() } else { self.peer.label().into() }
    }

    /// Does without the peer, which has missed a remove and cannot be told.
    fn give_up(mut self) {
        self.count(false);
        self.go_on();
    }
}
