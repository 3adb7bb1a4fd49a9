//! Tries the addresses of a peer as RFC 8305 ("happy eyeballs") does: in turn, without waiting for
//! one that does not answer.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::select;
use tokio::time::sleep;

/// How long an address is given before the next is tried too, where there is time for it. That is
/// many round trips within a data centre. (RFC 8305 suggests 250 ms for the whole internet.)
const ATTEMPT_DELAY: Duration = Duration::from_millis(100);

/// Returns what the first address to be connected to gives, as in RFC 8305.
///
/// The addresses are tried in their order. The next one is tried as soon as one has failed, or when
/// `delay` has passed without an outcome; those tried before stay in the race.
///
/// # Errors
///
/// The error of the address that failed last, once all have.
///
/// # Cancel safety
///
/// Dropping it drops all attempts, as does its end.
pub(crate) async fn race<S, F>(
    addresses: &[SocketAddr],
    delay: Duration,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<S>
where
    F: Future<Output = io::Result<S>> + Send,
{
    let mut untried = addresses.iter();
    let mut attempts = Attempts(Vec::new());
    // Only if there are no addresses does it stay this one.
    let mut last_error = io::ErrorKind::AddrNotAvailable.into();
    loop {
        match untried.next() {
            Some(&address) => attempts.0.push(Box::pin(connect(address))),
            None if attempts.0.is_empty() => return Err(last_error),
            None => {}
        }
        select! {
            biased;
            outcome = poll_fn(|cx| attempts.poll_any(cx)) => match outcome {
                Ok(stream) => return Ok(stream),
                Err(error) => last_error = error,
            },
            () = sleep(delay), if untried.len() > 0 => {}
        }
    }
}

/// The attempts that are under way.
struct Attempts<F>(Vec<Pin<Box<F>>>);

impl<F: Future> Attempts<F> {
    /// Returns the outcome of an attempt that has ended, and forgets the attempt.
    fn poll_any(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        for at in 0..self.0.len() {
            if let Poll::Ready(outcome) = self.0[at].as_mut().poll(cx) {
                drop(self.0.swap_remove(at));
                return Poll::Ready(outcome);
            }
        }
        Poll::Pending
    }
}

/// Returns how long each of so many addresses has the field for itself: short enough that the last
/// still has as much time as the others when it is tried.
pub(crate) fn attempt_delay(left: Duration, addresses: usize) -> Duration {
    let addresses = u32::try_from(addresses).unwrap_or(u32::MAX);
    ATTEMPT_DELAY.min(left / addresses.max(1))
}

/// Returns the addresses so that the two families take turns, as in RFC 8305: what is broken is
/// most often all of one family. The order within each stays.
pub(crate) fn interleave(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv4() == first_is_v4);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut turns = Vec::with_capacity(addresses.len());
    while turns.len() < addresses.len() {
        turns.extend(first.next());
        turns.extend(second.next());
    }
    turns
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::io::ErrorKind;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use tokio::time::Instant;

    use super::*;

    /// What an address does with an attempt, and after how many milliseconds.
    #[derive(Clone, Copy)]
    enum Does {
        Accept(u64),
        Refuse(u64),
        Nothing,
    }
    use Does::{Accept, Nothing, Refuse};

    /// How a race went.
    struct Run {
        /// The winner, by its place.
        outcome: Result<usize, ErrorKind>,
        /// When each attempt began, in milliseconds.
        began: Vec<u128>,
        /// How many attempts were not dropped.
        left: usize,
    }

    /// Races addresses of which each does what is said, with a delay of 50 ms.
    async fn run(does: &[Does]) -> Run {
        let addresses = (0..).take(does.len());
        let addresses = addresses.map(|place| SocketAddr::from(([127, 0, 0, 1], place)));
        let addresses: Vec<_> = addresses.collect();
        let (began, alive) = (Mutex::new(Vec::new()), Arc::new(()));
        let start = Instant::now();
        let connect = |address: SocketAddr| {
            began.lock().expect("no panic").push(start.elapsed().as_millis());
            let (place, alive) = (usize::from(address.port()), Arc::clone(&alive));
            async move {
                let _alive = alive;
                match does[place] {
                    Accept(after) => {
                        sleep(Duration::from_millis(after)).await;
                        Ok(place)
                    }
                    Refuse(after) => {
                        sleep(Duration::from_millis(after)).await;
                        Err(io::Error::other("refused"))
                    }
                    Nothing => pending().await,
                }
            }
        };
        let outcome = race(&addresses, Duration::from_millis(50), connect).await;
        let outcome = outcome.map_err(|error| error.kind());
        let began = began.into_inner().expect("no panic");
        Run { outcome, began, left: Arc::strong_count(&alive) - 1 }
    }

    #[tokio::test(start_paused = true)]
    async fn first_to_connect_wins_and_the_others_are_dropped() {
        for (does, winner, began) in [
            (&[Accept(0)][..], Ok(0), &[0][..]),
            // What answers in time is alone.
            (&[Accept(49), Accept(0)], Ok(0), &[0]),
            // One that fails makes room at once, ...
            (&[Refuse(0), Refuse(10), Accept(0)], Ok(2), &[0, 0, 10]),
            // ... one that does nothing after the delay, ...
            (&[Nothing, Nothing, Accept(0)], Ok(2), &[0, 50, 100]),
            // ... counted anew after each failure.
            (&[Nothing, Refuse(10), Nothing, Accept(0)], Ok(3), &[0, 50, 60, 110]),
            // The one that was tried first may still win, ...
            (&[Accept(60), Nothing, Accept(0)], Ok(0), &[0, 50]),
            // ... even when all were tried and others have failed since.
            (&[Accept(900), Refuse(0), Refuse(20)], Ok(0), &[0, 50, 50]),
            (&[Refuse(0), Refuse(300)], Err(ErrorKind::Other), &[0, 0]),
            (&[], Err(ErrorKind::AddrNotAvailable), &[]),
        ] {
            let run = run(does).await;
            assert_eq!((run.outcome, &*run.began, run.left), (winner, began, 0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_address_has_a_share_of_the_time() {
        for addresses in [1, 2, 3, 10, 32] {
            let left = Duration::from_millis(250);
            let tried = AtomicUsize::new(0);
            let connect = |_| {
                tried.fetch_add(1, Ordering::Relaxed);
                pending::<io::Result<()>>()
            };
            let list = vec![SocketAddr::from(([127, 0, 0, 1], 1)); addresses];
            let delay = attempt_delay(left, addresses);
            let race = race(&list, delay, connect);
            tokio::time::timeout(left, race).await.expect_err("nobody connects");
            assert_eq!(tried.into_inner(), addresses);
        }
    }

    #[test]
    fn families_take_turns() {
        let [a, b, c] = [1, 2, 3].map(|host| SocketAddr::from(([10, 0, 0, host], 0)));
        let [x, y] = [1, 2].map(|host| SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, host], 0)));
        assert_eq!(interleave(&[a, b, c, x, y]), [a, x, b, y, c]);
        assert_eq!(interleave(&[x, y, a]), [x, a, y]);
        assert_eq!(interleave(&[a, b]), [a, b]);
        assert_eq!(interleave(&[]), []);
    }
}
