//! The task of the asker's side, which owns the socket.
//!
//! A turn writes, reads and tells, until there is nothing left to do without waiting. It writes
//! first: what a caller has just asked should be on its way while the answers of others are read.
//! The lock of the state is taken for moments only, never over a read, a write or a completion,
//! since a completion is code of somebody else, which may well ask the next get of this same link.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use carrotcache_peer::{Answer, Completion, PeerError, PeerErrorKind, Purged};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::clock::{Clock, Silence};
use super::inbox::{Event, Inbox};
use super::shared::Shared;
use super::state::{Expired, Rest, State, Times};
use super::waiter::Waiter;
use crate::link::config::LinkConfig;
use crate::link::end::End;
use crate::link::frame::{Header, Id, kind};
use crate::link::input::KEPT_BYTES;

/// Moves the bytes of a [`Link`](super::Link), and tells the completions of its gets.
///
/// It is to be spawned. Its output says why the link ended; by then every get has been told.
///
/// # Cancel safety
///
/// Dropping it ends the link and closes the connection. Every get under way is told an error of
/// kind [`Dropped`](PeerErrorKind::Dropped), and the [`Link`](super::Link) gives back whatever it
/// is asked from then on.
pub(crate) struct Driver<IO> {
    shared: Arc<Shared>,
    io: IO,
    /// What has been read, up to the frames that it tells.
    inbox: Inbox,
    /// The only timer of the link, whatever the number of gets.
    clock: Clock,
    /// What is being written, and how much of it has been.
    chunk: Vec<u8>,
    written: usize,
    /// Empty between turns; kept for its memory.
    told: Vec<(Waiter, Told)>,
    /// The same of purges.
    purged: Vec<(Completion<Purged>, Result<Purged, PeerError>)>,
}

/// How many callers are told, each by a read of its own, before they have their turn. Large values come
/// one a read, and those who were told a small one in between would wait for as long as more come.
const MAX_CALLERS: usize = 4;

/// Who was told something.
#[derive(Default, Clone, Copy)]
struct Tally {
    /// Those that had been sent together, for callers who wait for many.
    batched: usize,
    /// All others: each has a caller of its own.
    callers: usize,
}

impl Tally {
    fn any(self) -> bool {
        self.batched + self.callers > 0
    }
}

