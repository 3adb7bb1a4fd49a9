use std::borrow::Borrow;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::driver::{Ended, Home, SharedFlight};
use crate::error::Error;
use crate::flight::Flight;
use crate::outcome::Outcome;
use crate::table::Table;

/// A part of a group's table behind a lock of its own.
///
/// Aligned to two cache lines (the processor fetches them in pairs), so that threads at
/// neighbouring shards, and the reference count in front of this one, do not slow each other.
#[repr(align(128))]
pub(crate) struct Shard<K, V, E> {
    /// How many flights are open: a hint that spares a lock when there are none. Written under the
    /// lock, read without.
    open: AtomicUsize,
    inner: Mutex<Inner<K, V, E>>,
}

struct Inner<K, V, E> {
    table: Table<Entry<K, V, E>>,
    /// A flight that was made new again, for the next caller that opens one.
    spare: Option<SharedFlight<V, E>>,
}

/// An open flight under its key.
struct Entry<K, V, E> {
    key: K,
    flight: SharedFlight<V, E>,
}

/// The flights that were in a shard, and their keys.
pub(crate) struct Forgotten<K, V, E>(Table<Entry<K, V, E>>);

impl<K, V, E> Forgotten<K, V, E> {
    /// Returns the number of flights.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// What became of an attempt to open a flight.
pub(crate) enum Entered<V, E> {
    Opened(SharedFlight<V, E>),
    Joined(SharedFlight<V, E>),
}

impl<K, V, E> Shard<K, V, E> {
    /// Joins the flight of `key`, or opens one.
    ///
    /// The key is made between two looks at the table and not under its lock, since `own` is the
    /// user's code. Another thread may open the flight meanwhile.
    pub(crate) fn enter<Q>(&self, hash: u64, key: &Q, own: impl FnOnce() -> K) -> Entered<V, E>
    where
        K: Borrow<Q> + Eq,
        Q: Eq + ?Sized,
    {
        match self.join(hash, key) {
            Some(flight) => Entered::Joined(flight),
            None => self.open(hash, own()),
        }
    }

    /// Returns the flight of `key`, joined, if one is open.
    fn join<Q>(&self, hash: u64, key: &Q) -> Option<SharedFlight<V, E>>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        // Relaxed: a flight that was opened before this call, as the caller can know, is seen.
        if self.open.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let inner = self.lock();
        let entry = inner.table.find(hash, |entry| entry.key.borrow() == key)?;
        entry.flight.join().then(|| Arc::clone(&entry.flight))
    }

    /// Opens a flight under `key`, or joins the one that is open.
    fn open(&self, hash: u64, key: K) -> Entered<V, E>
    where
        K: Eq,
    {
        let mut inner = self.lock();
        let mut abandoned = None;
        if let Some(entry) = inner.table.find(hash, |entry| entry.key == key) {
            if entry.flight.join() {
                let joined = Entered::Joined(Arc::clone(&entry.flight));
                drop(inner); // Before the key, whose drop is the user's code.
                return joined;
            }
            // Its last caller is about to remove it.
            abandoned = inner.table.remove(hash, |entry| entry.key == key);
        }
        let flight = inner.spare.take().unwrap_or_else(|| Arc::new(Flight::new()));
        inner.table.insert(hash, Entry { key, flight: Arc::clone(&flight) });
        self.open.store(inner.table.len(), Ordering::Relaxed);
        drop(inner);
        drop(abandoned);
        Entered::Opened(flight)
    }

    /// Removes the flight under `key`, makes it void, and returns whether there was one.
    pub(crate) fn forget<Q>(&self, hash: u64, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let mut inner = self.lock();
        let removed = self.remove(&mut inner, hash, |entry| entry.key.borrow() == key);
        if let Some(entry) = &removed {
            // Under the lock: nobody finds that the key has left the table before the mark is set.
            entry.flight.make_void();
        }
        drop(inner); // Before the key.
        removed.is_some()
    }

