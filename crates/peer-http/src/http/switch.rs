//! A connection that goes on in frames: its peer asked for a link, and this node agreed.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use carrotcache_peer::{Handler, Request};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::config::Config;
use crate::http::caller::Caller;
use crate::http::unsent::Unsent;
use crate::link::owner::{Activity, NO_PURGES, Serving};
use crate::wire::upgrade;

/// What all services of a pool share.
pub(crate) struct Services {
    /// The room for answers over HTTP that are not sent yet.
    pub(crate) unsent: Unsent,
    /// How many links are served.
    links: AtomicU64,
    /// Whether the log tells of peers that may not purge. Each link of theirs would be too often.
    has_told: AtomicBool,
}

impl Services {
    /// Returns the room for so many bytes of answers that are not sent.
    pub(crate) fn new(max_unsent_bytes: u64) -> Self {
        Self {
            unsent: Unsent::new(max_unsent_bytes),
            links: AtomicU64::new(0),
            has_told: AtomicBool::new(false),
        }
    }

    /// Returns how many links are served.
    pub(crate) fn links(&self) -> u64 {
        self.links.load(Ordering::Relaxed)
    }
}

/// A connection that is about to become a link, once the server under it hands its socket over.
pub(crate) struct Switch<H> {
    upgrade: OnUpgrade,
    /// The get that asked for the link.
    first: Request,
    caller: Caller,
    handler: Arc<H>,
    config: Arc<Config>,
    services: Arc<Services>,
}

/// Returns whether a request asks for a link, and the server that received it might hand its socket
/// over. Whether it does shows only when it has sent the agreement: if not, it closes the connection,
/// and the peer asks over HTTP.
pub(crate) fn is_asked_for<B>(request: &hyper::Request<B>) -> bool {
    upgrade::is_in(request.headers()) && request.extensions().get::<OnUpgrade>().is_some()
}

impl<H: Handler> Switch<H> {
    /// Returns what becomes of the connection that `request` of `caller` came over, which asks for a
    /// link with the get `first`.
    pub(crate) fn new<B>(
        request: &mut hyper::Request<B>,
        first: Request,
        caller: Caller,
        handler: Arc<H>,
        config: Arc<Config>,
        services: Arc<Services>,
    ) -> Self {
        Self { upgrade: hyper::upgrade::on(request), first, caller, handler, config, services }
    }

    /// Serves the link in a task, for a server that does not care what becomes of its connections.
    /// It ends in good order when `service` is dropped.
    pub(crate) fn spawn(self, runtime: &Handle, mut service: watch::Receiver<()>) {
        runtime.spawn(async move {
            let drained = async move { while service.changed().await.is_ok() {} };
            if let Some((switch, upgraded)) = self.upgraded().await {
                // What is under the server's socket is its own affair.
                switch.serve(TokioIo::new(upgraded), &[], Activity::default(), drained).await;
            }
        });
    }

    /// Waits for the socket, which there may be none of: the peer has left, or the server hands none
    /// over.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connection.
    pub(crate) async fn upgraded(mut self) -> Option<(Self, Upgraded)> {
        match (&mut self.upgrade).await {
            Ok(upgraded) => Some((self, upgraded)),
            Err(error) => {
                tracing::debug!(%error, "a peer that asked for a link gets none");
                None
            }
        }
    }

    /// Serves the link over `io`, until it ends or `drained` does and what is under way is answered.
    /// `early` was read from it already.
    ///
    /// # Cancel safety
    ///
    /// Dropping it cuts the link.
    pub(crate) async fn serve<IO: AsyncRead + AsyncWrite + Unpin>(
        self,
        io: IO,
        early: &[u8],
        activity: Activity,
        drained: impl Future<Output = ()>,
    ) {
        let Self { first, caller, handler, config, services, .. } = self;
        let may_purge = caller.may_purge(&config);
        if !may_purge && !services.has_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(remote = ?caller.remote, "a peer may ask this node and not remove: {NO_PURGES}");
        }
        let _counted = Counted::new(&services.links);
        tracing::debug!("a link of a peer is open");
        let serving = Serving::new(io, early, Some(first), handler, config, activity, drained);
        let end = serving.with_purges(may_purge).await;
        tracing::debug!(%end, "a link of a peer has ended");
    }
}

/// One link more, until it is dropped.
struct Counted<'a>(&'a AtomicU64);

impl<'a> Counted<'a> {
    fn new(links: &'a AtomicU64) -> Self {
        links.fetch_add(1, Ordering::Relaxed);
        Self(links)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
