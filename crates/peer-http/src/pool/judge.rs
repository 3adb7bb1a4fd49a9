//! Judges whether a peer can be asked: [`health`](super::health) with a lock, a clock and a log.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use carrotcache_peer::{Completion, PeerError, PeerErrorKind};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use super::crowd::Crowd;
use super::health::{Admission, Change, Health, Stage, Times};
use super::rings::{Rings, Told};
use super::stats::{HealthState, PeerHealth};
use crate::config::Config;

/// What is known of a peer's health, shared by all who ask it.
pub(crate) struct Judge {
    label: Arc<str>,
    config: Arc<Config>,
    crowd: Arc<Crowd>,
    /// What a get has to know, so that one to a healthy peer takes no lock and writes nothing.
    mark: AtomicU8,
    state: Mutex<State>,
    /// How many requests are under way to it although it is ejected.
    dares: AtomicUsize,
    /// Wakes those who wait for the peer when it is found dead.
    dead: Notify,
}

struct State {
    health: Health,
    rings: Rings,
    /// Whether the crowd counts the peer.
    is_counted: bool,
    /// What is told to whoever would ask it, made once for each change.
    rejection: Option<PeerError>,
}

/// Nothing is to be noted: a sign of life is what is expected.
const WELL: u8 = 0;
/// A sign of life is to be noted.
const DOUBTED: u8 = 1;
/// Besides, the peer is not to be asked.
const DOWN: u8 = 2;

/// How many requests may be under way to an ejected peer while it is most likely this node that is cut
/// off.
const MAX_DARES: usize = 16;

/// What a timer can tell apart.
const SHORTEST_PATIENCE: Duration = Duration::from_millis(1);

impl Judge {
    /// Returns that of a peer that nobody has asked yet, and that is not one of the crowd.
    pub(crate) fn new(label: Arc<str>, config: Arc<Config>, crowd: Arc<Crowd>) -> Arc<Self> {
        let times = Times { first: config.first_ejection, longest: config.longest_ejection };
        let state = State {
            health: Health::new(times, Instant::now()),
            rings: Rings::default(),
            is_counted: false,
            rejection: None,
        };
        let (mark, state) = (AtomicU8::new(WELL), Mutex::new(state));
        let (dares, dead) = (AtomicUsize::new(0), Notify::new());
        Arc::new(Self { label, config, crowd, mark, state, dares, dead })
    }

    /// Returns whether the peer is to be asked as far as is known. Costs a load.
    pub(crate) fn is_up(&self) -> bool {
        self.mark.load(Ordering::Relaxed) != DOWN
    }

    /// Returns whether the peer has given reason for doubt, and no sign of life since. Costs a load.
    pub(crate) fn is_doubted(&self) -> bool {
        self.mark.load(Ordering::Relaxed) != WELL
    }

