//! The asking side of a transport.

use std::fmt;
use std::sync::Arc;

use crate::entry::Answer;
use crate::error::{PeerError, PeerErrorKind};
use crate::purge::{Member, Purge, Purged};
use crate::request::Request;

/// Says which node owns a key.
///
/// All nodes should agree on it. Where they do not, as while a deployment rolls, nothing breaks: a
/// key is loaded by more than one of them, and no request crosses more than one hop.
///
/// ```
/// use std::sync::Arc;
///
/// use carrotcache_peer::{Owner, Peer, Picker};
///
/// /// Two nodes: the other one owns what begins with a letter from the second half.
/// struct Halves(Arc<dyn Peer>);
///
/// impl Picker for Halves {
///     fn owner(&self, key: &str) -> Owner {
///         if key < "n" { Owner::Local } else { Owner::Remote(Arc::clone(&self.0)) }
///     }
///
///     fn peers(&self) -> Vec<Arc<dyn Peer>> {
///         vec![Arc::clone(&self.0)]
///     }
/// }
/// ```
pub trait Picker: Send + Sync + 'static {
    /// Returns the owner of `key`: this node, or a peer to ask.
    ///
    /// Called once a miss, never on a hit. It must not block; if it panics, so does the get.
    fn owner(&self, key: &str) -> Owner;

    /// Returns all peers, this node not among them, in no particular order.
    ///
    /// A peer that leaves, and is asked for no keys any more, is one of them until it has ended: what
    /// is removed has to be removed there too.
    fn peers(&self) -> Vec<Arc<dyn Peer>>;

    /// Returns who stands in for `key` when the peer labelled `failed` cannot be asked: the next in the
    /// order of the ring that may be asked with [`Request::is_for_stand_in`]. `None` if nobody may,
    /// which is what a picker says that knows no order.
    ///
    /// Asking again with the label of the answer walks on, until `None`.
    fn next(&self, key: &str, failed: &str) -> Option<Owner> {
        let _ = (key, failed);
        None
    }

    /// Returns the peer that owned `key` until the peers changed, or this node started, a short while
    /// ago: it may still have the value. `None` unless overridden, if it is this node or no peer any
    /// more, and once that is too long ago.
    fn former_owner(&self, key: &str) -> Option<Arc<dyn Peer>> {
        let _ = key;
        None
    }

    /// Returns how often the owners of keys have changed, or any other number that is another after each
    /// change. Whoever has found that looks at former owners bring nothing tries again after one. Zero
    /// unless overridden.
    fn changes(&self) -> u64 {
        0
    }

    /// Returns what this node is to its peers: the label by which they know it, and the number of its
    /// process. `None`, unless overridden, of a transport that carries no purges.
    fn this_node(&self) -> Option<Member> {
        None
    }

    /// Returns what the transport can carry. Without bounds unless overridden.
    fn limits(&self) -> Limits {
        Limits::default()
    }
}

/// What a transport can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The longest name of a group, in bytes.
    pub max_group_bytes: usize,
    /// The longest key, in bytes.
    pub max_key_bytes: usize,
}

impl Limits {
    /// Returns these bounds, in bytes.
    #[must_use]
    pub const fn new(max_group_bytes: usize, max_key_bytes: usize) -> Self {
        Self { max_group_bytes, max_key_bytes }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new(usize::MAX, usize::MAX)
    }
}

/// The node to which a key belongs.
#[derive(Clone)]
pub enum Owner {
    /// This node.
    Local,
    /// A peer, and the way to ask it.
    Remote(Arc<dyn Peer>),
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("Local"),
            Self::Remote(peer) => f.debug_tuple("Remote").field(&peer.label()).finish(),
        }
    }
}

