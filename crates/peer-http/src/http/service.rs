//! Answers what peers ask: one request in, one response out.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use carrotcache_peer::{Answer, Handler, PeerError, PeerErrorKind, Reply, Request};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::Extensions;
use hyper::service::Service;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Response, StatusCode};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::config::Config;
use crate::http::caller::Caller;
use crate::http::switch::{self, Services, Switch};
use crate::link::owner::LONGEST_WAIT;
use crate::secret::Stranger;
use crate::wire::about::{About, Times};
use crate::wire::message::AnswerBody;
use crate::wire::outcome::{OUTCOME, Outcome, PROTOBUF, TIME_LEFT};
use crate::wire::path::{self, PathError};
use crate::wire::upgrade;

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
/// The server must not clean paths: `..` and `//` are part of keys. If it hands over the sockets of
/// connections that change their protocol, as axum's and hyper's with upgrades do, peers of this
/// project ask over links; else they ask over HTTP. The links end when the last clone of the service
/// is dropped, and what is under way over them is answered.
///
/// ```
/// # use carrotcache_peer_http::{HttpPool, peer::{Answer, Request as Asked, handler_fn}};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use hyper::{Request, Response, service::Service};
///
/// let pool = HttpPool::builder("http://10.0.0.1:8001").build()?;
/// let echo = handler_fn(|asked: Asked| async move { Ok(Answer::new(asked.key.to_string())) });
/// let peers = pool.service(echo);
/// // What a server does with each request that it reads:
/// let request = Request::get("/_groupcache/scores/Tom").body(())?;
/// let response: Response<_> = Service::call(&peers, request).await?;
/// assert_eq!(response.status(), 200);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub struct PeerService<H> {
    handler: Arc<H>,
    config: Arc<Config>,
    services: Arc<Services>,
    /// Dropped with the last clone, which ends the links that they agreed to.
    links: Arc<watch::Sender<()>>,
    /// What the paths of requests begin with here.
    base_path: Arc<str>,
    /// Finds out where a request comes from, in a server that is not this crate's.
    remote: fn(&Extensions) -> Option<SocketAddr>,
}

impl<H: Handler> PeerService<H> {
    /// Returns the service for requests below the configured base path.
    pub(crate) fn new(handler: H, config: Arc<Config>, services: Arc<Services>) -> Self {
        let base_path = config.base_path.as_str().into();
        let (handler, links) = (Arc::new(handler), Arc::new(watch::Sender::new(())));
        let remote = |_: &Extensions| None;
        Self { handler, config, services, links, base_path, remote }
    }

    /// Returns the service for a server that shows it paths below `base_path`, which is `/` for
    /// one that cuts the whole base path off.
    ///
    /// Peers still ask below the pool's own base path.
    #[must_use]
    pub fn mounted_at(self, base_path: &str) -> Self {
        Self { base_path: base_path.into(), ..self }
    }

    /// Returns the service that finds out by `remote` where a request comes from.
    ///
    /// Peers on this machine may tell the node what to forget without showing who they are, as
    /// [`allow_purges_from_anyone`](crate::HttpPoolBuilder::allow_purges_from_anyone) says. Unless this
    /// is set, a service inside another server knows of nobody whether he is on this machine.
    ///
    /// With axum, which puts it among the extensions of a request if it is served by
    /// `into_make_service_with_connect_info::<SocketAddr>()`:
    ///
    /// ```
    /// # use carrotcache_peer_http::{HttpPool, PeerService, peer::Handler};
    /// # use std::net::SocketAddr;
    /// use axum::extract::ConnectInfo;
    ///
    /// # fn mount(pool: &HttpPool, handler: impl Handler) -> PeerService<impl Handler> {
    /// let service = pool.service(handler).remote_address(|extensions| {
    ///     extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
    /// });
    /// # service }
    /// ```
    #[must_use]
    pub fn remote_address(self, remote: fn(&Extensions) -> Option<SocketAddr>) -> Self {
        Self { remote, ..self }
    }

    /// Returns what `request` asks for, which is waited for no longer than `longest`. Nothing of it
    /// has been believed before.
    fn parse<B>(
        &self,
        request: &hyper::Request<B>,
        longest: Duration,
    ) -> Result<Request, BadRequest> {
        if request.method() != Method::GET {
            return Err(BadRequest::Method);
        }
        let (group, key) = path::decode(request.uri().path(), &self.base_path)?;
        // Whoever only wants a link gets one, however short the names are that are taken here.
        if !upgrade::is_bare(&group, &key)
            && let Some(reason) = self.config.refuse(&group, &key)
        {
            return Err(BadRequest::Invalid(reason));
        }
        let time_left = self.time_left(request.headers())?.min(longest);
        let deadline = Instant::now() + time_left;
        Ok(Request::new(group, key, deadline.into_std()))
    }

