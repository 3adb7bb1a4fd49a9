//! The one timer of a link, and what it tells of the owner's life.

use std::task::{Context, Poll, ready};

use tokio::time::Instant;

use super::state::Times;
use crate::alarm::Alarm;
use crate::link::config::LinkConfig;
use crate::link::end::End;

/// One timer, armed at the earliest thing that may be due: a get's deadline, a ping, an end.
///
/// The owner is pinged when nothing has come from it for a while although gets are under way, and
/// is taken for dead when nothing comes of that. The ping is not told from other frames: whatever
/// comes shows that it lives. A get whose owner is loading needs no timer of its own for this,
/// since one connection lives or dies for all its gets.
///
/// A timer for each get would cost more than the get. What becomes due later than the [`Alarm`] is
/// set to leaves it alone.
pub(super) struct Clock {
    alarm: Alarm,
    /// When the last bytes came.
    heard: Instant,
    /// When the owner was pinged, if nothing has come since.
    pinged: Option<Instant>,
}

/// What the owner's silence means.
pub(super) enum Silence {
    /// It is short.
    Fine,
    /// The owner is to be pinged.
    Ping,
}

impl Clock {
    /// Returns the clock of a link that begins now.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { alarm: Alarm::at(now), heard: now, pinged: None }
    }

    /// Something came. Anything is a sign of life.
    pub(super) fn hear(&mut self) {
        self.heard = Instant::now();
        self.pinged = None;
    }

    /// Returns whether the timer's time has come, as of the last bytes. Costs nothing.
    ///
    /// A link that is read without a pause never sleeps, and would never ask its timer.
    pub(super) fn is_due(&self) -> bool {
        self.alarm.set_to() <= self.heard
    }

    /// Waits for the next thing that may be due. Ready with the present once it is. Waits for
    /// nothing, and sets no timer, while nothing is under way.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        times: Times,
        config: &LinkConfig,
    ) -> Poll<Instant> {
        let life = times.busy_since.map(|busy_since| match self.unanswered(busy_since) {
            Some(pinged) => pinged + config.pong_within,
            None => self.silent_since(busy_since) + config.ping_after,
        });
        let due = [life, times.expires].into_iter().flatten().min();
        let Some(due) = due else { return Poll::Pending };
        ready!(self.alarm.poll(cx, due));
        Poll::Ready(Instant::now())
    }

    /// Returns what the owner's silence means at `now`, and remembers a ping, which is to be sent.
    ///
    /// # Errors
    ///
    /// When a ping was not answered in time: the end of the link.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        times: Times,
        config: &LinkConfig,
    ) -> Result<Silence, End> {
        let Some(busy_since) = times.busy_since else { return Ok(Silence::Fine) };
        let silent_since = self.silent_since(busy_since);
        match self.unanswered(busy_since) {
            Some(pinged) if now >= pinged + config.pong_within => {
                Err(End::Silent { silence: now - silent_since })
            }
            None if now >= silent_since + config.ping_after => {
                self.pinged = Some(now);
                Ok(Silence::Ping)
            }
            _ => Ok(Silence::Fine),
        }
    }

    /// An owner that was asked nothing owes nothing.
    fn silent_since(&self, busy_since: Instant) -> Instant {
        self.heard.max(busy_since)
    }

    /// Returns when the ping was sent that is not answered yet. One that was sent before a pause
    /// does not count: nobody looked for its answer.
    fn unanswered(&self, busy_since: Instant) -> Option<Instant> {
        self.pinged.filter(|pinged| *pinged >= busy_since)
    }
}
