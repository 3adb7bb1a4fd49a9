//! How long whoever asks waits, and for what.

use std::time::Duration;

use carrotcache_peer::{Answer, PeerErrorKind, Request, ask, peer_fn};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// A request whose deadline is `seconds` after `now`.
fn due_in(seconds: u32, now: Instant) -> Request {
    Request::new("scores", "Tom", (now + seconds * SECOND).into_std())
}

#[test]
fn a_request_is_patient_until_its_deadline_unless_told_otherwise() {
    let now = Instant::now();
    let request = due_in(10, now);
    assert_eq!(request.max_silence, Duration::MAX);
    assert_eq!(request.answer_by(now.into_std()), request.deadline);
}

#[test]
fn an_owner_without_a_sign_of_life_has_to_answer_by_whichever_limit_comes_first() {
    let asked = Instant::now().into_std();
    let request = due_in(10, asked.into());
    for (max_silence, answer_by) in [
        (Duration::ZERO, asked),
        (3 * SECOND, asked + 3 * SECOND),
        (10 * SECOND, asked + 10 * SECOND),
        // The deadline is earlier than the silence ends, or than an instant can tell.
        (11 * SECOND, asked + 10 * SECOND),
        (Duration::MAX, asked + 10 * SECOND),
    ] {
        let request = request.clone().with_max_silence(max_silence);
        assert_eq!(request.answer_by(asked), answer_by, "{max_silence:?}");
        assert_eq!(request.deadline, asked + 10 * SECOND, "the other limit stays");
    }
}

#[test]
fn silence_begins_when_the_owner_is_asked() {
    let made = Instant::now().into_std();
    let request = due_in(10, made.into()).with_max_silence(3 * SECOND);
    assert_eq!(request.answer_by(made + 5 * SECOND), made + 8 * SECOND);
    assert_eq!(request.answer_by(made + 9 * SECOND), request.deadline);
    assert_eq!(request.answer_by(made + 20 * SECOND), request.deadline, "it is over already");
}

/// Asks a peer that never answers, and returns after how long that is told.
async fn time_of_a_dead_peer(request: impl FnOnce(Instant) -> Request) -> Duration {
    let peer = peer_fn("dead", |_| std::future::pending());
    let asked = Instant::now();
    let error = ask(&peer, request(asked)).await.unwrap_err();
    assert_eq!(error.kind, PeerErrorKind::TimedOut);
    asked.elapsed()
}

#[tokio::test(start_paused = true)]
async fn async_peer_is_dropped_when_it_was_silent_for_too_long_or_at_the_deadline() {
    let unbounded = time_of_a_dead_peer(|now| due_in(10, now)).await;
    assert_eq!(unbounded, 10 * SECOND);
    let silent = |now| due_in(10, now).with_max_silence(3 * SECOND);
    assert_eq!(time_of_a_dead_peer(silent).await, 3 * SECOND);
    let longer = |now| due_in(10, now).with_max_silence(11 * SECOND);
    assert_eq!(time_of_a_dead_peer(longer).await, 10 * SECOND);
    let endless = |now| due_in(10, now).with_max_silence(Duration::MAX);
    assert_eq!(time_of_a_dead_peer(endless).await, 10 * SECOND);
    let over = |now: Instant| due_in(0, now).with_max_silence(SECOND);
    assert_eq!(time_of_a_dead_peer(over).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn async_peer_that_answers_before_its_silence_is_over_is_heard() {
    let peer = peer_fn("slow", |_| async {
        tokio::time::sleep(2 * SECOND).await;
        Ok(Answer::new("630"))
    });
    let request = due_in(10, Instant::now()).with_max_silence(3 * SECOND);
    assert_eq!(ask(&peer, request).await.unwrap(), Answer::new("630"));
}
