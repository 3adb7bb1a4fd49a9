//! Answers what peers ask: one request in, one response out.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode};

use crate::Answer;
use crate::config::Config;
use crate::wire::message::AnswerBody;
use crate::wire::outcome::{OUTCOME, Outcome, TIME_LEFT};
use crate::wire::path::{self, PathError};

/// What answers the requests of peers: a cache, usually.
///
/// ```
/// use carrotcache_peer_http::{Answer, Handler, PeerRequest, Refusal};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     async fn get(&self, request: PeerRequest) -> Result<Answer, Refusal> {
///         match request.group.as_str() {
///             "echo" => Ok(Answer::new(request.key)),
///             _ => Err(Refusal::NoSuchGroup),
///         }
///     }
/// }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Returns the value that a peer asks for, or why there is none.
    ///
    /// It must not ask another peer: a request crosses at most one hop, or two nodes whose rings
    /// disagree would wait for each other.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], which the peer is told.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the peer closes its connection before the answer, as it does when
    /// its own caller has left. Work that others need is best done in a task.
    fn get(&self, request: PeerRequest) -> impl Future<Output = Result<Answer, Refusal>> + Send;
}

impl<H: Handler> Handler for Arc<H> {
    fn get(&self, request: PeerRequest) -> impl Future<Output = Result<Answer, Refusal>> + Send {
        H::get(self, request)
    }
}

/// What a peer asks for. Group and key are not empty and within the pool's bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerRequest {
    /// The name of the group.
    pub group: String,
    /// The key in it.
    pub key: String,
    /// How long the peer will wait for the answer, if it says so, and at most the pool's
    /// [`max_time_left`](crate::HttpPoolBuilder::max_time_left).
    pub time_left: Option<Duration>,
}

/// Why a peer gets no value. The texts are sent to it as one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The loader says that there is no such thing. Sent as 404.
    NotFound,
    /// The loader failed. Sent as 500.
    LoadFailed(String),
    /// This node does not have the group. Sent as 404.
    NoSuchGroup,
    /// This node has too much to do. Sent as 503.
    Overloaded(String),
    /// The value did not come within the time that the peer has left. Sent as 504.
    TimedOut,
    /// The request makes no sense. Sent as 400.
    Invalid(String),
}

/// Answers peers as a service of hyper or tower; from
/// [`HttpPool::service`](crate::HttpPool::service).
///
/// It never fails, and takes requests with any body, which it does not read. So it can be mounted
/// in whatever HTTP server a process has already, beside other routes:
///
/// - a hyper server calls it for paths below the base path;
/// - axum takes it as `Router::route_service("/_groupcache/{*path}", service)`, which leaves the
///   path as it is; `nest_service` cuts the prefix off, so there the service is told by
///   [`mounted_at`](Self::mounted_at) what is left of the base path.
///
/// The server must not clean paths: `..` and `//` are part of keys.
///
/// ```
/// # use carrotcache_peer_http::{Answer, Handler, HttpPool, PeerRequest, Refusal};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     async fn get(&self, request: PeerRequest) -> Result<Answer, Refusal> {
/// #         Ok(Answer::new(request.key))
/// #     }
/// # }
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use hyper::{Request, Response, service::Service};
///
/// let pool = HttpPool::builder("http://10.0.0.1:8001").build()?;
/// let peers = pool.service(Echo);
/// // What a server does with each request that it reads:
/// let request = Request::get("/_groupcache/scores/Tom").body(())?;
/// let response: Response<_> = Service::call(&peers, request).await?;
/// assert_eq!(response.status(), 200);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub struct PeerService<H> {
    handler: Arc<H>,
    config: Arc<Config>,
    /// What the paths of requests begin with here.
    base_path: Arc<str>,
}

impl<H: Handler> PeerService<H> {
    /// Returns the service for requests below the configured base path.
    pub(crate) fn new(handler: H, config: Arc<Config>) -> Self {
        let base_path = config.base_path.as_str().into();
        Self { handler: Arc::new(handler), config, base_path }
    }

    /// Returns the service for a server that shows it paths below `base_path`, which is `/` for
    /// one that cuts the whole base path off.
    ///
    /// Peers still ask below the pool's own base path.
    #[must_use]
    pub fn mounted_at(self, base_path: &str) -> Self {
        Self { base_path: base_path.into(), ..self }
    }