    /// Returns the completion of a request that may be sent, or tells it that its peer is ejected. That
    /// of a probe notes what it is told.
    pub(crate) fn admit<T: 'static>(
        self: &Arc<Self>,
        completion: Completion<T>,
    ) -> Option<Completion<T>> {
        if self.is_up() {
            return Some(completion);
        }
        let mut state = self.lock();
        match state.health.admit(Instant::now()) {
            Admission::Open => Some(completion),
            Admission::Probe(probe) => {
                drop(state);
                let judge = Arc::clone(self);
                Some(Completion::new(move |answer: Result<T, PeerError>| {
                    judge.probed(probe, answer.as_ref().err());
                    completion.tell(answer);
                }))
            }
            Admission::Ejected if !self.config.ejects => Some(completion),
            Admission::Ejected if self.crowd.is_ignored() && self.dare() => {
                drop(state);
                let dare = Dare(Arc::clone(self));
                Some(Completion::new(move |answer| {
                    drop(dare);
                    completion.tell(answer);
                }))
            }
            Admission::Ejected => {
                let rejection = self.rejection(&mut state);
                drop(state);
                completion.tell(Err(rejection));
                None
            }
        }
    }

    /// Counts one more request that is sent although the peer is ejected. Returns whether it may be: if
    /// it is as dead as it seems, each takes its time, and all of them would.
    fn dare(&self) -> bool {
        let one_more = |dares| (dares < MAX_DARES).then_some(dares + 1);
        self.dares.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// Returns what ends when the peer is found dead from now on.
    pub(crate) fn death(&self) -> Notified<'_> {
        self.dead.notified()
    }

    /// Returns why the peer was found dead, for a request that had been sent.
    pub(crate) fn cause_of_death(&self) -> PeerError {
        let why = self.lock().health.why().cloned();
        why.unwrap_or_else(|| {
            PeerError::new(PeerErrorKind::Unreachable).at(Arc::clone(&self.label))
        })
    }

    /// Returns how long a get waits in silence before the peer is pinged: a tenth as long if there is
    /// reason for doubt, so that a probe of a dead peer does not take the whole time.
    pub(crate) fn patience(&self) -> Duration {
        let patience = self.config.link.ping_after;
        let patience = if self.is_doubted() { patience / 10 } else { patience };
        patience.max(SHORTEST_PATIENCE)
    }

    /// Returns how long the peer may take to answer a ping.
    pub(crate) fn pong_within(&self) -> Duration {
        self.config.link.pong_within
    }

    /// Returns what is told to whoever would ask the peer.
    fn rejection(&self, state: &mut State) -> PeerError {
        let State { rejection, health, .. } = state;
        let new = || {
            let ejected = PeerError::new(PeerErrorKind::Ejected).at(Arc::clone(&self.label));
            match health.why() {
                Some(why) => ejected.with_source(why.clone()),
                None => ejected,
            }
        };
        rejection.get_or_insert_with(new).clone()
    }

    /// Returns the peer's base URL, as it was given.
    pub(crate) fn label(&self) -> &Arc<str> {
        &self.label
    }
}

/// A request that is under way although its peer is ejected.
struct Dare(Arc<Judge>);

impl Drop for Dare {
    fn drop(&mut self) {
        self.0.dares.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is seen of the peer.
impl Judge {
    /// Something came from the peer. Costs a load unless that is of interest.
    pub(crate) fn alive(&self) {
        if self.is_doubted() {
            self.note(|health, now| health.alive(now));
        }
    }

    /// The peer took no connection, or ended one without a byte.
    pub(crate) fn refused(&self, why: &PeerError) {
        let change = self.note(|health, now| health.refused(why, now, draw()));
        if change.is_some() && self.config.ejects {
            self.dead.notify_waiters();
        }
    }

    /// Returns the number of a ping that is to be sent now, if one is.
    pub(crate) fn ping(&self) -> Option<u64> {
        let (patience, mut ping) = (self.patience(), None);
        self.note(|health, now| {
            ping = health.ping(now, patience);
            None
        });
        ping
    }

    /// A ping has told nothing of the peer.
    pub(crate) fn pinged(&self, ping: u64) {
        self.note(|health, _| {
            health.pinged(ping);
            None
        });
    }

    /// A ping was not answered. Wakes those who wait, unless something else came meanwhile.
    pub(crate) fn unanswered(&self, ping: u64, why: &PeerError) {
        let mut counts = false;
        self.note(|health, now| {
            let (it_does, change) = health.unanswered(ping, why, now, draw());
            counts = it_does;
            change
        });
        if counts {
            self.dead.notify_waiters();
        }
    }

    /// The peer has agreed to a link.
    pub(crate) fn linked(&self) {
        self.note(Health::linked);
    }

    /// A link has ended in good order, or for a reason of ours.
    pub(crate) fn unlinked(&self) {
        self.note(|health, _| {
            health.unlinked();
            None
        });
    }

    /// A link has ended because the peer was silent.
    pub(crate) fn silent(&self, why: &PeerError) {
        self.note(|health, now| health.silent(why, now, draw()));
        self.dead.notify_waiters();
    }

    /// A probe has ended, with this error if it failed.
    fn probed(&self, probe: u64, error: Option<&PeerError>) {
        let is_answer = error.is_none_or(|error| is_answer(error.kind));
        self.note(|health, now| {
            if is_answer && health.is_probe(probe) {
                return health.alive(now);
            }
            health.probed(probe, now);
            None
        });
    }

    /// Lets the machine note something, and tells the log of a change.
    fn note(&self, note: impl FnOnce(&mut Health, Instant) -> Option<Change>) -> Option<Change> {
        let mut state = self.lock();
        let was_down = !state.health.is_healthy();
        let change = note(&mut state.health, Instant::now());
        let is_down = !state.health.is_healthy();
        if was_down != is_down && state.is_counted {
            self.crowd.turn(is_down);
        }
        state.rejection = None;
        let mark = match () {
            () if is_down => DOWN,
            () if state.health.wants_life() => DOUBTED,
            () => WELL,
        };
        self.mark.store(mark, Ordering::Relaxed);
        let why = change.and_then(|_| state.health.why().cloned());
        drop(state);
        self.tell(change, why);
        change
    }

    /// Tells the log of a change.
    fn tell(&self, change: Option<Change>, why: Option<PeerError>) {
        let peer = &*self.label;
        match change {
            Some(Change::Ejected) => {
                let why = why.map(|why| format!("{}: {}", why.kind, why.causes()));
                let why = why.unwrap_or_default();
                tracing::warn!(peer, why, "a peer is ejected: it is not asked for now");
            }
            Some(Change::Back { after }) => {
                tracing::info!(peer, ?after, "a peer is back: it has answered");
            }
            None => {}
        }
    }
}

/// The peer as one of many.
impl Judge {
    /// The pool has the peer from now on.
    pub(crate) fn join(&self) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.is_counted, true) {
            self.crowd.join(!state.health.is_healthy());
        }
    }

