//! The timer of a connection.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that is set only when it has to be. Each connection has one, over HTTP or as a link.
///
/// To set one costs a lock of the runtime's. Most deadlines are never met and lie behind the one
/// before, so that an early alarm, which is then set anew, costs less than one that is always right:
/// a busy connection sets its timer once in each time-out, and not for each request.
///
/// Dropping it takes the timer out of the runtime.
pub(crate) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    /// Returns an alarm for `deadline`.
    pub(crate) fn at(deadline: Instant) -> Self {
        Self(Box::pin(sleep_until(deadline)))
    }

    /// Returns whether it is `deadline` or later, and wakes the task then if it is not.
    ///
    /// It may wake the task earlier too, for a deadline that it was asked for before.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if self.0.deadline() > deadline {
            self.0.as_mut().reset(deadline);
        }
        loop {
            // A task that has used up its budget, on a socket without end, is to hear of the time all
            // the same.
            ready!(pin!(unconstrained(self.0.as_mut())).poll(cx));
            if self.0.deadline() >= deadline {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(deadline);
        }
    }

    /// Returns what it is set to: no later than the deadline that it was last asked for. Costs
    /// nothing, not even a look at the clock.
    pub(crate) fn set_to(&self) -> Instant {
        self.0.deadline()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// Asks once, without waiting.
    async fn is_over(alarm: &mut Alarm, deadline: Instant) -> bool {
        poll_fn(|cx| Poll::Ready(alarm.poll(cx, deadline).is_ready())).await
    }

    #[tokio::test(start_paused = true)]
    async fn alarm_goes_off_at_the_deadline_that_it_is_asked_for() {
        let start = Instant::now();
        let mut alarm = Alarm::at(start + secs(5));
        for at in [30, 1, 2] {
            let deadline = start + secs(at);
            assert_eq!(is_over(&mut alarm, deadline).await, Instant::now() >= deadline);
            poll_fn(|cx| alarm.poll(cx, deadline)).await;
            assert_eq!(Instant::now(), deadline.max(start + secs(30)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_deadline_leaves_the_timer_alone_until_it_fires() {
        let start = Instant::now();
        let mut alarm = Alarm::at(start + secs(5));
        for at in [5, 6, 7] {
            assert!(!is_over(&mut alarm, start + secs(at)).await);
            assert_eq!(alarm.set_to(), start + secs(5), "asked for {at}");
        }
        tokio::time::advance(secs(6)).await;
        assert!(!is_over(&mut alarm, start + secs(7)).await);
        assert_eq!(alarm.set_to(), start + secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_deadline_is_not_missed_by_who_waits() {
        let start = Instant::now();
        let mut alarm = Alarm::at(start + secs(60));
        assert!(!is_over(&mut alarm, start + secs(60)).await);
        poll_fn(|cx| alarm.poll(cx, start + secs(2))).await;
        assert_eq!(Instant::now(), start + secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_that_is_over_is_over_as_often_as_it_is_asked_and_can_be_used_again() {
        let start = Instant::now();
        let mut alarm = Alarm::at(start);
        assert!(is_over(&mut alarm, start).await);
        assert!(is_over(&mut alarm, start).await);
        poll_fn(|cx| alarm.poll(cx, start + secs(3))).await;
        assert_eq!(Instant::now(), start + secs(3));
    }
}
