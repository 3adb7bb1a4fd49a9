//! How many loads run at once, and how many wait for their turn.
//!
//! ```text
//!  load ─┬─ a permit is free ──────────────────────────────────────────▶ runs
//!        ├─ part of a load that has one ───────────────────────────────▶ runs
//!        ├─ a place to wait ── in order ──┬─ a permit, and someone still waits ─▶ runs
//!        │                                ├─ a load that has one waits for it ──▶ runs
//!        │                                ├─ everyone has left ─────────────────▶ is dropped
//!        │                                └─ its time is over ──────────────────▶ Overloaded
//!        └─ no place ──────────────────────────────────────────────────▶ Overloaded, at once
//! ```
//!
//! A load that gets another key waits for that key's load. Did each of them need a permit of its own,
//! all permits could be held by loads that wait for one. So a load within a load does without, and a
//! load that one within a load has come to wait for leaves the queue.
//!
//! A bulk load is one load here, whatever number of keys it has: it takes one permit, or one place to
//! wait, and whoever waits for one of its keys waits for all of it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// The bounds of a group's loads.
pub(crate) struct Limits {
    max: usize,
    max_waiting: usize,
    turns: RwLock<Arc<Turns>>,
    /// The keys whose loads wait, or are waited for by loads within loads.
    keys: Mutex<HashMap<Arc<str>, Key>>,
}

/// The turns of loads on one runtime. Those of a node that moves to another begin anew: what was under
/// way on a runtime that nobody drives any more would never give its turn back.
struct Turns {
    /// The number of the runtime.
    home: u64,
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Key {
    /// Wakes the load of this key that waits for its turn, if one does.
    queued: Option<Arc<Notify>>,
    /// How many loads within loads wait for it.
    urgent: usize,
}

/// The right to run one load. It ends when it is dropped.
#[derive(Debug)]
pub(crate) enum Permit {
    /// One of those that there are.
    Own { _permit: OwnedSemaphorePermit },
    /// Part of one that another load has.
    Inherited,
}

/// Why a load does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPermit {
    /// There are too many before it.
    Overloaded,
    /// Nobody waits for it any more.
    Left,
}

impl Limits {
    /// Returns the bounds for loads of which `max` run at once and `max_waiting` wait.
    pub(crate) fn new(max: usize, max_waiting: usize) -> Self {
        let turns = RwLock::new(Turns::new(max, 0));
        Self { max, max_waiting, turns, keys: Mutex::default() }
    }

    /// Returns how many loads wait for their turn.
    pub(crate) fn waiting(&self) -> usize {
        self.turns.read().unwrap_or_else(PoisonError::into_inner).waiting.load(Ordering::Relaxed)
    }

    /// Returns a permit for a load of a node on the runtime of this number, if one is free. Loads that
    /// wait go first.
    pub(crate) fn try_permit(&self, home: u64) -> Option<Permit> {
        self.turns(home).try_permit()
    }

    /// Returns the turns of a node on the runtime of this number, or of one that it has moved to since.
    fn turns(&self, home: u64) -> Arc<Turns> {
        let turns = self.turns.read().unwrap_or_else(PoisonError::into_inner);
        if home <= turns.home {
            return Arc::clone(&turns);
        }
        drop(turns);
        let mut turns = self.turns.write().unwrap_or_else(PoisonError::into_inner);
        if home > turns.home {
            *turns = Turns::new(self.max, home);
        }
        Arc::clone(&turns)
    }

    /// Waits for a permit to load `keys`, all at once, on the runtime of this number, until `deadline` and for as long as somebody
    /// `is_awaiting` any of them.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: its place in the queue is free then.
    pub(crate) async fn permit(
        &self,
        home: u64,
        keys: &[Arc<str>],
        deadline: Instant,
        is_awaiting: impl Fn() -> bool,
    ) -> Result<Permit, NoPermit> {
        let turns = self.turns(home);
        if let Some(permit) = turns.try_permit() {
            return Ok(permit);
        }
        let queued = Queued::enter(self, &turns, keys).ok_or(NoPermit::Overloaded)?;
        let turn = async {
            tokio::select! {
                // First, for it needs no permit.
                biased;
                () = queued.urged() => Ok(Permit::Inherited),
                // The semaphore is never closed.
                permit = Arc::clone(&turns.permits).acquire_owned() => match permit {
                    Ok(permit) => Ok(Permit::Own { _permit: permit }),
                    Err(_closed) => Err(NoPermit::Overloaded),
                },
            }
        };
        let permit = timeout_at(deadline, turn).await.unwrap_or(Err(NoPermit::Overloaded))?;
        if is_awaiting() { Ok(permit) } else { Err(NoPermit::Left) }
    }

