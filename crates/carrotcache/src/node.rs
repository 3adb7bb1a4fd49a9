//! This process's cache, with its groups.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use carrotcache_peer::{Answer, Handler, PeerErrorKind, Picker, Purge, Purged, Reply, Request};
use tokio::runtime::Handle;

use crate::builder::GroupBuilder;
use crate::clock::Clock;
use crate::debts::Debts;
use crate::group::Group;
use crate::load_budget::{LoadBudget, Rates};
use crate::looks::Looks;
use crate::peers::Peers;
use crate::registry::Registry;
use crate::runtime::Runtime;

/// One process's cache: groups by name, and the peers that they share.
///
/// A clone is another handle to the same node. Nodes know nothing of each other but by their
/// transport: two in one process are strangers.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use carrotcache::Node;
///
/// let node = Node::new();
/// let scores = node
///     .group("scores")
///     .loader(|key: String| async move { Ok::<_, std::io::Error>(Some(key.to_uppercase())) })
///     .build()?;
/// assert_eq!(scores.get("Tom").await?, "TOM");
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
///
/// # Its runtime
///
/// Loads and connections to peers live on one tokio runtime: the one that the
/// [builder](NodeBuilder::runtime) was given, else the one that the node is built in, else the one of
/// the first get that misses. Gets may come from any runtime, and from outside of all: they only
/// wait. So a caller whose own runtime ends takes nothing along that others wait for.
///
/// The runtime must have its timer, and for peers over a network its I/O, switched on. And it must
/// run. When it is shut down, the node moves to the runtime of the next caller, and gets that waited
/// start anew. So it does when the runtime shows no sign of life for five seconds while somebody
/// elsewhere waits: a current-thread runtime that nobody drives any more, or one that a loader has
/// blocked for so long. What was under way there may then run beside a second load of its key.
///
/// A thread watches the runtime while somebody waits who is not in one of its tasks. A thread of
/// `spawn_blocking` counts as one of its tasks: a get that blocks there waits for as long as nobody
/// drives the runtime.
#[derive(Clone)]
pub struct Node {
    registry: Registry,
    peers: Arc<Peers>,
}

impl Node {
    /// Returns a node without peers, which owns every key.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder, for a node that has peers or a runtime of its own.
    #[must_use]
    pub fn builder() -> NodeBuilder {
        NodeBuilder { peers: Peers::none(), runtime: None, rates: Rates::default() }
    }

    /// Starts a new group of this node. It is part of the node once it is built.
    pub fn group(&self, name: impl Into<String>) -> GroupBuilder {
        GroupBuilder::new(self.registry.clone(), Arc::clone(&self.peers), name.into())
    }

