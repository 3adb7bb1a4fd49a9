use std::task::Waker;

/// The wakers of the followers that wait, each in a place of its own, so that a follower leaves
/// in constant time however many there are.
///
/// The first place is here, since most flights have one follower. Whoever takes the second one
/// allocates, for seven more.
pub(crate) struct Waiters {
    first: Option<Waker>,
    /// Whether some follower has, or had, the first place.
    first_taken: bool,
    /// The places from 1 on.
    rest: Vec<Option<Waker>>,
    /// Places whose follower has left.
    free: Vec<usize>,
}

/// How many places are allocated at first.
const ROOM: usize = 7;

impl Waiters {
    pub(crate) const fn new() -> Self {
        Self { first: None, first_taken: false, rest: Vec::new(), free: Vec::new() }
    }

    /// Keeps `waker` at `place`, which is chosen here if there is none yet, and returns the one
    /// that it replaces.
    pub(crate) fn put(&mut self, place: &mut Option<usize>, waker: Waker) -> Option<Waker> {
        let at = place.or_else(|| self.free.pop()).unwrap_or_else(|| self.new_place());
        *place = Some(at);
        match at.checked_sub(1) {
            None => self.first.replace(waker),
            Some(at) => self.rest[at].replace(waker),
        }
    }

    fn new_place(&mut self) -> usize {
        if !std::mem::replace(&mut self.first_taken, true) {
            return 0;
        }
        if self.rest.capacity() == 0 {
            self.rest.reserve(ROOM);
        }
        self.rest.push(None);
        self.rest.len()
    }

    /// Frees a place. After the flight has ended there are no places.
    pub(crate) fn remove(&mut self, place: usize) -> Option<Waker> {
        let waker = match place.checked_sub(1) {
            None if !self.first_taken => return None,
            None => self.first.take(),
            Some(at) => self.rest.get_mut(at)?.take(),
        };
        self.free.push(place);
        waker
    }

    pub(crate) fn clear(&mut self) {
        (self.first, self.first_taken) = (None, false);
        self.rest.clear();
        self.free.clear();
    }

    /// Takes all wakers; the places stay with their followers.
    pub(crate) fn take_wakers(&mut self) -> Vec<Waker> {
        let rest = self.rest.iter_mut().filter_map(Option::take);
        self.first.take().into_iter().chain(rest).collect()
    }

    /// Takes all wakers of a flight that has ended, and leaves no places.
    pub(crate) fn end(&mut self) -> impl Iterator<Item = Waker> + use<> {
        self.first_taken = false;
        let rest = std::mem::take(&mut self.rest).into_iter().flatten();
        self.first.take().into_iter().chain(rest)
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
        assert_eq!(waiters.rest.len(), 1, "beside the first");
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
