//! The FORWARD flight: the owner is asked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use carrotcache_peer::{Answer, Completion, Entry, Peer, PeerError, PeerErrorKind, Request};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::flights::{Fetched, Leader};
use super::{Group, Shared};
use crate::cache::Place;
use crate::error::GetError;

/// Longer than anyone waits, and short enough to be added to the present.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Group {
    /// Waits for the FORWARD flight of `key`, and starts it if there is none.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the flight goes on, and its value is mirrored if it is to be.
    pub(super) async fn forward(&self, key: &str, owner: &Arc<dyn Peer>) -> Fetched {
        let start = |leader: Leader, key: Arc<str>, runtime: &Handle| {
            if let Some(entry) = self.look_again(&key) {
                return leader.finish(Ok(entry));
            }
            let forward = Forward {
                group: self.clone(),
                key,
                owner: Arc::clone(owner),
                leader,
                runtime: runtime.clone(),
                span: Span::current(),
            };
            forward.ask();
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
    runtime: Handle,
    span: Span,
}

impl Forward {
    /// Asks the owner, and returns without waiting.
    fn ask(self) {
        let peers = &self.group.shared.peers;
        let deadline = Instant::now() + peers.timeout.min(LONGEST);
        let request =
            Request::new(self.group.shared_name(), Arc::clone(&self.key), deadline.into_std());
        let (owner, runtime) = (Arc::clone(&self.owner), self.runtime.clone());
        let completion = Completion::new(move |answer| self.end(answer));
        let _entered = runtime.enter();
        // A transport that panics drops the completion, which tells an error. The panic itself is of no
        // use to whoever wants the value.
        let _ = catch_unwind(AssertUnwindSafe(|| owner.ask(request, completion)));
    }

    /// Ends the flight with the owner's answer, or starts a load if the owner could not be asked.
    ///
    /// Runs wherever the transport has the answer, so it must not wait.
    fn end(self, answer: Result<Answer, PeerError>) {
        let Shared { counters, peers, .. } = &*self.group.shared;
        let label = self.owner.label();
        let error = match answer {
            Ok(answer) => {
                counters.peer_loads.add_one();
                peers.outages.answered(label);
                let entry = self.group.mirror(self.key, answer.entry);
                return self.leader.finish(Ok(entry));
            }
            Err(error) => error.at(label),
        };
        if error.is_verdict() {
            counters.peer_loads.add_one();
            peers.outages.answered(label);
            let (group, key) = (self.group.shared_name(), self.key);
            let source = Arc::new(error);
            return self.leader.finish(Err(GetError::LoadFailed { group, key, source }));
        }
        counters.peer_errors.add_one();
        if error.kind == PeerErrorKind::Runtime {
            return self.leader.finish(Err(GetError::CannotAskPeers { source: error }));
        }
        peers.outages.failed(label, &error, &*peers.picker);
        self.load_here();
    }

    /// Ends the flight with what the loader brings, in a task: whoever had the answer goes on.
    fn load_here(self) {
        let Self { group, key, leader, runtime, span, .. } = self;
        let load = async move {
            let loaded = group.load(&key, Place::Hot).await;
            leader.finish(loaded);
        };
        runtime.spawn(load.instrument(span));
    }
}
