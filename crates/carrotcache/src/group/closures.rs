//! Which keys are closed: being removed, so that nothing is kept of them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carrotcache_peer::Keys;

use crate::clock::Clock;

/// For how long a key stays closed at most, in milliseconds. Whoever removes it has given up long
/// before, or is dead.
const LAPSE: u64 = 5_000;

/// How many keys of a group may be closed at once.
const MAX_CLOSED: usize = 4_096;

/// One attempt of one node to remove keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempt {
    /// The process of the node.
    pub(super) sender: u64,
    /// Its own number for it.
    pub(super) number: u64,
}

/// The closed keys of a group.
pub(super) struct Closures {
    /// How many closures there are: read without the lock by all who keep something.
    count: AtomicUsize,
    inner: Mutex<Inner>,
    clock: Arc<Clock>,
}

struct Inner {
    closures: HashMap<u64, Closure>,
    /// The closures of each key, and those of all keys.
    of_key: HashMap<Arc<str>, Vec<u64>>,
    of_all: Vec<u64>,
    /// How many keys they close, those of each closure counted: a key may be closed many times.
    closed: usize,
    /// The last token that was given out. The first is random: no process gives out another's.
    token: u64,
    /// When the first of them lapses, or before.
    first_lapse: u64,
}

/// Keys that are closed until they are opened, or for a while.
struct Closure {
    attempt: Attempt,
    keys: Keys,
    /// Whether no other purge of these keys has met it.
    is_alone: bool,
    lapses: u64,
}

