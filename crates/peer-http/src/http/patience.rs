//! How long a get waits for what is scarce here, of the time that it has.

use std::time::Duration;

use tokio::time::Instant;

/// A share of the time that a get has left.
///
/// A get that found no place, or no room for its answer, is better off loading the value itself
/// while there is time for it. So it waits for such things no longer than a share of its time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    deadline: Instant,
    percent: u8,
}

impl Patience {
    /// Returns the share of so many percent, a hundred at most, of the time until `deadline`.
    pub(crate) fn new(deadline: Instant, percent: u8) -> Self {
        Self { deadline, percent: percent.min(100) }
    }

    /// Returns another share of the same time.
    pub(crate) fn with_percent(self, percent: u8) -> Self {
        Self::new(self.deadline, percent)
    }

    /// Returns until when a wait that begins now may last.
    pub(crate) fn until(self) -> Instant {
        let now = Instant::now();
        now + self.share(self.deadline.saturating_duration_since(now))
    }

    /// Returns the share of this time.
    fn share(self, time: Duration) -> Duration {
        time / 100 * u32::from(self.percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn wait_is_a_share_of_the_time_that_is_left() {
        let start = Instant::now();
        let patience = Patience::new(start + Duration::from_secs(10), 20);
        assert_eq!(patience.until(), start + Duration::from_secs(2));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(patience.until(), start + Duration::from_secs(6));
        assert_eq!(patience.with_percent(0).until(), start + Duration::from_secs(5));
        assert_eq!(patience.with_percent(255).until(), start + Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(50)).await;
        assert_eq!(patience.until(), start + Duration::from_secs(55));
    }
}
