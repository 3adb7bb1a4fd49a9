//! Asks one peer for values over HTTP, or for a link.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use carrotcache_peer::{Answer, BoxError, PeerError, PeerErrorKind, Request};
use http_body_util::Empty;
use hyper::Uri;
use hyper::header::{HOST, HeaderValue};
use tokio::select;
use tokio::time::{Instant, Timeout, timeout_at};

use crate::config::Config;
use crate::http::connect::{Connector, is_of_peer};
use crate::http::connection::Connection;
use crate::http::connections::Connections;
use crate::http::patience::Patience;
use crate::http::reply::{ExchangeError, Reader, Reply};
use crate::http::room::Room;
use crate::http::socket::Socket;
use crate::http::sweeper::Sweeper;
use crate::pool::judge::Judge;
use crate::pool::url::BaseUrl;
use crate::wire::outcome::TIME_LEFT;
use crate::wire::{path, upgrade};

/// A peer as it is asked over HTTP, and the connections to it.
///
/// Clones share the connections. It goes on working when the pool is told other peers.
#[derive(Clone)]
pub(crate) struct HttpPeer {
    shared: Arc<Shared>,
}

/// What the clones of a peer share.
struct Shared {
    url: BaseUrl,
    /// The header `host`, made once.
    host: HeaderValue,
    connections: Arc<Connections>,
    client: Arc<Client>,
    judge: Arc<Judge>,
}

/// What is wanted of a peer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Answer,
    /// A link, or else an answer.
    Link,
}

/// What a request is made of, as often as it has to be sent.
struct Head {
    uri: Uri,
    wanted: Wanted,
    /// When the answer has to be there.
    answer_by: Instant,
    /// Until when the peer is told that it is waited for.
    told: Instant,
}

/// What a request brought.
enum Got {
    Reply(Reply),
    /// The socket of a link, and what has been read from it.
    Link(Socket, Bytes),
}

/// Why there is no connection.
pub(super) struct NoConnection {
    pub(super) error: PeerError,
    /// Whether it is the peer, or the way to it, and nothing that is lacking here.
    pub(super) is_of_peer: bool,
    /// Whether nothing came of it in time.
    pub(super) is_late: bool,
}

/// What became of a get that asked for a link.
pub(crate) enum Asked {
    /// The peer agrees, and the answer comes over the link. What was read from it already.
    Link(Socket, Bytes),
    /// The peer answered over HTTP, as one does that knows no links.
    Answered(Result<Answer, PeerError>),
    /// The peer was not asked to the end.
    Failed(PeerError),
}

/// What all peers of a pool share.
pub(crate) struct Client {
    config: Arc<Config>,
    connector: Connector,
    room: Arc<Room>,
    sweeper: Sweeper,
}

impl Client {
    /// Returns what asks peers with these settings.
    pub(crate) fn new(config: Arc<Config>) -> Self {
        let room = Room::new(config.max_bytes_under_way(), config.max_answer_bytes);
        let (connector, room, sweeper) = (Connector::new(), Arc::new(room), Sweeper::default());
        Self { config, connector, room, sweeper }
    }
}

impl HttpPeer {
    /// Returns the peer at `url`. Nothing is connected before the first get.
    pub(crate) fn new(url: BaseUrl, client: Arc<Client>, judge: Arc<Judge>) -> Self {
        let host = HeaderValue::from_str(&url.authority()).expect("an authority is visible ASCII");
        let connections = Arc::new(Connections::new(&client.config, client.sweeper.clone()));
        Self { shared: Arc::new(Shared { url, host, connections, client, judge }) }
    }

    /// Returns the peer's base URL, as it was given.
    pub(crate) fn label(&self) -> &Arc<str> {
        self.shared.url.text()
    }

    /// Returns the peer's answer to `request`.
    ///
    /// Over HTTP nothing tells an owner that loads from a dead one, so all of it has to be over by
    /// [`Request::answer_by`]: waiting for a connection, opening one, the peer's load, and reading
    /// the answer. The peer is told how much of that time is left, so that it need not finish what
    /// nobody waits for.
    ///
    /// The request goes over an unused connection if there is one. If that turns out to be closed
    /// before any answer came, the peer is asked once more over a new one: a get may be repeated.
    ///
    /// Costs three system calls here and two at the peer.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. The connection is then closed, because an answer that nobody
    /// reads is still under way on it.
    pub(crate) async fn get(&self, request: &Request) -> Result<Answer, PeerError> {
        let answered = match self.ask(request, Wanted::Answer).await {
            Ok(Got::Reply(reply)) => read(reply),
            Ok(Got::Link(..)) => Err(PeerErrorKind::Foreign.into()),
            Err(error) => Err(error),
        };
        answered.map_err(|error| error.at(Arc::clone(self.label())))
    }

