//! Accepts the connections of peers, and ends in good order.
//!
//! An [`Acceptor`] brings connections, a [`Server`] runs a task for each. Whoever serves inside
//! another HTTP server needs only the service, and none of this.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use carrotcache_peer::Handler;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::config::Config;
use crate::error::ServeError;
use crate::http::caller::Caller;
use crate::http::guarded::Guarded;
use crate::http::places::{Place, Places};
use crate::http::service::PeerService;
use crate::http::socket::Socket;
use crate::http::stage::{Stage, Staged};
use crate::http::switch::Switch;
use crate::link::owner::Activity;
use crate::pool::HttpPool;

impl HttpPool {
    /// Returns a service that answers peers with what `handler` says, for use in any HTTP server.
    ///
    /// Of the pool's settings it takes those about requests: the base path, the longest key and
    /// group, the longest time left, and how many bytes of answers may be unsent. Timeouts and
    /// limits of connections are the server's.
    pub fn service<H: Handler>(&self, handler: H) -> PeerService<H> {
        PeerService::new(handler, Arc::clone(self.config()), Arc::clone(self.services()))
    }

    /// Answers peers that connect to `listener` until `shutdown` ends.
    ///
    /// Then no more connections are accepted, those that carry no request are closed, or only a
    /// part of its head, peers are asked to send no more over their links, and requests under way are
    /// answered, within the pool's drain timeout.
    ///
    /// In TLS, and nothing else, if the builder was given a `tls_server`.
    ///
    /// Each step of an exchange has its time: the head of a request, the handler, the answer. The
    /// methods of [`HttpPoolBuilder`](crate::HttpPoolBuilder) say how long. A peer may close its
    /// sending half when it has asked. When the process has no file descriptor left, accepting
    /// waits and goes on. A panic in the handler ends the connection that it was asked over, and
    /// nothing else.
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
        let server = Server::new(Arc::clone(self.config()), self.service(handler));
        let acceptor = Acceptor::new(listener, self.config().max_accepted);
        server.run(acceptor, shutdown)
    }
}

/// Serves the connections that an [`Acceptor`] brings.
struct Server<H> {
    service: PeerService<H>,
    config: Arc<Config>,
    /// How each connection speaks HTTP.
    http: http1::Builder,
    /// A task for each connection. Dropping the set ends them.
    connections: JoinSet<()>,
    /// Tells the connections that the shutdown has begun.
    shutdown: watch::Sender<bool>,
}

/// How many bytes of a link's answers the operating system keeps that are not sent yet.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MAX_UNSENT_BYTES: u32 = 128 << 10;

/// What the head of a request may have beside the names: a method and headers.
const MAX_BARE_HEAD_BYTES: usize = 16 << 10;

impl<H: Handler> Server<H> {
    /// Returns a server that keeps to the bounds of `config`.
    fn new(config: Arc<Config>, service: PeerService<H>) -> Self {
        let mut http = http1::Builder::new();
        let head_bytes = config.max_names_bytes().saturating_add(MAX_BARE_HEAD_BYTES);
        // Times are kept by the socket: hyper would count that of a head from the answer before.
        // The stages of a connection rely on `half_close`: without it hyper reads while a request
        // is answered, to find out whether the stream has ended.
        http.header_read_timeout(None)
            .half_close(true)
            .max_header_size(head_bytes)
            .max_buf_size(head_bytes);
        let (connections, shutdown) = (JoinSet::new(), watch::Sender::new(false));
        Self { service, config, http, connections, shutdown }
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
                (stream, place) = acceptor.accept() => self.spawn(stream, place),
                Some(_) = self.connections.join_next() => {}
            }
        }
        // Closed first, so that peers find nobody here instead of waiting in its queue.
        drop(acceptor);
        self.drain().await
    }

    /// Serves a connection in a task of its own, which holds its place until the end.
    fn spawn(&mut self, stream: TcpStream, place: Place) {
        let stage = Stage::new(place, &self.config);
        let accepted = Accepted {
            service: self.service.clone(),
            config: Arc::clone(&self.config),
            http: self.http.clone(),
            stage,
            shutdown: self.shutdown.subscribe(),
        };
        self.connections.spawn(accepted.serve(stream));
    }

    /// Lets the connections finish what they are at, and cuts those that take too long.
    ///
    /// # Cancel safety
    ///
    /// Dropping it cuts all connections.
    async fn drain(mut self) -> Result<(), ServeError> {
        self.shutdown.send_replace(true);
        let after = self.config.drain_timeout;
        let drained =
            timeout(after, async { while self.connections.join_next().await.is_some() {} });
        if drained.await.is_ok() {
            return Ok(());
        }
        let connections = self.connections.len();
        self.connections.shutdown().await;
        Err(ServeError::DrainTimedOut { connections, after })
    }
}

