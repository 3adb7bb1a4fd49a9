//! The LOAD flight: the loader runs here.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use carrotcache_peer::{BoxError, Entry};
use tokio::time::timeout;

use super::Group;
use super::flights::{Fetched, Leader, Where};
use crate::cache::Place;
use crate::error::GetError;
use crate::runtime;
use crate::value::Value;

impl Group {
    /// Waits for the LOAD flight of `key`, and starts it if there is none.
    ///
    /// Who starts the flight decides where the value is kept: a load because the owner could not be
    /// asked keeps it in hot only, so that it gives way when the owner is back.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the flight goes on.
    pub(super) async fn load(&self, key: &str, place: Place) -> Fetched {
        let start = |leader: Leader, key, at: Where<'_>| {
            let flight = Box::pin(leader.run(self.clone().run_load(key, place)));
            runtime::start(at.home, at.is_here, flight);
        };
        self.shared.loads.join(key, start).await
    }

    /// Runs the loader and keeps what it brings.
    ///
    /// # Cancel safety
    ///
    /// Dropped only when its runtime shuts down; the loader call then counts as failed.
    async fn run_load(self, key: Arc<str>, place: Place) -> Fetched {
        // Looked up again: a flight may have ended between its caller's miss and this one's start.
        if let Some(entry) = self.look_again(&key) {
            return Ok(entry);
        }
        let counters = &self.shared.counters;
        match self.call_loader(&key).await? {
            Ok(Some(value)) => {
                counters.local_loads.add_one();
                Ok(self.shared.cache.store(place, key, value.into_entry()))
            }
            Ok(None) => {
                counters.local_loads.add_one();
                counters.not_found.add_one();
                Ok(Entry::absent())
            }
            Err(error) => {
                counters.local_load_errs.add_one();
                tracing::debug!(group = self.name(), key = &*key, error, "loader failed");
                let (group, source) = (self.shared_name(), Arc::from(error));
                Err(GetError::LoadFailed { group, key, source })
            }
        }
    }

    /// Calls the loader, within the group's time for a load. The call counts as failed if it is
    /// dropped before it returns, which is what a panic and the time limit do to it.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the loader's future.
    async fn call_loader(
        &self,
        key: &Arc<str>,
    ) -> Result<Result<Option<Value>, BoxError>, GetError> {
        let unfinished = Unfinished { group: self, key };
        let after = self.shared.load_timeout;
        let mut load = pin!(self.shared.loader.load(key.to_string()));
        // A load that is ready at once pays for no timer. One that is not goes on in a task, whose
        // first poll sets the timer.
        let mut is_first = true;
        let first = poll_fn(|cx| {
            if !std::mem::take(&mut is_first) {
                return Poll::Ready(None);
            }
            cx.waker().wake_by_ref();
            load.as_mut().poll(cx).map(Some)
        });
        let loaded = match first.await {
            Some(loaded) => Ok(loaded),
            None => timeout(after, load).await,
        };
        let group = self.shared_name();
        let timed_out = |_elapsed| GetError::TimedOut { group, key: Arc::clone(key), after };
        let loaded = loaded.map_err(timed_out)?;
        std::mem::forget(unfinished);
        Ok(loaded)
    }
}

/// A call of the loader that has not returned yet.
struct Unfinished<'a> {
    group: &'a Group,
    key: &'a str,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.group.shared.counters.local_load_errs.add_one();
        let (group, key) = (self.group.name(), self.key);
        tracing::debug!(group, key, "loader did not return: a panic, its time limit, or the end");
    }
}
