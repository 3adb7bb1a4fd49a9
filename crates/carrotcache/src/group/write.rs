//! Values that change: the calls with which a user says so.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use carrotcache_peer::Keys;
use tokio::sync::oneshot;

use super::Group;
use super::closures::Attempt;
use super::purge::Opening;
use super::queue::Removed;
use super::remove::Removal;
use crate::error::{RemoveError, SetError};
use crate::held::Held;
use crate::home::Home;
use crate::value::IntoValue;

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
    pub fn remove_many<K: AsRef<str>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Pin<Box<dyn Future<Output = Result<(), RemoveError>> + Send + '_>> {
        // Of a type that names none of the keys', so that a task may map them as it goes.
        let distinct = self.distinct(keys);
        Box::pin(async move { self.remove_all(distinct?).await })
    }

    /// Returns the keys, each once.
    fn distinct<K: AsRef<str>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Arc<str>>, RemoveError> {
        let mut distinct = HashSet::new();
        for key in keys {
            let key = key.as_ref();
            self.check(key)?;
            if !distinct.contains(key) {
                distinct.insert(Arc::<str>::from(key));
            }
        }
        Ok(distinct.into_iter().collect())
    }

    /// # Cancel safety
    ///
    /// As [`remove`](Self::remove).
    async fn remove_all(&self, keys: Vec<Arc<str>>) -> Removed {
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
        self.run_apart(|| Ok(Removal::new(self, Keys::All))).await
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
            let held = fits.then_some(held);
            self.run_apart(|| self.closed_for_set(keys.clone(), held.clone())).await?;
        }
        if fits { Ok(()) } else { Err(SetError::TooLarge { group: self.shared_name(), len }) }
    }

    /// Closes the key of a set here, and returns what is left to be done.
    ///
    /// It is closed at once: of two sets that are called one after the other, the second one finds the
    /// first, or what it left.
    fn closed_for_set(&self, keys: Keys, value: Option<Held>) -> Result<Removal, RemoveError> {
        let peers = &self.shared.peers;
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
    /// Once polled, it goes on if it is dropped.
    async fn run_apart(&self, removal: impl Fn() -> Result<Removal, RemoveError>) -> Removed {
        let start = |home: &Arc<Home>| {
            let (tell, told) = oneshot::channel();
            let (group, removal) = (self.clone(), removal()?);
            home.handle().spawn(async move {
                let removed = removal.run().await;
                group.count(&removed);
                drop(tell.send(removed));
            });
            Ok(vec![told])
        };
        self.at_home(start).await
    }
}
