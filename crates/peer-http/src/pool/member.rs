//! One peer, asked over its link or over HTTP.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use carrotcache_peer::{Completion, Peer, PeerError, PeerErrorKind, Purge, Purged, Request};
use tokio::runtime::{Handle, Id};

use crate::config::Config;
use crate::http::client::HttpPeer;
use crate::link::asker::{PurgeWaiter, Waiter};
use crate::pool::line::Line;
use crate::pool::stats::PeerStats;

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

    fn ask(&self, request: Request, completion: Completion) {
        match Handle::try_current() {
            Ok(runtime) => {
                self.on_line(&runtime, |line| line.ask(Waiter::new(request, completion)));
            }
            Err(_outside) => refuse(completion),
        }
    }

    fn ask_many(&self, requests: Vec<(Request, Completion)>) {
        let waiters =
            requests.into_iter().map(|(request, completion)| Waiter::new(request, completion));
        match Handle::try_current() {
            Ok(runtime) => self.on_line(&runtime, |line| line.ask_many(waiters.collect())),
            Err(_outside) => waiters.for_each(|waiter| refuse(waiter.completion)),
        }
    }

    /// Over the link, which it asks for if there is none.
    fn purge(&self, purge: Purge, completion: Completion<Purged>) {
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
