//! Values that change: the calls with which a user says so.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use carrotcache_peer::{Keys, Purge};
use futures_util::future::join_all;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Group;
use super::closures::Attempt;
use super::purge::Opening;
use super::remove::Removal;
use crate::error::{RemoveError, SetError};
use crate::held::Held;
use crate::home::Home;
use crate::value::IntoValue;

type Removed = Result<(), RemoveError>;

/// How many bytes of keys travel together: what every node takes in one message.
const MAX_BATCH_BYTES: usize = 48 << 10;
/// How many removes of a group may be under way at once. More travel with the next.
const MAX_BATCHES: usize = 2;
/// How long the next batch waits for the one before it. One that takes longer waits for a peer that
/// does not answer.
const PATIENCE: Duration = Duration::from_millis(10);
/// How many keys may wait to be removed. Who comes later waits before that.
const MAX_WAITING_KEYS: usize = 65_536;

impl Group {
    /// Removes `key` from all nodes. Call it after the change of what the loader reads: after the
    /// commit, not before.
    ///
    /// When this returns `Ok`, every get that begins later on this node or a peer of its returns a value
    /// whose load began after this call did. It takes two round trips to the peers, all at once; removes
    /// that are called at the same time travel together. On a node without peers nothing is sent. While
    /// a key is being removed, gets of it work, and nothing is kept.
    ///
    /// Gets that had begun before may still return the old value, and so may a reader of the database
    /// that is behind, as a replica: whatever the loader reads is what there is.
    ///
    /// # Errors
    ///
    /// [`RemoveError::Incomplete`] names the peers that were not reached, for which nothing is
    /// promised, and how old a value can be there; it is promised for all others.
    /// [`RemoveError::Unsettled`] promises nothing yet. In either case the key is removed from this node,
    /// and the peers are told when they are met again.
    ///
    /// # Cancel safety
    ///
    /// Once polled, it goes on if it is dropped, in a task of its own.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use std::sync::atomic::{AtomicU32, Ordering};
    /// # static ROW: AtomicU32 = AtomicU32::new(630);
    /// # let loader = |_: String| async {
    /// #     Ok::<_, std::io::Error>(Some(ROW.load(Ordering::Relaxed).to_string()))
    /// # };
    /// # let scores = carrotcache::Node::new().group("scores").loader(loader).build()?;
    /// assert_eq!(scores.get("Tom").await?, "630");
    /// // The row is updated, and committed.
    /// # ROW.store(631, Ordering::Relaxed);
    /// scores.remove("Tom").await?;
    /// assert_eq!(scores.get("Tom").await?, "631");
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub async fn remove(&self, key: &str) -> Result<(), RemoveError> {
        self.check(key)?;
        let keys = vec![Arc::from(key)];
        if self.is_alone() {
            self.purge_alone(&Keys::These(keys));
            return Ok(());
        }
        self.remove_in_batches(keys).await
    }

    /// Removes many keys from all nodes, as [`remove`](Self::remove) removes one: in as few messages as
    /// they fit in.
    ///
    /// # Errors
    ///
    /// As [`remove`](Self::remove), of all keys together. If one of them is no key, nothing is removed.
    ///
    /// # Cancel safety
    ///
    /// As [`remove`](Self::remove).
    pub async fn remove_many<K: AsRef<str>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<(), RemoveError> {
        let mut distinct = HashSet::new();
        for key in keys {
            let key = key.as_ref();
            self.check(key)?;
            if !distinct.contains(key) {
                distinct.insert(Arc::<str>::from(key));
            }
        }
        let keys: Vec<_> = distinct.into_iter().collect();
        if keys.is_empty() {
            return Ok(());
        }
        if self.is_alone() {
            self.purge_alone(&Keys::These(keys));
            return Ok(());
        }
        self.remove_in_batches(keys).await
    }

