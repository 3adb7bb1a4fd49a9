//! How many bytes of answers may be under way at one moment, over all peers of a pool.
//!
//! Each answer claims what it takes while it comes. One that needs more than is left waits for it,
//! holding what it has, and so do others: none of them might ever go on. So the last part of the
//! room, as large as the largest answer, is kept for one answer at a time. Whoever has it needs
//! nothing more, comes to its end, and gives back all it held:
//!
//! ```text
//! ├──────────── shared ────────────┼───── last ─────┤
//! │ A: 3 │ B: 3 │ C: 2 │ D: 2 │ ... │ C, to its end  │   A, B and D wait for C at most
//! ```

use std::sync::Arc;

use tokio::select;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

/// The room for the answers that are under way.
pub(crate) struct Room {
    /// A permit for each unit that nobody holds.
    shared: Semaphore,
    /// The right to take as much as one answer can.
    last: Semaphore,
}

/// What one answer holds of the room. Dropping it gives it back.
pub(crate) struct Claim {
    room: Arc<Room>,
    units: usize,
    has_last: bool,
}

/// No room became free in time.
#[derive(Debug)]
pub(crate) struct NoRoom;

/// The bytes of a unit: small enough to waste little, and large enough that a claim of any size can
/// be counted in 32 bits.
const UNIT_BYTES: u64 = 1 << 10;

impl Room {
    /// Returns room for `max_bytes`, in which an answer takes `max_answer_bytes` at most.
    pub(crate) fn new(max_bytes: u64, max_answer_bytes: u64) -> Self {
        let shared = max_bytes.saturating_sub(max_answer_bytes) / UNIT_BYTES;
        let shared = usize::try_from(shared).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { shared: Semaphore::new(shared), last: Semaphore::new(1) }
    }

    /// Returns a claim to nothing yet, which costs nothing.
    pub(crate) fn claim(self: &Arc<Self>) -> Claim {
        Claim { room: Arc::clone(self), units: 0, has_last: false }
    }
}

impl Claim {
    /// Claims so many bytes more, once they are free, first come, first served.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] if that has not happened by `until`. What was claimed before is kept.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives up the place in the queue, and what was claimed before is kept.
    pub(crate) async fn grow(&mut self, bytes: u64, until: Instant) -> Result<(), NoRoom> {
        if self.has_last {
            return Ok(());
        }
        let Room { shared, last } = &*self.room;
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        if let Ok(permit) = shared.try_acquire_many(units) {
            self.units += keep(permit);
            return Ok(());
        }
        let free = async {
            select! {
                biased;
                permit = shared.acquire_many(units) => (permit, false),
                permit = last.acquire() => (permit, true),
            }
        };
        let Ok((permit, is_last)) = timeout_at(until, free).await else { return Err(NoRoom) };
        let kept = keep(permit.expect("the semaphores are never closed"));
        if is_last {
            self.has_last = true;
        } else {
            self.units += kept;
        }
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.room.shared.add_permits(self.units);
        self.room.last.add_permits(usize::from(self.has_last));
    }
}

/// Takes a permit out of its guard, and returns how much it was for.
fn keep(permit: SemaphorePermit<'_>) -> usize {
    let units = permit.num_permits();
    permit.forget();
    units
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::task::JoinSet;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);
    const KIB: u64 = 1 << 10;

    fn soon() -> Instant {
        Instant::now() + SOON
    }

    /// Returns how much of the room nobody holds, in KiB, and whether its last part is free.
    fn free(room: &Room) -> (usize, bool) {
        (room.shared.available_permits(), room.last.available_permits() == 1)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_claimed_is_given_back() {
        let room = Arc::new(Room::new(16 * KIB, 4 * KIB));
        let mut claim = room.claim();
        claim.grow(1, soon()).await.expect("room");
        claim.grow(4 * KIB, soon()).await.expect("room");
        assert_eq!(free(&room), (7, true));
        let mut other = room.claim();
        other.grow(7 * KIB, soon()).await.expect("room");
        other.grow(1, soon()).await.expect("the last part");
        assert_eq!(free(&room), (0, false));
        drop(other);
        assert_eq!(free(&room), (7, true));
        drop(claim);
        assert_eq!(free(&room), (12, true));
    }

    #[tokio::test(start_paused = true)]
    async fn without_room_it_is_waited_for_until_then_only() {
        let room = Arc::new(Room::new(4 * KIB, 4 * KIB));
        let (mut first, mut second) = (room.claim(), room.claim());
        first.grow(KIB, soon()).await.expect("the last part");
        let start = Instant::now();
        second.grow(KIB, start + Duration::from_secs(1)).await.expect_err("no room");
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        let (grown, ()) = tokio::join!(second.grow(KIB, soon()), async { drop(first) });
        grown.expect("the last part is free");
    }

    #[tokio::test(start_paused = true)]
    async fn dropped_waiters_hold_nothing() {
        let room = Arc::new(Room::new(8 * KIB, 4 * KIB));
        let mut holder = room.claim();
        holder.grow(4 * KIB, soon()).await.expect("room");
        holder.grow(4 * KIB, soon()).await.expect("the last part");
        for _ in 0..10 {
            let mut waiter = room.claim();
            let growing = tokio::time::timeout(Duration::from_millis(1), waiter.grow(KIB, soon()));
            growing.await.expect_err("no room");
        }
        drop(holder);
        assert_eq!(free(&room), (4, true));
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_each_hold_a_part_and_need_more_all_come_to_their_end() {
        for (max_kib, answers, steps) in [(4, 10, 4), (8, 10, 4), (9, 3, 4), (64, 100, 4)] {
            let room = Arc::new(Room::new(max_kib * KIB, 4 * KIB));
            let mut tasks = JoinSet::new();
            for _ in 0..answers {
                let mut claim = room.claim();
                tasks.spawn(async move {
                    for _ in 0..steps {
                        claim.grow(KIB, soon()).await.expect("room in time");
                        // Everybody else has a turn before the next step.
                        tokio::task::yield_now().await;
                    }
                });
            }
            while let Some(ended) = tasks.join_next().await {
                ended.expect("an answer came to its end");
            }
            let shared = usize::try_from(max_kib - 4).expect("a small number");
            assert_eq!(free(&room), (shared, true));
        }
    }
}