    /// Returns how long the peer says that it will wait. One that does not say it, as Go's do not,
    /// has the longest time that is believed.
    fn time_left(&self, headers: &HeaderMap) -> Result<Duration, BadRequest> {
        let Some(value) = headers.get(TIME_LEFT) else { return Ok(self.config.max_time_left) };
        let digits = value.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let millis = digits.and_then(|digits| digits.parse().ok());
        let invalid =
            || BadRequest::Invalid(format!("{TIME_LEFT} is not a number of milliseconds"));
        Ok(Duration::from_millis(millis.ok_or_else(invalid)?))
    }

    /// Returns what whoever sends these headers is told beside answers. A node that agrees to no links
    /// cannot be told what to forget, so that nobody has to know which process it is.
    fn teller(&self, headers: &HeaderMap) -> Option<Teller> {
        let Config { links, ref link, .. } = *self.config;
        let teller = Teller { incarnation: links.then_some(link.incarnation) };
        headers.contains_key(TIME_LEFT).then_some(teller)
    }

    /// Returns the response to `request` of `caller`, and what becomes of its connection if that is to
    /// become a link.
    pub(crate) fn respond<B>(
        &self,
        mut request: hyper::Request<B>,
        caller: Caller,
    ) -> (PeerResponse, Option<Switch<H>>) {
        // First of all: who is not let in finds out nothing, and costs nothing.
        if let Some(secrets) = &self.config.secrets
            && let Err(stranger) = secrets.check(request.headers())
        {
            let deadline = Instant::now() + self.config.max_time_left;
            return (PeerResponse::ready(unauthorized(stranger), deadline), None);
        }
        let is_switch = self.config.links && switch::is_asked_for(&request);
        if is_switch && let Ok(first) = self.parse(&request, LONGEST_WAIT) {
            let (handler, config) = (Arc::clone(&self.handler), Arc::clone(&self.config));
            let services = Arc::clone(&self.services);
            let switch = Switch::new(&mut request, first, caller, handler, config, services);
            return (PeerResponse::switching(), Some(switch));
        }
        (self.answer(&request), None)
    }

    /// Returns the response to `request`, and serves the link that its connection is to become in a
    /// task.
    fn respond_and_serve<B>(&self, mut request: hyper::Request<B>) -> PeerResponse {
        let runtime = Handle::try_current();
        if runtime.is_err() {
            // Nobody could serve it.
            request.extensions_mut().remove::<OnUpgrade>();
        }
        let caller = Caller { remote: (self.remote)(request.extensions()), is_certified: false };
        let (response, switch) = self.respond(request, caller);
        if let (Some(switch), Ok(runtime)) = (switch, runtime) {
            switch.spawn(&runtime, self.links.subscribe());
        }
        response
    }

    /// Returns the answer to `request`, as HTTP has it.
    fn answer<B>(&self, request: &hyper::Request<B>) -> PeerResponse {
        let teller = self.teller(request.headers());
        let request = match self.parse(request, self.config.max_time_left) {
            Ok(request) => request,
            Err(bad) => {
                let deadline = Instant::now() + self.config.max_time_left;
                return PeerResponse::ready(bad.into_response(), deadline);
            }
        };
        let deadline = Instant::from_std(request.deadline);
        if upgrade::is_bare(&request.group, &request.key) {
            let no_link = refuse(Outcome::NoSuchGroup, "there are no links here");
            return PeerResponse::ready(no_link, deadline);
        }
        let answer = self.handler.answer(request);
        let services = Arc::clone(&self.services);
        match answer {
            Reply::Ready(answer) => {
                let response = answered(answer, teller);
                if response.body().pinned_bytes() == 0 {
                    return PeerResponse::ready(response, deadline);
                }
                PeerResponse::pending(with_room(response, services, deadline), deadline)
            }
            Reply::Pending(answer) => {
                let response = async move {
                    let answer = timeout_at(deadline, answer).await;
                    let answer = answer.unwrap_or(Err(PeerErrorKind::TimedOut.into()));
                    with_room(answered(answer, teller), services, deadline).await
                };
                PeerResponse::pending(response, deadline)
            }
        }
    }
}

impl<H: Handler, B> Service<hyper::Request<B>> for PeerService<H> {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = PeerResponse;

    fn call(&self, request: hyper::Request<B>) -> PeerResponse {
        self.respond_and_serve(request)
    }
}

impl<H: Handler, B> tower_service::Service<hyper::Request<B>> for PeerService<H> {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = PeerResponse;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: hyper::Request<B>) -> PeerResponse {
        self.respond_and_serve(request)
    }
}

impl<H> Clone for PeerService<H> {
    fn clone(&self) -> Self {
        Self {
            handler: Arc::clone(&self.handler),
            config: Arc::clone(&self.config),
            services: Arc::clone(&self.services),
            links: Arc::clone(&self.links),
            base_path: Arc::clone(&self.base_path),
            remote: self.remote,
        }
    }
}