    /// Removes everything from all nodes, as [`remove`](Self::remove) removes one key.
    ///
    /// # Errors
    ///
    /// As [`remove`](Self::remove).
    ///
    /// # Cancel safety
    ///
    /// As [`remove`](Self::remove).
    pub async fn clear(&self) -> Result<(), RemoveError> {
        if self.is_alone() {
            self.purge_alone(&Keys::All);
            return Ok(());
        }
        let removal = Removal { group: self.clone(), keys: Keys::All, value: None, closed: None };
        self.run_apart(removal).await
    }

    /// Removes `key` from all nodes, and has its owner keep `value`. Call it after the commit of just
    /// that value.
    ///
    /// It is a remove that spares the next get its load. If anything else removes or sets the key
    /// meanwhile, no value is kept, since nobody here can know which one was committed last. So sets
    /// that are called one after the other in the order of their commits are safe, and so are sets at
    /// the same time; a set that is called later for what was committed earlier leaves the older value.
    /// Where that can happen, remove.
    ///
    /// # Errors
    ///
    /// Those of [`remove`](Self::remove), and [`SetError::TooLarge`] if the group could not keep the
    /// value: the old one is removed all the same.
    ///
    /// # Cancel safety
    ///
    /// As [`remove`](Self::remove).
    pub async fn set(&self, key: &str, value: impl IntoValue) -> Result<(), SetError> {
        self.check(key).map_err(RemoveError::from)?;
        let value = value.into_value();
        let (len, key) = (value.bytes().len(), Arc::<str>::from(key));
        let entry = self.shared.freshness.entry(value, &self.shared.chance);
        let held = Held::new(entry, self.shared.clock.now());
        let fits = self.shared.cache.fits(&key, len);
        let keys = Keys::These(vec![key]);
        if self.is_alone() {
            self.set_alone(&keys, held);
        } else {
            self.run_apart(self.closed_for_set(keys, fits.then_some(held))?).await?;
        }
        if fits { Ok(()) } else { Err(SetError::TooLarge { group: self.shared_name(), len }) }
    }

    /// Closes the key of a set here, and returns what is left to be done.
    ///
    /// It is closed at once: of two sets that are called one after the other, the second one finds the
    /// first, or what it left.
    fn closed_for_set(&self, keys: Keys, value: Option<Held>) -> Result<Removal, RemoveError> {
        let peers = &self.shared.peers;
        // Asked for first: what is closed here has to be opened by a task.
        peers.runtime.home()?;
        // Met before they could have missed anything.
        peers.debts.list(&peers.picker.peers());
        let closed = self.me().and_then(|me| {
            let attempt = Attempt { sender: me.incarnation, number: peers.next_attempt() };
            Some((attempt, self.close(attempt, &keys)?))
        });
        let value = value.filter(|_| closed.is_some());
        Ok(Removal { group: self.clone(), keys, value, closed })
    }

    /// Returns whether no other node has to be told anything.
    fn is_alone(&self) -> bool {
        self.shared.peers.picker.peers().is_empty()
    }

    /// Removes keys of a node that has no peers at present. Those that it had may come back.
    fn purge_alone(&self, keys: &Keys) {
        let Group { shared } = self;
        self.purge(keys, None, || shared.peers.debts.owe(&shared.name, keys, &[]));
        shared.peers.tell_later();
        shared.counters.removes.add_one();
    }

    fn set_alone(&self, keys: &Keys, held: Held) {
        let attempt = Attempt { sender: 0, number: self.shared.peers.next_attempt() };
        let Some(token) = self.close(attempt, keys) else { return self.purge_alone(keys) };
        self.open(keys, Opening { attempt, token, closed: &[], value: Some(held) });
        self.shared.peers.tell_later();
        self.shared.counters.removes.add_one();
    }

    /// Returns how old a value can get where a remove did not come.
    pub(super) fn longest_stale(&self) -> Option<Duration> {
        let longest = self.shared.freshness.longest()?;
        Some(longest.saturating_add(self.shared.load_timeout))
    }