/// What becomes of a get.
enum Told {
    Answer(Result<Answer, PeerError>),
    /// It is asked again elsewhere, and told there.
    Detour,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Driver<IO> {
    pub(super) fn new(shared: Arc<Shared>, io: IO, early: &[u8]) -> Self {
        let (inbox, clock) = (Inbox::new(early), Clock::new());
        let (chunk, told, purged) = (Vec::new(), Vec::new(), Vec::new());
        Self { shared, io, inbox, clock, chunk, written: 0, told, purged }
    }

    /// Does whatever can be done without waiting.
    ///
    /// When it returns without an end, something will wake the task: the socket, which was found
    /// empty (and full, if something is left to write), the timer, a caller, by the waker that
    /// [`State::rest`](super::state::State::rest) has kept, or the task itself.
    ///
    /// # Errors
    ///
    /// The end of the link. Answers that came before it have been told.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let mut callers = 0;
        loop {
            let blocked = match self.write(cx) {
                Ok(blocked) => blocked,
                Err(end) => return Err(self.read_last(cx, end)),
            };
            let told = self.read(cx)?;
            if told.any() && self.clock.is_due() {
                let times = self.shared.lock().times();
                self.sleep(cx, times)?;
            }
            callers += told.callers;
            if told.callers > 1 || callers >= MAX_CALLERS {
                // Those who were told have probably something to ask. They run before this task does
                // again, and their requests go out in one write: at 64 gets in flight that is worth
                // two thirds of the CPU. At one get in flight it would cost a third.
                self.shared.lock().expect_task();
                cx.waker().wake_by_ref();
                return Ok(());
            }
            if told.any() {
                continue; // Read on: the socket wakes only whoever has found it empty.
            }
            let rest = self.shared.lock().rest(cx.waker(), blocked);
            match rest {
                Rest::Write => {}
                Rest::End(end) => return Err(end),
                Rest::Sleep(times) => {
                    if !self.sleep(cx, times)? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Writes what there is. Returns whether the socket takes no more now.
    ///
    /// The bytes are exchanged for an empty buffer under the lock and written without it. So all
    /// that callers ask during one write goes out in the next, in one system call if the socket
    /// takes it.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        loop {
            if self.written == self.chunk.len() {
                self.written = 0;
                self.chunk.clear();
                if self.chunk.capacity() > KEPT_BYTES {
                    self.chunk = Vec::new(); // What a burst needed is not kept.
                }
                if !self.shared.lock().swap_out(&mut self.chunk) {
                    let flushed = Pin::new(&mut self.io).poll_flush(cx);
                    return Ok(broken(flushed)?.is_pending());
                }
            }
            let unwritten = &self.chunk[self.written..];
            match broken(Pin::new(&mut self.io).poll_write(cx, unwritten))? {
                Poll::Ready(0) => return Err(End::Broken(io::ErrorKind::WriteZero.into())),
                Poll::Ready(count) => {
                    self.written += count;
                    self.shared.traffic().send(count);
                }
                Poll::Pending => return Ok(true),
            }
        }
    }

    /// Reads until somebody was told something, or nothing more is there. Returns who was told.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<Tally, End> {
        loop {
            let parsed = self.inbox.parse(&self.shared);
            let told = self.tell();
            parsed?;
            if told.any() {
                return Ok(told);
            }
            match broken(self.inbox.poll_read(cx, &mut self.io))? {
                Poll::Ready(0) => return Err(self.shared.lock().closed()),
                Poll::Ready(count) => {
                    self.clock.hear();
                    self.shared.traffic().receive(count);
                }
                Poll::Pending => return Ok(Tally::default()),
            }
        }
    }

    /// Reads what the owner sent before it closed the connection, which a write found out. Returns
    /// why the link ends.
    ///
    /// An owner that drains answers what it was asked, and leaves. If a get crosses its farewell,
    /// the write of that get fails while good answers to others still lie in the socket.
    fn read_last(&mut self, cx: &mut Context<'_>, end: End) -> End {
        loop {
            match self.read(cx) {
                Ok(told) if told.any() => {}
                Ok(_) => return end,
                Err(end) => return end,
            }
        }
    }

    /// Tells everybody what has come for them. Returns who that was.
    ///
    /// All waiters are taken out under one lock, then told without it.
    fn tell(&mut self) -> Tally {
        let events = self.inbox.events();
        if events.is_empty() {
            return Tally::default();
        }
        let mut state = self.shared.lock();
        state.answered();
        for event in events.drain(..) {
            let (id, told) = match event {
                Event::Answer(id, answer) => (id, Told::Answer(answer)),
                Event::Detour(id) => (id, Told::Detour),
                Event::Loading(id) => {
                    state.slots().extend(id);
                    continue;
                }
                Event::Purged(id, purged) => {
                    self.purged.extend(state.purges().take(id).map(|waiter| (waiter, purged)));
                    continue;
                }
            };
            // Who is not there any more has left, and is told nothing.
            self.told.extend(state.slots().take(id).map(|waiter| (waiter, told)));
        }
        if !self.purged.is_empty() {
            self.purged.extend(send_waiting(&mut state, self.shared.config()));
        }
        drop(state);
        let mut told = Tally { callers: self.purged.len(), ..Tally::default() };
        for (completion, purged) in self.purged.drain(..) {
            completion.tell(purged);
        }
        for (waiter, answer) in self.told.drain(..) {
            *(if waiter.is_batched { &mut told.batched } else { &mut told.callers }) += 1;
            match answer {
                Told::Answer(answer) => waiter.completion.tell(answer),
                Told::Detour => self.shared.detour(waiter),
            }
        }
        told
    }

    /// Waits for what is due next. Returns whether anything was due, and has been done.
    ///
    /// # Errors
    ///
    /// When the owner has not answered a ping in time.
    fn sleep(&mut self, cx: &mut Context<'_>, times: Times) -> Result<bool, End> {
        let Poll::Ready(now) = self.clock.poll(cx, times, self.shared.config()) else {
            return Ok(false);
        };
        let silence = self.clock.judge(now, times, self.shared.config())?;
        let mut expired = Expired::default();
        let mut state = self.shared.lock();
        if let Silence::Ping = silence {
            state.write(Header::bare(kind::PING, Id::default()));
        }
        state.expire(now, &mut expired);
        let refused = send_waiting(&mut state, self.shared.config());
        drop(state);
        for (_, waiter) in expired.gets {
            let error = timed_out(&waiter, now.into_std());
            waiter.completion.tell(Err(error));
        }
        for completion in expired.purges {
            completion.tell(Err(PeerErrorKind::TimedOut.into()));
        }
        for (completion, refusal) in refused {
            completion.tell(refusal);
        }
        Ok(true)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Future for Driver<IO> {
    type Output = Arc<End>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Arc<End>> {
        match self.turn(cx) {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(self.shared.end(end)),
        }
    }
}

impl<IO> Drop for Driver<IO> {
    fn drop(&mut self) {
        self.shared.end(End::Dropped);
    }
}

/// Sends the purges for which there is room again. Returns who is to be told that the owner does not take
/// theirs.
fn send_waiting(state: &mut State, config: &LinkConfig) -> Vec<Refused> {
    let mut all = Vec::new();
    loop {
        let refused = state.send_waiting(Instant::now(), config);
        if refused.is_empty() {
            return all;
        }
        // What is not taken makes room for others.
        let told = refused.into_iter();
        all.extend(told.filter_map(|(id, why)| Some((state.purges().take(id)?, Err(why)))));
    }
}

/// Who is to be told that an owner does not take a purge, and why.
type Refused = (Completion<Purged>, Result<Purged, PeerError>);

/// Makes an end of the link of a socket's error.
fn broken<T>(polled: Poll<io::Result<T>>) -> Result<Poll<T>, End> {
    match polled {
        Poll::Ready(result) => result.map(Poll::Ready).map_err(End::Broken),
        Poll::Pending => Ok(Poll::Pending),
    }
}

/// Returns the error of a get whose time was over at `now`.
fn timed_out(waiter: &Waiter, now: std::time::Instant) -> PeerError {
    let error = PeerError::new(PeerErrorKind::TimedOut);
    if waiter.request.deadline <= now {
        return error;
    }
    error.with_source("the owner neither answered in time nor said that it was loading")
}
