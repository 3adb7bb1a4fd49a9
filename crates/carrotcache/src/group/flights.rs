//! Flights that outlive their callers.

use std::sync::Arc;
use std::time::Duration;

use carrotcache_peer::Entry;
use carrotcache_singleflight::{self as singleflight, Follower, Role};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::error::GetError;
use crate::peers::Peers;

/// A table of flights, none of which is run by those who wait for it.
///
/// So nobody who leaves hurts a flight: it ends, and what it fetched is cached, even if all have left.
/// While it runs its key stays in the table, so no second flight for the key can start beside it.
pub(super) struct Flights {
    group: Arc<str>,
    peers: Arc<Peers>,
    table: singleflight::Group<String, Entry, GetError>,
    /// How long a flight takes at most, if the runtime that it lives on runs.
    limit: Duration,
}

/// What a flight brings.
pub(super) type Fetched = Result<Entry, GetError>;

/// The duty to end a flight.
pub(super) type Leader = singleflight::Leader<String, Entry, GetError>;

/// How often a caller starts anew when the runtime of its flight is shut down.
const MAX_ATTEMPTS: usize = 3;
/// How much later than its limit a flight may end before its runtime is taken for one that does not
/// run.
const GRACE: Duration = Duration::from_secs(1);

impl Flights {
    pub(super) fn new(group: Arc<str>, peers: Arc<Peers>, limit: Duration) -> Self {
        Self { group, peers, table: singleflight::Group::new(), limit }
    }

    /// Waits for the flight of `key`. If there is none, `start` is given the leader of a new one, and
    /// the runtime on which whatever ends it is to live.
    ///
    /// A caller whose flight was abandoned, because the runtime that it lived on was shut down, starts
    /// anew on its own.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the flight goes on.
    pub(super) async fn join(
        &self,
        key: &str,
        start: impl Fn(Leader, Arc<str>, &Handle),
    ) -> Fetched {
        for _ in 0..MAX_ATTEMPTS {
            // Asked for first: a leader without a runtime would fail the followers who have one.
            let runtime = self.peers.runtime.handle()?;
            let follower = match self.table.join(key) {
                Role::Follower(follower) => follower,
                Role::Leader(leader) => {
                    let follower = leader.follow();
                    start(leader, Arc::from(key), &runtime);
                    follower
                }
            };
            match self.wait(follower, key, &runtime).await {
                Err(singleflight::Error::Abandoned) if self.peers.runtime.leave(&runtime) => {}
                result => return result.map_err(|error| self.to_get_error(error, key)),
            }
        }
        Err(GetError::Abandoned { key: key.into() })
    }

    /// Waits for the end of a flight.
    ///
    /// On the runtime of the flight there is nothing to guard against: its own limit is as alive as the
    /// caller. On another, the flight's may be one that nobody drives any more. Then its limit never
    /// passes, and the caller has a clock of its own, unless it is on no runtime or on one without.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the flight goes on.
    async fn wait(
        &self,
        follower: Follower<Entry, GetError>,
        key: &str,
        runtime: &Handle,
    ) -> Result<Entry, singleflight::Error<GetError>> {
        if !self.peers.runtime.is_elsewhere_with_timer(runtime) {
            return follower.await.result;
        }
        let patience = self.limit.saturating_add(GRACE);
        if let Ok(outcome) = timeout(patience, follower).await {
            return outcome.result;
        }
        // The next caller starts anew, on this runtime.
        self.table.forget(key);
        self.peers.runtime.leave(runtime);
        let (group, key) = (Arc::clone(&self.group), Arc::from(key));
        let error = GetError::TimedOut { group, key, after: patience };
        Err(singleflight::Error::Failed(error))
    }

    /// What a flight's end means to those who wait for it.
    fn to_get_error(&self, error: singleflight::Error<GetError>, key: &str) -> GetError {
        let (group, key) = (Arc::clone(&self.group), Arc::from(key));
        match error {
            singleflight::Error::Failed(error) => error,
            singleflight::Error::Panicked(message) => {
                GetError::LoadPanicked { group, key, message }
            }
            singleflight::Error::Reentrant => GetError::Reentrant { group, key },
            _ => GetError::Abandoned { key },
        }
    }
}