    /// Removes all flights, makes them void, and returns them to be dropped without the lock.
    pub(crate) fn forget_all(&self) -> Forgotten<K, V, E> {
        let mut inner = self.lock();
        let forgotten = mem::replace(&mut inner.table, Table::new());
        self.open.store(0, Ordering::Relaxed);
        forgotten.iter().for_each(|entry| entry.flight.make_void());
        Forgotten(forgotten)
    }

    /// Ends `flight`: the key leaves the table, then everybody who waits is woken, so that whoever
    /// has seen the outcome and asks again does not find this flight.
    pub(crate) fn end(&self, hash: u64, flight: &SharedFlight<V, E>, result: Result<V, Error<E>>) {
        let _key = self.close(hash, flight);
        flight.end(result);
    }

    /// Does the same for the caller that drove `flight`. If that caller is the only one, the outcome
    /// is not kept and cloned, and the flight is used again by the next caller that opens one:
    /// together that makes a call which nobody joins a fifth cheaper.
    pub(crate) fn end_driven(
        &self,
        hash: u64,
        flight: SharedFlight<V, E>,
        result: Result<V, Error<E>>,
    ) -> Ended<V, E> {
        let mut inner = self.lock();
        let removed = self.remove(&mut inner, hash, |entry| Arc::ptr_eq(&entry.flight, &flight));
        let Some(mut entry) = removed else {
            drop(inner); // Forgotten.
            flight.end(result);
            return Ended::Shared(flight);
        };
        drop(flight); // Not the last reference.
        // The flight is no longer in the table, so whoever does not hold it now never will.
        if let Some(alone) = Arc::get_mut(&mut entry.flight) {
            let shared = alone.renew();
            inner.spare = Some(entry.flight);
            drop(inner); // Before the key.
            return Ended::Alone(Outcome { result, shared });
        }
        drop(inner);
        entry.flight.end(result);
        Ended::Shared(entry.flight)
    }

    /// Removes `flight` unless it was forgotten; a newer flight under the same key stays.
    ///
    /// Returns the key, to be dropped last: its drop is the user's code, and may panic.
    fn close(&self, hash: u64, flight: &SharedFlight<V, E>) -> Option<K> {
        let same = |entry: &Entry<K, V, E>| Arc::ptr_eq(&entry.flight, flight);
        self.remove(&mut self.lock(), hash, same).map(|entry| entry.key)
    }

    /// Removes the entry that `eq` accepts, and returns it to be dropped without the lock.
    fn remove(
        &self,
        inner: &mut Inner<K, V, E>,
        hash: u64,
        eq: impl FnMut(&Entry<K, V, E>) -> bool,
    ) -> Option<Entry<K, V, E>> {
        let entry = inner.table.remove(hash, eq);
        self.open.store(inner.table.len(), Ordering::Relaxed);
        entry
    }

    /// Returns the number of open flights.
    pub(crate) fn len(&self) -> usize {
        self.lock().table.len()
    }

    /// A key's `Eq` may panic under the lock, which leaves the table as it was.
    fn lock(&self) -> MutexGuard<'_, Inner<K, V, E>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Send, V: Send + Sync, E: Send + Sync> Home<V, E> for Shard<K, V, E> {
    fn end(&self, hash: u64, flight: &SharedFlight<V, E>, result: Result<V, Error<E>>) {
        self.end(hash, flight, result);
    }

    fn end_driven(
        &self,
        hash: u64,
        flight: SharedFlight<V, E>,
        result: Result<V, Error<E>>,
    ) -> Ended<V, E> {
        self.end_driven(hash, flight, result)
    }
}

impl<K, V, E> Default for Shard<K, V, E> {
    fn default() -> Self {
        let inner = Inner { table: Table::new(), spare: None };
        Self { open: AtomicUsize::new(0), inner: Mutex::new(inner) }
    }
}
