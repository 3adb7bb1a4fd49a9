//! The LOAD flight: the loader runs here.

use std::cell::Cell;
use std::error::Error as StdError;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::slice;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use carrotcache_peer::BoxError;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::backoff::Refresh;
use super::flights::{Fetched, Leader, Ticket, Where};
use super::limits::{NoPermit, Permit};
use super::nesting::Loading;
use super::purpose::Load;
use super::{Group, LONGEST, Shared};
use crate::cache::Place;
use crate::error::GetError;
use crate::held::Held;
use crate::runtime;
use crate::value::Value;

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
        if is_nested { self.shared.limits.urge(&[key], flight).await } else { flight.await }
    }

    /// Returns a permit if one is free.
    pub(super) fn try_permit(&self) -> Option<Permit> {
        self.shared.limits.try_permit(self.shared.peers.runtime.number())
    }

    /// Waits for the turn of one load of `keys`. They count as refused unless that comes.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(super) async fn wait_for_permit(
        &self,
        keys: &[Arc<str>],
        until: Instant,
        is_awaiting: impl Fn() -> bool,
    ) -> Result<Permit, NoPermit> {
        let Shared { limits, counters, peers, .. } = &*self.shared;
        let refused = counters.loads_refused.otherwise(keys.len());
        let permit = limits.permit(peers.runtime.number(), keys, until, is_awaiting).await?;
        refused.call_off();
        Ok(permit)
    }

    /// Keeps what a loader has returned for `key`, if it may be kept. It is called once for each key
    /// that a load came to an answer for.
    pub(super) fn keep(
        &self,
        key: &Arc<str>,
        value: Option<Value>,
        done: Done,
        ticket: &Ticket,
    ) -> Held {
        let Self { shared } = self;
        shared.counters.local_loads.add_one();
        let entry = match value {
            Some(value) => shared.freshness.entry(value, &shared.chance),
            None => {
                shared.counters.not_found.add_one();
                shared.freshness.absent(&shared.chance)
            }
        };
        let held = Held::new(entry, done.ended).with_cost(done.cost);
        let may_keep = || self.may_keep(key, &shared.loads, ticket);
        shared.cache.store(done.place, Arc::clone(key), held, may_keep)
    }

    /// Returns the error of a key whose loader has failed.
    pub(super) fn load_failed(
        &self,
        key: &Arc<str>,
        source: Arc<dyn StdError + Send + Sync>,
    ) -> GetError {
        self.shared.counters.local_load_errs.add_one();
        GetError::LoadFailed { group: self.shared_name(), key: Arc::clone(key), source }
    }
}

/// How a load went that has ended well, and what becomes of its values.
#[derive(Clone, Copy)]
pub(super) struct Done {
    pub(super) place: Place,
    /// When it ended.
    pub(super) ended: u64,
    /// How long it took.
    pub(super) cost: Duration,
}

impl Done {
    /// Returns that of a load that ran from one moment to another.
    pub(super) fn new(place: Place, began: u64, ended: u64) -> Self {
        Self { place, ended, cost: Duration::from_millis(ended.saturating_sub(began)) }
    }
}

impl LoadFlight {
    /// Starts the flight, which lives on its own from then on.
    pub(super) fn start(self, leader: Leader, at: Where<'_>) {
        let ticket = Ticket::new(&leader, at.home);
        runtime::start(at.home, at.is_here, Box::pin(self.run(leader, ticket)));
    }

    /// Looks once more, here and at the former owner if there is one, waits for its turn, and loads.
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
        if let Some(held) = self.group.look(&self.key, &self.load, &ticket).await {
            return leader.finish(Ok(held));
        }
        let deadline = Instant::now() + self.group.shared.load_timeout.min(LONGEST);
        let permit = match self.permit.take() {
            Some(permit) => Ok(permit),
            None => {
                let keys = slice::from_ref(&self.key);
                self.group.wait_for_permit(keys, deadline, || leader.is_awaited()).await
            }
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
        let done = Done::new(self.load.place, began, ended);
        Ok(self.group.keep(&self.key, value, done, &ticket))
    }

    /// Notes that the loader has failed.
    fn failed(&self, error: BoxError) -> GetError {
        tracing::debug!(group = self.group.name(), key = &*self.key, error, "loader failed");
        self.group.load_failed(&self.key, Arc::from(error))
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
        let shared = &group.shared;
        let unfinished = Unfinished { group, keys: slice::from_ref(key) };
        let loader = shared.loaders.load(key.to_string(), &shared.counters);
        let loader = load.within.clone().run(shared, Loading::One(Arc::clone(key)), loader);
        let loaded = in_time(deadline, loader).await;
        let (name, after) = (group.shared_name(), shared.load_timeout);
        let timed_out = |_elapsed| GetError::TimedOut { group: name, key: Arc::clone(key), after };
        let loaded = loaded.map_err(timed_out)?;
        unfinished.has_returned();
        Ok(loaded)
    }
}

/// Waits for a load until `deadline`.
///
/// A load that is ready at once pays for no timer. One that is not goes on in a task, whose first poll
/// sets the timer.
///
/// # Cancel safety
///
/// As that of `load`.
pub(super) async fn in_time<F: Future>(deadline: Instant, load: F) -> Result<F::Output, Elapsed> {
    let mut load = pin!(load);
    let mut is_first = true;
    let first = poll_fn(|cx| {
        if !std::mem::take(&mut is_first) {
            return Poll::Ready(None);
        }
        cx.waker().wake_by_ref();
        load.as_mut().poll(cx).map(Some)
    });
    match first.await {
        Some(loaded) => Ok(loaded),
        None => timeout_at(deadline, load).await,
    }
}

/// A call of a loader that has not returned yet. Its keys count as failed if it never does.
pub(super) struct Unfinished<'a> {
    pub(super) group: &'a Group,
    pub(super) keys: &'a [Arc<str>],
}

impl Unfinished<'_> {
    /// Notes that it has.
    pub(super) fn has_returned(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.group.shared.counters.local_load_errs.add(self.keys.len());
        let (group, keys) = (self.group.name(), self.keys.len());
        let key = self.keys.first().map_or("", |key| key);
        tracing::debug!(
            group,
            key,
            keys,
            "loader did not return: a panic, its time limit, or the end"
        );
    }
}
