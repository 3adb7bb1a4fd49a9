//! The connections to one peer: how many there may be, and those that are unused.
//!
//! No task stands behind an unused one. Each is looked at before it is used again, and all of them
//! now and then by the pool's [`Sweeper`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::config::Config;
use crate::http::connection::Connection;
use crate::http::sweeper::{Sweeper, Swept};

/// The connections to one peer.
pub(crate) struct Connections {
    /// One permit for each connection in use.
    slots: Semaphore,
    unused: Mutex<Unused>,
    /// How many unused ones are kept.
    max_idle: usize,
    /// How old an unused one may be and still be used.
    idle_timeout: Duration,
    sweeper: Sweeper,
}

/// The unused connections.
#[derive(Default)]
struct Unused {
    /// The one used last at the back. It is the first to be used again, so that those that a quiet
    /// hour does not need grow old at the front.
    idle: VecDeque<Idle>,
    /// Whether the sweeper looks after them.
    is_watched: bool,
}

/// An unused connection.
struct Idle {
    connection: Connection,
    /// When its last exchange ended.
    since: Instant,
}

impl Connections {
    /// Returns the room for as many as `config` allows, and none yet.
    pub(crate) fn new(config: &Config, sweeper: Sweeper) -> Self {
        Self {
            slots: Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)),
            unused: Mutex::default(),
            max_idle: config.max_idle_connections,
            idle_timeout: config.idle_timeout,
            sweeper,
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

    /// Returns the connection that was used last of those that can still be used.
    ///
    /// Costs a system call, which asks the socket itself. Those that the peer has closed are dropped.
    pub(crate) fn take(&self) -> Option<Connection> {
        loop {
            // Unlocked before the socket is asked, or closed.
            let Idle { mut connection, since } = self.lock().idle.pop_back()?;
            if since.elapsed() >= self.idle_timeout {
                // All others are older still.
                self.clear();
                return None;
            }
            if connection.is_silent() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request, if it can carry one and there is room.
    pub(crate) fn put(self: &Arc<Self>, connection: Connection) {
        if !connection.is_reusable() || self.max_idle == 0 || self.idle_timeout.is_zero() {
            return;
        }
        let mut unused = self.lock();
        if unused.idle.len() >= self.max_idle {
            // Unlocked before the connection is closed, which takes a while.
            drop(unused);
            return;
        }
        unused.idle.push_back(Idle { connection, since: Instant::now() });
        let was_watched = std::mem::replace(&mut unused.is_watched, true);
        drop(unused);
        if !was_watched {
            let connections: Weak<Self> = Arc::downgrade(self);
            self.sweeper.watch(connections);
        }
    }

    /// Closes all unused connections.
    pub(crate) fn clear(&self) {
        let closed = std::mem::take(&mut self.lock().idle);
        drop(closed);
    }

    fn lock(&self) -> MutexGuard<'_, Unused> {
        self.unused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Swept for Connections {
    fn sweep(&self) -> bool {
        let mut unused = self.lock();
        let mut closed = Vec::new();
        for mut idle in std::mem::take(&mut unused.idle) {
            if idle.since.elapsed() < self.idle_timeout && idle.connection.is_silent() {
                unused.idle.push_back(idle);
            } else {
                closed.push(idle);
            }
        }
        unused.is_watched = !unused.idle.is_empty();
        let is_watched = unused.is_watched;
        drop(unused);
        drop(closed);
        is_watched
    }

    fn unwatch(&self) {
        self.lock().is_watched = false;
    }
}