/// One other node, and the way to ask it.
///
/// `peer_fn` makes one of an async function. What implements the trait by hand has a task or thread
/// of its own that reads the answers.
pub trait Peer: Send + Sync + 'static {
    /// What the peer is called: in logs, in errors, and by [`Picker::next`].
    fn label(&self) -> &str;

    /// Returns whether the transport has reason to think that the peer does not live, and tells the log
    /// itself of what comes of that. Whoever asked need not tell it too. `false` unless overridden.
    fn is_doubted(&self) -> bool {
        false
    }

    /// Sends `request`, and returns without waiting. `completion` is told what comes of it.
    ///
    /// Called within the tokio runtime that the asking node is bound to. It must not block. The
    /// transport tells the completion an error of kind [`TimedOut`](PeerErrorKind::TimedOut) if there
    /// is no answer at [`Request::deadline`], and if there is no sign of one for
    /// [`Request::max_silence`]. Whoever asked has no other clock. Nothing tells the transport that
    /// nobody wants the answer any more; it is kept all the same.
    fn ask(&self, request: Request, completion: Completion);

    /// Sends many requests at once, as [`ask`](Self::ask) sends one. One after the other unless
    /// overridden.
    ///
    /// The requests may be for several groups. Each is told its own answer, in whatever order these
    /// come.
    fn ask_many(&self, requests: Vec<(Request, Completion)>) {
        for (request, completion) in requests {
            self.ask(request, completion);
        }
    }

    /// Asks whether the peer has a value cached, and returns without waiting, as [`ask`](Self::ask) does.
    ///
    /// The peer answers by [`Handler::look`](crate::Handler::look). A value that is not cached there
    /// is an error of kind [`NotCached`](PeerErrorKind::NotCached), which every peer tells unless this is
    /// overridden.
    fn look(&self, request: Request, completion: Completion) {
        let _ = request;
        completion.tell(Err(PeerErrorKind::NotCached.into()));
    }

    /// Tells the peer to forget, and returns without waiting, as [`ask`](Self::ask) does.
    ///
    /// The transport tells the completion an error of kind [`TimedOut`](PeerErrorKind::TimedOut) at
    /// [`Purge::deadline`], and one of kind [`Plain`](PeerErrorKind::Plain) if the peer has answered
    /// and cannot be told, which is so of every peer unless this is overridden.
    fn purge(&self, purge: Purge, completion: Completion<Purged>) {
        let _ = purge;
        completion.tell(Err(PeerErrorKind::Plain.into()));
    }
}

/// Waits for one answer, and is told it once. `T` is what the answer tells.
///
/// One that is dropped untold tells an error of kind [`Dropped`](PeerErrorKind::Dropped): a transport
/// that panics or is shut down leaves nobody waiting.
///
/// ```
/// use std::sync::mpsc;
///
/// use carrotcache_peer::{Answer, Completion, PeerErrorKind};
///
/// let (told, answers) = mpsc::channel();
/// let completion = |told: &mpsc::Sender<_>| {
///     let told = told.clone();
///     Completion::new(move |answer| drop(told.send(answer)))
/// };
///
/// completion(&told).tell(Ok(Answer::new("630")));
/// assert_eq!(answers.recv()?.unwrap(), Answer::new("630"));
///
/// drop(completion(&told));
/// assert_eq!(answers.recv()?.unwrap_err().kind, PeerErrorKind::Dropped);
/// # Ok::<(), mpsc::RecvError>(())
/// ```
#[must_use = "a completion that is dropped tells an error"]
pub struct Completion<T = Answer> {
    /// `None` once it was told.
    tell: Option<Box<Tell<T>>>,
}

type Tell<T> = dyn FnOnce(Result<T, PeerError>) + Send;

impl<T> Completion<T> {
    /// Returns a completion that calls `tell` with the answer, in whatever task or thread has it.
    ///
    /// `tell` must neither block nor panic: it may run on the task that reads all answers of a
    /// connection.
    pub fn new(tell: impl FnOnce(Result<T, PeerError>) + Send + 'static) -> Self {
        Self { tell: Some(Box::new(tell)) }
    }

    /// Tells the answer, or why there is none.
    pub fn tell(mut self, answer: Result<T, PeerError>) {
        self.tell_once(answer);
    }

    fn tell_once(&mut self, answer: Result<T, PeerError>) {
        if let Some(tell) = self.tell.take() {
            tell(answer);
        }
    }
}

impl<T> Drop for Completion<T> {
    fn drop(&mut self) {
        if self.tell.is_some() {
            self.tell_once(Err(PeerErrorKind::Dropped.into()));
        }
    }
}

impl<T> fmt::Debug for Completion<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion").finish_non_exhaustive()
    }
}
