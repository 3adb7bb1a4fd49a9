//! Peers and handlers made of async functions, on tokio.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::entry::Answer;
use crate::error::{PeerError, PeerErrorKind};
use crate::handler::{Handler, Reply};
use crate::peer::{Completion, Peer};
use crate::request::Request;

/// Returns a peer that is asked by an async function.
///
/// Each call runs in a task of its own on the runtime that asks. Nothing shows whether it is at work
/// or hangs, so it is dropped when [`Request::answer_by`] says. A function that panics leaves an
/// error of kind [`Dropped`](PeerErrorKind::Dropped).
///
/// The [crate's page](crate) has an example.
pub fn peer_fn<F, Fut>(label: impl Into<Arc<str>>, ask: F) -> PeerFn<F>
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Answer, PeerError>> + Send + 'static,
{
    PeerFn { label: label.into(), ask: Arc::new(ask) }
}

/// A peer that is asked by an async function; from [`peer_fn`].
pub struct PeerFn<F> {
    label: Arc<str>,
    ask: Arc<F>,
}

impl<F> Clone for PeerFn<F> {
    fn clone(&self) -> Self {
        Self { label: Arc::clone(&self.label), ask: Arc::clone(&self.ask) }
    }
}

impl<F, Fut> Peer for PeerFn<F>
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Answer, PeerError>> + Send + 'static,
{
    fn label(&self) -> &str {
        &self.label
    }

    fn ask(&self, request: Request, completion: Completion) {
        let Ok(runtime) = Handle::try_current() else {
            let error = PeerError::new(PeerErrorKind::Runtime);
            return completion.tell(Err(error.with_source("no tokio runtime is running here")));
        };
        let deadline = Instant::from_std(request.answer_by(Instant::now().into_std()));
        let ask = Arc::clone(&self.ask);
        runtime.spawn(async move {
            // Called here, where its panic is the task's too.
            let answer = timeout_at(deadline, ask(request)).await;
            completion.tell(answer.unwrap_or(Err(PeerErrorKind::TimedOut.into())));
        });
    }
}

impl<F> fmt::Debug for PeerFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerFn").field("label", &self.label).finish_non_exhaustive()
    }
}

/// Returns a handler that answers by an async function.
///
/// The [crate's page](crate) has an example.
pub fn handler_fn<F, Fut>(answer: F) -> HandlerFn<F>
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Answer, PeerError>> + Send + 'static,
{
    HandlerFn { answer }
}

/// A handler that answers by an async function; from [`handler_fn`].
#[derive(Clone)]
pub struct HandlerFn<F> {
    answer: F,
}

impl<F, Fut> Handler for HandlerFn<F>
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Answer, PeerError>> + Send + 'static,
{
    fn answer(&self, request: Request) -> Reply {
        Reply::pending((self.answer)(request))
    }
}

impl<F> fmt::Debug for HandlerFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerFn").finish_non_exhaustive()
    }
}

/// Asks `peer`, and waits for what its completion is told.
///
/// For whoever asks by hand; a cache lets the completion end a flight instead.
///
/// # Errors
///
/// A [`PeerError`] that names the peer.
///
/// # Cancel safety
///
/// May be dropped at any time. The peer is asked all the same, and its answer dropped.
pub async fn ask(peer: &dyn Peer, request: Request) -> Result<Answer, PeerError> {
    let (tell, told) = oneshot::channel();
    // Fails when this future was dropped: nobody wants the answer.
    peer.ask(request, Completion::new(|answer| drop(tell.send(answer))));
    let answer = told.await.unwrap_or(Err(PeerErrorKind::Dropped.into()));
    answer.map_err(|error| error.at(peer.label()))
}