    /// Returns the group of that name, if the node has it. Costs one look-up in a map, and no lock.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Group> {
        self.registry.find(name).cloned()
    }

    /// Returns the groups of this node, in order of their names.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        self.registry.all()
    }

    /// Says that this node is about to end: [`is_ready`](Self::is_ready) returns `false` from now on, for
    /// good. All else goes on: gets here, those of peers, and what they remove and look for.
    ///
    /// A node that drains before it ends costs nobody a load and no get an error. On a signal to end,
    /// say so, have the others take the node off their lists, go on for some seconds, in which the new
    /// owners of its keys fetch from here what they are asked for, and only then stop to listen.
    /// [`drain_for`](Self::drain_for) is the first half of that in one line.
    pub fn drain(&self) {
        self.peers.is_draining.store(true, Ordering::Release);
    }

    /// Drains the node for as long as it takes others to notice: says that it is not ready, and waits.
    ///
    /// Made for the shutdown of a server, be it that of `HttpPool::serve` or of one of yours with
    /// `axum::serve`:
    ///
    /// ```no_run
    /// # #[cfg(feature = "http")]
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// # async fn sigterm() {}
    /// use std::time::Duration;
    ///
    /// # let (listener, pool) = (tokio::net::TcpListener::bind("127.0.0.1:0").await?, carrotcache::HttpPool::builder("http://10.0.0.1:8001").build()?);
    /// # let node = carrotcache::Node::builder().peers(pool.clone()).build();
    /// let drained = {
    ///     let node = node.clone();
    ///     async move {
    ///         sigterm().await;
    ///         node.drain_for(Duration::from_secs(10)).await;
    ///     }
    /// };
    /// pool.serve(listener, node, drained).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the node still drains.
    pub async fn drain_for(&self, time: Duration) {
        self.drain();
        tokio::time::sleep(time).await;
    }

    /// Returns whether the node may be sent requests by whoever chooses among nodes: not once it
    /// [drains](Self::drain). What a readiness probe asks.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.peers.is_draining.load(Ordering::Acquire)
    }

    /// Answers a peer: at once from main or hot, else by a load here. It never asks a further peer.
    ///
    /// This is what a transport's server calls for each request that it receives, through
    /// [`Handler`] or directly. The reply is a future; it may be dropped at any time, and a load that
    /// it started goes on and is cached. It does not watch the request's deadline: who waits for the
    /// reply does.
    ///
    /// The error of the reply is the verdict of this node's loader, or why the request cannot be
    /// answered here.
    #[must_use = "a reply does nothing unless it is awaited"]
    pub fn answer(&self, request: Request) -> Reply {
        match self.registry.find(&request.group) {
            Some(group) => group.answer(request),
            None => Reply::ready(Err(PeerErrorKind::NoSuchGroup.into())),
        }
    }
}

impl Handler for Node {
    fn answer(&self, request: Request) -> Reply {
        Node::answer(self, request)
    }

    /// Answers peers as [`answer`](Self::answer) does, but that the loads begin at once, and are one for
    /// all keys if their group has a [bulk loader](crate::BulkLoader). Each reply has its own key to
    /// wait for.
    fn answer_many(&self, requests: Vec<Request>) -> Vec<Reply> {
        match requests.first().and_then(|first| self.registry.find(&first.group)) {
            Some(group) if requests.iter().all(|request| *request.group == *group.name()) => {
                group.answer_many(requests)
            }
            _ => requests.into_iter().map(|request| self.answer(request)).collect(),
        }
    }

    /// Forgets what a peer says is removed; see [`Group::remove`].
    fn purge(&self, purge: Purge) -> Reply<Purged> {
        match self.registry.find(&purge.group) {
            Some(group) => group.purge_for(purge),
            None => Reply::ready(Err(PeerErrorKind::NoSuchGroup.into())),
        }
    }

    /// Returns the value that main or hot has, as [`answer`](Self::answer) would, and counts it as
    /// that does. `None`, which counts as nothing, if there is none, or no such group or key can be:
    /// `answer` then says why.
    ///
    /// It allocates nothing, and takes no lock but that of the key's part of the cache.
    fn at_hand(&self, group: &str, key: &str) -> Option<Answer> {
        self.registry.find(group)?.at_hand(key)
    }

    /// Returns the fresh value that main or hot has, unless the key is being removed. It counts as
    /// nothing, neither as a get nor as a use of the entry.
    fn look(&self, group: &str, key: &str) -> Option<Answer> {
        self.registry.find(group)?.show(key)
    }
}

impl Default for Node {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("groups", &self.groups()).finish_non_exhaustive()
    }
}

/// Builds a [`Node`].
pub struct NodeBuilder {
    peers: Peers,
    runtime: Option<Handle>,
    rates: Rates,
}

impl NodeBuilder {
    /// Sets the transport that knows the peers: an `HttpPool`, or one of your own.
    #[must_use]
    pub fn peers(mut self, picker: impl Picker) -> Self {
        self.peers.picker = Arc::new(picker);
        self
    }

