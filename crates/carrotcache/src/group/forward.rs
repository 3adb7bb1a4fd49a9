//! The FORWARD flight: the owner is asked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use carrotcache_peer::{Answer, Completion, Entry, Peer, PeerError, PeerErrorKind, Request};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::Group;
use super::flights::{Fetched, Leader, Where};
use crate::cache::Place;
use crate::error::GetError;
use crate::home::Home;

/// Longer than anyone waits for anything, and short enough to be added to the present.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Group {
    /// Waits for the FORWARD flight of `key`, and starts it if there is none.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the flight goes on, and its value is mirrored if it is to be.
    pub(super) async fn forward(&self, key: &str, owner: &Arc<dyn Peer>) -> Fetched {
        let start = |leader: Leader, key: Arc<str>, at: Where<'_>| {
            if let Some(entry) = self.look_again(&key) {
                return leader.finish(Ok(entry));
            }
            let forward = Forward {
                group: self.clone(),
                key,
                owner: Arc::clone(owner),
                leader,
                home: Arc::clone(at.home),
                span: Span::current(),
            };
            let _entered = (!at.is_here).then(|| at.home.handle().enter());
            forward.ask(&**owner);
        };
        self.shared.forwards.join(key, start).await
    }

    /// Keeps a copy of the owner's value if the group's policy is in favour.
    fn mirror(&self, key: Arc<str>, entry: Entry) -> Entry {
        if entry.value().is_none() || !self.shared.mirror.admits() {
            return entry;
        }
        self.shared.counters.mirrored.add_one();
        self.shared.cache.store(Place::Hot, key, entry)
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
    home: Arc<Home>,
    span: Span,
}

impl Forward {
    /// Asks the owner, and returns without waiting. Called within the home.
    fn ask(self, owner: &dyn Peer) {
        let request = self.request();
        let completion = Completion::new(move |answer| self.end(answer));
        // A transport that panics drops the completion, which tells an error. The panic itself is of
        // no use to whoever wants the value.
        quietly(|| owner.ask(request, completion));
    }

    /// Returns what the owner is asked, with the two limits that the transport keeps to.
    ///
    /// An owner that says that it is loading may take as long as a load may. It gets the peer timeout
    /// on top, so that its verdict, that the load took too long, is here before the flight gives up
    /// and loads a second time.
    fn request(&self) -> Request {
        let shared = &self.group.shared;
        let max_silence = shared.peers.timeout.min(LONGEST);
        let longest_wait = shared.load_timeout.saturating_add(max_silence).min(LONGEST);
        // The deadline is one of the clock that the transport will look at, which is the home's.
        let deadline = Instant::now() + longest_wait;
        let (group, key) = (self.group.shared_name(), Arc::clone(&self.key));
        Request::new(group, key, deadline.into_std()).with_max_silence(max_silence)
    }

    /// Ends the flight with the owner's answer, or starts a load if the owner could not be asked.
    ///
    /// Runs wherever the transport has the answer, a panic's unwinding included, so it neither waits
    /// nor panics. Should what is the user's code in it panic, such as the drop of a value, the
    /// flight is abandoned, and those who wait start anew.
    fn end(self, answer: Result<Answer, PeerError>) {
        let counters = &self.group.shared.counters;
        let was_asked = answer.as_ref().map_or_else(PeerError::is_verdict, |_| true);
        let counter = if was_asked { &counters.peer_loads } else { &counters.peer_errors };
        counter.add_one();
        quietly(|| match answer {
            Ok(answer) => self.end_with(answer),
            Err(error) => {
                let error = error.at(self.label());
                if was_asked { self.end_with_verdict(error) } else { self.end_unanswered(error) }
            }
        });
    }

    fn end_with(self, answer: Answer) {
        self.note_answer();
        let entry = self.group.mirror(self.key, answer.entry);
        self.leader.finish(Ok(entry));
    }

    fn end_with_verdict(self, verdict: PeerError) {
        self.note_answer();
        let (group, key, source) = (self.group.shared_name(), self.key, Arc::new(verdict));
        self.leader.finish(Err(GetError::LoadFailed { group, key, source }));
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

    /// Ends the flight with what the loader brings, in a task: whoever had the answer goes on.
    fn load_here(self) {
        let Self { group, key, leader, home, span, .. } = self;
        let load = async move {
            let loaded = group.load(&key, Place::Hot).await;
            leader.finish(loaded);
        };
        home.handle().spawn(load.instrument(span));
    }
}

/// Runs what may be the user's code, and lets no panic of it pass, not even one of the panic's own
/// payload.
fn quietly(code: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(code))
        && let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload)))
    {
        std::mem::forget(again);
    }
}
