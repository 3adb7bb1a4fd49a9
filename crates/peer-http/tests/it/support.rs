//! What the tests share: a handler that answers from its table, nodes, and raw sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use carrotcache_peer_http::{
    Answer, Handler, HttpPeer, HttpPool, HttpPoolBuilder, Owner, PeerRequest, Refusal, ServeError,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Long enough for whatever should happen on a busy machine, short enough to fail in a test.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Answers with the key, except for the groups that are named for what they answer.
#[derive(Default)]
pub(crate) struct Echo {
    pub(crate) calls: AtomicUsize,
}

impl Handler for Echo {
    async fn get(&self, request: PeerRequest) -> Result<Answer, Refusal> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match request.group.as_str() {
            "no-such-group" => Err(Refusal::NoSuchGroup),
            "not-found" => Err(Refusal::NotFound),
            "load-failed" => Err(Refusal::LoadFailed(request.key)),
            "overloaded" => Err(Refusal::Overloaded(request.key)),
            "timed-out" => Err(Refusal::TimedOut),
            "invalid" => Err(Refusal::Invalid(request.key)),
            "panic" => panic!("as asked"),
            "never" => std::future::pending().await,
            "time-left" => Ok(Answer::new(format!("{:?}", request.time_left))),
            "bytes" => Ok(Answer::new(vec![7; request.key.parse().expect("a length")])),
            "qps" => Ok(Answer::new(request.key).with_minute_qps(1.5)),
            _ => Ok(Answer::new(request.key)),
        }
    }
}

/// A pool that serves on a port of the loopback interface.
pub(crate) struct Served {
    pub(crate) pool: HttpPool,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl Served {
    /// Serves `handler` with the settings that `configure` makes.
    pub(crate) async fn start<H: Handler>(
        handler: H,
        configure: impl FnOnce(HttpPoolBuilder) -> HttpPoolBuilder,
    ) -> Self {
        let (listener, url) = listen().await;
        let pool = configure(HttpPool::builder(url)).build().expect("a pool");
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            // Whoever drops the handle wants the node to stay.
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let serving = tokio::spawn(pool.serve(listener, handler, shutdown));
        Self { pool, stop, serving }
    }

    /// Serves an [`Echo`] with the default settings.
    pub(crate) async fn echo() -> Self {
        Self::start(Echo::default(), |builder| builder).await
    }

    /// Returns a client for what is served here.
    pub(crate) fn client(&self) -> HttpPeer {
        client(self.pool.base_url())
    }

    /// Returns a raw connection to what is served here.
    pub(crate) async fn connect(&self) -> TcpStream {
        let address = self.pool.base_url().strip_prefix("http://").expect("a URL");
        TcpStream::connect(address).await.expect("a connection")
    }

    /// Begins the shutdown, and returns how it ends.
    pub(crate) fn stop(self) -> JoinHandle<Result<(), ServeError>> {
        self.stop.send(()).expect("serving goes on until told");
        self.serving
    }
}

/// Returns a listener on a free port and its base URL.
pub(crate) async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    (listener, url)
}

/// Returns a client for the peer at `url` with the default settings.
pub(crate) fn client(url: &str) -> HttpPeer {
    client_with(url, |builder| builder)
}

/// Returns a client for the peer at `url`.
pub(crate) fn client_with(
    url: &str,
    configure: impl FnOnce(HttpPoolBuilder) -> HttpPoolBuilder,
) -> HttpPeer {
    let own = "http://own.invalid";
    let pool = configure(HttpPool::builder(own)).build().expect("a pool");
    pool.set_peers([own, url]).expect("two peers");
    remote(&pool)
}

/// Returns a peer of the pool that is not the pool's own node.
pub(crate) fn remote(pool: &HttpPool) -> HttpPeer {
    let owners = (0..).map(|key| pool.owner(&format!("key{key}")));
    let mut remote = owners.filter_map(|owner| match owner {
        Owner::Local => None,
        Owner::Remote(peer) => Some(peer),
    });
    remote.next().expect("some key is owned elsewhere")
}

/// Returns the base URL of a peer that reads the head of a request and sends `reply` on each
/// connection, and then closes it.
pub(crate) async fn replies(reply: impl Into<Vec<u8>>) -> String {
    let (listener, url) = listen().await;
    let reply = Arc::new(reply.into());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let reply = Arc::clone(&reply);
            tokio::spawn(async move {
                read_head(&mut stream).await;
                drop(stream.write_all(&reply).await);
            });
        }
    });
    url
}

/// Reads up to the end of a head, and returns it; what was read if the stream ends before.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).expect("heads are text")
}

/// Sends a request for `path`, and returns the head and the body of the response.
pub(crate) async fn ask(stream: &mut TcpStream, path: &str) -> (String, Vec<u8>) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request is sent");
    read_response(stream).await
}

/// Reads a response, and returns its head in lower case and its body.
pub(crate) async fn read_response(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let head = read_head(stream).await.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length"))];
    stream.read_exact(&mut body).await.expect("a body");
    (head, body)
}
