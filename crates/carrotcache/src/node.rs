//! This process's cache, with its groups.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use crate::builder::GroupBuilder;
use crate::error::BuildGroupError;
use crate::group::Group;
use crate::peer::{Alone, ErasedPicker, PeerAnswer, PeerError, PeerPicker, PeerRequest};

/// How long an owner may take to answer before the value is loaded here, unless configured.
const PEER_TIMEOUT: Duration = Duration::from_secs(5);

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
#[derive(Clone)]
pub struct Node {
    shared: Arc<Shared>,
}

struct Shared {
    groups: RwLock<BTreeMap<Arc<str>, Group>>,
    peers: Peers,
}

/// The peers of a node, as its groups ask them.
#[derive(Clone)]
pub(crate) struct Peers {
    pub(crate) picker: Arc<dyn ErasedPicker>,
    pub(crate) timeout: Duration,
}

impl Node {
    /// Returns a node without peers, which owns every key.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder, for a node that has peers.
    #[must_use]
    pub fn builder() -> NodeBuilder {
        NodeBuilder { peers: Peers { picker: Arc::new(Alone), timeout: PEER_TIMEOUT } }
    }

    /// Starts a new group of this node. It is part of the node once it is built.
    pub fn group(&self, name: impl Into<String>) -> GroupBuilder {
        GroupBuilder::new(self.clone(), name.into())
    }

    /// Returns the group of that name, if the node has it. Costs one look-up in a map.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Group> {
        self.groups_read().get(name).cloned()
    }

    /// Returns the groups of this node, in order of their names.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        self.groups_read().values().cloned().collect()
    }

    /// Answers a peer: from main, from hot, or by a load here. It never asks a further peer.
    ///
    /// This is what a transport's server calls for each request that it receives.
    ///
    /// # Errors
    ///
    /// The verdict of this node's loader, or why the request cannot be answered here.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. A load that it started goes on, and is cached.
    pub async fn answer(&self, request: PeerRequest) -> Result<PeerAnswer, PeerError> {
        match self.find(&request.group) {
            Some(group) => group.answer(&request.key, request.time_left).await,
            None => Err(PeerError::NoSuchGroup { group: request.group.to_string() }),
        }
    }

    pub(crate) fn peers(&self) -> &Peers {
        &self.shared.peers
    }

    /// Adds a group, unless its name is taken.
    pub(crate) fn adopt(&self, group: Group) -> Result<Group, BuildGroupError> {
        let mut groups = self.groups_write();
        if groups.contains_key(group.name()) {
            return Err(BuildGroupError::NameTaken { name: group.name().to_owned() });
        }
        groups.insert(group.shared_name(), group.clone());
        Ok(group)
    }

    // A panic cannot leave the map half changed, so a poisoned lock says nothing about it.
    fn groups_read(&self) -> RwLockReadGuard<'_, BTreeMap<Arc<str>, Group>> {
        self.shared.groups.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn groups_write(&self) -> RwLockWriteGuard<'_, BTreeMap<Arc<str>, Group>> {
        self.shared.groups.write().unwrap_or_else(PoisonError::into_inner)
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
}

impl NodeBuilder {
    /// Sets the transport that knows the peers: an `HttpPool`, or one of your own.
    #[must_use]
    pub fn peers(mut self, picker: impl PeerPicker) -> Self {
        self.peers.picker = Arc::new(picker);
        self
    }

    /// Sets how long an owner may take to answer before the value is loaded here; 5 seconds unless
    /// set.
    ///
    /// A transport may have shorter limits of its own. With peers, the runtime's timer must be on.
    #[must_use]
    pub fn peer_timeout(mut self, timeout: Duration) -> Self {
        self.peers.timeout = timeout;
        self
    }

    /// Returns the node.
    #[must_use]
    pub fn build(self) -> Node {
        Node {
            shared: Arc::new(Shared { groups: RwLock::new(BTreeMap::new()), peers: self.peers }),
        }
    }
}

impl std::fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeBuilder")
            .field("peer_timeout", &self.peers.timeout)
            .finish_non_exhaustive()
    }
}
