//! How long an asker is waited for.
//!
//! A connection costs its owner a socket, a task and a place. What it has to do for these is to say
//! HELLO soon, to read what it asked for, and to leave when it is bidden to. An idle one may stay
//! for minutes: nodes ask each other again and again, and a new link costs a get its wait.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use crate::alarm::Alarm;
use crate::link::config::LinkConfig;
use crate::link::end::End;

/// One timer, armed at the earliest thing that may be due. See [`Alarm`] for what that costs: hits
/// that follow each other leave it alone.
pub(super) struct Clock {
    alarm: Alarm,
    /// When the link began.
    began: Instant,
    /// When an answer was last known to be under way.
    busy: Instant,
    /// When the last bytes came.
    heard: Instant,
    /// When the socket last took bytes, if it takes no more. An asker that reads a little now and
    /// then is not cut for it: what is queued for it is bounded, and it is not read meanwhile.
    blocked_since: Option<Instant>,
    /// When GOAWAY was said.
    parted: Option<Instant>,
    /// When it was said, or said again, because the link has to end.
    pressed: Option<Instant>,
}

/// What is due.
pub(super) enum Due {
    Nothing,
    /// The asker has asked nothing for so long that it is bidden farewell.
    Farewell,
}

/// What the clock has to know of the asker.
#[derive(Clone, Copy)]
pub(super) struct Asker {
    /// Whether it has said HELLO.
    pub(super) has_met: bool,
    /// When it last asked for something, if nothing is under way. Bytes that ask for nothing, such as
    /// pings, keep nothing open.
    pub(super) rests_since: Option<Instant>,
}

/// How long an asker for which nothing is under way has to leave when it is bidden farewell.
const PARTING: Duration = Duration::from_secs(1);

impl Clock {
    /// Returns the clock of a link that begins now.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            alarm: Alarm::at(now),
            began: now,
            busy: now,
            heard: now,
            blocked_since: None,
            parted: None,
            pressed: None,
        }
    }

    /// Returns when the last bytes came.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    /// Something came.
    pub(super) fn hear(&mut self) {
        self.heard = Instant::now();
    }

    /// Notes what became of an attempt to write.
    pub(super) fn wrote(&mut self, bytes: usize, blocked: bool) {
        if !blocked {
            self.blocked_since = None;
        } else if bytes > 0 || self.blocked_since.is_none() {
            self.blocked_since = Some(Instant::now());
        }
    }

    /// GOAWAY was said, for the first time or again. `is_pressed` says that the link has to end, and not
    /// only that nobody asked anything for long.
    pub(super) fn part(&mut self, is_pressed: bool) {
        self.parted.get_or_insert_with(Instant::now);
        if is_pressed {
            self.pressed.get_or_insert_with(Instant::now);
        }
    }

    /// Returns whether GOAWAY was said.
    pub(super) fn has_parted(&self) -> bool {
        self.parted.is_some()
    }

    /// Waits for what may be due next. An asker that asks nothing is told GOAWAY and has a moment to
    /// leave, so that one whose get is just on its way loses none.
    ///
    /// # Errors
    ///
    /// When the asker has used up its time to read, or to leave.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        asker: Asker,
        config: &LinkConfig,
    ) -> Poll<Result<Due, End>> {
        let stalled = self.blocked_since.map(|since| since + config.write_within);
        let drained = self.parted.and_then(|parted| match asker.rests_since {
            // Nothing is under way, so an asker that means well is gone in a moment.
            Some(_) => Some(parted.max(self.busy) + PARTING.min(config.drain_timeout)),
            // A get that crossed a farewell for want of gets is answered, however long that takes.
            None => self.pressed.map(|pressed| pressed + config.drain_timeout),
        });
        if asker.rests_since.is_none() {
            self.busy = Instant::now();
        }
        let unmet = (!asker.has_met).then_some(self.began + config.hello_within);
        let rests_since = asker.rests_since.map(|asked| asked.max(self.busy));
        let silent =
            rests_since.filter(|_| self.parted.is_none()).map(|it| it + config.idle_timeout);
        let due = [stalled, drained, unmet, silent].into_iter().flatten().min();
        let Some(due) = due else { return Poll::Pending };
        ready!(self.alarm.poll(cx, due));
        let now = Instant::now();
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        Poll::Ready(if is_due(stalled) {
            Err(End::Stalled { time: config.write_within })
        } else if is_due(unmet) {
            Err(End::Unmet { time: config.hello_within })
        } else if is_due(drained) {
            Err(End::Drained)
        } else if is_due(silent) {
            Ok(Due::Farewell)
        } else {
            Ok(Due::Nothing)
        })
    }
}
