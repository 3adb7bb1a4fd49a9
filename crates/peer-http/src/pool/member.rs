//! One peer, asked over its link or over HTTP.

use std::sync::{Arc, PoisonError, RwLock};

use carrotcache_peer::{Completion, Peer, PeerError, PeerErrorKind, Request};
use tokio::runtime::{Handle, Id};

use crate::config::Config;
use crate::http::client::HttpPeer;
use crate::link::asker::Waiter;
use crate::pool::line::Line;
use crate::pool::stats::PeerStats;

/// A peer of the pool.
pub(crate) struct Member {
    http: HttpPeer,
    config: Arc<Config>,
    /// The runtimes that it is asked on, and the line of each. A link lives on the runtime that
    /// opened it and ends with that, so a pool that is used on two runtimes has two.
    lines: RwLock<Vec<(Id, Arc<Line>)>>,
}

/// How many lines are kept. A node that moves to another runtime leaves one behind.
const MAX_LINES: usize = 4;

impl Member {
    /// Returns a peer that nobody has asked yet.
    pub(crate) fn new(http: HttpPeer, config: Arc<Config>) -> Self {
        Self { http, config, lines: RwLock::default() }
    }

    /// Returns what there is to tell of it.
    pub(crate) fn stats(&self) -> PeerStats {
        let mut stats = PeerStats::new(Arc::clone(self.http.label()), self.config.links);
        let lines = self.lines.read().unwrap_or_else(PoisonError::into_inner);
        for (_, line) in &*lines {
            line.add_to(&mut stats);
        }
        stats
    }

    /// Returns the line to the peer on this runtime.
    fn line(&self, runtime: &Handle) -> Arc<Line> {
        let id = runtime.id();
        let lines = self.lines.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, line)) = lines.iter().find(|(its, _)| *its == id) {
            return Arc::clone(line);
        }
        drop(lines);
        let mut lines = self.lines.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, line)) = lines.iter().find(|(its, _)| *its == id) {
            return Arc::clone(line);
        }
        let line = Line::new(self.http.clone(), Arc::clone(&self.config), runtime.clone());
        lines.push((id, Arc::clone(&line)));
        let oldest = (lines.len() > MAX_LINES).then(|| lines.remove(0));
        drop(lines);
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
            Ok(runtime) => self.line(&runtime).ask(Waiter { request, completion }),
            Err(_outside) => refuse(completion),
        }
    }

    fn ask_many(&self, requests: Vec<(Request, Completion)>) {
        let waiters =
            requests.into_iter().map(|(request, completion)| Waiter { request, completion });
        match Handle::try_current() {
            Ok(runtime) => self.line(&runtime).ask_many(waiters.collect()),
            Err(_outside) => waiters.for_each(|waiter| refuse(waiter.completion)),
        }
    }
}

/// Tells that there is no runtime to ask on.
fn refuse(completion: Completion) {
    let error = PeerError::new(PeerErrorKind::Runtime);
    completion.tell(Err(error.with_source("no tokio runtime is running here")));
}
