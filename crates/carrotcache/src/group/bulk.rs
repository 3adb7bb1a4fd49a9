//! Loads of several keys: one call of the bulk loader, or a load each.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use carrotcache_peer::BoxError;
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::flights::{Fetched, Joined, Led, Where};
use super::limits::{NoPermit, Permit};
use super::load::{Done, LoadFlight, Unfinished, in_time};
use super::nesting::{Loading, Places};
use super::purpose::Load;
use super::{Group, LONGEST};
use crate::bulk::{Answers, ErasedBulkLoader};
use crate::error::GetError;
use crate::runtime;
use crate::value::Value;

impl Group {
    /// Waits for the LOAD flights of `keys`, and starts those that there are not: together, if the
    /// group has a bulk loader. Returns what they bring in the order of the keys.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the flights go on, but for those that wait for their turn and that
    /// nobody else waits for.
    pub(super) async fn load_many(&self, keys: &[Arc<str>], load: Load) -> Vec<Fetched> {
        let start = |led: Vec<Led>, at: Where<'_>| self.start_loads(led, &load, at);
        let flights = self.shared.loads.join_many(keys, start);
        if load.is_nested { self.shared.limits.urge(keys, flights).await } else { flights.await }
    }

    /// Joins the LOAD flights of `keys`, for callers that then wait for one each by
    /// [`end_of_load`](Self::end_of_load). Those that there are not are started in tasks.
    ///
    /// # Errors
    ///
    /// If there is no runtime for them.
    pub(super) fn join_loads<'a>(
        &self,
        keys: impl Iterator<Item = &'a Arc<str>>,
        load: &Load,
    ) -> Result<Vec<Joined>, GetError> {
        self.shared.loads.join_apart(keys, |led, at| self.start_loads(led, load, at))
    }

    /// Waits for a LOAD flight of `key` that was joined.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the flight goes on, unless it waits for its turn and nobody else
    /// waits for it.
    pub(super) async fn end_of_load(&self, key: &str, joined: Joined, load: Load) -> Fetched {
        let flight = self.shared.loads.end_of_joined(joined, key);
        let ended = match load.is_nested {
            true => self.shared.limits.urge(&[key], flight).await,
            false => flight.await,
        };
        match ended {
            Some(fetched) => fetched,
            // Its runtime is gone, or everyone had left. What is left to do is rare, and done singly.
            None => self.load(key, load, None).await,
        }
    }

    /// Starts the LOAD flights of all who are `led`.
    fn start_loads(&self, led: Vec<Led>, load: &Load, at: Where<'_>) {
        let (group, load) = (self.clone(), load.clone());
        if let Some(loader) = self.shared.loaders.bulk() {
            let flight = BulkFlight { group, loader: Arc::clone(loader), led, load };
            return runtime::start(at.home, at.is_here, Box::pin(flight.run()));
        }
        for Led { key, leader, .. } in led {
            let permit = load.is_nested.then_some(Permit::Inherited);
            let (group, load) = (group.clone(), load.clone());
            LoadFlight { group, key, load, permit, refresh: None }.start(leader, at);
        }
    }
}

/// LOAD flights that share one call of the bulk loader.
///
/// Each is in the table on its own: gets join the one of their key, and a purge makes that one void.
struct BulkFlight {
    group: Group,
    loader: Arc<dyn ErasedBulkLoader>,
    led: Vec<Led>,
    load: Load,
}

/// What a bulk load has brought for each of its keys, in their order.
type Brought = Vec<Option<Result<Value, BoxError>>>;

impl BulkFlight {
    /// Looks once more, waits for one turn for all keys, and loads.
    ///
    /// # Cancel safety
    ///
    /// Dropped only when its runtime shuts down; who waits starts anew then.
    async fn run(mut self) {
        self.look_again();
        self.look().await;
        if self.led.is_empty() {
            return;
        }
        let keys: Vec<Arc<str>> = self.led.iter().map(|led| Arc::clone(&led.key)).collect();
        let deadline = Instant::now() + self.group.shared.load_timeout.min(LONGEST);
        let is_awaiting = || self.led.iter().any(|led| led.leader.is_awaited());
        let permit = match self.load.is_nested {
            true => Ok(Permit::Inherited),
            false => self.group.wait_for_permit(&keys, deadline, is_awaiting).await,
        };
        match permit {
            Ok(permit) => {
                self.load(&keys, deadline).await;
                drop(permit);
            }
            Err(NoPermit::Overloaded) => {
                for Led { key, leader, .. } in self.led {
                    leader
                        .finish(Err(GetError::Overloaded { group: self.group.shared_name(), key }));
                }
            }
            // Whoever has come since then starts anew.
            Err(NoPermit::Left) => {}
        }
    }

    /// Ends the flights whose keys have come into the cache meanwhile.
    fn look_again(&mut self) {
        let found = |led: Led| match self.group.look_again(&led.key, self.load.newer_than) {
            Some(held) => {
                led.leader.finish(Ok(held));
                None
            }
            None => Some(led),
        };
        self.led = std::mem::take(&mut self.led).into_iter().filter_map(found).collect();
    }

