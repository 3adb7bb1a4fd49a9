//! The link to one peer, as it comes and goes, and the way of a get that is asked meanwhile.
//!
//! ```text
//!            a get asks for a link           the peer agrees
//!     Down ───────────────────────▶ Asking ───────────────────▶ Up
//!      ▲                              │ │                        │
//!      │◀── the peer cannot be asked ─┘ └─ it answers in HTTP    │ it ends
//!      │                                          │              │
//!      │                                          ▼              │
//!      │◀──────────────── after a while ──────── Plain           │
//!      └─────────────────────────────────────────────────────────┘
//! ```
//!
//! While there is a link all gets go over it, but those that are too long for a frame. While there
//! is none they go over HTTP, but one at a time that asks for a link.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use carrotcache_peer::{PeerError, PeerErrorKind, Request};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use crate::config::Config;
use crate::http::client::{Asked, HttpPeer};
use crate::link::asker::{Detour, Link, Unsent, Waiter, Why};
use crate::link::end::End;
use crate::pool::stats::{LinkState, PeerStats};

/// The link to a peer on one runtime, or what is known of why there is none.
pub(crate) struct Line {
    http: HttpPeer,
    config: Arc<Config>,
    runtime: Handle,
    state: Mutex<State>,
}

struct State {
    standing: Standing,
    /// How often in a row a link could not be had, or did not last.
    failures: u32,
    opened: u64,
    /// What went over links that have ended, both ways.
    sent: u64,
    received: u64,
}

enum Standing {
    /// Nobody is asked for links here.
    Off,
    /// There is no link, and no get asks for one before `again`.
    Down {
        again: Instant,
    },
    /// A get asks for a link. Others wait for what comes of it; `None` when they need not any more.
    Asking {
        waiting: Option<Vec<Waiter>>,
    },
    Up(Arc<Link>),
    /// The peer speaks HTTP only, or did when it was last asked.
    Plain {
        why: &'static str,
        until: Instant,
    },
}

/// Where a get goes.
enum Way {
    Link(Arc<Link>, Waiter),
    Http(Waiter),
    /// Over HTTP, to ask for a link.
    Ask(Waiter),
    /// Nowhere yet: it waits for the link.
    Waits,
    /// Nowhere: as many wait as may.
    Full(Waiter),
}

/// How long gets wait for a link that another asks for. A peer that knows links agrees at once.
const WAIT: Duration = Duration::from_millis(250);
/// How long a peer that speaks HTTP only is not asked for a link.
const PLAIN_FOR: Duration = Duration::from_secs(10);
/// How long no link is asked for when one could not be had: twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A link that lasted so long is no failure when it ends.
const LASTING: Duration = Duration::from_secs(10);

const ANSWERED: &str = "it answered over HTTP";
const SPOKE_NO_FRAMES: &str = "it agreed to a link and spoke no frames";

impl Line {
    /// Returns a line over which nobody has asked yet.
    pub(crate) fn new(http: HttpPeer, config: Arc<Config>, runtime: Handle) -> Arc<Self> {
        let standing = match config.links {
            true => Standing::Down { again: Instant::now() },
            false => Standing::Off,
        };
        let state = State { standing, failures: 0, opened: 0, sent: 0, received: 0 };
        Arc::new(Self { http, config, runtime, state: Mutex::new(state) })
    }

    /// Sends a get, and returns without waiting. Its completion is told the answer, once.
    pub(crate) fn ask(self: &Arc<Self>, waiter: Waiter) {
        match self.way(waiter) {
            Way::Link(link, waiter) => {
                if let Err(unsent) = link.get(waiter) {
                    self.ask_otherwise(&link, unsent);
                }
            }
            Way::Http(waiter) => self.spawn_get(waiter),
            Way::Ask(waiter) => self.spawn_asking(waiter),
            Way::Full(waiter) => self.refuse(waiter),
            Way::Waits => {}
        }
    }

    /// Sends many gets, over a link in as few frames as the peer takes them.
    pub(crate) fn ask_many(self: &Arc<Self>, waiters: Vec<Waiter>) {
        let Some(link) = self.link() else {
            return waiters.into_iter().for_each(|waiter| self.ask(waiter));
        };
        for unsent in link.get_many(waiters) {
            self.ask_otherwise(&link, unsent);
        }
    }

    /// Adds what it has counted, and tells how it stands.
    pub(crate) fn add_to(&self, stats: &mut PeerStats) {
        let state = self.lock();
        stats.links_opened += state.opened;
        stats.bytes_sent += state.sent;
        stats.bytes_received += state.received;
        stats.link = match &state.standing {
            Standing::Off => LinkState::Off,
            Standing::Down { .. } => LinkState::Down,
            Standing::Asking { .. } => LinkState::Asking,
            Standing::Plain { why, .. } => LinkState::Plain { why },
            Standing::Up(link) => {
                stats.gets_in_flight += u64::from(link.in_flight());
                let (sent, received) = link.bytes();
                stats.bytes_sent += sent;
                stats.bytes_received += received;
                LinkState::Up
            }
        };
    }

