//! What time it is, for whatever expires.

use std::time::Duration;

/// A clock that only goes forward, whatever the clock of the day does. It counts milliseconds from
/// a moment that is the same for all of a node.
///
/// A look-up asks it for an entry that expires, which must not cost more than the look-up itself.
/// So it is read in two ways: exactly, and roughly, for a fraction of the price.
pub(crate) struct Clock {
    source: Source,
}

enum Source {
    System,
    /// One that the user has given, which is exact.
    Given(Box<dyn Fn() -> Duration + Send + Sync>),
}

/// By how much a rough reading may be behind, in milliseconds: more than the tick of any kernel.
pub(crate) const LAG: u64 = 20;

impl Clock {
    /// Returns the clock of the system.
    pub(crate) fn system() -> Self {
        Self { source: Source::System }
    }

    /// Returns one that tells the time since some moment of its own.
    pub(crate) fn given(clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { source: Source::Given(Box::new(clock)) }
    }

    /// Returns the time in milliseconds.
    pub(crate) fn now(&self) -> u64 {
        match &self.source {
            Source::System => system::exactly(),
            Source::Given(clock) => millis(clock()),
        }
    }

    /// Returns a time in milliseconds that is not later than now, and at most [`LAG`] earlier.
    pub(crate) fn roughly(&self) -> u64 {
        match &self.source {
            Source::System => system::roughly(),
            Source::Given(clock) => millis(clock()),
        }
    }
}

/// Returns whole milliseconds, and more than anyone waits for if there are more than fit.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// On Linux the kernel keeps the time of its last tick at hand: reading that takes 5 ns, the clock
/// itself some 25.
#[cfg(target_os = "linux")]
mod system {
    use rustix::time::{ClockId, Timespec, clock_gettime};

    pub(super) fn exactly() -> u64 {
        millis(clock_gettime(ClockId::Monotonic))
    }

    pub(super) fn roughly() -> u64 {
        millis(clock_gettime(ClockId::MonotonicCoarse))
    }

    /// The time since the start of the machine, which is not negative.
    fn millis(time: Timespec) -> u64 {
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
        seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::sync::LazyLock;
    use std::time::Instant;

    /// The moment from which is counted, in all nodes of the process.
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);

    pub(super) fn exactly() -> u64 {
        super::millis(START.elapsed())
    }

    pub(super) fn roughly() -> u64 {
        exactly()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Instant;

    use super::*;

    /// Reads for long enough that the kernel ticks meanwhile, at whatever rate it does.
    #[test]
    fn a_rough_reading_is_a_little_behind_and_never_ahead() {
        let clock = Clock::system();
        let start = Instant::now();
        let mut last = clock.roughly();
        while start.elapsed() < Duration::from_millis(50) {
            let before = clock.now();
            let rough = clock.roughly();
            let after = clock.now();
            assert!(rough <= after, "{rough} is ahead of {after}");
            assert!(rough + LAG >= before, "{rough} is far behind {before}");
            assert!(rough >= last, "{rough} follows {last}");
            last = rough;
        }
    }

    #[test]
    fn a_given_clock_is_the_only_one_that_counts() {
        let millis = Arc::new(AtomicU64::new(5));
        let given = Arc::clone(&millis);
        let clock = Clock::given(move || Duration::from_millis(given.load(Ordering::Relaxed)));
        assert_eq!((clock.now(), clock.roughly()), (5, 5));
        millis.store(7, Ordering::Relaxed);
        assert_eq!((clock.now(), clock.roughly()), (7, 7));
        assert_eq!(Clock::given(|| Duration::MAX).now(), u64::MAX);
    }
}
