//! Flights in tasks of their own.

use std::future::Future;
use std::sync::Arc;

use carrotcache_byteview::ByteView;
use carrotcache_singleflight as singleflight;
use singleflight::Role;
use tokio::runtime::Handle;

use crate::error::GetError;

type Fetched = Result<ByteView, GetError>;

/// A table of flights, each of which runs in a task of its own.
///
/// Nobody who waits for a flight runs it, so nobody who leaves hurts it: it ends, and what it
/// fetched is cached, even if all have left. While it runs its key stays in the table, so no second
/// flight for the key can start beside it.
pub(crate) struct Flights {
    group: Arc<str>,
    table: singleflight::Group<String, ByteView, GetError>,
}

impl Flights {
    pub(crate) fn new(group: Arc<str>) -> Self {
        Self { group, table: singleflight::Group::new() }
    }

    /// Waits for the flight of `key`, after starting it with `fetch` if there is none.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the flight goes on.
    pub(crate) async fn join_or_start<F, Fut>(&self, key: &str, fetch: F) -> Fetched
    where
        F: FnOnce(Arc<str>) -> Fut,
        Fut: Future<Output = Fetched> + Send + 'static,
    {
        // Asked for first: a leader that could not spawn would fail the followers who can.
        let runtime = Handle::try_current().map_err(|_outside| GetError::NoRuntime)?;
        let follower = match self.table.join(key) {
            Role::Follower(follower) => follower,
            Role::Leader(leader) => {
                let follower = leader.follow();
                runtime.spawn(leader.run(fetch(Arc::from(key))));
                follower
            }
        };
        follower.await.result.map_err(|error| self.to_get_error(error, key))
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
