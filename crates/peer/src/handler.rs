//! The answering side of a transport.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::entry::Answer;
use crate::error::{PeerError, PeerErrorKind};
use crate::purge::{Purge, Purged};
use crate::request::Request;

/// Answers what peers ask: a cache, usually.
///
/// A transport calls it for each request that it receives. `handler_fn` makes one of an async
/// function.
///
/// ```
/// use carrotcache_peer::{Answer, Handler, PeerErrorKind, Reply, Request};
///
/// /// Knows the length of every key.
/// struct Lengths;
///
/// impl Handler for Lengths {
///     fn answer(&self, request: Request) -> Reply {
///         match &*request.group {
///             "lengths" => Reply::ready(Ok(Answer::new(request.key.len().to_string()))),
///             _ => Reply::ready(Err(PeerErrorKind::NoSuchGroup.into())),
///         }
///     }
/// }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Returns the answer to a request: at once if the value is at hand, else by a future.
    ///
    /// Called on the task that reads the requests of a connection, so it must not block. It must not
    /// ask another peer either: a request crosses at most one hop, or two nodes that disagree about
    /// an owner would wait for each other.
    ///
    /// The transport waits no longer than until [`Request::deadline`] and then drops the future. Work
    /// that others need is best done in a task.
    fn answer(&self, request: Request) -> Reply;

    /// Returns the answer for `key` of `group` if it is at hand, such as a cached value. `None` unless
    /// overridden.
    ///
    /// A transport that has names it need not copy asks this first, and [`answer`](Self::answer) when
    /// there is none. One that does not ask it loses time, and nothing else. It must not block, and
    /// is best without an allocation. A handler that counts its requests counts here only those that
    /// it answers here: the others come again.
    fn at_hand(&self, group: &str, key: &str) -> Option<Answer> {
        let _ = (group, key);
        None
    }

    /// Returns the answer for `key` of `group` from what is cached here, for a peer that owns the key now
    /// and has not loaded it yet. `None` unless overridden, and whenever a value may be about to be
    /// removed.
    ///
    /// It must neither load nor block.
    fn look(&self, group: &str, key: &str) -> Option<Answer> {
        let _ = (group, key);
        None
    }

    /// Returns the answers to requests that came together, in their order; one by one unless
    /// overridden.
    ///
    /// They are of one group, and were not [at hand](Self::at_hand). A handler that can fetch many
    /// values at once overrides it.
    fn answer_many(&self, requests: Vec<Request>) -> Vec<Reply> {
        requests.into_iter().map(|request| self.answer(request)).collect()
    }

    /// Forgets what a peer says is no longer so. Refused unless overridden.
    ///
    /// Called where [`answer`](Self::answer) is, and as that must not block. A transport that cannot
    /// tell who its peers are keeps strangers from calling it.
    fn purge(&self, purge: Purge) -> Reply<Purged> {
        let _ = purge;
        Reply::ready(Err(PeerErrorKind::BadRequest.into()))
    }
}

impl<H: Handler + ?Sized> Handler for Arc<H> {
    fn at_hand(&self, group: &str, key: &str) -> Option<Answer> {
        (**self).at_hand(group, key)
    }

    fn look(&self, group: &str, key: &str) -> Option<Answer> {
        (**self).look(group, key)
    }

    fn answer(&self, request: Request) -> Reply {
        (**self).answer(request)
    }

    fn answer_many(&self, requests: Vec<Request>) -> Vec<Reply> {
        (**self).answer_many(requests)
    }

    fn purge(&self, purge: Purge) -> Reply<Purged> {
        (**self).purge(purge)
    }
}

/// What a handler returns: an answer, or a future of one. `T` is what the answer tells.
///
/// It is itself a future, for whoever need not tell the two apart.
///
/// # Cancel safety
///
/// May be dropped at any time; what that means for the work behind it is the handler's to say.
pub enum Reply<T = Answer> {
    /// The answer was at hand.
    Ready(Result<T, PeerError>),
    /// The answer takes a while.
    Pending(Pin<Box<dyn Future<Output = Result<T, PeerError>> + Send>>),
}

impl<T: 'static> Reply<T> {
    /// Returns a reply that is there at once.
    #[must_use]
    pub fn ready(answer: Result<T, PeerError>) -> Self {
        Self::Ready(answer)
    }

    /// Returns a reply that `answer` brings.
    #[must_use]
    pub fn pending(answer: impl Future<Output = Result<T, PeerError>> + Send + 'static) -> Self {
        Self::Pending(Box::pin(answer))
    }
}

impl<T: Unpin + 'static> Future for Reply<T> {
    type Output = Result<T, PeerError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Self::Pending(answer) = &mut *self {
            return answer.as_mut().poll(cx);
        }
        // Polled again after its answer, it waits for ever, which a future may do.
        match std::mem::replace(&mut *self, Self::pending(std::future::pending())) {
            Self::Ready(answer) => Poll::Ready(answer),
            Self::Pending(_) => Poll::Pending,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(answer) => f.debug_tuple("Ready").field(answer).finish(),
            Self::Pending(_) => f.debug_tuple("Pending").finish_non_exhaustive(),
        }
    }
}
