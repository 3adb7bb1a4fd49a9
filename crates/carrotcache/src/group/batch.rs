//! Removes that are called at the same time, which travel together.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use carrotcache_peer::Keys;
use futures_util::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Group;
use super::queue::{MAX_BATCH_BYTES, MAX_BATCH_KEYS, Removed, Waiting};
use super::remove::Removal;
use crate::error::RemoveError;
use crate::home::Home;

/// How many removes of a group may be under way at once. More travel with the next.
const MAX_BATCHES: usize = 2;
/// How long the next batch waits for the one before it. One that takes longer waits for a peer that
/// does not answer.
const PATIENCE: Duration = Duration::from_millis(10);

impl Group {
    /// Removes keys together with those of whoever else removes at this time.
    ///
    /// # Cancel safety
    ///
    /// Once polled, it goes on if it is dropped.
    pub(super) async fn remove_in_batches(&self, keys: Vec<Arc<str>>) -> Removed {
        let chunks = chunks(keys);
        let start = |home: &Arc<Home>| match self.queue(home, &chunks) {
            Some(told) => Ok(told),
            None => Err(self.put_off(&chunks)),
        };
        self.at_home(start).await
    }

    /// Has tasks at the node's runtime remove, as `start` does, and waits for all of them. Should that
    /// runtime turn out to be gone, it starts once more on the caller's.
    ///
    /// # Cancel safety
    ///
    /// Once polled, it goes on if it is dropped, unless its runtime is gone.
    pub(super) async fn at_home(
        &self,
        start: impl Fn(&Arc<Home>) -> Result<Vec<oneshot::Receiver<Removed>>, RemoveError>,
    ) -> Removed {
        let mut removed = Ok(());
        for _ in 0..2 {
            let home = match self.shared.peers.runtime.home() {
                Ok(home) => home,
                Err(error) => return removed.and(Err(error.into())),
            };
            let waits = start(&home)?.into_iter().map(|told| wait_for(&home, told));
            removed = join_all(waits).await.into_iter().fold(Ok(()), together);
            let is_abandoned = matches!(removed, Err(RemoveError::Abandoned));
            if !is_abandoned || !(home.is_gone() || home.is_shut_down()) {
                break;
            }
        }
        removed
    }

    /// Puts keys into the queue, without waiting. Returns where it is told what came of them; `None` if
    /// too many wait already.
    fn queue(
        &self,
        home: &Arc<Home>,
        chunks: &[Vec<Arc<str>>],
    ) -> Option<Vec<oneshot::Receiver<Removed>>> {
        let removals = &self.shared.removals;
        let (mut waits, mut late) = (Vec::new(), Vec::new());
        for keys in chunks {
            let (tell, told) = oneshot::channel();
            waits.push(told);
            // Not by waiting here: what is dropped while it waits would not be removed.
            match room_for(keys.len(), &removals.room).filter(|_| late.is_empty()) {
                Some(room) => {
                    removals.push(Waiting { keys: keys.clone(), tell, _room: room });
                }
                None => late.push((keys.clone(), tell, room_for(keys.len(), &removals.late_room)?)),
            }
        }
        if !late.is_empty() {
            home.handle().spawn(self.clone().queue_late(late, Arc::clone(home)));
        }
        self.see_to_the_queue(home);
        Some(waits)
    }

    /// Puts keys into the queue as there is room.
    ///
    /// # Cancel safety
    ///
    /// Dropped only when its runtime shuts down. Who waits is told so.
    async fn queue_late(self, late: Vec<Late>, home: Arc<Home>) {
        for (keys, tell, late) in late {
            let removals = &self.shared.removals;
            let room = Arc::clone(&removals.room).acquire_many_owned(permits(keys.len()));
            // The semaphore is never closed.
            let Ok(room) = room.await else { return };
            removals.push(Waiting { keys, tell, _room: room });
            drop(late);
            self.see_to_the_queue(&home);
        }
    }

    /// Starts the task that empties the queue, unless there is one at this runtime.
    fn see_to_the_queue(&self, home: &Home) {
        if self.shared.removals.is_left_to(home.number()) {
            let running = Running { group: self.clone(), home: home.number(), has_ended: false };
            home.handle().spawn(running.run());
        }
    }

    /// Removes keys here alone, of which too many wait to be removed: the peers are told later.
    fn put_off(&self, chunks: &[Vec<Arc<str>>]) -> RemoveError {
        let keys = Keys::These(chunks.concat());
        Removal::new(self, keys).put_off()
    }

    /// Counts one batch.
    pub(super) fn count(&self, removed: &Removed) {
        let counters = &self.shared.counters;
        counters.removes.add_one();
        if removed.is_err() {
            counters.removes_incomplete.add_one();
        }
    }
}