impl<H> fmt::Debug for PeerService<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerService").field("base_path", &self.base_path).finish_non_exhaustive()
    }
}

/// The response to a request, once the handler has answered.
pub struct PeerResponse {
    responding: Responding,
    deadline: Instant,
}

enum Responding {
    /// `None` once it was returned.
    Ready(Option<Response<AnswerBody>>),
    Pending(Pin<Box<dyn Future<Output = Response<AnswerBody>> + Send>>),
}

impl PeerResponse {
    /// Returns a response that is there at once.
    fn ready(response: Response<AnswerBody>, deadline: Instant) -> Self {
        Self { responding: Responding::Ready(Some(response)), deadline }
    }

    /// Returns the agreement to a link.
    fn switching() -> Self {
        let mut response = Response::new(AnswerBody::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        upgrade::add_to(response.headers_mut());
        Self::ready(response, Instant::now() + SWITCHING_WITHIN)
    }

    /// Returns a response that takes a while.
    fn pending(
        response: impl Future<Output = Response<AnswerBody>> + Send + 'static,
        deadline: Instant,
    ) -> Self {
        Self { responding: Responding::Pending(Box::pin(response)), deadline }
    }

    /// Returns when nobody waits for the response any more.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Future for PeerResponse {
    type Output = Result<Response<AnswerBody>, Infallible>;

    /// # Panics
    ///
    /// When polled again after it returned the response.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.responding {
            Responding::Ready(response) => {
                Poll::Ready(Ok(response.take().expect("polled after the response was returned")))
            }
            Responding::Pending(response) => response.as_mut().poll(cx).map(Ok),
        }
    }
}

impl fmt::Debug for PeerResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerResponse").finish_non_exhaustive()
    }
}

/// How long the agreement to a link may take to be sent.
const SWITCHING_WITHIN: Duration = Duration::from_secs(10);

/// Why a request does not reach the handler.
enum BadRequest {
    /// It is not a GET.
    Method,
    /// Its path is outside the base path.
    OutsideBase,
    /// It is malformed in a way that the text tells.
    Invalid(String),
}

impl BadRequest {
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

impl From<PathError> for BadRequest {
    fn from(error: PathError) -> Self {
        match error {
            PathError::OutsideBase => Self::OutsideBase,
            error => Self::Invalid(error.to_string()),
        }
    }
}

/// What one of our own askers is told beside an answer.
#[derive(Clone, Copy)]
struct Teller {
    /// Which process this is.
    incarnation: Option<u64>,
}

/// Returns the response that a handler's answer is sent as.
fn answered(answer: Result<Answer, PeerError>, teller: Option<Teller>) -> Response<AnswerBody> {
    let Answer { entry, minute_qps, .. } = match answer {
        Ok(answer) => answer,
        Err(error) => return refuse(Outcome::of(error.kind), &tell(&error)),
    };
    let times = Times::of(&entry);
    let (mut response, times) = match entry.into_value() {
        None => (refuse(Outcome::NotFound, "no such key"), None),
        Some(value) => {
            let mut response = Response::new(AnswerBody::of_value(value, minute_qps));
            response.headers_mut().insert(CONTENT_TYPE, PROTOBUF);
            (response, times)
        }
    };
    if let Some(Teller { incarnation }) = teller {
        About::add_to(response.headers_mut(), times, incarnation);
    }
    response
}

/// Returns what the peer is told of an error: its cause, or else its kind.
fn tell(error: &PeerError) -> String {
    let causes = error.causes();
    if causes.is_empty() { error.to_string() } else { causes }
}

/// Returns the response once there is room for it, or a refusal.
///
/// It waits for at most half of the time until `deadline`: the rest is for sending, or for the peer
/// to get the value elsewhere.
///
/// # Cancel safety
///
/// Dropping it drops the response, and gives its room back.
async fn with_room(
    mut response: Response<AnswerBody>,
    services: Arc<Services>,
    deadline: Instant,
) -> Response<AnswerBody> {
    let bytes = response.body().pinned_bytes();
    if bytes == 0 {
        return response;
    }
    let now = Instant::now();
    let until = now + deadline.saturating_duration_since(now) / 2;
    match services.unsent.room(bytes, until).await {
        Some(room) => response.body_mut().hold(room),
        None => response = refuse(Outcome::Overloaded, "too many bytes of answers wait here"),
    }
    response
}

/// Returns the response to whoever does not know the secret.
fn unauthorized(stranger: Stranger) -> Response<AnswerBody> {
    let mut response = refuse(Outcome::Unauthorized, stranger.text());
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("carrotcache-secret"));
    response
}

/// Returns the response for an outcome other than a value.
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