    /// Sets how long an owner may show no sign that it is at it before the value is had elsewhere; 5
    /// seconds unless set.
    ///
    /// An owner that says that it is loading is waited for as long as a load may take, which the
    /// group's [`load_timeout`](GroupBuilder::load_timeout) says, and this long on top for its answer
    /// to arrive. So a key that takes longer to load than this is still loaded by its owner alone. A
    /// transport that carries no such sign, as plain HTTP and `peer_fn`, takes an owner for dead that
    /// has not answered by then.
    ///
    /// Both limits go to the transport with each [`Request`], and what is left of them to the owner.
    #[must_use]
    pub fn peer_timeout(mut self, timeout: Duration) -> Self {
        self.peers.timeout = timeout;
        self
    }

    /// Sets the tokio runtime on which loads run and connections to peers live; the one that
    /// [`build`](Self::build) is called in unless set.
    #[must_use]
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Bounds how many loads this node runs of keys that are another node's to load: neither does it own
    /// them, nor is it the first to stand in for their owner. Unless set, as many as 20 % of the gets
    /// that miss here, and 10 a second on top.
    ///
    /// When an owner cannot be asked, the next node on the ring [stands in](Picker::next) for it, and
    /// loads its keys without such a bound. When that one cannot be asked either, each of the others
    /// loads for itself. A database that suddenly had all those loads to bear would fail next, so there
    /// may be few of them. What they do not use up is saved, up to ten seconds' worth (as in Finagle's
    /// retry budget). With zero for both there are none.
    ///
    /// A get beyond that has what is stale, within
    /// [`stale_if_error`](GroupBuilder::stale_if_error), or else ends at once in
    /// [`GetError::Overloaded`](crate::GetError::Overloaded). A call of the
    /// [bulk loader](crate::BulkLoader) is one load.
    ///
    /// A transport that names no stand-ins, as `next` does unless it is written, has all nodes load what
    /// its owner cannot be asked for, and none of this applies.
    #[must_use]
    pub fn loads_for_others(mut self, percent_of_misses: u32, per_second: u32) -> Self {
        self.rates = Rates { percent: percent_of_misses, per_second };
        self
    }

    /// Sets the clock by which entries expire, for tests that move it by hand: it tells the time since
    /// some moment, always the same, and never goes back. That of the system unless set, which goes on
    /// evenly whatever becomes of the clock of the day.
    ///
    /// All that a node waits for by itself goes by it, too: peers that have missed a remove are told
    /// again, keys that a dead remover has closed are kept again, and looks and budgets are taken up
    /// again, when it goes on.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use std::time::Duration;
    ///
    /// use carrotcache::Node;
    ///
    /// let seconds = Arc::new(AtomicU64::new(0));
    /// let clock = Arc::clone(&seconds);
    /// let node = Node::builder()
    ///     .clock(move || Duration::from_secs(clock.load(Ordering::Relaxed)))
    ///     .build();
    /// # let loader = |key: String| async move { Ok::<_, std::io::Error>(Some(key)) };
    /// let minute = Duration::from_secs(60);
    /// let pages = node.group("pages").time_to_live(minute).loader(loader).build()?;
    /// pages.get("home").await?;
    /// assert!(pages.get_cached("home").is_some());
    /// seconds.store(60, Ordering::Relaxed);
    /// assert!(pages.get_cached("home").is_none());
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.peers.clock = Arc::new(Clock::given(clock));
        self.peers.debts = Debts::new(Arc::clone(&self.peers.clock));
        self.peers.looks = Looks::new(Arc::clone(&self.peers.clock));
        self
    }

    /// Breaks rules of removal, for tests that show what each is there for.
    #[cfg(test)]
    pub(crate) fn rules(mut self, rules: crate::rules::Rules) -> Self {
        self.peers.rules = rules;
        self
    }

    /// Returns the node.
    #[must_use]
    pub fn build(self) -> Node {
        let Self { mut peers, runtime, rates } = self;
        peers.load_budget = LoadBudget::new(rates, peers.clock.now());
        peers.runtime = Runtime::new(runtime.or_else(|| Handle::try_current().ok()));
        Node { registry: Registry::default(), peers: Arc::new(peers) }
    }
}

impl std::fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeBuilder")
            .field("peer_timeout", &self.peers.timeout)
            .finish_non_exhaustive()
    }
}
