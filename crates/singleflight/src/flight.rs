use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use crate::error::Error;

/// The work of a flight together with its [`Leader`](crate::Leader), for a caller to poll.
/// Dropping it ends the flight.
pub(crate) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One run of the work, from its start to its result, and those who wait for it.
///
/// The result is set once and then only read, so callers clone it without a lock. A lock guards
/// the rest and is never held while a waker or a driver is called or dropped.
pub(crate) struct Flight<V, E> {
    result: OnceLock<Result<V, Error<E>>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Callers that hold a [`Follower`](crate::Follower).
    followers: usize,
    /// Whether a caller other than the one that opened the flight ever joined.
    shared: bool,
    /// Nobody can join any more: the flight has a result, or nobody is left who could drive it.
    closed: bool,
    /// The work, if the caller that drove it left and no other has taken it over yet.
    orphan: Option<Driver>,
    waiters: Waiters,
}

/// What a follower finds when it looks at its flight.
pub(crate) enum Look {
    /// The flight has ended.
    Ended,
    /// The follower will be woken.
    Waiting,
    /// The follower has to drive the work from here on.
    TakeOver(Driver),
}

impl<V, E> Flight<V, E> {
    pub(crate) fn new() -> Self {
        Self { result: OnceLock::new(), state: Mutex::default() }
    }

    /// Counts one more follower, if the flight is open.
    pub(crate) fn join(&self) -> bool {
        let mut state = self.lock();
        if !state.closed {
            state.followers += 1;
            state.shared = true;
        }
        !state.closed
    }

    /// Counts the caller that opened the flight as a follower too.
    pub(crate) fn follow(&self) {
        self.lock().followers += 1;
    }

    /// Returns whether a caller other than the one that opened the flight ever joined.
    pub(crate) fn is_shared(&self) -> bool {
        self.lock().shared
    }

    /// Returns the result, if the flight has ended.
    pub(crate) fn result(&self) -> Option<&Result<V, Error<E>>> {
        self.result.get()
    }

    /// Moves the result out of a flight that nobody else holds.
    pub(crate) fn into_result(self) -> Option<Result<V, Error<E>>> {
        self.result.into_inner()
    }

    /// Sets the result and wakes everybody who waits for it. The key has left the table before.
    pub(crate) fn end(&self, result: Result<V, Error<E>>) {
        // A flight has one leader, and it ends it once.
        let _ = self.result.set(result);
        let mut state = self.lock();
        state.closed = true;
        let waiters = mem::take(&mut state.waiters);
        drop(state);
        wake(waiters.slots.into_iter().flatten());
    }

    /// Looks what a follower has to do; `waker` is kept for it at `place`.
    pub(crate) fn look(&self, place: &mut Option<usize>, waker: &Waker) -> Look {
        if self.result.get().is_some() {
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
        if self.result.get().is_some() {
            drop(state); // Before `waker`.
            return Look::Ended;
        }
        let replaced = state.waiters.put(place, waker);
        drop(state);
        drop(replaced);
        Look::Waiting
    }

    /// Takes leave of a follower, which hands back the work if it drove it.
    pub(crate) fn leave(&self, place: Option<usize>, driver: Option<Driver>) {
        let mut state = self.lock();
        state.followers -= 1;
        let waker = place.and_then(|place| state.waiters.remove(place));
        let mut last = driver;
        let mut woken = Vec::new();
        if self.result.get().is_none() {
            if last.is_some() {
                state.orphan = last.take();
                woken = state.waiters.take_wakers();
            }
            if state.followers == 0 && state.orphan.is_some() {
                // Closed under the same lock that counts those who join: nobody can come
                // between, find the key still in the table, and wait for work that is gone.
                state.closed = true;
                last = state.orphan.take();
            }
        }
        drop(state);
        drop(waker);
        // All are woken, and the first to look takes over. Were it only one, and that one not
        // polled for a while, the others would wait for it.
        wake(woken);
        drop(last);
    }

    /// Nothing panics while the lock is held.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls each waker. One that panics must not keep the others asleep.
fn wake(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}

/// The wakers of the followers that wait, each in a place of its own, so that a follower leaves
/// in constant time however many there are.
#[derive(Default)]
struct Waiters {
    slots: Vec<Option<Waker>>,
    /// Places whose follower has left.
    free: Vec<usize>,
}

impl Waiters {
    /// Keeps `waker` at `place`, which is chosen here if there is none yet, and returns the one
    /// that it replaces.
    fn put(&mut self, place: &mut Option<usize>, waker: Waker) -> Option<Waker> {
        let at = place.or_else(|| self.free.pop()).unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        *place = Some(at);
        self.slots[at].replace(waker)
    }

    /// Frees a place. After the flight has ended there are none.
    fn remove(&mut self, place: usize) -> Option<Waker> {
        let waker = self.slots.get_mut(place)?.take();
        self.free.push(place);
        waker
    }

    /// Takes all wakers; the places stay with their followers.
    fn take_wakers(&mut self) -> Vec<Waker> {
        self.slots.iter_mut().filter_map(Option::take).collect()
    }
}
