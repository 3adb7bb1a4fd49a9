//! The link to one peer, as it comes and goes, and the way of a get that is asked meanwhile.
//!
//! While there is a link all gets go over it, but those that are too long for a frame. While there
//! is none they go over HTTP, but one at a time that asks for a link. How purges go is in `purging`.

use std::error::Error as _;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use carrotcache_peer::{Answer, Completion, PeerError, PeerErrorKind, Request};
use socket2::SockRef;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use crate::config::Config;
use crate::http::client::{Asked, HttpPeer};
use crate::http::socket::Socket;
use crate::link::asker::{Detour, Link, Unsent, Waiter, Why};
use crate::link::end::End;
use crate::pool::judge::Judge;
use crate::pool::standing::{Settled, State, Way};
use crate::pool::stats::PeerStats;
use crate::pool::watching::Watch;
use crate::wire::upgrade;

/// The link to a peer on one runtime, or what is known of why there is none.
pub(crate) struct Line {
    http: HttpPeer,
    config: Arc<Config>,
    runtime: Handle,
    state: Mutex<State>,
}

/// How long gets wait for a link that another asks for. A peer that knows links agrees at once.
const WAIT: Duration = Duration::from_millis(250);
/// A link that lasted so long is no failure when it ends.
const LASTING: Duration = Duration::from_secs(10);

impl Line {
    /// Returns a line over which nobody has asked yet.
    pub(crate) fn new(http: HttpPeer, config: Arc<Config>, runtime: Handle) -> Arc<Self> {
        let state = Mutex::new(State::new(config.links));
        Arc::new(Self { http, config, runtime, state })
    }

    /// Sends a get, and returns without waiting. Its completion is told the answer, once.
    pub(crate) fn ask(self: &Arc<Self>, waiter: Waiter) {
        self.send(waiter, false);
    }

    /// Sends a get, of a batch or not. One of a batch waits for the link with all the others, so that the
    /// owner has them together; alone it saves a round trip by asking for the link itself.
    fn send(self: &Arc<Self>, waiter: Waiter, is_of_batch: bool) {
        match self.way(waiter) {
            Way::Link(link, waiter) => {
                if let Err(unsent) = link.get(waiter) {
                    self.ask_otherwise(&link, unsent);
                }
            }
            Way::Http(waiter) => self.spawn_get(waiter),
            Way::Ask(waiter) if is_of_batch => {
                self.spawn_bare_asking();
                self.send(waiter, true);
            }
            Way::Ask(waiter) => self.spawn_asking(waiter, false),
            Way::AskForLook => self.spawn_bare_asking(),
            Way::Full(waiter) => self.refuse(waiter),
            Way::Waits => {}
        }
    }

    /// Sends many gets, over a link in as few frames as the peer takes them.
    pub(crate) fn ask_many(self: &Arc<Self>, waiters: Vec<Waiter>) {
        let Some(link) = self.link() else {
            return waiters.into_iter().for_each(|waiter| self.send(waiter, true));
        };
        for unsent in link.get_many(waiters) {
            self.ask_otherwise(&link, unsent);
        }
    }

    /// Adds what it has counted, and tells how it stands.
    pub(crate) fn add_to(&self, stats: &mut PeerStats) {
        self.lock().add_to(stats);
    }

