//! The asker's side: time, silence, and every way in which a link ends.

use std::pin::pin;
use std::task::{Context, Waker};

use carrotcache_peer::PeerErrorKind;

use super::*;
use crate::link::asker::waiter::Why;

/// Returns when a get was told, and what.
async fn told_at(receiver: oneshot::Receiver<Told>) -> (Duration, Told) {
    let begin = Instant::now();
    let told = told(receiver).await;
    (begin.elapsed(), told)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Reads frames for ever, and answers pings.
async fn answer_pings(mut owner: Wire) {
    while let Some((header, _)) = owner.try_read().await {
        if header.kind == kind::PING {
            owner.bare(kind::PONG, header.id).await;
        }
    }
}

/// Asserts that `time` is what was expected, to the millisecond that timers have.
#[track_caller]
fn assert_near(time: Duration, expected: Duration) {
    assert!(time >= expected && time <= expected + millis(5), "{time:?} is not {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn each_get_is_told_at_its_own_deadline_by_one_timer() {
    let (asker, owner) = Asker::met().await;
    let late = asker.get_for("late", millis(3_000));
    let early = asker.get_for("early", millis(100));
    let middle = asker.get_for("middle", millis(1_700));
    let pings = tokio::spawn(answer_pings(owner));
    let (a, b, c) = tokio::join!(told_at(early), told_at(middle), told_at(late));
    for ((at, told), expected) in [(a, 100), (b, 1_700), (c, 3_000)] {
        assert_eq!(told.unwrap_err().kind, PeerErrorKind::TimedOut);
        assert_near(at, millis(expected));
    }
    assert_eq!(asker.link.in_flight(), 0);
    assert!(!pings.is_finished(), "the link goes on");
}

#[tokio::test(start_paused = true)]
async fn the_owner_hears_of_a_get_whose_time_is_over() {
    let (asker, mut owner) = Asker::met().await;
    let get = asker.get_for("k", millis(100));
    let id = owner.read_get("k").await;
    assert_eq!(told(get).await.unwrap_err().kind, PeerErrorKind::TimedOut);
    owner.expect(kind::CANCEL, id).await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_in_the_past_is_told_at_once() {
    let (asker, _owner) = Asker::met().await;
    let get = asker.get_for("k", Duration::ZERO);
    let (at, told) = told_at(get).await;
    assert_eq!(told.unwrap_err().kind, PeerErrorKind::TimedOut);
    assert_near(at, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_says_nothing_of_a_get_has_less_time_than_one_that_is_loading() {
    let (asker, mut owner) = Asker::met().await;
    let [silent, loading] = ["silent", "loading"].map(|key| {
        let (mut waiter, told) = waiter(key);
        waiter.request = waiter.request.with_max_silence(millis(5_000));
        asker.link.get(waiter).expect("it is sent");
        told
    });
    owner.read_get("silent").await;
    let id = owner.read_get("loading").await;
    owner.bare(kind::LOADING, id).await;
    tokio::spawn(answer_pings(owner));
    let (silent, loading) = tokio::join!(told_at(silent), told_at(loading));
    assert_near(silent.0, millis(5_000));
    assert_near(loading.0, TIME);
    for told in [silent.1, loading.1] {
        assert_eq!(told.unwrap_err().kind, PeerErrorKind::TimedOut);
    }
}

#[tokio::test(start_paused = true)]
async fn gets_with_little_time_find_a_silent_owner_out_together() {
    let (asker, _owner) = Asker::met().await;
    let begin = Instant::now();
    while !asker.ended.is_finished() {
        // Each is over before the silence means anything, and none follows at once.
        let kind = told(asker.get_for("k", millis(200))).await.unwrap_err().kind;
        assert!(matches!(kind, PeerErrorKind::TimedOut | PeerErrorKind::Unreachable), "{kind:?}");
        tokio::time::sleep(millis(100)).await;
    }
    assert!(begin.elapsed() < millis(1_200), "{:?}", begin.elapsed());
    let end = soon(asker.ended).await.expect("no panic");
    assert!(matches!(*end, End::Silent { .. }), "{end}");
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_has_answered_since_has_all_its_time_again() {
    let (asker, mut owner) = Asker::met().await;
    let late = asker.get_for("late", millis(200));
    owner.read_get("late").await;
    assert_eq!(told(late).await.unwrap_err().kind, PeerErrorKind::TimedOut);
    assert_eq!(owner.read().await.0.kind, kind::CANCEL);
    let get = asker.get("k");
    let id = owner.read_get("k").await;
    owner.value(id, b"v").await;
    assert_eq!(value(get).await, "v");
    tokio::time::sleep(millis(60_000)).await;
    let begin = Instant::now();
    let get = asker.get("k");
    let id = owner.read_get("k").await;
    assert_eq!(owner.read().await.0.kind, kind::PING);
    assert_near(begin.elapsed(), millis(500));
    owner.value(id, b"v").await;
    assert_eq!(value(get).await, "v");
}

#[tokio::test(start_paused = true)]
async fn a_load_may_take_far_longer_than_every_clock_of_the_link() {
    let (asker, mut owner) = Asker::met().await;
    let get = asker.get("slow");
    let id = owner.read_get("slow").await;
    owner.bare(kind::LOADING, id).await;
    let mut pings = 0;
    let load = tokio::time::sleep(TIME - millis(1_000));
    tokio::pin!(load);
    loop {
        tokio::select! {
            () = &mut load => break owner.value(id, b"at last").await,
            (header, _) = owner.read() => {
                assert_eq!(header.kind, kind::PING);
                pings += 1;
                owner.bare(kind::PONG, header.id).await;
            }
        }
    }
    assert_eq!(value(get).await, "at last");
    assert!((110..=118).contains(&pings), "a ping each half second, and no more: {pings}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_owner_is_noticed_within_a_second_by_all_gets() {
    let (asker, _owner) = Asker::met().await;
    let gets: Vec<_> = (0..1_000).map(|i| asker.get(&format!("k{i}"))).collect();
    let begin = Instant::now();
    let end = asker.end().await;
    assert!(matches!(*end, End::Silent { .. }), "{end:?}");
    assert_near(begin.elapsed(), millis(750));
    for get in gets {
        assert_eq!(told(get).await.unwrap_err().kind, PeerErrorKind::Unreachable);
    }
    assert_near(begin.elapsed(), millis(750));
}

#[tokio::test(start_paused = true)]
async fn any_byte_is_a_sign_of_life() {
    let (asker, mut owner) = Asker::met().await;
    let get = asker.get_for("k", millis(4_000));
    owner.read_get("k").await;
    // Half a header, byte by byte, each just before the owner would be pinged.
    for byte in [0; 8] {
        tokio::time::sleep(millis(490)).await;
        owner.send(&[byte]).await;
    }
    let (at, told) = told_at(get).await;
    assert_near(at, millis(4_000 - 8 * 490));
    assert_eq!(told.unwrap_err().kind, PeerErrorKind::TimedOut);
    assert_eq!(owner.read().await.0.kind, kind::CANCEL, "there was no ping");
}

#[tokio::test(start_paused = true)]
async fn a_pause_without_gets_is_not_held_against_the_owner() {
    let (asker, mut owner) = Asker::met().await;
    // The owner leaves a ping unanswered, and the get is given up meanwhile.
    let _told = asker.get_for("a", millis(600));
    let a = owner.read_get("a").await;
    assert_eq!(owner.read().await.0.kind, kind::PING);
    owner.expect(kind::CANCEL, a).await;
    tokio::time::sleep(millis(60_000)).await;
    let get = asker.get("b");
    let id = owner.read_get("b").await;
    tokio::time::sleep(millis(400)).await;
    owner.value(id, b"v").await;
    assert_eq!(value(get).await, "v");
}

#[tokio::test(start_paused = true)]
async fn after_the_owners_goaway_no_get_is_sent_and_those_under_way_are_answered() {
    let (asker, mut owner) = Asker::met().await;
    let a = asker.get("a");
    let b = asker.get("b");
    let ids = [owner.read_get("a").await, owner.read_get("b").await];
    owner.bare(kind::GOAWAY, Id::default()).await;
    owner.value(ids[0], b"A").await;
    assert_eq!(value(a).await, "A");
    let unsent = asker.link.get(waiter("c").0).expect_err("the owner is leaving");
    assert_eq!(unsent.why, Why::Over);
    owner.value(ids[1], b"B").await;
    assert_eq!(value(b).await, "B");
    assert!(matches!(*asker.end().await, End::Goodbye));
    assert!(owner.try_read().await.is_none(), "the asker closes the connection");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_handle_says_goaway_and_leaves_when_all_is_answered() {
    let (asker, mut owner) = Asker::met().await;
    let get = asker.get("k");
    let Asker { link, ended, .. } = asker;
    drop(link);
    let id = owner.read_get("k").await;
    owner.expect(kind::GOAWAY, Id::default()).await;
    owner.value(id, b"v").await;
    assert_eq!(value(get).await, "v");
    assert!(matches!(*soon(ended).await.unwrap(), End::Unneeded));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_closes_first_after_a_goodbye_has_not_broken_the_link() {
    let (asker, mut owner) = Asker::met().await;
    let get = asker.get("k");
    let id = owner.read_get("k").await;
    let Asker { link, ended, .. } = asker;
    drop(link);
    owner.value(id, b"v").await;
    drop(owner);
    assert_eq!(value(get).await, "v");
    assert!(matches!(*soon(ended).await.unwrap(), End::Unneeded));

    let (asker, mut owner) = Asker::met().await;
    owner.bare(kind::GOAWAY, Id::default()).await;
    drop(owner);
    assert!(matches!(*asker.end().await, End::Goodbye));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_nobody_needs_ends_though_its_owner_reads_nothing() {
    let (asker, _owner) = Asker::met().await;
    let (waiter, get) = waiter_for(&"k".repeat(60_000), millis(100));
    asker.link.get(waiter).expect("it is sent");
    let (second, unread) = waiter_for(&"k".repeat(60_000), millis(100));
    asker.link.get(second).expect("it is sent");
    for get in [get, unread] {
        assert_eq!(told(get).await.unwrap_err().kind, PeerErrorKind::TimedOut);
    }
    let Asker { link, ended, .. } = asker;
    drop(link);
    assert!(matches!(*soon(ended).await.unwrap(), End::Unneeded));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_fails_all_gets_at_once() {
    let (asker, owner) = Asker::met().await;
    let gets: Vec<_> = (0..100).map(|i| asker.get(&format!("k{i}"))).collect();
    drop(owner);
    for get in gets {
        let (at, told) = told_at(get).await;
        assert_eq!(told.unwrap_err().kind, PeerErrorKind::Truncated);
        assert_near(at, Duration::ZERO);
    }
    let unsent = asker.link.get(waiter("late").0).expect_err("the link is over");
    assert_eq!(unsent.why, Why::Over);
}

#[tokio::test(start_paused = true)]
async fn answers_that_came_before_the_end_count_though_a_write_found_it_out() {
    let (asker, mut owner) = Asker::met().await;
    let answered = asker.get("answered");
    let id = owner.read_get("answered").await;
    owner.value(id, b"v").await;
    drop(owner);
    // The task has not run yet: it finds a get to write, an answer to read, and nobody to write to.
    let unanswered = asker.get("unanswered");
    assert_eq!(value(answered).await, "v");
    assert_eq!(told(unanswered).await.unwrap_err().kind, PeerErrorKind::Truncated);
}

#[tokio::test(start_paused = true)]
async fn who_never_says_hello_was_not_asked() {
    let begun: &[u8] = &[1, 0, 0, 0, kind::VALUE];
    for (sent, is_silent) in
        [(b"".as_slice(), true), (b"HTTP/1.1 400 Bad Request", false), (begun, true)]
    {
        let (first, _told) = waiter("first");
        let (mut asker, mut owner) = Asker::with(LinkConfig::default(), b"", Some(first));
        let _told = asker.get("second");
        owner.send(sent).await;
        for key in ["first", "second"] {
            let detoured = soon(asker.detoured.recv()).await.expect("a get");
            assert_eq!(&*detoured.request.key, key);
        }
        let end = asker.end().await;
        assert_eq!(matches!(*end, End::Silent { .. }), is_silent, "{end:?}");
        assert_eq!(matches!(*end, End::Violation(_)), !is_silent, "{end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_closed_before_a_hello_was_not_asked() {
    let (first, _told) = waiter("first");
    let (mut asker, owner) = Asker::with(LinkConfig::default(), b"", Some(first));
    drop(owner);
    assert_eq!(&*soon(asker.detoured.recv()).await.expect("a get").request.key, "first");
    assert!(matches!(*asker.end().await, End::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_task_dropped_with_its_runtime_leaves_nobody_waiting() {
    let (asker, _owner) = Asker::met().await;
    let get = asker.get("k");
    asker.ended.abort();
    assert_eq!(told(get).await.unwrap_err().kind, PeerErrorKind::Dropped);
    assert_eq!(asker.link.in_flight(), 0);
    let unsent = asker.link.get(waiter("late").0).expect_err("the link is over");
    assert_eq!(unsent.why, Why::Over);
}

#[tokio::test(start_paused = true)]
async fn deadlines_are_kept_while_answers_come_without_a_pause() {
    let (ours, theirs) = duplex(64 << 10);
    let mut owner = Wire(theirs);
    let (link, driver) = Link::new(ours, b"", None, LinkConfig::default(), detour().0);
    let mut driver = pin!(driver);
    let mut cx = Context::from_waker(Waker::noop());
    owner.hello().await;
    let (waiting, mut told) = waiter_for("waiting", millis(100));
    assert!(link.get(waiting).is_ok());
    assert!(driver.as_mut().poll(&mut cx).is_pending());
    assert_eq!(owner.read().await.0.kind, kind::HELLO);
    owner.read_get("waiting").await;
    let mut under_way = Vec::new();
    // In each turn two answers are there to be told, so the task never gets as far as going to sleep.
    for turn in 0..110 {
        for (id, key) in std::mem::take(&mut under_way) {
            owner.value(id, String::as_bytes(&key)).await;
        }
        for key in ["a", "b"] {
            assert!(link.get(waiter(key).0).is_ok());
        }
        tokio::time::advance(millis(1)).await;
        assert!(driver.as_mut().poll(&mut cx).is_pending());
        under_way = vec![owner.read_any_get().await, owner.read_any_get().await];
        if let Ok(told) = told.try_recv() {
            assert_eq!(told.unwrap_err().kind, PeerErrorKind::TimedOut);
            return assert!((99..=105).contains(&turn), "told in turn {turn}");
        }
    }
    panic!("the get was never told");
}