/// Keys that wait for room in the queue, and hold it among those that do.
type Late = (Vec<Arc<str>>, oneshot::Sender<Removed>, OwnedSemaphorePermit);

/// Returns a place for each of so many keys, if there are as many at once.
fn room_for(keys: usize, room: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(room).try_acquire_many_owned(permits(keys)).ok()
}

fn permits(keys: usize) -> u32 {
    u32::try_from(keys).unwrap_or(u32::MAX)
}

/// Waits for what a task at `home` tells.
///
/// # Cancel safety
///
/// May be dropped at any time.
async fn wait_for(home: &Arc<Home>, told: oneshot::Receiver<Removed>) -> Removed {
    match home.outlive(home.is_here(), told).await {
        Some(Ok(removed)) => removed,
        // The runtime ended before the task did.
        _ => Err(RemoveError::Abandoned),
    }
}

/// Cuts keys into as few messages as they fit in.
fn chunks(keys: Vec<Arc<str>>) -> Vec<Vec<Arc<str>>> {
    let (mut chunks, mut bytes) = (Vec::<Vec<Arc<str>>>::new(), 0);
    for key in keys {
        bytes += key.len();
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < MAX_BATCH_KEYS && bytes <= MAX_BATCH_BYTES => {
                chunk.push(key);
            }
            _ => {
                bytes = key.len();
                chunks.push(vec![key]);
            }
        }
    }
    chunks
}

/// Returns what two removes promise together.
fn together(one: Removed, other: Removed) -> Removed {
    use RemoveError::{Incomplete, Unsettled};
    let (one, other) = match (one, other) {
        (Ok(()), removed) | (removed, Ok(())) => return removed,
        (Err(one), Err(other)) => (one, other),
    };
    let join = |mut one: Vec<Arc<str>>, other: Vec<Arc<str>>| {
        one.extend(other);
        one.sort_unstable();
        one.dedup();
        one
    };
    Err(match (one, other) {
        (
            Incomplete { unreached, plain, stale_for_at_most },
            Incomplete { unreached: more, plain: more_plain, stale_for_at_most: longer },
        ) => Incomplete {
            unreached: join(unreached, more),
            plain: join(plain, more_plain),
            stale_for_at_most: stale_for_at_most.zip(longer).map(|(one, other)| one.max(other)),
        },
        (
            Unsettled { unreached, plain },
            Incomplete { unreached: more, plain: more_plain, .. }
            | Unsettled { unreached: more, plain: more_plain },
        )
        | (Incomplete { unreached, plain, .. }, Unsettled { unreached: more, plain: more_plain }) => {
            Unsettled { unreached: join(unreached, more), plain: join(plain, more_plain) }
        }
        (Unsettled { .. } | Incomplete { .. }, error) | (error, _) => error,
    })
}

/// The task that empties a queue.
struct Running {
    group: Group,
    /// The number of its runtime.
    home: u64,
    /// Whether it has said that it ends. Another may be running then.
    has_ended: bool,
}

impl Running {
    /// Removes batch after batch, until nothing waits.
    ///
    /// # Cancel safety
    ///
    /// Dropped only when its runtime shuts down. Who waits is told so.
    async fn run(mut self) {
        let removals = &self.group.shared.removals;
        let mut batches = JoinSet::new();
        loop {
            // Those that are called at the same moment travel together.
            tokio::task::yield_now().await;
            if batches.len() >= MAX_BATCHES {
                batches.join_next().await;
            }
            let batch = removals.take(self.home, batches.is_empty());
            if !batch.is_empty() {
                batches.spawn(remove_batch(self.group.clone(), batch));
                // Late ones are better together than one by one.
                let _ = timeout(PATIENCE, batches.join_next()).await;
            } else if batches.is_empty() {
                break;
            } else {
                tokio::select! {
                    biased;
                    _ = batches.join_next() => {}
                    () = removals.more.notified() => {}
                }
            }
        }
        self.has_ended = true;
    }
}

impl Drop for Running {
    /// Leaves nobody waiting if it is dropped with its runtime.
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let mut queue = self.group.shared.removals.lock();
        let is_over = queue.end(self.home);
        let left = if is_over { std::mem::take(&mut queue.waiting) } else { Vec::new() };
        drop(queue);
        drop(left);
    }
}

/// Removes one batch, and tells all who wait for it.
///
/// # Cancel safety
///
/// As [`Running::run`].
async fn remove_batch(group: Group, batch: Vec<Waiting>) {
    let keys: HashSet<_> = batch.iter().flat_map(|waiting| &waiting.keys).cloned().collect();
    let keys = Keys::These(keys.into_iter().collect());
    let removed = Removal::new(&group, keys).run().await;
    group.count(&removed);
    for waiting in batch {
        drop(waiting.tell.send(removed.clone()));
    }
}