    /// Returns what `request` asks for. Nothing of it has been believed before.
    fn parse<B>(&self, request: &Request<B>) -> Result<PeerRequest, Unfit> {
        if request.method() != Method::GET {
            return Err(Unfit::Method);
        }
        let (group, key) = path::decode(request.uri().path(), &self.base_path)?;
        if let Some(reason) = self.config.refuse(&group, &key) {
            return Err(Unfit::Invalid(reason));
        }
        let time_left = self.time_left(request.headers())?;
        Ok(PeerRequest { group, key, time_left })
    }

    /// Returns how long the peer will wait, as far as it is believed.
    fn time_left(&self, headers: &HeaderMap) -> Result<Option<Duration>, Unfit> {
        let Some(value) = headers.get(TIME_LEFT) else { return Ok(None) };
        let digits = value.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let millis = digits.and_then(|digits| digits.parse().ok());
        let invalid = || Unfit::Invalid(format!("{TIME_LEFT} is no number of milliseconds"));
        let time_left = Duration::from_millis(millis.ok_or_else(invalid)?);
        Ok(Some(time_left.min(self.config.max_time_left)))
    }

    /// Returns the response to `request`.
    fn respond<B>(&self, request: &Request<B>) -> PeerResponse {
        match self.parse(request) {
            Ok(request) => {
                let handler = Arc::clone(&self.handler);
                let answer = async move { Ok(answered(handler.get(request).await)) };
                PeerResponse(Box::pin(answer))
            }
            Err(unfit) => PeerResponse(Box::pin(std::future::ready(Ok(unfit.into_response())))),
        }
    }
}

impl<H: Handler, B> Service<Request<B>> for PeerService<H> {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = PeerResponse;

    fn call(&self, request: Request<B>) -> PeerResponse {
        self.respond(&request)
    }
}

impl<H: Handler, B> tower_service::Service<Request<B>> for PeerService<H> {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = PeerResponse;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> PeerResponse {
        self.respond(&request)
    }
}

impl<H> Clone for PeerService<H> {
    fn clone(&self) -> Self {
        Self {
            handler: Arc::clone(&self.handler),
            config: Arc::clone(&self.config),
            base_path: Arc::clone(&self.base_path),
        }
    }
}

impl<H> fmt::Debug for PeerService<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerService").field("base_path", &self.base_path).finish_non_exhaustive()
    }
}

/// The response to a request, once the handler has answered.
pub struct PeerResponse(
    Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, Infallible>> + Send>>,
);

impl Future for PeerResponse {
    type Output = Result<Response<AnswerBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for PeerResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerResponse").finish_non_exhaustive()
    }
}

/// Why a request does not reach the handler.
enum Unfit {
    /// It is no GET.
    Method,
    /// Its path is none of ours.
    OutsideBase,
    /// It is malformed in a way that the text tells.
    Invalid(String),
}

impl Unfit {
    /// Returns the response that says so.
    fn into_response(self) -> Response<AnswerBody> {
        match self {
            Self::Method => {
                let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered");
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
                response
            }
            Self::OutsideBase => text(StatusCode::NOT_FOUND, "nothing is served at this path"),
            Self::Invalid(reason) => refuse(Outcome::Invalid, &reason),
        }
    }
}

impl From<PathError> for Unfit {
    fn from(error: PathError) -> Self {
        match error {
            PathError::OutsideBase => Self::OutsideBase,
            error => Self::Invalid(error.to_string()),
        }
    }
}

/// Returns the response that a handler's result is sent as.
fn answered(result: Result<Answer, Refusal>) -> Response<AnswerBody> {
    match result {
        Ok(answer) => {
            let mut response = Response::new(AnswerBody::of_answer(answer));
            let protobuf = HeaderValue::from_static("application/x-protobuf");
            response.headers_mut().insert(CONTENT_TYPE, protobuf);
            response
        }
        Err(Refusal::NotFound) => refuse(Outcome::NotFound, "no such key"),
        Err(Refusal::LoadFailed(message)) => refuse(Outcome::LoadFailed, &message),
        Err(Refusal::NoSuchGroup) => refuse(Outcome::NoSuchGroup, "no such group"),
        Err(Refusal::Overloaded(message)) => refuse(Outcome::Overloaded, &message),
        Err(Refusal::TimedOut) => refuse(Outcome::TimedOut, "the value did not come in time"),
        Err(Refusal::Invalid(message)) => refuse(Outcome::Invalid, &message),
    }
}

/// Returns the response for an outcome that is no value.
fn refuse(outcome: Outcome, message: &str) -> Response<AnswerBody> {
    let mut response = text(outcome.status(), message);
    response.headers_mut().insert(OUTCOME, outcome.to_header());
    response
}

/// Returns a response of one line.
fn text(status: StatusCode, line: &str) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::of_line(line));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}