    /// Waits for `flights`, which are the loads of `keys`, on behalf of a load that has a permit: so
    /// those must not wait for their turn.
    ///
    /// # Cancel safety
    ///
    /// As that of `flights`.
    pub(crate) async fn urge<F, K>(&self, keys: &[K], flights: F) -> F::Output
    where
        F: Future,
        K: AsRef<str>,
    {
        let _urgent: Vec<_> = keys.iter().map(|key| self.urgent(key.as_ref())).collect();
        flights.await
    }

    /// Notes that a load that has a permit waits for `key`, until what is returned is dropped.
    pub(crate) fn urgent<'a>(&'a self, key: &'a str) -> Urgent<'a> {
        Urgent::new(self, key)
    }

    /// Returns whether a load that has a permit waits for `key`.
    pub(crate) fn is_urgent(&self, key: &str) -> bool {
        self.lock().get(key).is_some_and(|noted| noted.urgent > 0)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Key>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is noted of a key, and drops the note if there is nothing left in it.
    fn change(&self, key: &str, change: impl FnOnce(&mut Key)) {
        let mut keys = self.lock();
        let Some(noted) = keys.get_mut(key) else { return };
        change(noted);
        if noted.queued.is_none() && noted.urgent == 0 {
            keys.remove(key);
        }
    }
}

impl Turns {
    fn new(max: usize, home: u64) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { home, permits, waiting: AtomicUsize::new(0) })
    }

    fn try_permit(&self) -> Option<Permit> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(Permit::Own { _permit: permit })
    }
}

/// A load that waits for its turn.
struct Queued<'a> {
    limits: &'a Limits,
    turns: &'a Turns,
    keys: &'a [Arc<str>],
    urged: Arc<Notify>,
}

impl<'a> Queued<'a> {
    /// Takes a place in the queue; `None` if there is none.
    fn enter(limits: &'a Limits, turns: &'a Turns, keys: &'a [Arc<str>]) -> Option<Self> {
        let one_more = |waiting| (waiting < limits.max_waiting).then_some(waiting + 1);
        turns.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        let urged = Arc::new(Notify::new());
        let mut noted = limits.lock();
        for key in keys {
            let noted = noted.entry(Arc::clone(key)).or_default();
            if noted.urgent > 0 {
                urged.notify_one();
            }
            // Two loads of a key wait only if a purge has come between: it is the later one that is
            // joined.
            noted.queued = Some(Arc::clone(&urged));
        }
        drop(noted);
        Some(Self { limits, turns, keys, urged })
    }

    /// Ends once a load that has a permit waits for this one.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    async fn urged(&self) {
        self.urged.notified().await;
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        for key in self.keys {
            self.limits.change(key, |noted| {
                noted.queued.take_if(|queued| Arc::ptr_eq(queued, &self.urged));
            });
        }
        self.turns.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A load within a load that waits for a key.
pub(crate) struct Urgent<'a> {
    limits: &'a Limits,
    key: &'a str,
    /// Whether no other was there before it.
    pub(crate) is_first: bool,
}

impl<'a> Urgent<'a> {
    fn new(limits: &'a Limits, key: &'a str) -> Self {
        let mut keys = limits.lock();
        if !keys.contains_key(key) {
            keys.insert(Arc::from(key), Key::default());
        }
        let mut is_first = true;
        if let Some(noted) = keys.get_mut(key) {
            is_first = noted.urgent == 0;
            noted.urgent += 1;
            if let Some(queued) = &noted.queued {
                queued.notify_one();
            }
        }
        drop(keys);
        Self { limits, key, is_first }
    }
}

impl Drop for Urgent<'_> {
    fn drop(&mut self) {
        self.limits.change(self.key, |noted| noted.urgent -= 1);
    }
}
