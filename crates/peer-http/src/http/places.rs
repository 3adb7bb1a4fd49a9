//! Who may be connected: so many at one moment, and who goes when one more comes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The places for connections.
///
/// A connection has its place for as long as it lasts. While nothing is asked over it, it rests.
/// When all places are taken and another connection is there, the one that has rested longest is
/// told to leave. It may still refuse: a request may have come in between.
pub(crate) struct Places {
    state: Mutex<State>,
    /// Tells whoever waits for a place to look again.
    changed: Notify,
}

struct State {
    free: usize,
    /// The connections that rest, by turn, so that the one that has rested longest comes first.
    resting: BTreeMap<u64, Arc<Notify>>,
    /// The turn of the connection that was told to leave, until it has left or refused.
    leaving: Option<u64>,
    /// The turn of the next connection that comes to rest.
    next_turn: u64,
    /// Whether somebody waits for a place.
    is_wanted: bool,
}

/// The place of one connection. It is free again when it is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    /// Its turn among those that rest; `None` while it does not.
    turn: Option<u64>,
    /// Wakes the connection when it is told to leave.
    told: Arc<Notify>,
}

impl Places {
    /// Returns `count` free places.
    pub(crate) fn new(count: usize) -> Arc<Self> {
        let state = State {
            free: count,
            resting: BTreeMap::new(),
            leaving: None,
            next_turn: 0,
            is_wanted: false,
        };
        Arc::new(Self { state: Mutex::new(state), changed: Notify::new() })
    }

    /// Returns a place, at rest, once one is free or a connection that rests has left. One caller
    /// at a time may wait.
    ///
    /// # Cancel safety
    ///
    /// Dropping it takes no place. A connection that was told to leave does so all the same.
    pub(crate) async fn take(self: &Arc<Self>) -> Place {
        while !self.try_take() {
            self.changed.notified().await;
        }
        let mut place = Place { places: Arc::clone(self), turn: None, told: Arc::default() };
        place.rest();
        place
    }

    /// Takes a free place; if there is none, makes sure that one connection is about to leave.
    fn try_take(&self) -> bool {
        let mut state = self.lock();
        state.is_wanted = state.free == 0;
        if !state.is_wanted {
            state.free -= 1;
            return true;
        }
        // One at a time: for one that comes, one goes.
        if state.leaving.is_none()
            && let Some((turn, told)) = state.resting.pop_first()
        {
            state.leaving = Some(turn);
            told.notify_one();
        }
        false
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Notes that nothing is asked over the connection from now on.
    pub(crate) fn rest(&mut self) {
        if self.turn.is_some() {
            return;
        }
        let mut state = self.places.lock();
        let turn = state.next_turn;
        state.next_turn += 1;
        state.resting.insert(turn, Arc::clone(&self.told));
        self.turn = Some(turn);
        if state.is_wanted {
            self.places.changed.notify_one();
        }
    }

    /// Notes that something is asked over the connection. It need not leave, even if it was told.
    pub(crate) fn rise(&mut self) {
        let Some(turn) = self.turn.take() else { return };
        let was_leaving = self.places.lock().forget(turn);
        // Then another has to.
        if was_leaving {
            self.places.changed.notify_one();
        }
    }

    /// Returns whether the connection is to leave now.
    pub(crate) fn is_leaving(&self) -> bool {
        self.turn.is_some() && self.places.lock().leaving == self.turn
    }

    /// Returns what wakes the connection when it is told to leave.
    pub(crate) fn told(&self) -> Arc<Notify> {
        Arc::clone(&self.told)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        if let Some(turn) = self.turn {
            state.forget(turn);
        }
        state.free += 1;
        drop(state);
        self.places.changed.notify_one();
    }
}

impl State {
    /// Removes the connection of this turn from those that rest, and returns whether it was the
    /// one that was told to leave.
    fn forget(&mut self, turn: u64) -> bool {
        self.resting.remove(&turn);
        self.leaving.take_if(|leaving| *leaving == turn).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn place_goes_from_the_one_that_has_rested_longest_to_the_one_that_comes() {
        let places = Places::new(2);
        let (first, second) = (places.take().await, places.take().await);
        until_told(&places, &first).await;
        assert!(first.is_leaving() && !second.is_leaving());
        drop(first);
        places.take().await;
        assert!(!second.is_leaving());
    }

    #[tokio::test]
    async fn another_has_to_leave_when_the_first_is_asked_something() {
        let places = Places::new(2);
        let (mut first, second) = (places.take().await, places.take().await);
        until_told(&places, &first).await;
        first.rise();
        until_told(&places, &second).await;
        assert!(second.is_leaving() && !first.is_leaving());
        // And it is not told again when it rests again.
        first.rest();
        assert!(!first.is_leaving());
    }

    #[tokio::test]
    async fn whoever_comes_to_rest_while_somebody_waits_has_to_leave() {
        let places = Places::new(1);
        let mut only = places.take().await;
        only.rise();
        let told = only.told();
        let waits = tokio::spawn(async move { places.take().await });
        tokio::task::yield_now().await;
        only.rest();
        soon(told.notified()).await;
        assert!(only.is_leaving());
        drop(only);
        soon(waits).await.expect("a place");
    }

    #[tokio::test]
    async fn whoever_waits_hears_that_the_first_does_not_leave() {
        let places = Places::new(2);
        let (mut first, second) = (places.take().await, places.take().await);
        let (first_told, second_told) = (first.told(), second.told());
        let waits = tokio::spawn(async move { places.take().await });
        soon(first_told.notified()).await;
        first.rise();
        soon(second_told.notified()).await;
        drop(second);
        soon(waits).await.expect("a place");
    }

    /// Waits for a place until `expected` is told to leave for it, and waits no longer.
    async fn until_told(places: &Arc<Places>, expected: &Place) {
        let told = expected.told();
        tokio::select! {
            () = soon(told.notified()) => {}
            _ = places.take() => unreachable!("all places are taken"),
        }
    }

    /// Fails if the future does not end.
    async fn soon<T>(future: impl Future<Output = T>) -> T {
        timeout(Duration::from_secs(10), future).await.expect("in time")
    }
}
