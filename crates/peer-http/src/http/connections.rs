//! The connections to one peer: how many there may be, and those that are unused.
//!
//! Nothing here looks after the unused ones in the background. They are looked at when one is
//! taken or put back, and a peer that is asked no more keeps the few that it had until it leaves
//! the ring.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::config::Config;
use crate::http::connection::Connection;

/// The connections to one peer.
pub(crate) struct Connections {
    /// One permit for each connection in use.
    slots: Semaphore,
    /// The unused ones, the one used last at the back. It is the first to be used again, so that
    /// those that a quiet hour does not need grow old at the front.
    idle: Mutex<VecDeque<Idle>>,
    /// How many unused ones are kept.
    max_idle: usize,
    /// How old an unused one may be and still be used.
    idle_timeout: Duration,
}

/// An unused connection.
struct Idle {
    connection: Connection,
    /// When its last exchange ended.
    since: Instant,
}

impl Connections {
    /// Returns the room for as many as `config` allows, and none yet.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            slots: Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)),
            idle: Mutex::default(),
            max_idle: config.max_idle_connections,
            idle_timeout: config.idle_timeout,
        }
    }

    /// Returns the right to use one connection, once there is room for it: first come, first
    /// served. `None` if there is none by `until`.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives up the place in the queue.
    pub(crate) async fn slot(&self, until: Instant) -> Option<SemaphorePermit<'_>> {
        if let Ok(slot) = self.slots.try_acquire() {
            return Some(slot);
        }
        let slot = timeout_at(until, self.slots.acquire()).await.ok()?;
        Some(slot.expect("the semaphore is never closed"))
    }

    /// Returns the connection that was used last, if it is not too old.
    pub(crate) fn take(&self) -> Option<Connection> {
        let newest = self.lock().pop_back()?;
        if newest.since.elapsed() < self.idle_timeout {
            return Some(newest.connection);
        }
        // All others are older still.
        self.clear();
        None
    }

    /// Keeps a connection for the next request, if it can carry one and there is room.
    pub(crate) fn put(&self, connection: Connection) {
        if !connection.is_reusable() {
            return;
        }
        let now = Instant::now();
        let mut idle = self.lock();
        // One at a time is enough, since each call adds at most one; and it is dropped after the
        // lock, since closing a socket takes a while.
        let oldest = idle.front().is_some_and(|idle| now - idle.since >= self.idle_timeout);
        let _expired = if oldest { idle.pop_front() } else { None };
        if idle.len() < self.max_idle {
            idle.push_back(Idle { connection, since: now });
        }
        drop(idle);
    }

    /// Closes all unused connections.
    pub(crate) fn clear(&self) {
        let closed = std::mem::take(&mut *self.lock());
        drop(closed);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
