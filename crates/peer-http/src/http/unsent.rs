//! The bytes of answers that are not sent yet, over all connections of a pool's services.
//!
//! A value that a peer does not read stays in memory for as long as the peer is put up with, even
//! if the cache has long dropped it. Two hundred such peers once held 1.6 GiB of a cache of 64 MiB.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// The room for answers that are being sent, and as much again for those that wait for it.
///
/// Small answers need none: they are copied into a buffer of about the size of those that each
/// connection has anyway, so that the number of connections bounds them.
#[derive(Debug)]
pub(crate) struct Unsent {
    /// A permit for each unit that may be on its way.
    sending: Arc<Semaphore>,
    /// A permit for each unit that may wait. An answer pins its bytes while it waits, too.
    waiting: Semaphore,
    /// The permits that each of the two has in all.
    permits: u32,
}

/// The room that one answer takes, until it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    _permits: OwnedSemaphorePermit,
}

/// The bytes that one permit stands for. Semaphores count in 32 bits, which is too few for bytes.
const UNIT_BYTES: u64 = 1 << 10;

impl Unsent {
    /// Returns the room for `max_bytes`.
    pub(crate) fn new(max_bytes: u64) -> Self {
        let permits = u32::try_from(max_bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let permits = permits.min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        let semaphore = || Semaphore::new(permits as usize);
        Self { sending: Arc::new(semaphore()), waiting: semaphore(), permits }
    }

    /// Returns room for an answer of `bytes`, first come, first served; `None` if there is none
    /// before `until`, or too much waits already.
    ///
    /// An answer that is larger than the whole has it for itself.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives up the place in the queue.
    pub(crate) async fn room(&self, bytes: usize, until: Instant) -> Option<Room> {
        let permits = self.permits_for(bytes);
        if let Ok(permits) = Arc::clone(&self.sending).try_acquire_many_owned(permits) {
            return Some(Room { _permits: permits });
        }
        let _waiting = self.waiting.try_acquire_many(permits).ok()?;
        let room = Arc::clone(&self.sending).acquire_many_owned(permits);
        let permits = timeout_at(until, room).await.ok()?.ok()?;
        Some(Room { _permits: permits })
    }

    /// Returns the permits that an answer of `bytes` needs.
    fn permits_for(&self, bytes: usize) -> u32 {
        let units = (bytes as u64).div_ceil(UNIT_BYTES);
        u32::try_from(units).unwrap_or(u32::MAX).min(self.permits)
    }
}

impl Room {
    /// Returns `value` as bytes that give the room back when the last of them is sent or dropped.
    pub(crate) fn around(self, value: Bytes) -> Bytes {
        Bytes::from_owner(Held { value, _room: self })
    }
}

/// A value and its room.
struct Held {
    value: Bytes,
    _room: Room,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.value
    }
}