/// A connection that was accepted and has its place.
struct Accepted<H> {
    service: PeerService<H>,
    config: Arc<Config>,
    http: http1::Builder,
    stage: Arc<Stage>,
    shutdown: watch::Receiver<bool>,
}

impl<H: Handler> Accepted<H> {
    /// Serves the connection until it ends, has to make place, or the shutdown begins and what is under
    /// way is answered.
    ///
    /// # Cancel safety
    ///
    /// Dropping it cuts the connection.
    async fn serve(mut self, stream: TcpStream) {
        if let Some(switch) = self.serve_http(stream).await {
            serve_link(switch, &self.stage, self.shutdown).await;
        }
    }

    /// Serves the connection for as long as it is HTTP. Returns what it becomes, if it becomes a link.
    ///
    /// # Cancel safety
    ///
    /// As [`serve`](Self::serve).
    async fn serve_http(&mut self, stream: TcpStream) -> Option<Switch<H>> {
        let Self { service, config, http, stage, shutdown } = self;
        let remote = stream.peer_addr().ok();
        // One for all of it: whoever is told to leave during the handshake is not told again.
        let mut sent_away = pin!(stage.sent_away());
        let shaking = timeout_at(stage.until(), config.tls.accept(stream));
        let socket = tokio::select! {
            biased;
            shaken = shaking => accepted(shaken)?,
            _ = shutdown.changed() => return None,
            () = &mut sent_away => return None,
        };
        let caller = Caller { remote, is_certified: socket.is_certified() };
        let socket = Guarded::new(socket, Arc::clone(stage), config.write_timeout);
        let switch = Arc::default();
        let service = Staged::new(service.clone(), Arc::clone(stage), Arc::clone(&switch), caller);
        let connection = http.serve_connection(TokioIo::new(socket), service).with_upgrades();
        let mut connection = pin!(connection);
        // The connection first, so that a request which is there already is answered.
        let served = tokio::select! {
            biased;
            served = connection.as_mut() => served,
            _ = shutdown.changed() => {
                if !stage.is_exchanging() {
                    return None;
                }
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = &mut sent_away => return None,
        };
        if let Err(error) = served {
            tracing::debug!(%error, "connection of a peer ended early");
            return None;
        }
        take(&switch)
    }
}

/// Returns the socket of a peer that has shaken hands, where that is the custom; `None` if it did not, or
/// not in time.
fn accepted(shaken: Result<io::Result<Socket>, Elapsed>) -> Option<Socket> {
    match shaken.unwrap_or_else(|elapsed| Err(elapsed.into())) {
        Ok(socket) => Some(socket),
        Err(error) => {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::debug!(error, "a peer that connected shook no hands");
            None
        }
    }
}

/// Serves what a connection has become, until it ends, has to make place, or the shutdown begins and
/// what is under way is answered.
///
/// # Cancel safety
///
/// Dropping it cuts the link.
async fn serve_link<H: Handler>(
    switch: Switch<H>,
    stage: &Stage,
    mut shutdown: watch::Receiver<bool>,
) {
    let Some((switch, upgraded)) = switch.upgraded().await else { return };
    // The link has clocks of its own, and writes from the cache: it needs the socket itself.
    let Ok(parts) = upgraded.downcast::<TokioIo<Guarded>>() else { return };
    let stream = parts.io.into_inner().into_stream();
    limit_unsent(stream.tcp());
    let activity = Activity::default();
    let drained = async {
        tokio::select! {
            // Fails when the server is gone.
            _ = shutdown.wait_for(|has_begun| *has_begun) => {}
            () = stage.link_sent_away(&activity) => {}
        }
    };
    switch.serve(stream, &parts.read_buf, activity.clone(), drained).await;
}

/// Lets the operating system keep no more that is not sent than it takes to be busy. What it has can be
/// overtaken by nothing, and small answers are to overtake large ones.
fn limit_unsent(stream: &TcpStream) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    // Where it is not taken, small answers wait for longer, and all else is the same.
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(MAX_UNSENT_BYTES);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = stream;
}