    /// Asks with a get for a link. Whoever knows none answers the get, as [`get`](Self::get) tells.
    ///
    /// # Cancel safety
    ///
    /// As [`get`](Self::get).
    pub(crate) async fn ask_for_link(&self, request: &Request) -> Asked {
        let label = || Arc::clone(self.label());
        match self.ask(request, Wanted::Link).await {
            Ok(Got::Link(stream, early)) => Asked::Link(stream, early),
            Ok(Got::Reply(reply)) => Asked::Answered(read(reply).map_err(|e| e.at(label()))),
            Err(error) => Asked::Failed(error.at(label())),
        }
    }

    /// Returns what the peer replies, within the request's time.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connection.
    async fn ask(&self, request: &Request, wanted: Wanted) -> Result<Got, PeerError> {
        let uri = self.uri(&request.group, &request.key)?;
        let answer_by = Instant::from_std(request.answer_by(Instant::now().into_std()));
        let head = Head {
            uri,
            wanted,
            answer_by,
            told: match wanted {
                Wanted::Answer => answer_by,
                // Over a link the owner says that it is loading, and is waited for.
                Wanted::Link => Instant::from_std(request.deadline),
            },
        };
        let mut is_reused = false;
        // From here on, so that no news is missed.
        let death = self.judge().death();
        let exchange = within(answer_by, self.exchange(&head, &mut is_reused))?;
        select! {
            biased;
            got = exchange => got.unwrap_or_else(|_elapsed| {
                // Perhaps it has less time than a silent peer is given.
                self.check();
                // A peer that was cut off leaves all its connections as silent as this one, and
                // each of them would cost another get its whole time.
                if is_reused {
                    self.shared.connections.clear();
                }
                Err(PeerErrorKind::TimedOut.into())
            }),
            error = self.vigil(death) => {
                self.shared.connections.clear();
                Err(error)
            }
        }
    }

    /// Returns what the peer replies, over a connection that is then kept if it can be.
    ///
    /// `is_reused` is set while it waits for the reply on a connection that was used before.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connection and gives its place back.
    async fn exchange(&self, head: &Head, is_reused: &mut bool) -> Result<Got, PeerError> {
        let Shared { connections, judge, .. } = &*self.shared;
        let reader = self.reader(head.answer_by);
        let slot = connections.slot(reader.patience.until()).await;
        let _slot = slot.ok_or_else(|| self.no_slot_error())?;
        if let Some(mut connection) = connections.take() {
            *is_reused = true;
            match connection.exchange(self.request(head), &reader, judge).await {
                // The peer closed it under the request, and with it surely those idle for longer.
                Err(ExchangeError::Unanswered(_)) => connections.clear(),
                result => return self.keep(connection, result),
            }
            *is_reused = false;
        }
        let mut connection = match self.open().await {
            Ok(connection) => connection,
            Err(NoConnection { error, is_of_peer, .. }) => {
                if is_of_peer {
                    judge.refused(&error);
                }
                return Err(error);
            }
        };
        let result = connection.exchange(self.request(head), &reader, judge).await;
        let is_refused = matches!(result, Err(ExchangeError::Unanswered(_)));
        let kept = match result {
            // It was shown a certificate that it does not take, most likely: in TLS 1.3 an asker hears
            // of that only when it takes the handshake to be over.
            Err(ExchangeError::Unanswered(source)) if self.shared.url.is_tls() => {
                Err(failed(PeerErrorKind::Unreachable, source))
            }
            result => self.keep(connection, result),
        };
        if is_refused && let Err(error) = &kept {
            judge.refused(&error.clone().at(Arc::clone(self.label())));
        }
        kept
    }

    /// Opens a connection.
    ///
    /// # Cancel safety
    ///
    /// As [`Connection::open`].
    pub(super) async fn open(&self) -> Result<Connection, NoConnection> {
        let Shared { client, url, .. } = &*self.shared;
        let opened = Connection::open(&client.connector, url, &client.config).await;
        opened.map_err(|error| NoConnection {
            is_of_peer: is_of_peer(&error),
            is_late: error.kind() == io::ErrorKind::TimedOut,
            error: connect_error(error).at(Arc::clone(self.label())),
        })
    }