    /// The pool has the peer no more.
    pub(crate) fn leave(&self) {
        let mut state = self.lock();
        if std::mem::take(&mut state.is_counted) {
            self.crowd.leave(!state.health.is_healthy());
        }
    }

    /// The peer has said which ring it has. Returns whether that differs from ours from now on, so that
    /// it is to be looked at again.
    pub(crate) fn meet_ring(&self, theirs: u64) -> bool {
        self.compare(|rings, ours, now| rings.meet(theirs, ours, now))
    }

    /// Our ring may have changed, or some time has passed. Returns what [`meet_ring`](Self::meet_ring)
    /// does.
    pub(crate) fn look_at_ring(&self) -> bool {
        self.compare(Rings::look)
    }

    fn compare(&self, compare: impl FnOnce(&mut Rings, u64, Instant) -> Told) -> bool {
        let ours = self.config.link.ring.load(Ordering::Relaxed);
        let told = compare(&mut self.lock().rings, ours, Instant::now());
        let peer = &*self.label;
        match told {
            Told::Lasts => {
                tracing::warn!(
                    peer,
                    "a peer has another ring: it was given other peers, or settings"
                );
            }
            Told::Over => tracing::info!(peer, "a peer has the same ring again"),
            Told::Begins | Told::Nothing => {}
        }
        told == Told::Begins
    }

    /// Returns what there is to tell of the peer.
    pub(crate) fn report(&self) -> PeerHealth {
        let state = self.lock();
        let (health, now) = (&state.health, Instant::now());
        PeerHealth {
            peer: Arc::clone(&self.label),
            state: match health.stage() {
                Stage::Healthy => HealthState::Healthy,
                Stage::Ejected { until } => HealthState::Ejected { until: until.into_std() },
                Stage::Probing { .. } => HealthState::Probing,
            },
            since: health.since().into_std(),
            why: health.why().cloned(),
            ring_differs_since: state.rings.differs_since(now).map(Instant::into_std),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Returns whether an error of this kind is something that only the peer can have said. Others may be of
/// our own making.
fn is_answer(kind: PeerErrorKind) -> bool {
    use PeerErrorKind::{
        Failed, Foreign, LoadFailed, Malformed, NoSuchGroup, NotCached, Overloaded, TooManyLoads,
    };
    matches!(
        kind,
        LoadFailed
            | TooManyLoads
            | Failed
            | NoSuchGroup
            | NotCached
            | Overloaded
            | Foreign
            | Malformed
    )
}

/// Returns a random number. Ejections are rare, so that none is kept to draw from.
fn draw() -> u64 {
    RandomState::new().build_hasher().finish()
}
