//! Asks one peer for values.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use tokio::time::{Instant, timeout_at};

use crate::config::Config;
use crate::http::connection::{Connection, ExchangeError, Reply};
use crate::http::connections::Connections;
use crate::pool::url::BaseUrl;
use crate::wire::outcome::{Outcome, TIME_LEFT};
use crate::wire::path;
use crate::{Answer, PeerError};

/// A peer, and the connections to it.
///
/// Clones share the connections. It comes from [`HttpPool::owner`](crate::HttpPool::owner), and
/// goes on working when the pool is told other peers.
///
/// ```no_run
/// # use std::time::Duration;
/// use carrotcache_peer_http::{HttpPeer, PeerError};
///
/// # async fn load_here(key: &str) -> Result<Vec<u8>, PeerError> { Ok(vec![]) }
/// async fn score(owner: &HttpPeer, key: &str) -> Result<Vec<u8>, PeerError> {
///     match owner.get("scores", key, Some(Duration::from_millis(200))).await {
///         Ok(answer) => Ok(answer.value.to_vec()),
///         // The owner has spoken; the database has been asked.
///         Err(error) if error.is_verdict() => Err(error),
///         // It could not be asked: the next best place is here.
///         Err(_) => load_here(key).await,
///     }
/// }
/// ```
#[derive(Clone)]
pub struct HttpPeer {
    shared: Arc<Shared>,
}

/// What the clones of a peer share.
struct Shared {
    url: BaseUrl,
    /// The header `host`, made once.
    host: HeaderValue,
    config: Arc<Config>,
    connections: Connections,
}

impl HttpPeer {
    /// Returns the peer at `url`. Nothing is connected before the first get.
    pub(crate) fn new(url: BaseUrl, config: Arc<Config>) -> Self {
        let host = HeaderValue::from_str(url.authority()).expect("an authority is visible ASCII");
        let connections = Connections::new(&config);
        Self { shared: Arc::new(Shared { url, host, config, connections }) }
    }

    /// Returns the peer's base URL.
    #[must_use]
    pub fn url(&self) -> &str {
        self.shared.url.text()
    }

    /// Returns the peer's answer for `key` in `group`.
    ///
    /// It takes at most the pool's attempt timeout, or `time_left` if that is less. The time is
    /// for everything: waiting for a connection, opening one, the peer's load, and reading the
    /// answer. The peer is told how much of it is left, so that it need not finish what nobody
    /// waits for.
    ///
    /// The request goes over an unused connection if there is one. If that turns out to be closed
    /// before any answer came, the peer is asked once more over a new one: a get may be repeated.
    ///
    /// Costs two system calls here and two at the peer, and no switch to another task.
    ///
    /// # Errors
    ///
    /// A [`PeerError`]: a verdict of the peer, or the reason for which it could not be asked.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. The connection is then closed, because an answer that nobody
    /// reads is still under way on it, and the peer notices.
    pub async fn get(
        &self,
        group: &str,
        key: &str,
        time_left: Option<Duration>,
    ) -> Result<Answer, PeerError> {
        let uri = self.uri(group, key)?;
        let limit = self.shared.config.attempt_timeout;
        let limit = time_left.map_or(limit, |time_left| time_left.min(limit));
        let deadline = Instant::now() + limit;
        match timeout_at(deadline, self.ask(uri, deadline)).await {
            Ok(reply) => self.read(reply?, limit),
            Err(_elapsed) => Err(PeerError::TimedOut { peer: self.peer(), after: limit }),
        }
    }

    /// Returns what the peer replies, over a connection that is then kept if it can be.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connection and gives its place back.
    async fn ask(&self, uri: Uri, deadline: Instant) -> Result<Reply, PeerError> {
        let Shared { config, connections, url, .. } = &*self.shared;
        let _slot = connections.slot().await;
        if let Some(mut connection) = connections.take() {
            let request = self.request(uri.clone(), deadline);
            match connection.exchange(request, config.max_answer_bytes).await {
                // The peer closed it while it was idle, and with it surely those idle for longer.
                Err(ExchangeError::Unanswered(_)) => connections.clear(),
                result => return self.keep(connection, result),
            }
        }
        let connection = Connection::open(url, config.connect_timeout).await;
        let mut connection = connection.map_err(|error| self.connect_error(error))?;
        let request = self.request(uri, deadline);
        let result = connection.exchange(request, config.max_answer_bytes).await;
        self.keep(connection, result)
    }

