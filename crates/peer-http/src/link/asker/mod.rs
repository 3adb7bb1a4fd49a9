//! The asker's side: gets go out, and their completions are told.
//!
//! A get costs its caller one short lock: a slot, and a frame behind those of the others. The task
//! is woken by the first of them and writes them all at once. No get has a task, a channel or a
//! timer.
//!
//! | file | has |
//! |---|---|
//! | `waiter` | a get, with who is told its answer |
//! | `slots` | the gets under way, by number |
//! | `looks` | looks that wait for the owner's HELLO |
//! | `purges` | the purges under way |
//! | `state` | slots and unwritten bytes, under one lock |
//! | `shared` | that lock, and how a link ends |
//! | `inbox` | from bytes to answers |
//! | `clock` | deadlines, and whether the owner lives |
//! | `driver` | the task, which puts these together |

mod clock;
mod driver;
mod inbox;
mod looks;
mod purges;
mod shared;
mod slots;
mod state;
pub(crate) mod waiter;

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

pub(crate) use self::driver::Driver;
#[cfg(test)]
pub(crate) use self::purges::MAX_PURGES;
pub(crate) use self::purges::{MAX_WAITING_PURGES, PurgeWaiter, UnsentPurge};
use self::shared::Shared;
use self::state::State;
pub(crate) use self::waiter::{Detour, Unsent, Waiter, Watcher, Why};
use crate::link::config::LinkConfig;
use crate::link::frame::hello::Hello;
use crate::link::frame::{Header, Id, kind};

/// The connection to one owner, over which gets are sent.
///
/// Dropping it sends no more gets and purges. Those under way are answered, then its [`Driver`] ends.
/// Dropping the [`Driver`] is the end of them all: every one under way is told so, at once.
pub(crate) struct Link {
    shared: Arc<Shared>,
}

impl Link {
    /// Returns a link over `io`, and the task that moves its bytes, which is to be spawned.
    ///
    /// Both sides have agreed on frames. `early` is what came behind the agreement, `first` the get
    /// that asked for it, whose answer is the first that comes.
    ///
    /// Gets go to `detour` whose values are too large for a link, and all of them if the peer turns
    /// out not to speak frames: if the link ends before a HELLO.
    pub(crate) fn new<IO: AsyncRead + AsyncWrite + Unpin>(
        io: IO,
        early: &[u8],
        first: Option<Waiter>,
        config: LinkConfig,
        detour: Detour,
    ) -> (Self, Driver<IO>) {
        let shared = Arc::new(Shared::new(config, detour, first));
        let driver = Driver::new(Arc::clone(&shared), io, early);
        (Self { shared }, driver)
    }

    /// Has `watcher` hear what becomes of the link. To be called before the task is spawned, and once.
    pub(crate) fn watch(&self, watcher: Arc<dyn Watcher>) {
        self.shared.watch(watcher);
    }

    /// Asks the owner for a sign of life, with which it also says HELLO if its ring has changed.
    pub(crate) fn ping(&self) {
        let mut state = self.shared.lock();
        state.write(Header::bare(kind::PING, Id::default()));
        State::wake(state);
    }

    /// Sends a get, and returns without waiting. Its completion is told the answer, once.
    ///
    /// That is no later than its deadline, and no later than its request's
    /// [`answer_by`](carrotcache_peer::Request::answer_by) unless the owner says that it is
    /// loading.
    ///
    /// # Errors
    ///
    /// The get is given back, untold, if it cannot be sent.
    pub(crate) fn get(&self, waiter: Waiter) -> Result<(), Unsent> {
        let now = Instant::now();
        let mut state = self.shared.lock();
        let sent = state.get(waiter, now, self.shared.config());
        if sent.is_ok() {
            State::wake(state);
        }
        sent.map(drop)
    }

    /// Sends many gets in as few frames as the owner takes them. Returns those that were not sent.
    ///
    /// Each is told by itself, as those of [`get`](Self::get) are. All of them take the lock once,
    /// and a key costs ten bytes of the wire where a get of its own costs twenty and its group's
    /// name.
    pub(crate) fn get_many(&self, waiters: Vec<Waiter>) -> Vec<Unsent> {
        let now = Instant::now();
        let mut state = self.shared.lock();
        let unsent = state.get_many(waiters, now, self.shared.config());
        State::wake(state);
        unsent
    }

    /// Tells the owner to forget, and returns without waiting. The completion is told what it says to
    /// that, once, and no later than at the purge's deadline.
    ///
    /// It is sent behind the gets that wait to be written. A peer that takes no purges is told of by an
    /// error of kind [`Plain`](carrotcache_peer::PeerErrorKind::Plain).
    ///
    /// # Errors
    ///
    /// The purge is given back, untold, if it cannot be sent.
    pub(crate) fn purge(&self, waiter: PurgeWaiter) -> Result<(), UnsentPurge> {
        let now = Instant::now();
        let mut state = self.shared.lock();
        state.purge(waiter, now, self.shared.config())?;
        State::wake(state);
        Ok(())
    }

    /// Returns how many bytes were written, and how many read. Takes no lock.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        self.shared.traffic().bytes()
    }

    /// Returns how many gets are under way.
    pub(crate) fn in_flight(&self) -> u32 {
        self.shared.lock().in_flight()
    }

    /// Returns what the owner has said of itself; `None` until it has.
    ///
    /// If there still is nothing when the link has ended, the peer agreed on frames and speaks
    /// none: all that it was asked has gone to the detour.
    pub(crate) fn hello(&self) -> Option<Hello> {
        self.shared.lock().hello()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.leave();
        State::wake(state);
    }
}
