//! A named key space, and the way of a get through it.

use std::sync::Arc;
use std::time::Duration;

use carrotcache_byteview::ByteView;

use crate::builder::Options;
use crate::cache::{GroupCache, Place};
use crate::error::{BoxError, GetError};
use crate::flights::Flights;
use crate::loader::ErasedLoader;
use crate::mirror::Mirror;
use crate::node::Peers;
use crate::peer::{ErasedClient, Owner, PeerAnswer, PeerError, PeerRequest};
use crate::stats::{Counters, Stats};
use crate::value::Value;

/// A named key space with one loader and one byte budget.
///
/// A clone is another handle to the same group. [`Node::group`](crate::Node::group) starts one.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use carrotcache::{GetError, Node};
///
/// let scores = Node::new()
///     .group("scores")
///     .loader(|key: String| async move {
///         match &*key {
///             "Tom" => Ok(Some("630")),
///             "Jack" => Err("the database is away"),
///             _ => Ok(None),
///         }
///     })
///     .build()?;
///
/// assert_eq!(scores.get("Tom").await?, "630");
/// assert!(matches!(scores.get("Jack").await, Err(GetError::LoadFailed { .. })));
/// assert!(scores.get("Nobody").await.unwrap_err().is_not_found());
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
///
/// # Loaders that call back
///
/// A loader may get other keys, of its own group too. If it gets the very key that it is loading,
/// that call ends in [`GetError::Reentrant`] instead of waiting for itself. A circle over several
/// keys is not seen, and waits until a caller's patience ends; let loaders call in one direction
/// only.
#[derive(Clone)]
pub struct Group {
    shared: Arc<Shared>,
}

/// What all handles of a group share. It knows the node's peers but not the node, so that a node
/// and its groups do not keep each other alive.
struct Shared {
    name: Arc<str>,
    max_key_bytes: usize,
    loader: Arc<dyn ErasedLoader>,
    peers: Peers,
    cache: GroupCache,
    // Two tables, never one. Callers here may wait in `forwards` for a peer, which waits in its
    // `loads` for its loader. Were a peer's request able to join a forward, two nodes each
    // convinced that the other owns a key would wait for each other for ever.
    loads: Flights,
    forwards: Flights,
    mirror: Mirror,
    counters: Counters,
}

impl Group {
    pub(crate) fn new(
        name: String,
        loader: Arc<dyn ErasedLoader>,
        options: Options,
        peers: Peers,
    ) -> Self {
        let name: Arc<str> = name.into();
        let shared = Shared {
            max_key_bytes: options.max_key_bytes,
            loader,
            peers,
            cache: GroupCache::new(options.max_bytes),
            loads: Flights::new(Arc::clone(&name)),
            forwards: Flights::new(Arc::clone(&name)),
            mirror: Mirror::new(options.mirroring),
            counters: Counters::default(),
            name,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Returns the value of `key`: from this node's cache, else from the owner, else from the
    /// loader.
    ///
    /// A cached key costs one look-up, or two if it is mirrored: no allocation, no task, and the
    /// future is ready when it is first polled. On a miss, everyone who asks for the key meanwhile
    /// shares one fetch. The call itself has no time limit; wrap it in `tokio::time::timeout` to
    /// leave early.
    ///
    /// # Errors
    ///
    /// [`GetError::NotFound`] if the loader says that there is no such thing, and otherwise what
    /// kept the value from being fetched. Errors are not cached: the next call tries again.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. A fetch under way goes on in its own task, for the others who
    /// wait for it and for the cache.
    pub async fn get(&self, key: &str) -> Result<ByteView, GetError> {
        self.check(key)?;
        match self.shared.cache.get(key) {
            Some(value) => Ok(value),
            // Boxed, or every hit would pay for the size of what it does not run: a hit costs 50 ns
            // so, and cost 87 ns without.
            None => Box::pin(self.fetch(key)).await,
        }
    }

    /// Returns the value of `key` if this node holds it, without asking anybody.
    ///
    /// It counts as a get, and as a use of the entry.
    #[must_use]
    pub fn get_cached(&self, key: &str) -> Option<ByteView> {
        self.check(key).ok()?;
        self.shared.cache.get(key)
    }

    /// The name of the group.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Returns what the group has counted until now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.counters.snapshot(&self.shared.cache)
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.shared.name)
    }

    /// Answers a peer. It looks like [`get`](Self::get), but for one thing: it never forwards.
    pub(crate) async fn answer(
        &self,
        key: &str,
        time_left: Option<Duration>,
    ) -> Result<PeerAnswer, PeerError> {
        self.check(key).map_err(GetError::into_peer_error)?;
        self.shared.counters.server_requests.add_one();
        if let Some(value) = self.shared.cache.get(key) {
            return Ok(PeerAnswer::new(value));
        }
        let load = self.load(key, Place::Main);
        let loaded = match time_left {
            Some(after) => tokio::time::timeout(after, load)
                .await
                .map_err(|_elapsed| PeerError::TimedOut { after })?,
            None => load.await,
        };
        loaded.map(PeerAnswer::new).map_err(GetError::into_peer_error)
    }

    /// Refuses keys that no node would take.
    fn check(&self, key: &str) -> Result<(), GetError> {
        let max = self.shared.max_key_bytes;
        if key.is_empty() {
            return Err(GetError::EmptyKey);
        }
        if key.len() > max {
            return Err(GetError::KeyTooLong { group: self.shared_name(), len: key.len(), max });
        }
        Ok(())
    }

