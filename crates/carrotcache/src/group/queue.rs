//! Removes that wait to travel together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use crate::error::RemoveError;

pub(super) type Removed = Result<(), RemoveError>;

/// How many keys travel together, and how many bytes: less than every node takes in one message, so that
/// some nodes that remove many find room for theirs at the others.
pub(super) const MAX_BATCH_KEYS: usize = 256;
pub(super) const MAX_BATCH_BYTES: usize = 48 << 10;
/// How many keys may wait to be removed in the queue, and how many in tasks that wait for room in it.
const MAX_WAITING_KEYS: usize = 65_536;
const MAX_LATE_KEYS: usize = 1 << 20;

/// The removes of a group that wait to travel together.
pub(super) struct Removals {
    queue: Mutex<Queue>,
    /// Tells whoever empties the queue that there is more.
    pub(super) more: Notify,
    /// One permit for each key that may wait in the queue.
    pub(super) room: Arc<Semaphore>,
    /// One for each that may wait for that.
    pub(super) late_room: Arc<Semaphore>,
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
        let [room, late_room] =
            [MAX_WAITING_KEYS, MAX_LATE_KEYS].map(|keys| Arc::new(Semaphore::new(keys)));
        Self { queue: Mutex::default(), more: Notify::new(), room, late_room }
    }
}

impl Removals {
    /// Adds keys.
    pub(super) fn push(&self, waiting: Waiting) {
        self.lock().waiting.push(waiting);
        self.more.notify_one();
    }

    /// Returns whether nobody at `home` empties the queue yet, which the caller then sees to.
    pub(super) fn is_left_to(&self, home: u64) -> bool {
        self.lock().emptied_at.replace(home) != Some(home)
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
            is_first || (count <= MAX_BATCH_KEYS && bytes <= MAX_BATCH_BYTES)
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
