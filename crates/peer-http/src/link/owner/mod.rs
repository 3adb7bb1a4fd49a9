//! The owner's side: requests come in, and are answered.
//!
//! A hit costs no task, no allocation for its names and no system call of its own: it is answered
//! where it is read, and all that one read brought is written at once. What is not at hand gets a
//! task, and the asker a LOADING, so that it knows from then on that silence about this get means
//! nothing.
//!
//! What an asker can make its owner hold is bounded by [`LinkConfig`](super::config::LinkConfig):
//! the frame that it is sending, the loads that it may have under way, the answers that it has not
//! read. An asker over the last bound is not read until it has read, and is cut if it does not.
//!
//! | file | has |
//! |---|---|
//! | `desk` | what becomes of a request |
//! | `loads` | the answers that take a while |
//! | `purges` | those to purges |
//! | `out` | the answers that are to be written, and their order |
//! | `clock` | how long the asker is waited for |
//! | `activity` | what others are told of all that |

mod activity;
mod clock;
mod desk;
mod loads;
mod out;
mod purges;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use carrotcache_peer::{Handler, Request};
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use self::activity::Activity;
use self::clock::{Asker, Clock, Due};
use self::desk::Desk;
pub(crate) use self::desk::{LONGEST_WAIT, NO_PURGES};
use crate::config::Config;
use crate::link::end::End;
use crate::link::frame::{Front, HEADER_BYTES, Id, front, kind};
use crate::link::input::{Input, WINDOW_BYTES};

/// Answers what one asker asks over a link, until that ends. Its output says why.
///
/// A hit is answered on this task, and all that one read brings is answered with one write. What
/// takes a while has a task of its own, and the asker is told at once that it is loading.
///
/// # Cancel safety
///
/// Dropping it closes the connection, and drops what its loads would have answered. The loads
/// themselves are the handler's: what others wait for goes on.
pub(crate) struct Serving<IO, H, D> {
    io: IO,
    /// What has been read, and not answered.
    input: Input,
    desk: Desk<H>,
    clock: Clock,
    config: Arc<Config>,
    activity: Activity,
    /// `None` once it has ended: it must not be polled again.
    drain: Option<Pin<Box<D>>>,
}

impl<IO, H, D> Serving<IO, H, D>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
    D: Future<Output = ()>,
{
    /// Returns what answers over `io`, on which both sides have agreed on frames.
    ///
    /// `early` is what came behind the agreement, and `first` the get that asked for it, which is
    /// answered before anything is read. `activity` is told whether anything is under way. When
    /// `drain` ends, the asker is told GOAWAY, and has the
    /// [`drain_timeout`](crate::link::config::LinkConfig::drain_timeout) to get the answers to what
    /// it has asked.
    pub(crate) fn new(
        io: IO,
        early: &[u8],
        first: Option<Request>,
        handler: Arc<H>,
        config: Arc<Config>,
        activity: Activity,
        drain: D,
    ) -> Self {
        let mut desk = Desk::new(handler, Arc::clone(&config));
        if let Some(first) = first {
            desk.first(first);
        }
        let drain = Some(Box::pin(drain));
        let (input, clock) = (Input::new(early), Clock::new());
        Self { io, input, desk, clock, config, activity, drain }
    }

    /// Returns the same, which refuses purges unless they `may` be sent by this asker.
    pub(crate) fn with_purges(mut self, may: bool) -> Self {
        self.desk.takes_purges = may;
        self
    }

    /// Does whatever can be done without waiting.
    ///
    /// It writes before it reads: what waits to be written is what may forbid to read more. It
    /// takes all frames of a read before it writes again, which makes one write of their answers.
    ///
    /// # Errors
    ///
    /// The end of the link. What is queued then is not written any more.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        self.look_at_drain(cx);
        loop {
            self.desk.collect(cx);
            let written = self.desk.out().write(cx, &mut self.io).map_err(End::Broken)?;
            self.clock.wrote(written.bytes, written.blocked);
            // All that one read brought is answered before the next write.
            if self.take_frames()? {
                continue;
            }
            if self.is_listening() && self.read(cx)? {
                continue;
            }
            if self.desk.is_done() && !written.blocked {
                return Err(End::Goodbye);
            }
            let rests_since = self.desk.is_resting().then(|| self.desk.asked());
            let asker = Asker { has_met: self.desk.has_met(), rests_since };
            match self.clock.poll(cx, asker, &self.config.link) {
                Poll::Pending => return Ok(()),
                Poll::Ready(due) => match due? {
                    Due::Nothing => {}
                    Due::Farewell => self.part(false),
                },
            }
        }
    }

    /// Takes the frames that are there, as long as their answers find room. Returns whether any
    /// was.
    ///
    /// Room is looked for before each frame, not within one: the small values of a frame of a thousand
    /// keys may go over the bound.
    ///
    /// # Errors
    ///
    /// When the asker does not keep to the protocol.
    fn take_frames(&mut self) -> Result<bool, End> {
        let mut any = false;
        while self.is_listening() {
            let (header, payload) =
                match front(self.input.bytes(), self.config.link.max_request_bytes)? {
                    Front::Whole(header, payload) => (header, payload),
                    Front::Begun(header, _) => {
                        self.desk.check(header)?;
                        break;
                    }
                    Front::Short => break,
                };
            let bytes = HEADER_BYTES + payload.len();
            self.desk.check(header)?;
            self.desk.take(header, payload, self.clock.heard())?;
            self.input.take(bytes);
            any = true;
        }
        Ok(any)
    }

    /// Returns whether the asker reads what it has been sent. One that does not is asked to wait.
    fn is_listening(&mut self) -> bool {
        self.desk.out().queued() <= self.config.link.max_queued_bytes
    }

    /// Reads once. Returns whether anything came.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        match self.input.poll_read(cx, &mut self.io, WINDOW_BYTES) {
            Poll::Ready(Ok(0)) => Err(End::Closed),
            Poll::Ready(Ok(_)) => {
                self.clock.hear();
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(End::Broken(error)),
            Poll::Pending => Ok(false),
        }
    }

    /// Says GOAWAY if it is time to.
    fn look_at_drain(&mut self, cx: &mut Context<'_>) {
        if let Some(drain) = &mut self.drain
            && drain.as_mut().poll(cx).is_ready()
        {
            self.drain = None;
            self.part(true);
        }
    }

    /// Tells the asker to send no more gets. It closes the connection when its last one is
    /// answered.
    fn part(&mut self, is_pressed: bool) {
        if !self.clock.has_parted() {
            self.desk.out().bare(kind::GOAWAY, Id::default());
        }
        self.clock.part(is_pressed);
    }
}

impl<IO, H, D> Future for Serving<IO, H, D>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
    D: Future<Output = ()>,
{
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        if let Err(end) = self.turn(cx) {
            return Poll::Ready(end);
        }
        let since = self.desk.is_resting().then(|| self.desk.asked());
        self.activity.rest(since);
        Poll::Pending
    }
}
