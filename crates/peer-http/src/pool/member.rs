//! One peer, asked over its link or over HTTP.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use carrotcache_peer::{Completion, Peer, PeerError, PeerErrorKind, Purge, Purged, Request};
use tokio::runtime::{Handle, Id};

use crate::config::Config;
use crate::http::client::HttpPeer;
use crate::link::asker::{PurgeWaiter, Waiter};
use crate::pool::judge::Judge;
use crate::pool::line::Line;
use crate::pool::standing::plain;
use crate::pool::stats::PeerStats;
use crate::pool::watching::watch_ring;

/// A peer of the pool.
pub(crate) struct Member {
    http: HttpPeer,
    config: Arc<Config>,
    /// The runtime that it is asked on, and its line there. Found without a lock: threads that only
    /// read would take the lock's cache line from each other.
    first: OnceLock<(Id, Arc<Line>)>,
    /// The same of further runtimes. A link lives on the runtime that opened it and ends with that,
    /// so a pool that is used on two runtimes has two.
    others: RwLock<Vec<(Id, Arc<Line>)>>,
}

/// How many other lines are kept. A node that moves to another runtime leaves one behind.
const MAX_OTHERS: usize = 3;

impl Member {
    /// Returns a peer that nobody has asked yet.
    pub(crate) fn new(http: HttpPeer, config: Arc<Config>) -> Self {
        Self { http, config, first: OnceLock::new(), others: RwLock::default() }
    }

    /// Returns what there is to tell of it.
    pub(crate) fn stats(&self) -> PeerStats {
        let mut stats = PeerStats::new(Arc::clone(self.http.label()), self.config.links);
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        for (_, line) in self.first.get().into_iter().chain(&*others) {
            line.add_to(&mut stats);
        }
        stats
    }

    /// Returns what judges whether the peer lives.
    pub(crate) fn judge(&self) -> &Arc<Judge> {
        self.http.judge()
    }

    /// Returns whether the peer may be asked for what another owns: it can be asked, and speaks frames. A
    /// plain peer would forward the request.
    pub(crate) fn may_stand_in(&self) -> bool {
        self.judge().is_up() && self.any_line(|line| line.is_linkable().then_some(())).is_some()
    }

    /// Returns whether the peer has ended, as far as is known: it has said goodbye, or nobody listened there
    /// when it was last asked for a link.
    pub(super) fn has_ended(&self) -> bool {
        self.any_line(|line| line.has_ended().then_some(())).is_some()
    }

    /// Compares our ring, which has changed, with that of the peer.
    pub(crate) fn look_at_ring(&self) {
        if self.judge().look_at_ring()
            && let Some(line) = self.any_line(|line| Some(Arc::clone(line)))
        {
            let link = line.link().map(|link| Arc::downgrade(&link));
            watch_ring(self.judge(), link.unwrap_or_default(), line.runtime());
        }
    }

    /// Returns what the first line says that says anything.
    fn any_line<T>(&self, mut say: impl FnMut(&Arc<Line>) -> Option<T>) -> Option<T> {
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        self.first.get().into_iter().chain(&*others).find_map(|(_, line)| say(line))
    }

    /// Gives `ask` the line to the peer on this runtime.
    fn on_line<T>(&self, runtime: &Handle, ask: impl FnOnce(&Arc<Line>) -> T) -> T {
        let id = runtime.id();
        let new = || Line::new(self.http.clone(), Arc::clone(&self.config), runtime.clone());
        let (first, line) = self.first.get_or_init(|| (id, new()));
        if *first == id { ask(line) } else { ask(&self.other(id, new)) }
    }

    /// Returns the line on a runtime that is not the first one.
    fn other(&self, id: Id, new: impl FnOnce() -> Arc<Line>) -> Arc<Line> {
        let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, line)) = others.iter().find(|(its, _)| *its == id) {
            return Arc::clone(line);
        }
        let line = new();
        others.push((id, Arc::clone(&line)));
        let oldest = (others.len() > MAX_OTHERS).then(|| others.remove(0));
        drop(others);
        drop(oldest);
        line
    }
}

impl Peer for Member {
    /// The peer's base URL, as it was given.
    fn label(&self) -> &str {
        self.http.label()
    }

    /// From a strike on: the pool tells the log when it comes to more, and when that is over.
    fn is_doubted(&self) -> bool {
        self.judge().is_doubted()
    }

    /// Tells an error of kind [`Ejected`](PeerErrorKind::Ejected) at once while the peer is ejected.
    fn ask(&self, request: Request, completion: Completion) {
        let Some(completion) = self.judge().admit(completion) else { return };
        match Handle::try_current() {
            Ok(runtime) => {
                self.on_line(&runtime, |line| line.ask(Waiter::new(request, completion)));
            }
            Err(_outside) => refuse(completion),
        }
    }

    fn ask_many(&self, requests: Vec<(Request, Completion)>) {
        // One of them is the probe, if it is time for one.
        let waiters = requests.into_iter().filter_map(|(request, completion)| {
            Some(Waiter::new(request, self.judge().admit(completion)?))
        });
        match Handle::try_current() {
            Ok(runtime) => self.on_line(&runtime, |line| line.ask_many(waiters.collect())),
            Err(_outside) => waiters.for_each(|waiter| refuse(waiter.completion)),
        }
    }

    /// Over the link, which it asks for if there is none. Over HTTP nothing is cached.
    fn look(&self, request: Request, completion: Completion) {
        // It is no probe: without a link nobody is asked.
        if !self.judge().is_up() {
            return completion.tell(Err(PeerErrorKind::Ejected.into()));
        }
        match Handle::try_current() {
            Ok(runtime) => {
                self.on_line(&runtime, |line| line.ask(Waiter::look(request, completion)));
            }
            Err(_outside) => refuse(completion),
        }
    }

    /// Over the link, which it asks for if there is none. Refused at once while the peer is ejected, since
    /// somebody waits for it; what the peer has missed is told when it is met again.
    fn purge(&self, purge: Purge, completion: Completion<Purged>) {
        // A plain peer has to be told nothing later.
        if !self.judge().is_up()
            && let Some(why) = self.any_line(|line| line.plain_for())
        {
            return completion.tell(Err(plain(why).at(Arc::clone(self.http.label()))));
        }
        let Some(completion) = self.judge().admit(completion) else { return };
        match Handle::try_current() {
            Ok(runtime) => {
                self.on_line(&runtime, |line| line.purge(PurgeWaiter::new(purge, completion)));
            }
            Err(_outside) => refuse(completion),
        }
    }
}

/// Tells that there is no runtime to ask on.
fn refuse<T>(completion: Completion<T>) {
    let error = PeerError::new(PeerErrorKind::Runtime);
    completion.tell(Err(error.with_source("no tokio runtime is running here")));
}