    /// Runs a removal in a task of its own, and waits for it.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the task goes on.
    async fn run_apart(&self, removal: Removal) -> Removed {
        let home = self.shared.peers.runtime.home()?;
        let (tell, told) = oneshot::channel();
        let group = self.clone();
        home.handle().spawn(async move {
            let removed = removal.run().await;
            group.count(&removed);
            drop(tell.send(removed));
        });
        wait_for(&home, told).await
    }

    /// Removes keys together with those of whoever else removes at this time.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. What has not come to the queue by then, because that is full, is not
    /// removed.
    async fn remove_in_batches(&self, keys: Vec<Arc<str>>) -> Removed {
        let home = self.shared.peers.runtime.home()?;
        let mut waits = Vec::new();
        for keys in chunks(keys) {
            let room = u32::try_from(keys.len()).unwrap_or(u32::MAX);
            let room = Arc::clone(&self.shared.removals.room).acquire_many_owned(room);
            // The semaphore is never closed.
            let Ok(room) = room.await else { break };
            let (tell, told) = oneshot::channel();
            let is_first = self.shared.removals.push(Waiting { keys, tell, _room: room });
            waits.push(wait_for(&home, told));
            if is_first {
                let running = Running { group: self.clone(), has_ended: false };
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
    fn count(&self, removed: &Removed) {
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

/// The removes of a group that wait to travel together.
pub(super) struct Removals {
    queue: Mutex<Queue>,
    /// Tells whoever empties the queue that there is more.
    more: Notify,
    /// One permit for each key that may wait.
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Whether the task is there that empties it.
    is_running: bool,
}

/// Keys to be removed, and who waits for it.
struct Waiting {
    keys: Vec<Arc<str>>,
    tell: oneshot::Sender<Removed>,
    _room: OwnedSemaphorePermit,
}

impl Default for Removals {
    fn default() -> Self {
        let room = Arc::new(Semaphore::new(MAX_WAITING_KEYS));
        Self { queue: Mutex::default(), more: Notify::new(), room }
    }
}

impl Removals {
    /// Adds keys. Returns whether nobody empties the queue yet, which the caller then sees to.
    fn push(&self, waiting: Waiting) -> bool {
        let mut queue = self.lock();
        queue.waiting.push(waiting);
        let is_first = !std::mem::replace(&mut queue.is_running, true);
        drop(queue);
        self.more.notify_one();
        is_first
    }

    /// Takes as many as travel in one message. If nothing waits, and whoever empties the queue
    /// `is_idle`, that is over.
    fn take(&self, is_idle: bool) -> Vec<Waiting> {
        let mut queue = self.lock();
        let (mut count, mut bytes) = (0, 0);
        let fits = queue.waiting.iter().take_while(|waiting| {
            let is_first = count == 0;
            count += waiting.keys.len();
            bytes += waiting.keys.iter().map(|key| key.len()).sum::<usize>();
            is_first || (count <= Purge::MAX_KEYS && bytes <= MAX_BATCH_BYTES)
        });
        let fits = fits.count();
        queue.is_running = fits > 0 || !is_idle;
        queue.waiting.drain(..fits).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that empties a queue.
struct Running {
    group: Group,
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
            let batch = removals.take(batches.is_empty());
            if !batch.is_empty() {
                batches.spawn(remove_batch(self.group.clone(), batch));
                // Late ones are better together than one by one.
                let _ = timeout(PATIENCE, batches.join_next()).await;
            } else if batches.is_empty() {
                break;
            } else {
                tokio::select! {
                    _ = batches.join_next() => {}
                    () = removals.more.notified() => {}
                }
            }
        }
        self.has_ended = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let mut queue = self.group.shared.removals.lock();
        let left = std::mem::take(&mut queue.waiting);
        queue.is_running = false;
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
