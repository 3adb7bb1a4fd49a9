//! The connections to one peer: how many there may be, and those that are unused.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::config::Config;
use crate::connection::Connection;

/// The connections to one peer.
pub(crate) struct Connections {
    /// One permit for each connection in use.
    slots: Semaphore,
    /// The unused ones, the one used last at the back. It is the first to be used again, so that
    /// those that a quiet hour does not need grow old at the front.
    idle: Mutex<VecDeque<Idle>>,
    max_idle: usize,
    idle_timeout: Duration,
}

/// An unused connection.
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Connections {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            slots: Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)),
            idle: Mutex::default(),
            max_idle: config.max_idle_connections,
            idle_timeout: config.idle_timeout,
        }
    }

    /// Returns the right to use one connection, once there is room for it.
    pub(crate) async fn slot(&self) -> SemaphorePermit<'_> {
        self.slots.acquire().await.expect("the semaphore is never closed")
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