    /// Passes the result of an exchange on, and keeps its connection for the next.
    ///
    /// After an error too: a refusal leaves the connection in order, and one that is not in order
    /// says so itself.
    fn keep(
        &self,
        connection: Connection,
        result: Result<Reply, ExchangeError>,
    ) -> Result<Reply, PeerError> {
        self.shared.connections.put(connection);
        result.map_err(|error| self.exchange_error(error))
    }

    /// Returns where the value is, unless no peer would answer for it.
    fn uri(&self, group: &str, key: &str) -> Result<Uri, PeerError> {
        let config = &self.shared.config;
        if let Some(message) = config.refuse(group, key) {
            return Err(PeerError::BadRequest { peer: self.peer(), message });
        }
        let path = path::encode(&config.base_path, group, key);
        Uri::from_maybe_shared(Bytes::from(path)).map_err(|error| PeerError::BadRequest {
            peer: self.peer(),
            message: error.to_string(),
        })
    }

    /// Returns the request for what is at `uri`.
    fn request(&self, uri: Uri, deadline: Instant) -> Request<Empty<Bytes>> {
        let time_left = deadline.saturating_duration_since(Instant::now());
        let millis = u64::try_from(time_left.as_millis()).unwrap_or(u64::MAX);
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri;
        request.headers_mut().insert(HOST, self.shared.host.clone());
        request.headers_mut().insert(TIME_LEFT, HeaderValue::from(millis));
        request
    }

    /// Returns what a reply says: a value, or by header or status why there is none.
    fn read(&self, reply: Reply, limit: Duration) -> Result<Answer, PeerError> {
        let Reply { status, outcome, body } = reply;
        let peer = self.peer();
        if status == StatusCode::OK {
            return body
                .into_answer()
                .map_err(|error| PeerError::Malformed { peer, source: Arc::new(error) });
        }
        Err(match outcome.or_else(|| Outcome::from_status(status)) {
            Some(Outcome::NotFound) => PeerError::NotFound { peer },
            Some(Outcome::LoadFailed) => PeerError::LoadFailed { peer, message: body.line() },
            Some(Outcome::NoSuchGroup) => PeerError::NoSuchGroup { peer },
            Some(Outcome::Overloaded) => PeerError::Overloaded { peer, message: body.line() },
            Some(Outcome::TimedOut) => PeerError::TimedOut { peer, after: limit },
            Some(Outcome::Invalid) => PeerError::BadRequest { peer, message: body.line() },
            None => PeerError::Status { peer, status: status.as_u16() },
        })
    }

    /// Returns the error for a connection that did not come about.
    fn connect_error(&self, error: std::io::Error) -> PeerError {
        PeerError::Connect { peer: self.peer(), source: Arc::new(error) }
    }

    /// Returns the error for a request that was sent and not replied to as it should be.
    fn exchange_error(&self, error: ExchangeError) -> PeerError {
        let peer = self.peer();
        match error {
            ExchangeError::Unanswered(source) | ExchangeError::Truncated(source) => {
                PeerError::Truncated { peer, source: Arc::new(source) }
            }
            ExchangeError::Malformed(source) => {
                PeerError::Malformed { peer, source: Arc::new(source) }
            }
            ExchangeError::TooLarge => {
                PeerError::TooLarge { peer, max_bytes: self.shared.config.max_answer_bytes }
            }
        }
    }

    /// Returns the peer's base URL as errors hold it.
    fn peer(&self) -> Arc<str> {
        Arc::clone(self.shared.url.text())
    }
}

impl fmt::Debug for HttpPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpPeer").field("url", &self.url()).finish_non_exhaustive()
    }
}
