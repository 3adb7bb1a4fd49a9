//! The FORWARD flight: the owner is asked.

use std::sync::Arc;

use carrotcache_peer::{Answer, Completion, Peer, PeerError, PeerErrorKind, Request};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::backoff::Refresh;
use super::flights::{Leader, Led, Ticket, Where};
use super::nesting::Nesting;
use super::purpose::Load;
use super::together::Together;
use super::{Group, LONGEST};
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
        let together = self.shared.loaders.bulk().map(|_| Arc::default());
        let forwards = led.into_iter().filter_map(|led| {
            let forward = self.new_forward(led, at, owner, within.clone(), None)?;
            Some(Forward { together: together.clone(), ..forward })
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
            owner: Arc::clone(owner),
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
            together: None,
        })
    }

    /// Returns what an owner is asked, with the two limits that the transport keeps to.
    ///
    /// An owner that says that it is loading may take as long as a load may. It gets the peer timeout
    /// on top, so that its verdict, that the load took too long, is here before the flight gives up
    /// and loads a second time.
    pub(super) fn request_for(&self, key: Arc<str>, is_nested: bool) -> Request {
        let shared = &self.shared;
        let max_silence = shared.peers.timeout.min(LONGEST);
        let longest_wait = shared.load_timeout.saturating_add(max_silence).min(LONGEST);
        // The deadline is one of the clock that the transport will look at, which is the home's.
        let deadline = Instant::now() + longest_wait;
        Request::new(self.shared_name(), key, deadline.into_std())
            .with_max_silence(max_silence)
            .with_nested(is_nested)
    }
}

/// A flight that waits for its owner's answer.
///
/// No task stands behind it. The transport has the completion, which has this, which ends the flight.
struct Forward {
    group: Group,
    key: Arc<str>,
    owner: Arc<dyn Peer>,
    leader: Leader,
    ticket: Ticket,
    /// When the owner was asked. What it says of time counts from here, so a copy never outlives what
    /// it is a copy of.
    asked: u64,
    /// The load that waits for the value.
    within: Nesting,
    /// `None` if somebody waits for the value, and has none.
    refresh: Option<Refresh>,
    home: Arc<Home>,
    span: Span,
    /// The process that is asked, if that is known and matters.
    known: Option<u64>,
    /// How often the owner was told what it had missed.
    tellings: usize,
    asking: Asking,
    /// Those that were asked for with it, and that the owner could not be asked for: all of them are
    /// loaded here at once. An owner that dies must not turn one query into a thousand. `None` if it is
    /// loaded on its own.
    together: Option<Arc<Together<Forward>>>,
}

/// Counts what comes of asking an owner: that it could not be asked, if this is dropped before.
struct Asking(Option<Group>);

impl Asking {
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

/// How often an owner is told what it has missed, for one get. One that is another process each time
/// is not asked.
const MAX_TELLINGS: usize = 2;

impl Forward {
    /// Asks the owner, and returns without waiting. Called within the home.
    fn ask(self, owner: &dyn Peer) {
        if let Some((request, completion)) = self.question(owner) {
            // A transport that panics drops the completion, which tells an error. The panic itself is
            // of no use to whoever wants the value.
            quietly(|| owner.ask(request, completion));
        }
    }

    /// Asks the owner for many keys at once, as [`ask`](Self::ask) for one.
    fn ask_many(forwards: Vec<Self>, owner: &dyn Peer) {
        let ask = |forward: Self| forward.question(owner);
        let questions: Vec<_> = forwards.into_iter().filter_map(ask).collect();
        if !questions.is_empty() {
            quietly(|| owner.ask_many(questions));
        }
    }

    /// Returns what the owner is asked, and what ends the flight with its answer.
    ///
    /// An owner that has missed a remove is told first: what it says before is not believed. Then there
    /// is nothing to ask now.
    fn question(mut self, owner: &dyn Peer) -> Option<(Request, Completion)> {
        let peers = &self.group.shared.peers;
        let standing = match peers.debts.can_be_any() && peers.rules.told_before_asked {
            true => peers.debts.standing(owner.label()),
            false => Standing::Even(None),
        };
        match standing {
            Standing::Even(known) => {
                self.known = known;
                let is_nested = self.within.is_within(&self.group.shared);
                let request = self.group.request_for(Arc::clone(&self.key), is_nested);
                return Some((request, Completion::new(move |answer| self.end(answer))));
            }
            Standing::Owed => self.tell_and_ask(),
            Standing::Unreached => self.give_up(),
        }
        None
    }

    /// Tells the owner what it has missed, and asks it then, in a task. If it cannot be told, the value
    /// is loaded here.
    fn tell_and_ask(mut self) {
        let (home, span) = (Arc::clone(&self.home), self.span.clone());
        let telling = async move {
            self.tellings += 1;
            let told = match self.tellings <= MAX_TELLINGS {
                true => self.group.shared.peers.tell(&self.owner).await.is_ok(),
                false => false,
            };
            if told {
                let owner = Arc::clone(&self.owner);
                self.ask(&*owner);
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
                && debts.met(self.owner.label(), incarnation)
                && self.group.shared.peers.rules.told_before_asked
        })
    }

    /// Ends the flight with the owner's answer, or starts a load if the owner could not be asked.
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
        self.asking.end(was_asked);
        quietly(|| match answer {
            Ok(answer) => self.end_with(answer),
            Err(error) => {
                let error = error.at(self.label());
                if was_asked { self.end_with_verdict(error) } else { self.end_unanswered(error) }
            }
        });
    }

    fn end_with(mut self, answer: Answer) {
        self.note_answer();
        let is_refresh = self.refresh.take().map(Refresh::succeeded).is_some();
        self.group.shared.refreshes.succeeded(&self.key);
        let held = self.mirror(Held::new(answer.entry, self.asked), is_refresh);
        self.leader.finish(Ok(held));
    }

    /// Keeps a copy of the owner's value if the group's policy is in favour, which it was if there is
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

    fn end_unanswered(self, error: PeerError) {
        if error.kind == PeerErrorKind::Runtime {
            return self.leader.finish(Err(GetError::CannotAskPeers { source: error }));
        }
        // Our own runtime's end is no outage of the peer's.
        if error.kind != PeerErrorKind::Dropped || !self.home.is_shut_down() {
            self.group.shared.peers.outages.failed(&self.label(), &error);
        }
        self.load_here();
    }

    /// Notes that the owner has answered, which matters only while some peer fails.
    fn note_answer(&self) {
        let outages = &self.group.shared.peers.outages;
        if outages.are_any() {
            outages.answered(&self.label());
        }
    }

    /// Returns the label of the owner. It is the user's code, which must not run, and perhaps panic,
    /// while the transport panics already.
    fn label(&self) -> Arc<str> {
        if std::thread::panicking() { "(panicking)".into() } else { self.owner.label().into() }
    }

    /// Does without the owner, which has missed a remove and cannot be told.
    fn give_up(mut self) {
        self.asking.end(false);
        self.load_here();
    }

    /// Ends the flight with what the loader brings, in a task: whoever had the answer goes on.
    fn load_here(mut self) {
        if let Some(together) = self.together.take() {
            let (home, span) = (Arc::clone(&self.home), self.span.clone());
            // What waits there does not hold it any more, or the two would hold each other for good.
            if together.add(self) {
                let load = async move { Self::load_all_here(together.take()) };
                home.handle().spawn(load.instrument(span));
            }
            return;
        }
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
    fn load_all_here(forwards: Vec<Self>) {
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