    /// Ends the flights whose former owners have the values. All are looked at at once: a batch has a
    /// thousand keys at most, whose looks fit in what a link takes, and waits no longer than one key does.
    ///
    /// # Cancel safety
    ///
    /// As that of `run`. The keys count as refused then.
    async fn look(&mut self) {
        let group = &self.group;
        let looks: Vec<_> =
            self.led.iter().map(|led| group.begin_look(&led.key, &self.load)).collect();
        if looks.iter().all(Option::is_none) {
            return;
        }
        let looks = looks
            .into_iter()
            .zip(&self.led)
            .map(|(look, led)| async move { group.end_look(&led.key, look?, &led.ticket).await });
        let dropped = group.shared.counters.loads_refused.otherwise(self.led.len());
        let found = join_all(looks).await;
        dropped.call_off();
        let left =
            std::mem::take(&mut self.led).into_iter().zip(found).filter_map(|(led, found)| {
                match found {
                    Some(held) => led.leader.finish(Ok(held)),
                    None => return Some(led),
                }
                None
            });
        self.led = left.collect();
    }

    /// Runs the bulk loader and ends all flights.
    ///
    /// # Cancel safety
    ///
    /// Dropped only when its runtime shuts down; the call then counts as failed, for each key.
    async fn load(self, keys: &[Arc<str>], deadline: Instant) {
        let clock = &self.group.shared.clock;
        let began = clock.now();
        let called = AssertUnwindSafe(self.call_loader(keys, deadline)).catch_unwind().await;
        let done = Done::new(self.load.place, began, clock.now());
        let Self { group, led, .. } = self;
        match called {
            Ok(Ok(brought)) => {
                for (led, loaded) in led.into_iter().zip(brought) {
                    end(&group, led, loaded, done).await;
                }
            }
            Ok(Err(error)) => {
                for Led { key, leader, .. } in led {
                    leader.finish(Err(error.of(&group, &key)));
                }
            }
            Err(panic) => {
                let message = message_of(panic);
                for Led { key, leader, .. } in led {
                    let (group, message) = (group.shared_name(), Arc::clone(&message));
                    leader.finish(Err(GetError::LoadPanicked { group, key, message }));
                }
            }
        }
    }

    /// Calls the bulk loader, within the group's time for a load. The call counts as failed, for each
    /// key, if it is dropped before it returns, which is what a panic and the time limit do to it.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the loader's future.
    async fn call_loader(&self, keys: &[Arc<str>], deadline: Instant) -> Result<Brought, NoAnswer> {
        let Self { group, loader, load, .. } = self;
        let shared = &group.shared;
        let places: Places = keys.iter().cloned().zip(0..).collect();
        let places = Arc::new(places);
        let unfinished = Unfinished { group, keys };
        shared.counters.bulk_loads.add_one();
        let call = loader.load_many(keys.iter().map(|key| key.to_string()).collect());
        let call = load.within.clone().run(shared, Loading::Many(Arc::clone(&places)), call);
        let answered = in_time(deadline, call).await.map_err(|_elapsed| NoAnswer::TimedOut)?;
        // Matched before it counts as returned: what is not wanted is dropped here, which may panic.
        let brought = answered.map(|answers| by_place(answers, &places));
        unfinished.has_returned();
        brought.map_err(|error| {
            tracing::debug!(group = group.name(), keys = keys.len(), error, "bulk loader failed");
            NoAnswer::Failed(Arc::from(error))
        })
    }
}

/// Why a bulk loader has nothing for any of its keys.
enum NoAnswer {
    Failed(Arc<dyn std::error::Error + Send + Sync>),
    TimedOut,
}

impl NoAnswer {
    /// Returns what that means for `key`.
    fn of(&self, group: &Group, key: &Arc<str>) -> GetError {
        match self {
            Self::Failed(source) => group.load_failed(key, Arc::clone(source)),
            Self::TimedOut => GetError::TimedOut {
                group: group.shared_name(),
                key: Arc::clone(key),
                after: group.shared.load_timeout,
            },
        }
    }
}

/// Returns what was answered for each key. What was not asked for is dropped.
fn by_place(answers: Answers, places: &Places) -> Brought {
    let mut brought: Brought = std::iter::repeat_with(|| None).take(places.len()).collect();
    for (key, loaded) in answers {
        if let Some(&place) = places.get(&*key) {
            brought[place] = Some(loaded);
        }
    }
    brought
}

/// Ends one flight with what was brought for its key. Should what is the user's code in it panic, such
/// as the drop of a value, that is an error of this flight.
///
/// # Cancel safety
///
/// It does not wait.
async fn end(group: &Group, led: Led, loaded: Option<Result<Value, BoxError>>, done: Done) {
    let Led { key, leader, ticket } = led;
    let ended = async {
        match loaded.transpose() {
            Ok(value) => {
                group.shared.refreshes.succeeded(&key);
                Ok(group.keep(&key, value, done, &ticket))
            }
            Err(error) => {
                tracing::debug!(group = group.name(), key = &*key, error, "loader failed");
                Err(group.load_failed(&key, Arc::from(error)))
            }
        }
    };
    leader.run(ended).await;
}

/// Returns the text of a panic. Its payload's drop may panic too, and the payload of that.
fn message_of(panic: Box<dyn Any + Send>) -> Arc<str> {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let message = text.unwrap_or("a panic without a message").into();
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(again);
    }
    message
}
