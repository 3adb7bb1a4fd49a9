//! What the tests share: a handler that answers from its table, nodes, and raw sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use carrotcache_byteview::ByteView;
use carrotcache_peer_http::peer::{
    Answer, Entry, Handler, Owner, Peer, PeerError, PeerErrorKind, Reply, Request, ask as ask_peer,
};
use carrotcache_peer_http::{HttpPool, HttpPoolBuilder, ServeError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Long enough for whatever should happen on a busy machine, short enough to fail in a test.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Answers with the key, except for the groups that are named for what they answer.
#[derive(Default)]
pub(crate) struct Echo {
    pub(crate) calls: AtomicUsize,
}

impl Handler for Echo {
    fn answer(&self, request: Request) -> Reply {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let key = request.key.to_string();
        let fail = |kind: PeerErrorKind| PeerError::new(kind).with_source(key.clone());
        Reply::ready(match &*request.group {
            "no-such-group" => Err(PeerErrorKind::NoSuchGroup.into()),
            "not-found" => Ok(Answer::absent()),
            "load-failed" => Err(fail(PeerErrorKind::LoadFailed)),
            "overloaded" => Err(fail(PeerErrorKind::Overloaded)),
            "too-many-loads" => Err(fail(PeerErrorKind::TooManyLoads)),
            "timed-out" => Err(PeerErrorKind::TimedOut.into()),
            "invalid" => Err(fail(PeerErrorKind::BadRequest)),
            "panic" => panic!("as asked"),
            "never" => return Reply::pending(std::future::pending()),
            "later" => return Reply::pending(async { Ok(Answer::new(key)) }),
            "time-left" => {
                // Rounded up to what was sent, a moment ago.
                let left = request.time_left(Instant::now()) + Duration::from_millis(999);
                Ok(Answer::new(left.as_secs().to_string()))
            }
            "bytes" => Ok(Answer::new(vec![7; key.parse().expect("a length")])),
            // As many milliseconds of freshness as the key says, and half as many behind them.
            "fresh" => {
                let fresh_for = Duration::from_millis(key.parse().expect("milliseconds"));
                let entry = Entry::new(key).with_fresh_for(fresh_for);
                Ok(Answer::new(entry.with_stale_for(fresh_for / 2)))
            }
            "qps" => Ok(Answer::new(key).with_minute_qps(1.5)),
            _ => Ok(Answer::new(key)),
        })
    }
}

/// Asks one peer, as a cache would.
#[derive(Clone)]
pub(crate) struct Client(pub(crate) Arc<dyn Peer>);

impl Client {
    /// Returns the peer's answer, given `time_left` or else five seconds.
    pub(crate) async fn get(
        &self,
        group: &str,
        key: &str,
        time_left: Option<Duration>,
    ) -> Result<Answer, PeerError> {
        let deadline = Instant::now() + time_left.unwrap_or(Duration::from_secs(5));
        ask_peer(&*self.0, Request::new(group, key, deadline)).await
    }

    /// Returns the bytes of the value that the peer answers with.
    pub(crate) async fn value(&self, group: &str, key: &str) -> ByteView {
        let answer = self.get(group, key, None).await.expect("an answer");
        answer.entry.into_value().expect("a value")
    }

    /// Returns why the peer did not answer.
    pub(crate) async fn error(&self, group: &str, key: &str) -> PeerError {
        self.get(group, key, None).await.expect_err("no answer")
    }
}

/// Answers when it is told to.
#[derive(Default)]
pub(crate) struct Gate {
    pub(crate) asked: Notify,
    pub(crate) open: Arc<Notify>,
}

impl Handler for Gate {
    fn answer(&self, request: Request) -> Reply {
        self.asked.notify_one();
        let open = Arc::clone(&self.open);
        Reply::pending(async move {
            open.notified().await;
            Ok(Answer::new(request.key.to_string()))
        })
    }
}

/// Answers with values that are counted until they are dropped. The key says how long they are.
#[derive(Clone, Default)]
pub(crate) struct Counted {
    bytes: Arc<AtomicUsize>,
}

/// A value of a [`Counted`].
struct Value {
    content: Vec<u8>,
    bytes: Arc<AtomicUsize>,
}

impl Counted {
    /// Returns how many bytes of values there are.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::SeqCst)
    }

    /// Ends when all values are dropped.
    pub(crate) async fn all_dropped(&self) {
        let dropped = async {
            while self.bytes() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(SOON, dropped).await.expect("all values are dropped");
    }
}

impl Handler for Counted {
    fn answer(&self, request: Request) -> Reply {
        let len = request.key.parse().expect("a length");
        self.bytes.fetch_add(len, Ordering::SeqCst);
        let value = Value { content: vec![7; len], bytes: Arc::clone(&self.bytes) };
        let answer = Ok(Answer::new(Bytes::from_owner(value)));
        // Both ways to answer keep to the bounds.
        match &*request.group {
            "later" => Reply::pending(async { answer }),
            _ => Reply::ready(answer),
        }
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.bytes.fetch_sub(self.content.len(), Ordering::SeqCst);
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
        Self::start_at(listen().await, handler, configure)
    }

    /// Serves `handler` on a listener whose URL comes with it.
    pub(crate) fn start_at<H: Handler>(
        (listener, url): (TcpListener, String),
        handler: H,
        configure: impl FnOnce(HttpPoolBuilder) -> HttpPoolBuilder,
    ) -> Self {
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
    pub(crate) fn client(&self) -> Client {
        client(self.pool.base_url())
    }

    /// Returns a raw connection to what is served here.
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.expect("a connection")
    }

    /// Returns the address that is served at.
    pub(crate) fn address(&self) -> SocketAddr {
        let address = self.pool.base_url().split_once("://").expect("a URL").1;
        address.parse().expect("an address")
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

/// Returns a client that asks the peer at `url` over HTTP, with the default settings.
pub(crate) fn client(url: &str) -> Client {
    client_with(url, |builder| builder)
}

/// Returns a client that asks the peer at `url` over HTTP.
pub(crate) fn client_with(
    url: &str,
    configure: impl FnOnce(HttpPoolBuilder) -> HttpPoolBuilder,
) -> Client {
    remote(&pool_of(url, |builder| configure(builder.link(false))))
}

/// Returns a pool that has the peer at `url`, and nobody else.
pub(crate) fn pool_of(
    url: &str,
    configure: impl FnOnce(HttpPoolBuilder) -> HttpPoolBuilder,
) -> HttpPool {
    let own = "http://own.invalid";
    let pool = configure(HttpPool::builder(own)).build().expect("a pool");
    pool.set_peers([own, url]).expect("two peers");
    pool
}

/// Returns a peer of the pool that is not the pool's own node.
pub(crate) fn remote(pool: &HttpPool) -> Client {
    let owners = (0..).map(|key| pool.owner(&format!("key{key}")));
    let mut remote = owners.filter_map(|owner| match owner {
        Owner::Local => None,
        Owner::Remote(peer) => Some(Client(peer)),
    });
    remote.next().expect("some key is owned elsewhere")
}

/// Returns the peer at `url`, which the pool has.
pub(crate) fn peer_at(pool: &HttpPool, url: &str) -> Client {
    let mut owners = (0..).map(|key| pool.owner(&format!("key{key}")));
    let peer = owners.find_map(|owner| match owner {
        Owner::Remote(peer) if peer.label() == url => Some(Client(peer)),
        _ => None,
    });
    peer.expect("it owns some key")
}

/// Returns a reply with this message as a node sends it, Go's too.
pub(crate) fn value_reply(message: impl AsRef<[u8]>) -> Vec<u8> {
    let length = message.as_ref().len();
    reply(&value_head(&format!("content-length: {length}")), message)
}

/// Returns the head of a value without its end, and this line below it.
pub(crate) fn value_head(line: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n{line}")
}

/// Returns a reply of this head, whose end is added, and this body.
pub(crate) fn reply(head: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    [head.as_bytes(), b"\r\n\r\n", body.as_ref()].concat()
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

/// Reads until the stream ends, and returns how many bytes came before; fails if it does not end.
pub(crate) async fn read_to_cut(stream: &mut TcpStream) -> usize {
    // However it ends: with unread bytes on the other side it is a reset.
    let mut rest = Vec::new();
    drop(timeout(SOON, stream.read_to_end(&mut rest)).await.expect("the stream ends"));
    rest.len()
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
