//! The LOAD flight: the loader runs here.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use carrotcache_peer::BoxError;
use tokio::time::{Instant, timeout_at};

use super::flights::{Fetched, Leader, Ticket, Where};
use super::limits::{NoPermit, Permit};
use super::nesting::Nesting;
use super::refresh::Refresh;
use super::{Group, LONGEST, Shared};
use crate::cache::Place;
use crate::error::GetError;
use crate::held::Held;
use crate::runtime;
use crate::value::Value;

/// On whose behalf a load runs, and what becomes of its value.
#[derive(Clone)]
pub(super) struct Load {
    /// Where the value is kept. A load because the owner could not be asked keeps it in hot only, so
    /// that it gives way when the owner is back.
    pub(super) place: Place,
    /// The load that waits for this one, if that is known.
    pub(super) within: Nesting,
    /// Whether a load of this group, here or at a peer, waits for it. It must not wait for its turn
    /// then.
    pub(super) is_nested: bool,
    /// Only an entry that expires after that moment spares the load: whoever it runs for has one that
    /// does not.
    pub(super) newer_than: Option<u64>,
}

/// A LOAD flight on its way.
pub(super) struct LoadFlight {
    pub(super) group: Group,
    pub(super) key: Arc<str>,
    pub(super) load: Load,
    /// `None` if it has to wait for its turn.
    pub(super) permit: Option<Permit>,
    /// `None` if somebody waits for the value, and has none.
    pub(super) refresh: Option<Refresh>,
}

impl Group {
    /// Waits for the LOAD flight of `key`, and starts it if there is none, with the `permit` if there is
    /// one already.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the flight goes on, unless it waits for its turn and nobody else
    /// waits for it.
    pub(super) async fn load(&self, key: &str, load: Load, permit: Option<Permit>) -> Fetched {
        let (is_nested, permit) = (load.is_nested, Cell::new(permit));
        let start = move |leader: Leader, key: Arc<str>, at: Where<'_>| {
            let permit = permit.take().or_else(|| is_nested.then_some(Permit::Inherited));
            let (group, load) = (self.clone(), load.clone());
            LoadFlight { group, key, load, permit, refresh: None }.start(leader, at);
        };
        let flight = self.shared.loads.join(key, start);
        if is_nested { self.shared.limits.urge(key, flight).await } else { flight.await }
    }
}

impl LoadFlight {
    /// Starts the flight, which lives on its own from then on.
    pub(super) fn start(self, leader: Leader, at: Where<'_>) {
        let ticket = Ticket::new(&leader, at.home);
        runtime::start(at.home, at.is_here, Box::pin(self.run(leader, ticket)));
    }

    /// Looks once more, waits for its turn, and loads.
    ///
    /// # Cancel safety
    ///
    /// Dropped only when its runtime shuts down; who waits starts anew then.
    async fn run(mut self, leader: Leader, ticket: Ticket) {
        // A flight may have ended between its caller's miss and this one's start.
        if let Some(held) = self.group.look_again(&self.key, self.load.newer_than) {
            self.refresh.take().into_iter().for_each(Refresh::succeeded);
            return leader.finish(Ok(held));
        }
        let shared = &self.group.shared;
        let deadline = Instant::now() + shared.load_timeout.min(LONGEST);
        let permit = match self.permit.take() {
            Some(permit) => Ok(permit),
            None => self.wait_for_permit(deadline, &leader).await,
        };
        match permit {
            Ok(permit) => {
                leader.run(self.load(deadline, ticket)).await;
                drop(permit);
            }
            Err(NoPermit::Overloaded) => {
                let (group, key) = (self.group.shared_name(), Arc::clone(&self.key));
                leader.finish(Err(GetError::Overloaded { group, key }));
            }
            // Whoever has come since then starts anew.
            Err(NoPermit::Left) => {}
        }
    }

    /// Waits for its turn. It counts as refused unless that comes.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    async fn wait_for_permit(&self, until: Instant, leader: &Leader) -> Result<Permit, NoPermit> {
        let Shared { limits, counters, .. } = &*self.group.shared;
        let refused = counters.loads_refused.otherwise();
        let permit = limits.permit(&self.key, until, || leader.is_awaited()).await?;
        refused.call_off();
        Ok(permit)
    }

    /// Runs the loader and keeps what it brings.
    ///
    /// # Cancel safety
    ///
    /// Dropped only when its runtime shuts down; the loader call then counts as failed.
    async fn load(mut self, deadline: Instant, ticket: Ticket) -> Fetched {
        let clock = &self.group.shared.clock;
        let began = clock.now();
        let loaded = self.call_loader(deadline).await?;
        let ended = clock.now();
        let value = loaded.map_err(|error| self.failed(error))?;
        match self.refresh.take() {
            Some(refresh) => refresh.succeeded(),
            None => self.group.shared.refreshes.succeeded(&self.key),
        }
        let cost = Duration::from_millis(ended.saturating_sub(began));
        Ok(self.keep(value, ended, cost, &ticket))
    }

    /// Keeps what the loader has returned at the moment `ended`, if it may be kept.
    fn keep(&self, value: Option<Value>, ended: u64, cost: Duration, ticket: &Ticket) -> Held {
        let Group { shared } = &self.group;
        shared.counters.local_loads.add_one();
        let entry = match value {
            Some(value) => shared.freshness.entry(value, &shared.chance),
            None => {
                shared.counters.not_found.add_one();
                shared.freshness.absent(&shared.chance)
            }
        };
        let held = Held::new(entry, ended).with_cost(cost);
        let may_keep = || self.group.may_keep(&self.key, &shared.loads, ticket);
        shared.cache.store(self.load.place, Arc::clone(&self.key), held, may_keep)
    }

    /// Notes that the loader has failed.
    fn failed(&self, error: BoxError) -> GetError {
        self.group.shared.counters.local_load_errs.add_one();
        tracing::debug!(group = self.group.name(), key = &*self.key, error, "loader failed");
        let (group, key, source) =
            (self.group.shared_name(), Arc::clone(&self.key), Arc::from(error));
        GetError::LoadFailed { group, key, source }
    }

    /// Calls the loader, within the group's time for a load. The call counts as failed if it is
    /// dropped before it returns, which is what a panic and the time limit do to it.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the loader's future.
    async fn call_loader(
        &self,
        deadline: Instant,
    ) -> Result<Result<Option<Value>, BoxError>, GetError> {
        let Self { group, key, load, .. } = self;
        let unfinished = Unfinished { group, key };
        let loader = group.shared.loader.load(key.to_string());
        let mut load = pin!(load.within.clone().run(&group.shared, loader));
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
            None => timeout_at(deadline, load).await,
        };
        let (name, after) = (group.shared_name(), group.shared.load_timeout);
        let timed_out = |_elapsed| GetError::TimedOut { group: name, key: Arc::clone(key), after };
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
