//! What the handle and the task of a link share.
//!
//! One mutex has all that changes. A caller finds a slot and appends a frame, a few stores each;
//! with a channel to the task and a map of who waits, every get would pay for both.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use carrotcache_peer::{PeerError, PeerErrorKind};

use super::state::{State, Unanswered};
use super::waiter::{Detour, Waiter, Watcher};
use crate::link::config::LinkConfig;
use crate::link::end::End;
use crate::link::frame::hello::Hello;

/// What the handle and the task of a link share.
pub(super) struct Shared {
    state: Mutex<State>,
    config: LinkConfig,
    /// Where gets go that are not answered over a link. Never called under the lock.
    detour: Detour,
    /// Who hears of it. Never called under the lock.
    watcher: OnceLock<Arc<dyn Watcher>>,
    /// Outside the lock, so that whoever reads the statistics holds nobody up.
    traffic: Traffic,
}

/// How many bytes went over a link. Only the task counts, once for each read and write.
#[derive(Default)]
pub(super) struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    pub(super) fn send(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn receive(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Returns how many were written, and how many read.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }
}

impl Shared {
    /// Returns the state of a new link, in which the `first` get, if there is one, has the first
    /// slot: the owner has it from the request that asked for the link.
    pub(super) fn new(config: LinkConfig, detour: Detour, first: Option<Waiter>) -> Self {
        let state = Mutex::new(State::new(&config, first));
        Self { state, config, detour, watcher: OnceLock::new(), traffic: Traffic::default() }
    }

    pub(super) fn config(&self) -> &LinkConfig {
        &self.config
    }

    pub(super) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Locks the state. Whoever holds it neither waits nor calls code of somebody else.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands on a get that is not answered over a link; a look ends here. Not to be called with the state
    /// locked.
    pub(super) fn detour(&self, waiter: Waiter) {
        match waiter.is_look {
            true => waiter.completion.tell(Err(PeerErrorKind::NotCached.into())),
            false => (self.detour)(waiter),
        }
    }

    /// Has `watcher` hear of the link from now on. There is one at most.
    pub(super) fn watch(&self, watcher: Arc<dyn Watcher>) {
        drop(self.watcher.set(watcher));
    }

    /// Tells who watches that the owner has said HELLO. Not to be called with the state locked.
    pub(super) fn met(&self, hello: Hello) {
        if let Some(watcher) = self.watcher.get() {
            watcher.met(hello);
        }
    }

    /// Ends the link, and tells every get and purge that is under way. A second end finds none.
    ///
    /// Gets are refused from the moment at which the slots are emptied, under the same lock. So
    /// none can take a slot that nobody looks at any more, and each is told once, here or by its
    /// answer.
    pub(super) fn end(&self, end: End) -> Arc<End> {
        let Unanswered { gets, purges, has_met, is_first } = self.lock().end();
        let end = Arc::new(end);
        // First, so that those who are told and ask again find it noted.
        if let Some(watcher) = self.watcher.get().filter(|_| is_first) {
            watcher.ended(&end, has_met);
        }
        let error = end.to_error();
        // A peer that agreed on frames and never sent one has not been asked.
        let is_plain = !has_met && !matches!(*end, End::Dropped);
        for waiter in gets {
            if is_plain {
                self.detour(waiter);
            } else {
                waiter.completion.tell(Err(error.clone()));
            }
        }
        for (completion, has_met_before) in purges {
            let is_plain = is_plain && !has_met_before;
            completion.tell(Err(if is_plain { spoke_no_frames() } else { error.clone() }));
        }
        end
    }
}

/// Returns the error of a purge for a peer that agreed on frames and sent none.
fn spoke_no_frames() -> PeerError {
    let error = PeerError::new(PeerErrorKind::Plain);
    error.with_source("it agreed to a link and spoke no frames")
}
