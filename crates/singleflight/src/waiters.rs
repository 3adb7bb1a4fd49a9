use std::task::Waker;

/// The wakers of the followers that wait, each in a place of its own, so that a follower leaves
/// in constant time however many there are.
pub(crate) struct Waiters {
    slots: Vec<Option<Waker>>,
    /// Places whose follower has left.
    free: Vec<usize>,
}

/// So many may wait before one of them has to allocate: whoever opens the flight pays for them.
const ROOM: usize = 8;

impl Waiters {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::with_capacity(ROOM), free: Vec::new() }
    }

    /// Keeps `waker` at `place`, which is chosen here if there is none yet, and returns the one
    /// that it replaces.
    pub(crate) fn put(&mut self, place: &mut Option<usize>, waker: Waker) -> Option<Waker> {
        let at = place.or_else(|| self.free.pop()).unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        *place = Some(at);
        self.slots[at].replace(waker)
    }

    /// Frees a place. After the flight has ended there are no places.
    pub(crate) fn remove(&mut self, place: usize) -> Option<Waker> {
        let waker = self.slots.get_mut(place)?.take();
        self.free.push(place);
        waker
    }

    pub(crate) fn clear(&mut self) {
        self.slots.clear();
        self.free.clear();
    }

    /// Takes all wakers; the places stay with their followers.
    pub(crate) fn take_wakers(&mut self) -> Vec<Waker> {
        self.slots.iter_mut().filter_map(Option::take).collect()
    }

    /// Takes all wakers of a flight that has ended, and leaves no places.
    pub(crate) fn end(&mut self) -> impl Iterator<Item = Waker> + use<> {
        std::mem::take(&mut self.slots).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again() {
        let mut waiters = Waiters::new();
        let mut stays = None;
        assert!(waiters.put(&mut stays, Waker::noop().clone()).is_none());
        for _ in 0..1_000 {
            let mut place = None;
            assert!(waiters.put(&mut place, Waker::noop().clone()).is_none());
            assert!(waiters.put(&mut place, Waker::noop().clone()).is_some(), "not replaced");
            assert!(waiters.remove(place.expect("a place was chosen")).is_some());
        }
        assert_eq!(waiters.slots.len(), 2);
        assert_eq!(waiters.end().count(), 1);
    }

    #[test]
    fn a_place_stays_when_its_waker_was_taken() {
        let mut waiters = Waiters::new();
        let (mut first, mut second) = (None, None);
        waiters.put(&mut first, Waker::noop().clone());
        assert_eq!(waiters.take_wakers().len(), 1);
        waiters.put(&mut second, Waker::noop().clone());
        assert_ne!(first, second);
        assert!(waiters.put(&mut first, Waker::noop().clone()).is_none());
        assert_eq!(waiters.take_wakers().len(), 2);
    }
}