/// Takes what becomes of a connection, if it becomes a link.
fn take<H>(switch: &Mutex<Option<Switch<H>>>) -> Option<Switch<H>> {
    switch.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Accepts connections, as many at one moment as there are places.
struct Acceptor {
    listener: TcpListener,
    places: Arc<Places>,
    /// A connection that is accepted and has no place yet. It has to be there before another is
    /// told to leave for it.
    newcomer: Option<TcpStream>,
    /// How long the next wait is when accepting fails.
    pause: Duration,
    /// When it was last told that accepting fails, and how often it has failed since.
    told: Option<(Instant, u64)>,
}

/// How long to wait when accepting fails: as Go's `net/http` does, twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often it is told that accepting fails.
const TELLING_PAUSE: Duration = Duration::from_secs(10);

impl Acceptor {
    /// Returns an acceptor with `max_accepted` places.
    fn new(listener: TcpListener, max_accepted: usize) -> Self {
        let places = Places::new(max_accepted);
        Self { listener, places, newcomer: None, pause: FIRST_PAUSE, told: None }
    }

    /// Returns the next connection and its place.
    ///
    /// # Cancel safety
    ///
    /// No connection is lost: the next call goes on with one that has no place yet.
    async fn accept(&mut self) -> (TcpStream, Place) {
        if self.newcomer.is_none() {
            self.newcomer = Some(self.next().await);
        }
        let place = self.places.take().await;
        let stream = self.newcomer.take().expect("it was put there above, if it was not there");
        (stream, place)
    }

    /// Tells that accepting fails, now and then: it may fail for each connection that comes.
    fn tell(&mut self, error: &io::Error) {
        let now = Instant::now();
        if let Some((last, failures)) = &mut self.told
            && now.duration_since(*last) < TELLING_PAUSE
        {
            *failures += 1;
            return;
        }
        let before = self.told.map_or(0, |(_, failures)| failures);
        self.told = Some((now, 0));
        tracing::warn!(%error, before, "cannot accept peers at the moment, waiting");
    }

    /// Returns the next connection.
    ///
    /// # Cancel safety
    ///
    /// No connection is lost: one that was not returned is still in the queue. A wait after a
    /// failure ends early, which is harmless: the caller drops this when a connection has ended,
    /// and then a descriptor may be free.
    async fn next(&mut self) -> TcpStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    self.pause = FIRST_PAUSE;
                    // An answer is one write, which must not wait for an acknowledgement. If the
                    // peer is gone already, serving it will find out.
                    let _ = stream.set_nodelay(true);
                    return stream;
                }
                Err(error) if concerns_one_connection(&error) => {}
                // Most likely no descriptor is left. The connection stays in the queue, so that
                // asking again at once would fail at once, for as long as it lasts.
                Err(error) => {
                    self.tell(&error);
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
