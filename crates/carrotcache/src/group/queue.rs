//! Removes that wait to travel together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carrotcache_peer::Purge;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use crate::error::RemoveError;

pub(super) type Removed = Result<(), RemoveError>;

/// How many bytes of keys travel together: what every node takes in one message.
pub(super) const MAX_BATCH_BYTES: usize = 48 << 10;
/// How many keys may wait to be removed. Who comes later waits before that.
const MAX_WAITING_KEYS: usize = 65_536;

/// The removes of a group that wait to travel together.
pub(super) struct Removals {
    queue: Mutex<Queue>,
    /// Tells whoever empties the queue that there is more.
    pub(super) more: Notify,
    /// One permit for each key that may wait.
    pub(super) room: Arc<Semaphore>,
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiting: Vec<Waiting>,
    /// The number of the runtime on which the task is that empties it. One on a runtime that the node
    /// has left may never run.
    emptied_at: Option<u64>,
}

/// Keys to be removed, and who waits for it.
pub(super) struct Waiting {
    pub(super) keys: Vec<Arc<str>>,
    pub(super) tell: oneshot::Sender<Removed>,
    pub(super) _room: OwnedSemaphorePermit,
}

impl Default for Removals {
    fn default() -> Self {
        let room = Arc::new(Semaphore::new(MAX_WAITING_KEYS));
        Self { queue: Mutex::default(), more: Notify::new(), room }
    }
}

impl Removals {
    /// Adds keys. Returns whether nobody at `home` empties the queue yet, which the caller then sees
    /// to.
    pub(super) fn push(&self, waiting: Waiting, home: u64) -> bool {
        let mut queue = self.lock();
        queue.waiting.push(waiting);
        let is_first = queue.emptied_at.replace(home) != Some(home);
        drop(queue);
        self.more.notify_one();
        is_first
    }

    /// Takes as many as travel in one message. If nothing waits, and whoever empties the queue at
    /// `home` `is_idle`, that is over.
    pub(super) fn take(&self, home: u64, is_idle: bool) -> Vec<Waiting> {
        let mut queue = self.lock();
        let (mut count, mut bytes) = (0, 0);
        let fits = queue.waiting.iter().take_while(|waiting| {
            let is_first = count == 0;
            count += waiting.keys.len();
            bytes += waiting.keys.iter().map(|key| key.len()).sum::<usize>();
            is_first || (count <= Purge::MAX_KEYS && bytes <= MAX_BATCH_BYTES)
        });
        let fits = fits.count();
        if fits == 0 && is_idle {
            queue.end(home);
        }
        queue.waiting.drain(..fits).collect()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Notes that nobody at `home` empties it any more. Returns whether nobody else does.
    pub(super) fn end(&mut self, home: u64) -> bool {
        if self.emptied_at == Some(home) {
            self.emptied_at = None;
        }
        self.emptied_at.is_none()
    }
}