/// There is no room for more closed keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Closures {
    /// Returns a group's closed keys: none.
    pub(super) fn new(clock: Arc<Clock>) -> Self {
        let inner = Inner {
            closures: HashMap::new(),
            of_key: HashMap::new(),
            of_all: Vec::new(),
            closed: 0,
            token: RandomState::new().hash_one(()),
            first_lapse: u64::MAX,
        };
        Self { count: AtomicUsize::new(0), inner: Mutex::new(inner), clock }
    }

    /// Returns how many closures stand.
    pub(super) fn len(&self) -> usize {
        if self.are_any() {
            self.lapse(&mut self.lock());
        }
        self.count.load(Ordering::Acquire)
    }

    /// Returns whether any closure stands, or did a moment ago. Costs no lock.
    fn are_any(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// Removes what has been closed for too long.
    fn lapse(&self, inner: &mut Inner) {
        inner.lapse(self.clock.now());
        self.count.store(inner.closures.len(), Ordering::Release);
    }

    /// Closes keys, and returns the token with which they are opened. An attempt that has closed them
    /// before gets a new one, and the old one is worth nothing.
    ///
    /// # Errors
    ///
    /// If too many are closed. None is forgotten to make room.
    pub(super) fn close(&self, attempt: Attempt, keys: &Keys) -> Result<u64, Full> {
        let now = self.clock.now();
        let mut inner = self.lock();
        inner.lapse(now);
        let before = inner.closures.iter().find(|(_, closure)| closure.attempt == attempt);
        if let Some(token) = before.map(|(token, _)| *token) {
            inner.remove(token);
        }
        if inner.closed + count(keys) > MAX_CLOSED {
            self.count.store(inner.closures.len(), Ordering::Release);
            return Err(Full);
        }
        let token = inner.add(attempt, keys.clone(), now.saturating_add(LAPSE));
        self.count.store(inner.closures.len(), Ordering::Release);
        Ok(token)
    }

    /// Opens what was closed with this token, and returns whether it was closed until now.
    pub(super) fn open(&self, token: u64) -> bool {
        let mut inner = self.lock();
        let stood = inner.remove(token).is_some();
        self.count.store(inner.closures.len(), Ordering::Release);
        stood
    }

    /// Returns whether the closure of this token stands, and no other purge has met it. Asked under
    /// the lock of a part of the cache.
    pub(super) fn is_alone(&self, token: u64) -> bool {
        self.lock().closures.get(&token).is_some_and(|closure| closure.is_alone)
    }

    /// Returns whether a key is closed. Asked under the lock of the key's part of the cache.
    pub(super) fn is_closed(&self, key: &str) -> bool {
        if !self.are_any() {
            return false;
        }
        let mut inner = self.lock();
        self.lapse(&mut inner);
        !inner.of_all.is_empty() || inner.of_key.contains_key(key)
    }

    /// Notes a purge of these keys: closures of other attempts are no longer alone.
    pub(super) fn met(&self, keys: &Keys, by: Option<Attempt>) {
        if self.are_any() {
            self.lock().met(keys, by);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns for how many keys a closure counts.
fn count(keys: &Keys) -> usize {
    match keys {
        Keys::All => 1,
        Keys::These(keys) => keys.len().max(1),
    }
}

impl Inner {
    fn add(&mut self, attempt: Attempt, keys: Keys, lapses: u64) -> u64 {
        self.token = self.token.wrapping_add(1);
        let token = self.token;
        let is_alone = match &keys {
            Keys::All => self.closures.is_empty(),
            Keys::These(keys) => {
                self.of_all.is_empty() && keys.iter().all(|key| !self.of_key.contains_key(key))
            }
        };
        match &keys {
            Keys::All => self.of_all.push(token),
            Keys::These(keys) => {
                for key in keys {
                    self.of_key.entry(Arc::clone(key)).or_default().push(token);
                }
            }
        }
        self.closed += count(&keys);
        self.first_lapse = self.first_lapse.min(lapses);
        self.closures.insert(token, Closure { attempt, keys, is_alone, lapses });
        token
    }

    fn remove(&mut self, token: u64) -> Option<Closure> {
        let closure = self.closures.remove(&token)?;
        self.closed -= count(&closure.keys);
        match &closure.keys {
            Keys::All => self.of_all.retain(|of_all| *of_all != token),
            Keys::These(keys) => {
                for key in keys {
                    if let Some(closures) = self.of_key.get_mut(key) {
                        closures.retain(|of_key| *of_key != token);
                        if closures.is_empty() {
                            self.of_key.remove(key);
                        }
                    }
                }
            }
        }
        Some(closure)
    }

    /// Removes what has been closed for too long.
    fn lapse(&mut self, now: u64) {
        if now < self.first_lapse {
            return;
        }
        let over = self.closures.iter().filter(|(_, closure)| now >= closure.lapses);
        for token in over.map(|(token, _)| *token).collect::<Vec<_>>() {
            self.remove(token);
        }
        let lapses = self.closures.values().map(|closure| closure.lapses);
        self.first_lapse = lapses.min().unwrap_or(u64::MAX);
    }

    fn met(&mut self, keys: &Keys, by: Option<Attempt>) {
        let Self { closures, of_key, of_all, .. } = self;
        let mut is_met = |token: &u64| {
            if let Some(closure) = closures.get_mut(token)
                && Some(closure.attempt) != by
            {
                closure.is_alone = false;
            }
        };
        match keys {
            Keys::All => {
                let tokens: Vec<_> = of_key.values().flatten().chain(&*of_all).copied().collect();
                tokens.iter().for_each(is_met);
            }
            Keys::These(keys) => {
                of_all.iter().for_each(&mut is_met);
                keys.iter().filter_map(|key| of_key.get(key)).flatten().for_each(is_met);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    use super::*;

    /// Closed keys, and the hand of their clock.
    fn closures() -> (Closures, Arc<AtomicU64>) {
        let hand = Arc::new(AtomicU64::new(0));
        let reads = Arc::clone(&hand);
        let clock = Clock::given(move || Duration::from_millis(reads.load(Ordering::Relaxed)));
        (Closures::new(Arc::new(clock)), hand)
    }

    fn these(keys: impl IntoIterator<Item = &'static str>) -> Keys {
        Keys::These(keys.into_iter().map(Arc::from).collect())
    }

    fn attempt(number: u64) -> Attempt {
        Attempt { sender: 1, number }
    }

    /// Closes keys for which there is room.
    fn close(closures: &Closures, number: u64, keys: &Keys) -> u64 {
        closures.close(attempt(number), keys).expect("there is room")
    }

    #[test]
    fn a_key_is_closed_until_the_last_of_its_closures_is_opened() {
        let (closures, _) = closures();
        let one = close(&closures, 1, &these(["Tom", "Jack"]));
        let other = close(&closures, 2, &these(["Tom"]));
        let all = close(&closures, 3, &Keys::All);
        assert!(closures.is_closed("Sam"));
        assert!(closures.open(all) && !closures.open(all));
        assert!(!closures.is_closed("Sam"));
        assert!(closures.open(one));
        assert!(closures.is_closed("Tom") && !closures.is_closed("Jack"));
        assert!(closures.open(other));
        assert_eq!((closures.is_closed("Tom"), closures.len()), (false, 0));
    }

    #[test]
    fn a_closure_lapses_and_says_so() {
        let (closures, hand) = closures();
        let token = close(&closures, 1, &these(["Tom"]));
        hand.store(LAPSE - 1, Ordering::Relaxed);
        assert!(closures.is_closed("Tom") && closures.len() == 1);
        hand.store(LAPSE, Ordering::Relaxed);
        assert_eq!(closures.len(), 0, "whether anybody has asked for the key or not");
        assert!(!closures.is_closed("Tom"));
        assert!(!closures.open(token), "it had lapsed");
    }

    #[test]
    fn one_that_was_repeated_is_another_closure() {
        let (closures, _) = closures();
        let first = close(&closures, 1, &these(["Tom"]));
        let again = close(&closures, 1, &these(["Tom"]));
        assert_eq!(closures.len(), 1);
        assert!(!closures.open(first));
        assert!(closures.is_closed("Tom"));
        assert!(closures.open(again));
    }

    #[test]
    fn it_is_alone_until_another_purge_of_its_keys_meets_it() {
        let (closures, _) = closures();
        let tom = close(&closures, 1, &these(["Tom"]));
        let jack = close(&closures, 2, &these(["Jack"]));
        closures.met(&these(["Tom"]), Some(attempt(1)));
        assert!(closures.is_alone(tom) && closures.is_alone(jack));
        closures.met(&these(["Tom"]), None);
        assert!(!closures.is_alone(tom) && closures.is_alone(jack));
        let second = close(&closures, 3, &these(["Jack"]));
        assert!(!closures.is_alone(second), "it came to a closed key");
        closures.met(&Keys::All, Some(attempt(4)));
        assert!(!closures.is_alone(jack));
    }

    #[test]
    fn too_many_are_refused_and_none_forgotten() {
        let (closures, hand) = closures();
        let many = |from: usize| {
            Keys::These((from..from + MAX_CLOSED / 2).map(|key| key.to_string().into()).collect())
        };
        close(&closures, 1, &many(0));
        close(&closures, 2, &many(MAX_CLOSED));
        assert_eq!(closures.close(attempt(3), &these(["Tom"])), Err(Full));
        assert_eq!(closures.close(attempt(4), &Keys::All), Err(Full));
        assert!(closures.is_closed("0") && !closures.is_closed("Tom"));
        closures.close(attempt(2), &these(["Tom"])).expect("it takes the place of its own");
        hand.store(LAPSE, Ordering::Relaxed);
        closures.close(attempt(5), &many(0)).expect("the others have lapsed");
        let of_nothing =
            (6..).take_while(|number| closures.close(attempt(*number), &these([])).is_ok());
        assert_eq!(of_nothing.count(), MAX_CLOSED / 2, "even a closure of no key takes room");
    }
}