    /// Returns what reads replies until then.
    fn reader(&self, answer_by: Instant) -> Reader<'_> {
        let Client { config, room, .. } = &*self.shared.client;
        let patience = Patience::new(answer_by, config.max_wait_percent);
        Reader { max_bytes: config.max_answer_bytes, room, patience }
    }

    /// Returns a request that every node answers at once, and what reads the answer.
    pub(super) fn bare_request(
        &self,
        answer_by: Instant,
    ) -> Result<(hyper::Request<Empty<Bytes>>, Reader<'_>), PeerError> {
        let Request { group, key, .. } = upgrade::bare_request(answer_by.into_std());
        let uri = self.uri(&group, &key)?;
        let head = Head { uri, wanted: Wanted::Answer, answer_by, told: answer_by };
        Ok((self.request(&head), self.reader(answer_by)))
    }

    /// Returns what judges whether the peer lives.
    pub(crate) fn judge(&self) -> &Arc<Judge> {
        &self.shared.judge
    }

    /// Passes the result of an exchange on, and keeps its connection for the next, unless it has
    /// become a link.
    ///
    /// After an error too: a refusal leaves the connection in order, and one that is not in order
    /// says so itself.
    fn keep(
        &self,
        connection: Connection,
        result: Result<Reply, ExchangeError>,
    ) -> Result<Got, PeerError> {
        let reply = match result {
            Ok(Reply::Link) => {
                let link = connection.into_link();
                let error = || failed(PeerErrorKind::Malformed, "the connection goes on in HTTP");
                return link.map(|(stream, early)| Got::Link(stream, early)).ok_or_else(error);
            }
            result => result,
        };
        self.shared.connections.put(connection);
        reply.map(Got::Reply).map_err(|error| self.exchange_error(error))
    }

    /// Returns where the value is, unless no path is long enough to say so.
    fn uri(&self, group: &str, key: &str) -> Result<Uri, PeerError> {
        let path = path::encode(&self.shared.client.config.base_path, group, key);
        let uri = Uri::from_maybe_shared(Bytes::from(path));
        uri.map_err(|error| failed(PeerErrorKind::BadRequest, error))
    }

    /// Returns the request with this head.
    fn request(&self, head: &Head) -> hyper::Request<Empty<Bytes>> {
        let time_left = head.told.saturating_duration_since(Instant::now());
        let millis = u64::try_from(time_left.as_millis()).unwrap_or(u64::MAX);
        let mut request = hyper::Request::new(Empty::new());
        *request.uri_mut() = head.uri.clone();
        request.headers_mut().insert(HOST, self.shared.host.clone());
        request.headers_mut().insert(TIME_LEFT, HeaderValue::from(millis));
        if let Some(secrets) = &self.shared.client.config.secrets {
            secrets.add_to(request.headers_mut());
        }
        if head.wanted == Wanted::Link {
            upgrade::add_to(request.headers_mut());
        }
        request
    }

    /// Returns the error for a request that was sent and not replied to as it should be.
    fn exchange_error(&self, error: ExchangeError) -> PeerError {
        let config = &self.shared.client.config;
        match error {
            ExchangeError::Unanswered(source) | ExchangeError::Truncated(source) => {
                failed(PeerErrorKind::Truncated, source)
            }
            ExchangeError::Malformed(source) => failed(PeerErrorKind::Malformed, source),
            ExchangeError::TooLarge => {
                let max_bytes = config.max_answer_bytes;
                failed(
                    PeerErrorKind::TooLarge,
                    format!("answers of up to {max_bytes} bytes are accepted"),
                )
            }
            ExchangeError::NoRoom => {
                let max_bytes = config.max_bytes_under_way();
                failed(
                    PeerErrorKind::TooLarge,
                    format!("answers that are under way take all {max_bytes} bytes of their room"),
                )
            }
        }
    }

    /// Returns the error for a request that no connection was free for.
    fn no_slot_error(&self) -> PeerError {
        let Config { max_connections, max_wait_percent, .. } = *self.shared.client.config;
        failed(
            PeerErrorKind::Unreachable,
            format!(
                "all {max_connections} connections to it were in use for {max_wait_percent} % of \
                 the time left"
            ),
        )
    }
}

/// Returns the answer that a reply is, or why it is none.
fn read(reply: Reply) -> Result<Answer, PeerError> {
    match reply {
        Reply::Value(body, about) => match body.into_answer() {
            Ok(answer) => Ok(about.apply(answer)),
            Err(error) => Err(failed(PeerErrorKind::Malformed, error)),
        },
        Reply::Absent(about) => Ok(about.apply(Answer::absent())),
        Reply::Refused(kind, told) => Err(failed(kind, told)),
        Reply::Foreign(why) => Err(failed(PeerErrorKind::Foreign, why)),
        Reply::Link => Err(failed(PeerErrorKind::Foreign, "a link that nobody asked for")),
    }
}

/// Returns `future` with this time limit, unless the runtime has no timer to keep it with.
pub(crate) fn within<F: Future>(deadline: Instant, future: F) -> Result<Timeout<F>, PeerError> {
    // Tokio panics without a timer, and has no way to ask beforehand.
    catch_unwind(AssertUnwindSafe(|| timeout_at(deadline, future))).map_err(|_panic| {
        let error = "this tokio runtime has no timer: build it with enable_time() or enable_all()";
        failed(PeerErrorKind::Runtime, error)
    })
}

/// Returns an error of this kind and cause.
fn failed(kind: PeerErrorKind, cause: impl Into<BoxError>) -> PeerError {
    PeerError::new(kind).with_source(cause)
}

/// Returns the error for a connection that did not come about.
fn connect_error(error: io::Error) -> PeerError {
    let kind = match error.kind() {
        io::ErrorKind::Unsupported => PeerErrorKind::Runtime,
        _ => PeerErrorKind::Unreachable,
    };
    failed(kind, error)
}
