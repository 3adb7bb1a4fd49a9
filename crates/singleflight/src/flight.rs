use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use crate::error::Error;
use crate::outcome::Outcome;
use crate::waiters::Waiters;

/// One run of the work, from its start to its outcome, and those who wait for it.
///
/// The outcome is set once and then only read, so callers clone it without a lock. A lock guards
/// the rest and is never held while a waker or a driver is called or dropped.
///
/// `D` is the work in the form in which one caller hands it on to the next. What that is, and how it
/// is polled, is for the callers to know.
pub(crate) struct Flight<V, E, D> {
    outcome: OnceLock<Outcome<V, E>>,
    /// Whether the key was forgotten. A flight that is in the table is not void: the mark and the
    /// removal are made together, under the lock of the table.
    void: AtomicBool,
    state: Mutex<State<D>>,
}

struct State<D> {
    /// Callers that may still ask for the outcome. The one that opened the flight counts from the
    /// start, as a flight without callers that can drive it is dropped.
    callers: usize,
    /// Whether a caller other than the one that opened the flight ever joined.
    shared: bool,
    /// Nobody was left who could drive the work, and nobody can join any more.
    abandoned: bool,
    /// The work, if the caller that drove it left and no other has taken it over yet.
    orphan: Option<D>,
    waiters: Waiters,
}

/// What a follower finds when it looks at its flight.
pub(crate) enum Look<D> {
    /// The flight has ended.
    Ended,
    /// The follower will be woken.
    Waiting,
    /// The follower has to drive the work from here on.
    TakeOver(D),
}

impl<V, E, D> Flight<V, E, D> {
    /// Returns an open flight with one caller.
    pub(crate) fn new() -> Self {
        let state = State {
            callers: 1,
            shared: false,
            abandoned: false,
            orphan: None,
            waiters: Waiters::new(),
        };
        Self { outcome: OnceLock::new(), void: AtomicBool::new(false), state: Mutex::new(state) }
    }

    /// Counts one more caller, unless the flight is abandoned. Nobody can ask to join a flight that
    /// has ended, because its key has left the table.
    pub(crate) fn join(&self) -> bool {
        let mut state = self.lock();
        if !state.abandoned {
            state.callers += 1;
            state.shared = true;
        }
        !state.abandoned
    }

    /// Counts one more follower, which the caller that opened the flight has made.
    pub(crate) fn follow(&self) {
        self.lock().callers += 1;
    }

    /// Returns whether a caller other than the one that opened the flight ever joined.
    pub(crate) fn is_shared(&self) -> bool {
        self.lock().shared
    }

    /// Returns whether a caller waits for the end, beside a leader that opened the flight.
    pub(crate) fn is_awaited(&self) -> bool {
        let state = self.lock();
        state.callers > 1 && self.outcome.get().is_none()
    }

    /// Notes that what comes of the flight must not be kept.
    pub(crate) fn make_void(&self) {
        // Release: whoever sees the mark sees what was done before it, as the update of a row.
        self.void.store(true, Ordering::Release);
    }

    /// Returns whether what comes of the flight must not be kept.
    pub(crate) fn is_void(&self) -> bool {
        self.void.load(Ordering::Acquire)
    }

    /// Ends the flight and wakes everybody who waits for it. The key has left the table before.
    pub(crate) fn end(&self, result: Result<V, Error<E>>) {
        let mut state = self.lock();
        let wakers = state.waiters.end();
        let outcome = Outcome { result, shared: state.shared };
        // A flight is ended once: nothing is replaced, and so dropped, under the lock.
        let _ = self.outcome.set(outcome);
        drop(state);
        wake(wakers);
    }

    /// Makes this a new flight, and returns whether it was shared.
    pub(crate) fn renew(&mut self) -> bool {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        *self.void.get_mut() = false;
        state.callers = 1;
        state.waiters.clear();
        mem::take(&mut state.shared)
    }

    /// Returns the outcome of a flight that has ended, to one of its callers. The last one gets it
    /// without a clone.
    pub(crate) fn into_outcome(self: Arc<Self>) -> Outcome<V, E>
    where
        V: Clone,
        E: Clone,
    {
        let outcome = match Arc::try_unwrap(self) {
            Ok(last) => last.outcome.into_inner(),
            Err(flight) => flight.outcome.get().cloned(),
        };
        outcome.expect("a flight that has ended has an outcome")
    }

    /// Finds out what a follower has to do; `waker` is kept for it at `place`.
    pub(crate) fn look(&self, place: &mut Option<usize>, waker: &Waker) -> Look<D> {
        if self.outcome.get().is_some() {
            return Look::Ended;
        }
        // Cloned before the lock is taken, as the old one is dropped after: both are foreign code.
        let waker = waker.clone();
        let mut state = self.lock();
        if let Some(driver) = state.orphan.take() {
            drop(state); // Before `waker`.
            return Look::TakeOver(driver);
        }
        // Looked up again: the flight may have ended before we had the lock, and would not wake us.
        if self.outcome.get().is_some() {
            drop(state); // Before `waker`.
            return Look::Ended;
        }
        let replaced = state.waiters.put(place, waker);
        drop(state);
        drop(replaced);
        Look::Waiting
    }

    /// Counts out a follower that leaves. If it drove the work, it hands that back as `driver`.
    ///
    /// Returns the work if nobody is left to drive it: the flight is abandoned then, and its key
    /// has to leave the table.
    #[must_use]
    pub(crate) fn leave(&self, place: Option<usize>, driver: Option<D>) -> Option<D> {
        let mut state = self.lock();
        state.callers -= 1;
        let waker = place.and_then(|place| state.waiters.remove(place));
        let mut woken = Vec::new();
        if driver.is_some() {
            // All are woken, and the first to look takes over. Were it only one, and that one not
            // polled for a while, the others would wait for it.
            state.orphan = driver;
            woken = state.waiters.take_wakers();
        }
        let mut last = None;
        if state.callers == 0 {
            // Under the same lock that counts those who join: nobody can come between, find the
            // key still in the table, and wait for work that is gone.
            last = state.orphan.take();
            state.abandoned = last.is_some();
        }
        drop(state);
        drop(waker);
        wake(woken);
        last
    }

    /// Nothing panics while the lock is held.
    fn lock(&self) -> MutexGuard<'_, State<D>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls each waker. One that panics must not keep the others asleep.
fn wake(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flight_that_is_made_new_has_nothing_of_the_old_one() {
        let mut flight: Flight<u32, (), ()> = Flight::new();
        flight.follow();
        assert!(flight.join() && flight.is_shared() && flight.is_awaited());
        flight.make_void();
        assert!(flight.renew(), "it was shared");
        assert!(!flight.is_shared() && !flight.is_awaited() && !flight.is_void());
    }
}