    /// A miss: the owner is asked, which may be this node.
    async fn fetch(&self, key: &str) -> Result<ByteView, GetError> {
        match self.shared.peers.picker.pick(key) {
            Owner::Local => self.load(key, Place::Main).await,
            Owner::Remote(peer) => self.forward(key, peer).await,
        }
    }

    /// Waits for the LOAD flight of `key`, and starts it if there is none.
    ///
    /// The flight's leader decides where the value is kept: a load for want of the owner keeps it
    /// in hot only, so that it gives way when the owner is back.
    async fn load(&self, key: &str, place: Place) -> Result<ByteView, GetError> {
        let flight = |key| self.clone().run_load(key, place);
        self.shared.loads.join_or_start(key, flight).await
    }

    /// Waits for the FORWARD flight of `key`, and starts it if there is none.
    async fn forward(&self, key: &str, owner: Box<dyn ErasedClient>) -> Result<ByteView, GetError> {
        let flight = |key| self.clone().run_forward(key, owner);
        self.shared.forwards.join_or_start(key, flight).await
    }

    /// The LOAD flight: runs the loader here.
    async fn run_load(self, key: Arc<str>, place: Place) -> Result<ByteView, GetError> {
        // Looked up again: a flight may have ended between its caller's miss and this one's start.
        if let Some(value) = self.look_again(&key) {
            return Ok(value);
        }
        let counters = &self.shared.counters;
        match self.call_loader(&key).await {
            Ok(Some(value)) => {
                counters.local_loads.add_one();
                Ok(self.shared.cache.store(place, key, value.into_bytes()))
            }
            Ok(None) => {
                counters.local_loads.add_one();
                counters.not_found.add_one();
                Err(GetError::NotFound { key })
            }
            Err(error) => {
                counters.local_load_errs.add_one();
                tracing::warn!(group = self.name(), key = &*key, error, "loader failed");
                Err(GetError::LoadFailed { group: self.shared_name(), key, source: error.into() })
            }
        }
    }

    /// Calls the loader, and counts the call as failed if it is dropped before it returns, which is
    /// what a panic does to it.
    async fn call_loader(&self, key: &str) -> Result<Option<Value>, BoxError> {
        let unfinished = Unfinished { group: self, key };
        let loaded = self.shared.loader.load(key.to_owned()).await;
        std::mem::forget(unfinished);
        loaded
    }

    /// The FORWARD flight: asks the owner, and loads here if it cannot be asked.
    async fn run_forward(
        self,
        key: Arc<str>,
        owner: Box<dyn ErasedClient>,
    ) -> Result<ByteView, GetError> {
        if let Some(value) = self.look_again(&key) {
            return Ok(value);
        }
        let counters = &self.shared.counters;
        match self.ask(&key, &*owner).await {
            Ok(answer) => {
                counters.peer_loads.add_one();
                Ok(self.mirror(key, answer.value))
            }
            Err(error) if error.is_verdict() => {
                counters.peer_loads.add_one();
                Err(self.adopt_verdict(key, error))
            }
            Err(error) => {
                counters.peer_errors.add_one();
                self.warn_of_peer(&key, owner.label(), &error);
                self.load(&key, Place::Hot).await
            }
        }
    }

    /// Asks the owner, for no longer than the node waits for a peer.
    async fn ask(&self, key: &Arc<str>, owner: &dyn ErasedClient) -> Result<PeerAnswer, PeerError> {
        let after = self.shared.peers.timeout;
        let request = PeerRequest::new(self.shared_name(), Arc::clone(key)).with_time_left(after);
        let answer = tokio::time::timeout(after, owner.get(request)).await;
        answer.unwrap_or(Err(PeerError::TimedOut { after }))
    }

    /// The owner's verdict, as the callers here get it.
    fn adopt_verdict(&self, key: Arc<str>, verdict: PeerError) -> GetError {
        match verdict {
            PeerError::NotFound => GetError::NotFound { key },
            other => {
                GetError::LoadFailed { group: self.shared_name(), key, source: Arc::new(other) }
            }
        }
    }

    // A function of its own, since a `dyn Error` may not be held over the await that follows it.
    fn warn_of_peer(&self, key: &str, peer: &str, error: &(dyn std::error::Error + 'static)) {
        tracing::warn!(group = self.name(), key, peer, error, "owner could not be asked");
    }

    /// Keeps a copy of the owner's value if the group's policy is in favour.
    fn mirror(&self, key: Arc<str>, value: ByteView) -> ByteView {
        if !self.shared.mirror.admits() {
            return value;
        }
        self.shared.counters.mirrored.add_one();
        self.shared.cache.store(Place::Hot, key, value)
    }

    /// The second look, with which every flight starts, and its count.
    fn look_again(&self, key: &str) -> Option<ByteView> {
        let counters = &self.shared.counters;
        let found = self.shared.cache.get_again(key);
        let counter = if found.is_some() { &counters.late_hits } else { &counters.loads_deduped };
        counter.add_one();
        found
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

/// A call of the loader that has not returned yet.
struct Unfinished<'a> {
    group: &'a Group,
    key: &'a str,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.group.shared.counters.local_load_errs.add_one();
        let (group, key) = (self.group.name(), self.key);
        tracing::warn!(group, key, "loader panicked, or its runtime shut down");
    }
}
