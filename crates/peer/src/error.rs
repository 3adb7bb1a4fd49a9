//! Why a peer's answer is not an entry.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// An error of any type, as it is handed over.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Why a peer gave no answer, in one type from the socket to the statistics.
///
/// It can be cloned, because all who wait for one answer share its error. The cause is the
/// [`source`](StdError::source), and not repeated in the text.
///
/// ```
/// use std::error::Error;
///
/// use carrotcache_peer::{PeerError, PeerErrorKind};
///
/// let error = PeerError::new(PeerErrorKind::Overloaded)
///     .at("http://10.0.0.2:8001")
///     .with_source("16,384 loads are waiting");
/// assert_eq!(error.to_string(), "peer http://10.0.0.2:8001 is overloaded");
/// assert_eq!(error.source().unwrap().to_string(), "16,384 loads are waiting");
/// assert!(!error.is_verdict());
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PeerError {
    /// The [label](crate::Peer::label) of the peer that was asked. `None` at the peer itself, which
    /// does not know what others call it: whoever asked fills it in.
    pub peer: Option<Arc<str>>,
    /// What went wrong.
    pub kind: PeerErrorKind,
    /// What the transport, or the peer, tells of it.
    pub source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What went wrong when a peer was asked.
///
/// Its text is the rest of a sentence that begins with the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum PeerErrorKind {
    /// The owner's loader failed. This is its verdict: it was asked, and asking elsewhere would only
    /// ask the database twice.
    #[error("failed to load the key")]
    LoadFailed,
    /// As many loads of the group run and wait at the owner as may. This is its verdict too: it keeps
    /// the database from more than it can bear, and asking that elsewhere would undo it.
    #[error("has too many loads waiting")]
    TooManyLoads,
    /// The peer failed to answer, and did not say that it was its loader that failed. A node of Go's
    /// groupcache says no more than that about its getter's error, and a proxy says it of anything.
    #[error("failed to answer")]
    Failed,
    /// The peer does not have the group. It may run another version, or still be starting.
    #[error("has no such group")]
    NoSuchGroup,
    /// The peer has too much to do, or is about to stop.
    #[error("is overloaded")]
    Overloaded,
    /// The answer was not there when the asker's time was over. A load may still go on at the owner,
    /// so the next request may find the value there.
    #[error("did not answer in time")]
    TimedOut,
    /// The peer cannot be told to forget anything: it speaks groupcache's HTTP and no more.
    #[error("cannot be told to forget a key")]
    Plain,
    /// The peer was asked only to look, and has no value of the key.
    #[error("has no value cached")]
    NotCached,
    /// The peer does not take such a request.
    #[error("does not take the request")]
    BadRequest,
    /// The peer did not answer of late, so it was not asked this time.
    #[error("is not asked for now, since it did not answer")]
    Ejected,
    /// The peer does not know this node for one of its own: it has another secret, or takes nothing of
    /// the kind from strangers.
    #[error("does not let this node in")]
    Unauthorized,
    /// No way to the peer was found: nobody listens there, or no place was free in time.
    #[error("cannot be reached")]
    Unreachable,
    /// The connection ended before the answer did, or before it began.
    #[error("cut its answer short")]
    Truncated,
    /// The answer is larger than is accepted here, or than there is room for beside the others that
    /// are under way. The rest of it was not read.
    #[error("sent an answer that is larger than is accepted")]
    TooLarge,
    /// The answer cannot be read.
    #[error("sent an answer that cannot be read")]
    Malformed,
    /// The answer is not one that a node gives: something else listens there, or stands in between.
    #[error("does not answer as a node of the cache does")]
    Foreign,
    /// The transport dropped the request without an answer: it panicked, or its runtime shut down.
    #[error("was not asked to the end: the transport dropped the request")]
    Dropped,
    /// The runtime that the peer was asked on lacks what that needs, for instance an I/O driver.
    #[error("cannot be asked on this runtime")]
    Runtime,
}

impl PeerError {
    /// Returns an error of this kind, of a peer that is not named yet.
    #[must_use]
    pub fn new(kind: PeerErrorKind) -> Self {
        Self { peer: None, kind, source: None }
    }

    /// Returns the error with the label of the peer, unless it names one already.
    #[must_use]
    pub fn at(mut self, label: impl Into<Arc<str>>) -> Self {
        self.peer.get_or_insert_with(|| label.into());
        self
    }

    /// Returns the error with its cause: an error, or a text.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// Returns whether the owner was asked and this is its answer, which is final.
    ///
    /// Every other error says that the owner could not be asked, so that the value is better had
    /// elsewhere.
    #[must_use]
    pub fn is_verdict(&self) -> bool {
        matches!(self.kind, PeerErrorKind::LoadFailed | PeerErrorKind::TooManyLoads)
    }

    /// Returns the cause, and the causes of the cause, as one line; empty if none is known.
    ///
    /// This is what goes over a wire, since the other side cannot walk the chain.
    ///
    /// ```
    /// use carrotcache_peer::{PeerError, PeerErrorKind};
    ///
    /// let error = PeerError::new(PeerErrorKind::LoadFailed).with_source("no disk");
    /// assert_eq!(error.causes(), "no disk");
    /// ```
    #[must_use]
    pub fn causes(&self) -> String {
        let mut line = String::new();
        let mut cause = self.source();
        while let Some(error) = cause {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }
}

impl From<PeerErrorKind> for PeerError {
    fn from(kind: PeerErrorKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.peer {
            Some(peer) => write!(f, "peer {peer} {}", self.kind),
            None => write!(f, "the peer {}", self.kind),
        }
    }
}

impl StdError for PeerError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