    /// Returns the link, if there is one.
    fn link(&self) -> Option<Arc<Link>> {
        match &self.lock().standing {
            Standing::Up(link) => Some(Arc::clone(link)),
            _ => None,
        }
    }

    /// Returns where a get goes, and keeps it if it is to wait.
    fn way(&self, waiter: Waiter) -> Way {
        let mut state = self.lock();
        let waiting = match &mut state.standing {
            Standing::Up(link) => return Way::Link(Arc::clone(link), waiter),
            Standing::Asking { waiting: Some(waiting) } => {
                if waiting.len() >= self.config.link.max_in_flight as usize {
                    return Way::Full(waiter);
                }
                waiting.push(waiter);
                return Way::Waits;
            }
            Standing::Asking { waiting: None } => return Way::Http(waiter),
            // It may have been another node that spoke HTTP, so those who ask now need not wait.
            Standing::Plain { until, .. } if *until <= Instant::now() => None,
            Standing::Down { again } if *again <= Instant::now() => Some(Vec::new()),
            Standing::Off | Standing::Plain { .. } | Standing::Down { .. } => {
                return Way::Http(waiter);
            }
        };
        state.standing = Standing::Asking { waiting };
        Way::Ask(waiter)
    }

    /// Finds another way for a get that the link did not take.
    fn ask_otherwise(self: &Arc<Self>, link: &Arc<Link>, unsent: Unsent) {
        let Unsent { waiter, why } = unsent;
        match why {
            Why::Full => self.refuse(waiter),
            Why::TooLong => self.spawn_get(waiter),
            Why::Over => {
                // The peer wants no more gets over it, and may be about to end. Those that are under
                // way over it are answered all the same.
                let mut state = self.lock();
                let is_this = matches!(&state.standing, Standing::Up(up) if Arc::ptr_eq(up, link));
                let old = is_this.then(|| state.lose());
                drop(state);
                drop(old);
                match self.way(waiter) {
                    Way::Link(new, waiter) => {
                        if let Err(unsent) = new.get(waiter) {
                            self.spawn_get(unsent.waiter);
                        }
                    }
                    Way::Http(waiter) => self.spawn_get(waiter),
                    Way::Ask(waiter) => self.spawn_asking(waiter),
                    Way::Full(waiter) => self.refuse(waiter),
                    Way::Waits => {}
                }
            }
        }
    }

    /// Tells a get that there is no room for it, so that it is loaded where it was asked for.
    fn refuse(&self, waiter: Waiter) {
        let max = self.config.link.max_in_flight;
        let error = PeerError::new(PeerErrorKind::Unreachable).at(Arc::clone(self.http.label()));
        let error = error.with_source(format!("{max} gets are under way to it"));
        waiter.completion.tell(Err(error));
    }

    /// Asks over HTTP, in a task.
    fn spawn_get(self: &Arc<Self>, waiter: Waiter) {
        let line = Arc::clone(self);
        self.runtime.spawn(async move {
            let Waiter { request, completion } = waiter;
            let answered = line.http.get(&request).await;
            let is_late = answered.as_ref().is_err_and(|e| e.kind == PeerErrorKind::TimedOut);
            // Perhaps the owner loads. Over a link that came about meanwhile it can say so.
            if let Some(link) = is_late.then(|| line.link()).flatten()
                && Instant::now().into_std() < request.deadline
            {
                match link.get(Waiter { request, completion }) {
                    Ok(_sent) => {}
                    Err(Unsent { waiter, .. }) => waiter.completion.tell(answered),
                }
                return;
            }
            completion.tell(answered);
        });
    }

    /// Asks for a link, in a task, which becomes that of the link.
    fn spawn_asking(self: &Arc<Self>, waiter: Waiter) {
        let asking = Asking { line: Arc::clone(self) };
        self.runtime.spawn(asking.run(waiter));
    }

