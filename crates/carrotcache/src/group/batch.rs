//! Removes that are called at the same time, which travel together.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use carrotcache_peer::{Keys, Purge};
use futures_util::future::join_all;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Group;
use super::queue::{MAX_BATCH_BYTES, Removed, Waiting};
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
    /// May be dropped at any time. What has not come to the queue by then, because that is full, is not
    /// removed.
    pub(super) async fn remove_in_batches(&self, keys: Vec<Arc<str>>) -> Removed {
        let home = self.shared.peers.runtime.home()?;
        let mut waits = Vec::new();
        for keys in chunks(keys) {
            let room = u32::try_from(keys.len()).unwrap_or(u32::MAX);
            let room = Arc::clone(&self.shared.removals.room).acquire_many_owned(room);
            // The semaphore is never closed.
            let Ok(room) = room.await else { break };
            let (tell, told) = oneshot::channel();
            let waiting = Waiting { keys, tell, _room: room };
            let is_first = self.shared.removals.push(waiting, home.number());
            waits.push(wait_for(&home, told));
            if is_first {
                let (group, number) = (self.clone(), home.number());
                let running = Running { group, home: number, has_ended: false };
                home.handle().spawn(running.run());
            }
        }
        let mut all = Ok(());
        for removed in join_all(waits).await {
            all = together(all, removed);
        }
        all
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

/// Waits for what a task at `home` tells.
///
/// # Cancel safety
///
/// May be dropped at any time.
pub(super) async fn wait_for(home: &Arc<Home>, told: oneshot::Receiver<Removed>) -> Removed {
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
            Some(chunk) if chunk.len() < Purge::MAX_KEYS && bytes <= MAX_BATCH_BYTES => {
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
    let removed = Removal { group: group.clone(), keys, value: None, closed: None }.run().await;
    group.count(&removed);
    for waiting in batch {
        drop(waiting.tell.send(removed.clone()));
    }
}
