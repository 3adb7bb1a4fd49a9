//! The seam between a node and the transport that links it to its peers.
//!
//! A transport says who owns a key ([`PeerPicker`]), asks an owner ([`PeerClient`]), and on the
//! owner's side hands what it receives to [`Node::answer`](crate::Node::answer). HTTP is one such
//! transport; the example `custom_transport` is another, over channels.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use carrotcache_byteview::ByteView;
use futures_util::future::{BoxFuture, FutureExt};
use thiserror::Error;

use crate::error::BoxError;

/// Says which node owns a key.
///
/// All nodes should agree on it. Where they do not, as while a deployment rolls, nothing breaks: a
/// key is loaded by more than one of them, and no request crosses more than one hop.
///
/// A picker for nodes of one process, which know each other by reference:
///
/// ```
/// use carrotcache::{Node, Owner, PeerAnswer, PeerClient, PeerError, PeerPicker, PeerRequest};
///
/// /// Everything belongs to one node.
/// struct Everything(Node);
///
/// #[derive(Clone)]
/// struct Direct(Node);
///
/// impl PeerPicker for Everything {
///     type Client = Direct;
///
///     fn pick(&self, _key: &str) -> Owner<Direct> {
///         Owner::Remote(Direct(self.0.clone()))
///     }
/// }
///
/// impl PeerClient for Direct {
///     fn label(&self) -> &str {
///         "the owner"
///     }
///
///     async fn get(&self, request: PeerRequest) -> Result<PeerAnswer, PeerError> {
///         self.0.answer(request).await
///     }
/// }
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let loader = |key: String| async move { Ok::<_, std::io::Error>(Some(key)) };
/// let owner = Node::new();
/// owner.group("scores").loader(loader).build()?;
///
/// let asker = Node::builder().peers(Everything(owner.clone())).build();
/// let scores = asker.group("scores").loader(loader).build()?;
/// scores.get("Tom").await?;
/// assert_eq!(scores.stats().peer_loads, 1);
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub trait PeerPicker: Send + Sync + 'static {
    /// How this transport asks a peer.
    type Client: PeerClient;

    /// Returns the owner of `key`: this node, or a peer to ask.
    ///
    /// Called once per miss, never on a hit. It must not block.
    fn pick(&self, key: &str) -> Owner<Self::Client>;
}

/// The node to which a key belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner<C> {
    /// This node.
    Local,
    /// A peer, and the way to ask it.
    Remote(C),
}

/// Asks one peer for values that it owns.
pub trait PeerClient: Send + Sync + 'static {
    /// A name for the peer, as logs show it.
    fn label(&self) -> &str;

    /// Asks the peer for a value.
    ///
    /// # Errors
    ///
    /// The owner's verdict, or why it could not be asked: see [`PeerError::is_verdict`]. After a
    /// verdict the asking node asks nobody else; after any other error it loads the value by
    /// itself.
    ///
    /// # Cancel safety
    ///
    /// The node drops the future when [`PeerRequest::time_left`] has passed.
    fn get(
        &self,
        request: PeerRequest,
    ) -> impl Future<Output = Result<PeerAnswer, PeerError>> + Send;
}

/// What one node asks another.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerRequest {
    /// Name of the group.
    pub group: Arc<str>,
    /// The key.
    pub key: Arc<str>,
    /// How long the asker is going to wait, if it said so. Relative, so that clocks need not agree.
    pub time_left: Option<Duration>,
}

impl PeerRequest {
    /// Returns a request for `key` of `group` that waits as long as it takes.
    pub fn new(group: impl Into<Arc<str>>, key: impl Into<Arc<str>>) -> Self {
        Self { group: group.into(), key: key.into(), time_left: None }
    }

    /// Bounds the time that the asker is going to wait.
    #[must_use]
    pub fn with_time_left(mut self, time_left: impl Into<Option<Duration>>) -> Self {
        self.time_left = time_left.into();
        self
    }
}

/// What an owner answers.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PeerAnswer {
    /// The value.
    pub value: ByteView,
}

impl PeerAnswer {
    /// Returns an answer that carries `value`.
    pub fn new(value: impl Into<ByteView>) -> Self {
        Self { value: value.into() }
    }
}

/// Why a peer's answer is not a value.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PeerError {
    /// Verdict: the owner's loader says that there is no such thing.
    #[error("the owner has no such key")]
    NotFound,

    /// Verdict: the owner's loader failed.
    #[error("the owner's loader failed: {message}")]
    LoadFailed {
        /// What the owner tells of it.
        message: String,
    },

    /// The peer has no group of that name.
    #[error("the peer has no group `{group}`")]
    NoSuchGroup {
        /// The name that was asked for.
        group: String,
    },

    /// The peer is too busy, or about to stop.
    #[error("the peer cannot take the request: {reason}")]
    Overloaded {
        /// What the peer tells of it.
        reason: String,
    },

    /// The time that the asker had was over before the answer was there.
    #[error("no answer within {after:?}")]
    TimedOut {
        /// How long was waited.
        after: Duration,
    },

    /// The peer does not take such a key.
    #[error("the peer refuses the request: {reason}")]
    Invalid {
        /// What the peer tells of it.
        reason: String,
    },

    /// The peer could not be reached, or what came back made no sense.
    #[error("the peer could not be asked")]
    Unreachable {
        /// What the transport tells of it.
        #[source]
        source: BoxError,
    },
}

impl PeerError {
    /// Returns `true` if the owner was asked and this is its answer, which is final.
    ///
    /// Every other error says that the owner could not be asked.
    #[must_use]
    pub fn is_verdict(&self) -> bool {
        matches!(self, Self::NotFound | Self::LoadFailed { .. })
    }
}

/// The client of a transport that has no peers: it cannot be made, so it is never asked.
impl PeerClient for Infallible {
    fn label(&self) -> &str {
        match *self {}
    }

    async fn get(&self, _request: PeerRequest) -> Result<PeerAnswer, PeerError> {
        match *self {}
    }
}

/// The picker of a node that has no peers.
pub(crate) struct Alone;

impl PeerPicker for Alone {
    type Client = Infallible;

    fn pick(&self, _key: &str) -> Owner<Infallible> {
        Owner::Local
    }
}

/// A [`PeerPicker`] of any type, so that `Group` need not be generic.
pub(crate) trait ErasedPicker: Send + Sync {
    fn pick(&self, key: &str) -> Owner<Box<dyn ErasedClient>>;
}

impl<P: PeerPicker> ErasedPicker for P {
    fn pick(&self, key: &str) -> Owner<Box<dyn ErasedClient>> {
        match PeerPicker::pick(self, key) {
            Owner::Local => Owner::Local,
            Owner::Remote(client) => Owner::Remote(Box::new(client)),
        }
    }
}

/// A [`PeerClient`] of any type.
pub(crate) trait ErasedClient: Send + Sync {
    fn label(&self) -> &str;
    fn get(&self, request: PeerRequest) -> BoxFuture<'_, Result<PeerAnswer, PeerError>>;
}

impl<C: PeerClient> ErasedClient for C {
    fn label(&self) -> &str {
        PeerClient::label(self)
    }

    fn get(&self, request: PeerRequest) -> BoxFuture<'_, Result<PeerAnswer, PeerError>> {
        PeerClient::get(self, request).boxed()
    }
}