    /// Returns whether the peer has ended, as far as is known.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().has_ended()
    }

    /// Returns the peer's base URL, as it was given.
    pub(super) fn label(&self) -> &Arc<str> {
        self.http.label()
    }

    /// Returns the runtime that the peer is asked on.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Returns what judges whether the peer lives.
    pub(super) fn judge(&self) -> &Arc<Judge> {
        self.http.judge()
    }

    /// Returns the link, if there is one.
    pub(super) fn link(&self) -> Option<Arc<Link>> {
        self.lock().link()
    }

    /// Returns whether the peer has spoken over a link that has ended.
    pub(super) fn has_met(&self) -> bool {
        self.lock().has_met()
    }

    /// Returns whether the peer is known to speak frames.
    pub(super) fn is_linkable(&self) -> bool {
        self.lock().is_linkable()
    }

    /// Returns why nothing but HTTP is spoken with the peer, if that is known.
    pub(super) fn plain_for(&self) -> Option<&'static str> {
        self.lock().plain_for()
    }

    /// Returns where a get goes, and keeps it if it is to wait.
    fn way(&self, waiter: Waiter) -> Way {
        let max_waiting = usize::try_from(self.config.link.max_in_flight).unwrap_or(usize::MAX);
        self.lock().way(waiter, max_waiting)
    }

    /// Finds another way for a get that the link did not take.
    fn ask_otherwise(self: &Arc<Self>, link: &Arc<Link>, unsent: Unsent) {
        let Unsent { waiter, why } = unsent;
        match why {
            Why::Full => self.refuse(waiter),
            Why::TooLong => self.spawn_get(waiter),
            Why::NoLooks => waiter.completion.tell(Err(PeerErrorKind::NotCached.into())),
            Why::Over => {
                self.part(link);
                // That link is not found any more, so this ends.
                self.ask(waiter);
            }
        }
    }

    /// Notes that the peer wants no more requests over a link, and may be about to end it. Those that are
    /// under way over it are answered all the same.
    pub(super) fn part(&self, link: &Arc<Link>) {
        let lost = self.lock().lose(Arc::as_ptr(link), true);
        drop(lost);
    }

    /// Tells a get that there is no room for it, so that it is loaded where it was asked for.
    fn refuse(&self, waiter: Waiter) {
        let max = self.config.link.max_in_flight;
        let error = PeerError::new(PeerErrorKind::Unreachable).at(Arc::clone(self.http.label()));
        let error = error.with_source(format!("{max} gets are under way to it"));
        waiter.completion.tell(Err(error));
    }

    /// Asks over HTTP, in a task. There are no looks over HTTP.
    fn spawn_get(self: &Arc<Self>, waiter: Waiter) {
        if waiter.is_look {
            return self.end_look(waiter);
        }
        let line = Arc::clone(self);
        self.runtime.spawn(async move {
            let Waiter { request, completion, .. } = waiter;
            let answered = line.http.get(&request).await;
            // Perhaps the owner loads, or no connection was free. Over a link that came about meanwhile
            // it can say so, and needs none.
            let is_open = answered.as_ref().is_err_and(|error| {
                matches!(error.kind, PeerErrorKind::TimedOut | PeerErrorKind::Unreachable)
            });
            if let Some(link) = is_open.then(|| line.link()).flatten()
                && Instant::now().into_std() < request.deadline
            {
                match link.get(Waiter::new(request, completion)) {
                    Ok(_sent) => {}
                    Err(Unsent { waiter, .. }) => waiter.completion.tell(answered),
                }
                return;
            }
            completion.tell(answered);
        });
    }

    /// Tells a look that it is not sent, since there is no link, or one that takes none.
    fn end_look(&self, waiter: Waiter) {
        let kind = match self.lock().may_be_linked() {
            true => PeerErrorKind::Unreachable,
            false => PeerErrorKind::NotCached,
        };
        let error = PeerError::new(kind).at(Arc::clone(self.http.label()));
        waiter.completion.tell(Err(error.with_source("there is no link that takes it")));
    }

    /// Asks for a link for others that wait for it, by a get that harms nobody: one of theirs would start a
    /// load at the peer, and alone.
    fn spawn_bare_asking(self: &Arc<Self>) {
        let request = upgrade::bare_request((Instant::now() + WAIT).into_std());
        self.spawn_asking(Waiter::new(request, Completion::new(drop)), true);
    }

    /// Asks for a link, in a task, which becomes that of the link.
    pub(super) fn spawn_asking(self: &Arc<Self>, waiter: Waiter, is_bare: bool) {
        let asking = Asking { line: Arc::clone(self), is_bare, is_settled: false };
        self.runtime.spawn(asking.run(waiter));
    }

    /// Notes that the peer speaks HTTP only, and asks it so what waited for a link. With an `error` it may
    /// have been something before it that said so.
    fn settle_plain(self: &Arc<Self>, why: &'static str, error: Option<PeerError>) {
        let (waiting, is_new) = self.lock().plain(why, error);
        if is_new {
            tracing::info!(peer = &**self.http.label(), why, "a peer is asked over HTTP only");
        }
        waiting.into_iter().for_each(|waiter| self.spawn_get(waiter));
    }

    /// Returns what an answer over HTTP is of a peer that has spoken over a link before: perhaps that of
    /// somebody else at its address. What the peer is to forget, it may still have.
    fn strange(&self) -> Option<PeerError> {
        let error = || PeerError::new(PeerErrorKind::Foreign).at(Arc::clone(self.http.label()));
        self.has_met()
            .then(|| error().with_source("it has spoken over a link before, and takes none now"))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that asks for a link. Should it be dropped, with its runtime, the line is down.
struct Asking {
    line: Arc<Line>,
    /// Whether it asks for a purge or a look, by a get that nobody waits for.
    is_bare: bool,
    /// Whether the line has been told what came of it. Another may be asking from then on.
    is_settled: bool,
}

impl Asking {
    /// Asks for a link with a get, and moves the bytes of the link that comes of it.
    ///
    /// # Cancel safety
    ///
    /// Dropped only when its runtime shuts down. Gets that wait are told so.
    async fn run(mut self, waiter: Waiter) {
        match self.ask(&waiter.request).await {
            Asked::Link(stream, early) => self.open(stream, &early, waiter).await,
            // It may know links, and would tell nobody who is not let in.
            Asked::Answered(Err(error)) if error.kind == PeerErrorKind::Unauthorized => {
                self.is_settled = true;
                self.fail(&error);
                waiter.completion.tell(Err(error));
            }
            Asked::Answered(answer) => {
                self.is_settled = true;
                let unsure = foreign(&answer).or_else(|| self.line.strange());
                self.line.settle_plain("it answered over HTTP", unsure);
                waiter.completion.tell(answer);
            }
            Asked::Failed(error) => {
                self.is_settled = true;
                self.fail(&error);
                waiter.completion.tell(Err(error));
            }
        }
    }

    /// Notes that no link could be had, and finds a way for those who wait for it.
    fn fail(&self, error: &PeerError) {
        let line = &self.line;
        if is_refused(error) {
            line.lock().ended();
        }
        let waiting = match error.kind {
            // What keeps one from being asked would keep the others, one after another.
            PeerErrorKind::Unreachable | PeerErrorKind::Runtime | PeerErrorKind::Unauthorized => {
                return self.fail_all(error);
            }
            // It was found dead, in whatever way that showed.
            _ if !line.judge().is_up() => return self.fail_all(error),
            // It has answered, with more than is accepted here.
            PeerErrorKind::TooLarge => return line.settle_plain("it answered over HTTP", None),
            // It was not asked at all, since the get is not one for HTTP. One of its own always is.
            PeerErrorKind::BadRequest if !self.is_bare => line.lock().gave_up(),
            // Purges that wait may have more time than whoever asked.
            PeerErrorKind::TimedOut => line.lock().down(&Settled::Anew),
            _ => line.lock().down(&Settled::Failed(error.clone())),
        };
        waiting.into_iter().for_each(|waiter| line.spawn_get(waiter));
    }

    /// Tells all who wait for the link that they cannot be asked either.
    fn fail_all(&self, error: &PeerError) {
        let waiting = self.line.lock().down(&Settled::Failed(error.clone()));
        // Without the lock: whoever is told may ask again at once.
        for waiter in waiting {
            waiter.completion.tell(Err(error.clone()));
        }
    }

    /// Asks for a link. Those who wait for it go over HTTP if it takes too long.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connection.
    async fn ask(&self, request: &Request) -> Asked {
        let line = &self.line;
        let mut asked = pin!(line.http.ask_for_link(request));
        let late = async { sleep(WAIT).await };
        tokio::select! {
            // First, since it tells of a runtime without a timer, of which the other one panics.
            biased;
            asked = &mut asked => return asked,
            () = late => {}
        }
        let waiting = line.lock().let_go();
        waiting.into_iter().for_each(|waiter| line.spawn_get(waiter));
        asked.await
    }

    /// Opens the link, and moves its bytes until it ends.
    ///
    /// # Cancel safety
    ///
    /// Dropping it ends the link. Gets that are under way are told so.
    async fn open(mut self, stream: Socket, early: &[u8], first: Waiter) {
        let Line { http, config, runtime, .. } = &*self.line;
        // If the system does not take it, large values keep small ones waiting for longer.
        if config.link.receive_buffer_bytes > 0 {
            let bytes = config.link.receive_buffer_bytes;
            let _ = SockRef::from(stream.tcp()).set_recv_buffer_size(bytes);
        }
        let detour = detour(http.clone(), runtime.clone());
        let (link, driver) = Link::new(stream, early, Some(first), config.link.clone(), detour);
        let (link, opened) = (Arc::new(link), Instant::now());
        Watch::begin(&link, self.line.judge(), runtime, self.line.has_met());
        let peer = Arc::clone(http.label());
        tracing::info!(peer = &*peer, "a link is open");
        let waiting = self.line.lock().up(Arc::clone(&link));
        self.is_settled = true;
        for unsent in link.get_many(waiting) {
            self.line.ask_otherwise(&link, unsent);
        }
        // From here on the line does not hold its own task, so that a peer that leaves the pool
        // takes its link along.
        let (its_line, itself) = (Arc::downgrade(&self.line), Arc::downgrade(&link));
        drop((self, link));
        let end = driver.await;
        tracing::info!(peer = &*peer, %end, "a link has ended");
        let Some(line) = its_line.upgrade() else { return };
        if matches!(*end, End::Goodbye) {
            line.lock().ended();
        }
        let lasted = end.is_gentle() || opened.elapsed() >= LASTING;
        let lost = line.lock().lose(itself.as_ptr(), lasted);
        if lost.is_some_and(|link| link.hello().is_none()) {
            // A node that has spoken before was cut off. What it is to forget, it may still have.
            let cut = line.has_met().then(|| end.to_error());
            line.settle_plain("it agreed to a link and spoke no frames", cut);
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if !self.is_settled {
            let waiting = self.line.lock().gave_up();
            drop(waiting);
        }
    }
}

/// Returns the error that an answer over HTTP is, if it need not come from the peer itself: a proxy says
/// such things of a node that it cannot reach, and that node may well know links.
fn foreign(answer: &Result<Answer, PeerError>) -> Option<PeerError> {
    use PeerErrorKind::{Foreign, Overloaded, TimedOut};
    let error = answer.as_ref().err()?;
    matches!(error.kind, Foreign | Overloaded | TimedOut).then(|| error.clone())
}

/// Returns whether nobody listens where the peer should be.
fn is_refused(error: &PeerError) -> bool {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    io.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Returns what asks over HTTP what a link does not carry.
///
/// It holds nothing of the line: the link holds it, and would hold itself.
fn detour(http: HttpPeer, runtime: Handle) -> Detour {
    Arc::new(move |Waiter { request, completion, .. }| {
        let http = http.clone();
        runtime.spawn(async move { completion.tell(http.get(&request).await) });
    })
}
