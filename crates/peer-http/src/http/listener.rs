//! Accepts the connections of peers, and ends in good order.
//!
//! An [`Acceptor`] brings connections, a [`Server`] runs a task for each. Whoever serves inside
//! another HTTP server needs only the service, and none of this.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use carrotcache_peer::Handler;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::config::Config;
use crate::error::ServeError;
use crate::http::service::PeerService;
use crate::pool::HttpPool;

impl HttpPool {
    /// Returns a service that answers peers with what `handler` says, for use in any HTTP server.
    ///
    /// Of the pool's settings it takes those about requests: the base path, the longest key and
    /// group, and the longest time left. Timeouts and limits of connections are the server's.
    pub fn service<H: Handler>(&self, handler: H) -> PeerService<H> {
        PeerService::new(handler, Arc::clone(self.config()))
    }

    /// Answers peers that connect to `listener` until `shutdown` ends.
    ///
    /// Then no more connections are accepted, those that carry no request are closed, and requests
    /// under way are answered, within the pool's drain timeout.
    ///
    /// A connection whose head of a request does not come within the header read timeout is
    /// closed. When the process has no file descriptor left, accepting waits and goes on. A panic
    /// in the handler ends the connection that it was asked over, and nothing else.
    ///
    /// The future does not borrow the pool, so that it can be spawned.
    ///
    /// ```no_run
    /// # use carrotcache_peer_http::{HttpPool, peer::Handler};
    /// # async fn run(handler: impl Handler) -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = HttpPool::builder("http://10.0.0.1:8001").build()?;
    /// let listener = tokio::net::TcpListener::bind("10.0.0.1:8001").await?;
    /// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    /// let serving = tokio::spawn(pool.serve(listener, handler, async { drop(stopped.await) }));
    ///
    /// // Later: no new connections, and an answer for whoever has asked.
    /// drop(stop);
    /// serving.await??;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ServeError::DrainTimedOut`] if connections had to be cut at the end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the listener and cuts all connections.
    pub fn serve<H: Handler, S>(
        &self,
        listener: TcpListener,
        handler: H,
        shutdown: S,
    ) -> impl Future<Output = Result<(), ServeError>> + Send + use<H, S>
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let server = Server::new(self.config(), self.service(handler));
        let acceptor = Acceptor::new(listener, self.config().max_accepted);
        server.run(acceptor, shutdown)
    }
}

/// Serves the connections that an [`Acceptor`] brings.
struct Server<H> {
    service: PeerService<H>,
    /// The bounds of each connection.
    http: http1::Builder,
    /// A task for each connection. Dropping the set ends them.
    connections: JoinSet<()>,
    /// Tells the connections that the shutdown has begun.
    shutdown: watch::Sender<bool>,
    drain_timeout: Duration,
}

/// What the head of a request may have beside the names: a method and headers.
const MAX_BARE_HEAD_BYTES: usize = 16 << 10;

impl<H: Handler> Server<H> {
    /// Returns a server that keeps to the bounds of `config`.
    fn new(config: &Config, service: PeerService<H>) -> Self {
        let mut http = http1::Builder::new();
        let head_bytes = config.max_names_bytes().saturating_add(MAX_BARE_HEAD_BYTES);
        // Without a timer hyper would ignore the timeout.
        http.timer(TokioTimer::new())
            .header_read_timeout(config.header_read_timeout)
            .max_header_size(head_bytes)
            .max_buf_size(head_bytes);
        Self {
            service,
            http,
            connections: JoinSet::new(),
            shutdown: watch::Sender::new(false),
            drain_timeout: config.drain_timeout,
        }
    }

    /// Serves until `shutdown` ends, and drains.
    ///
    /// # Cancel safety
    ///
    /// Dropping it cuts all connections.
    async fn run(
        mut self,
        mut acceptor: Acceptor,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                (stream, slot) = acceptor.accept() => self.spawn(stream, slot),
                Some(_) = self.connections.join_next() => {}
            }
        }
        // Closed first, so that peers find nobody here instead of waiting in its queue.
        drop(acceptor);
        self.drain().await
    }

    /// Serves a connection in a task of its own, which holds its slot until the end.
    fn spawn(&mut self, stream: TcpStream, slot: OwnedSemaphorePermit) {
        let connection = self.http.serve_connection(TokioIo::new(stream), self.service.clone());
        let mut shutdown = self.shutdown.subscribe();
        self.connections.spawn(async move {
            let _slot = slot;
            let mut connection = pin!(connection);
            let served = tokio::select! {
                biased;
                served = connection.as_mut() => served,
                _ = shutdown.changed() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = served {
                tracing::debug!(%error, "connection of a peer ended early");
            }
        });
    }

    /// Lets the connections finish what they are at, and cuts those that take too long.
    ///
    /// # Cancel safety
    ///
    /// Dropping it cuts all connections.
    async fn drain(mut self) -> Result<(), ServeError> {
        self.shutdown.send_replace(true);
        let drained = timeout(self.drain_timeout, async {
            while self.connections.join_next().await.is_some() {}
        });
        if drained.await.is_ok() {
            return Ok(());
        }
        let connections = self.connections.len();
        self.connections.shutdown().await;
        Err(ServeError::DrainTimedOut { connections, after: self.drain_timeout })
    }
}

/// Accepts connections, as many at one moment as there are slots.
struct Acceptor {
    listener: TcpListener,
    /// One permit for each connection that may still be accepted.
    slots: Arc<Semaphore>,
    /// How long the next wait is when accepting fails.
    pause: Duration,
}

/// How long to wait when accepting fails: as Go's `net/http` does, twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Acceptor {
    /// Returns an acceptor with `max_accepted` slots.
    fn new(listener: TcpListener, max_accepted: usize) -> Self {
        let slots = Arc::new(Semaphore::new(max_accepted.min(Semaphore::MAX_PERMITS)));
        Self { listener, slots, pause: FIRST_PAUSE }
    }

    /// Returns the next connection and its slot.
    ///
    /// # Cancel safety
    ///
    /// No connection is lost: one that was not returned is still in the queue. A wait after a
    /// failure ends early, which is harmless: the caller drops this when a connection has ended,
    /// and then a descriptor may be free.
    async fn accept(&mut self) -> (TcpStream, OwnedSemaphorePermit) {
        let slots = Arc::clone(&self.slots);
        let slot = slots.acquire_owned().await.expect("the semaphore is never closed");
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    self.pause = FIRST_PAUSE;
                    // An answer is one write, which must not wait for an acknowledgement. If the
                    // peer is gone already, serving it will find out.
                    let _ = stream.set_nodelay(true);
                    return (stream, slot);
                }
                Err(error) if concerns_one_connection(&error) => {}
                // Most likely no descriptor is left. The connection stays in the queue, so that
                // asking again at once would fail at once, for as long as it lasts.
                Err(error) => {
                    tracing::warn!(%error, pause = ?self.pause, "cannot accept peers, waiting");
                    let pause = self.pause;
                    self.pause = LONGEST_PAUSE.min(pause * 2);
                    sleep(pause).await;
                }
            }
        }
    }
}

/// Returns whether the error is that of a connection which ended before it was accepted.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