    /// Notes that a link has ended, and tells why.
    fn ended(&self, link: &Weak<Link>, opened: Instant, end: &Arc<End>) {
        let mut state = self.lock();
        let Standing::Up(up) = &state.standing else { return };
        if !std::ptr::eq(Arc::as_ptr(up), link.as_ptr()) {
            return;
        }
        let has_met = up.hello().is_some();
        let lasted = opened.elapsed() >= LASTING || end.is_gentle();
        state.failures = if lasted { 0 } else { state.failures + 1 };
        let old = state.lose();
        if !has_met {
            let until = Instant::now() + PLAIN_FOR;
            state.standing = Standing::Plain { why: SPOKE_NO_FRAMES, until };
        }
        drop(state);
        drop(old);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Goes down. Returns the link that there was, to be dropped without the lock.
    fn lose(&mut self) -> Standing {
        if let Standing::Up(link) = &self.standing {
            let (sent, received) = link.bytes();
            self.sent += sent;
            self.received += received;
        }
        let again = Instant::now() + pause(self.failures);
        std::mem::replace(&mut self.standing, Standing::Down { again })
    }

    /// Returns the gets that wait for a link. They need not any more, nor do others.
    fn let_go(&mut self) -> Vec<Waiter> {
        match &mut self.standing {
            Standing::Asking { waiting } => waiting.take().unwrap_or_default(),
            _ => Vec::new(),
        }
    }
}

/// Returns how long no link is asked for after so many failures in a row.
fn pause(failures: u32) -> Duration {
    let doubled =
        failures.checked_sub(1).map(|times| FIRST_PAUSE * 2_u32.saturating_pow(times.min(16)));
    doubled.unwrap_or_default().min(LONGEST_PAUSE)
}

/// The task that asks for a link. Should it be dropped, with its runtime, the line is down.
struct Asking {
    line: Arc<Line>,
}

impl Asking {
    /// Asks for a link with a get, and moves the bytes of the link that comes of it.
    ///
    /// # Cancel safety
    ///
    /// Dropped only when its runtime shuts down. Gets that wait are told so.
    async fn run(self, waiter: Waiter) {
        match self.ask(&waiter.request).await {
            Asked::Link(stream, early) => self.open(stream, &early, waiter).await,
            Asked::Answered(answer) => {
                self.settle(|state| {
                    let until = Instant::now() + PLAIN_FOR;
                    state.failures = 0;
                    Standing::Plain { why: ANSWERED, until }
                })
                .into_iter()
                .for_each(|waiting| self.line.spawn_get(waiting));
                waiter.completion.tell(answer);
            }
            Asked::Failed(error) => {
                let waiting = self.settle(|state| {
                    state.failures += 1;
                    Standing::Down { again: Instant::now() + pause(state.failures) }
                });
                // What keeps one from being asked would keep the others, one after another.
                for waiting in waiting {
                    waiting.completion.tell(Err(error.clone()));
                }
                waiter.completion.tell(Err(error));
            }
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
        waiting.into_iter().for_each(|waiting| line.spawn_get(waiting));
        asked.await
    }

    /// Stands as `standing` says from now on. Returns the gets that waited.
    fn settle(&self, standing: impl FnOnce(&mut State) -> Standing) -> Vec<Waiter> {
        let mut state = self.line.lock();
        let waiting = state.let_go();
        state.standing = standing(&mut state);
        waiting
    }

    /// Opens the link, and moves its bytes until it ends.
    ///
    /// # Cancel safety
    ///
    /// Dropping it ends the link. Gets that are under way are told so.
    async fn open(self, stream: TcpStream, early: &[u8], first: Waiter) {
        let Line { http, config, runtime, .. } = &*self.line;
        // If the system does not take it, large values keep small ones waiting for longer.
        if config.link.receive_buffer_bytes > 0 {
            let bytes = config.link.receive_buffer_bytes;
            let _ = SockRef::from(&stream).set_recv_buffer_size(bytes);
        }
        let detour = detour(http.clone(), runtime.clone());
        let (link, driver) = Link::new(stream, early, Some(first), config.link.clone(), detour);
        let (link, opened) = (Arc::new(link), Instant::now());
        let waiting = self.settle(|state| {
            state.opened += 1;
            Standing::Up(Arc::clone(&link))
        });
        for waiting in waiting {
            if let Err(unsent) = link.get(waiting) {
                self.line.ask_otherwise(&link, unsent);
            }
        }
        let peer = Arc::clone(http.label());
        tracing::debug!(peer = &*peer, "a link is open");
        // From here on the line does not hold its own task, so that a peer that leaves the pool
        // takes its link along.
        let (its_line, itself) = (Arc::downgrade(&self.line), Arc::downgrade(&link));
        drop((self, link));
        let end = driver.await;
        tracing::debug!(peer = &*peer, %end, "a link has ended");
        if let Some(line) = its_line.upgrade() {
            line.ended(&itself, opened, &end);
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut state = self.line.lock();
        let waiting = state.let_go();
        if let Standing::Asking { .. } = state.standing {
            state.standing = Standing::Down { again: Instant::now() };
        }
        drop(state);
        drop(waiting);
    }
}

/// Returns what asks over HTTP what a link does not carry.
///
/// It holds nothing of the line: the link holds it, and would hold itself.
fn detour(http: HttpPeer, runtime: Handle) -> Detour {
    Arc::new(move |Waiter { request, completion }| {
        let http = http.clone();
        runtime.spawn(async move { completion.tell(http.get(&request).await) });
    })
}
