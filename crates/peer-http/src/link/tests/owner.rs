//! The owner's side, with an asker that is played by hand.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use carrotcache_peer::{Handler, PeerErrorKind, Reply};
use tokio::sync::Notify;

use super::*;
use crate::config::Config;
use crate::link::owner::Serving;
use crate::wire::outcome::Outcome;

/// Answers with the key; what begins with a word does what the word says.
#[derive(Default)]
pub(super) struct Owner {
    /// Loads, by key, that are let go one by one.
    loads: Mutex<HashMap<String, Arc<Notify>>>,
    /// How many loads were dropped before they ended.
    pub(super) dropped: Arc<AtomicUsize>,
    pub(super) asked: Mutex<Vec<Request>>,
}

impl Owner {
    /// Lets the load of a key end.
    pub(super) fn release(&self, key: &str) {
        self.load(key).notify_one();
    }

    fn load(&self, key: &str) -> Arc<Notify> {
        Arc::clone(self.loads.lock().unwrap().entry(key.to_owned()).or_default())
    }
}

impl Handler for Owner {
    fn answer(&self, request: Request) -> Reply {
        self.asked.lock().unwrap().push(request.clone());
        let key = request.key;
        let (word, rest) = key.split_once(' ').unwrap_or(("", ""));
        match word {
            "bytes" => Reply::ready(Ok(Answer::new(vec![7; rest.parse().expect("a number")]))),
            "absent" => Reply::ready(Ok(Answer::absent())),
            "fail" => {
                let error = PeerError::new(PeerErrorKind::LoadFailed).with_source("no\ndisk");
                Reply::ready(Err(error))
            }
            "panic" => panic!("as asked"),
            "panic-later" => Reply::pending(async { panic!("as asked") }),
            "load" => {
                let (load, dropped) = (self.load(&key), CountDrop(Arc::clone(&self.dropped)));
                Reply::pending(async move {
                    load.notified().await;
                    std::mem::forget(dropped);
                    Ok(Answer::new(key.to_string()))
                })
            }
            _ => Reply::ready(Ok(Answer::new(key.to_string()))),
        }
    }
}

struct CountDrop(Arc<AtomicUsize>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A connection to an owner.
pub(super) struct Served {
    pub(super) owner: Arc<Owner>,
    pub(super) wire: Wire,
    pub(super) ended: JoinHandle<End>,
    pub(super) activity: Activity,
    pub(super) drain: Arc<Notify>,
}

impl Served {
    /// Returns a connection on which both sides have said HELLO.
    pub(super) async fn new() -> Self {
        Self::with(LinkConfig::default(), 64 << 10).await
    }

    /// The same, with so many bytes that may be on their way each way.
    pub(super) async fn with(link: LinkConfig, window: usize) -> Self {
        let mut served = Self::stranger(link, window, b"", None);
        served.wire.hello().await;
        served.wire.expect(kind::HELLO, Id::default()).await;
        served
    }

    /// Returns a connection on which the asker has said nothing.
    pub(super) fn stranger(
        link: LinkConfig,
        window: usize,
        early: &[u8],
        first: Option<Request>,
    ) -> Self {
        let (ours, theirs) = duplex(window);
        let (owner, drain) = (Arc::new(Owner::default()), Arc::new(Notify::new()));
        let draining = Arc::clone(&drain);
        let drained = async move { draining.notified().await };
        let config = Arc::new(Config { link, ..Config::default() });
        let (handler, activity) = (Arc::clone(&owner), Activity::default());
        let serving =
            Serving::new(theirs, early, first, handler, config, activity.clone(), drained);
        Self { owner, wire: Wire(ours), ended: tokio::spawn(serving), activity, drain }
    }

    /// Waits until the owner has ended the link.
    pub(super) async fn end(self) -> End {
        soon(self.ended).await.expect("no panic")
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_at_hand_is_answered_in_order() {
    let mut served = Served::new().await;
    for (slot, key) in [(0, "Tom"), (7, "absent k"), (u32::MAX, "fail k")] {
        served.wire.get(slot, key).await;
    }
    served.wire.expect_value(id(0), b"Tom").await;
    served.wire.expect_refusal(id(7), Refusal::NOT_FOUND).await;
    let failed = Refusal::Outcome(Outcome::LoadFailed);
    assert_eq!(served.wire.expect_refusal(id(u32::MAX), failed).await, "no disk");
}

#[tokio::test(start_paused = true)]
async fn a_load_is_told_at_once_and_holds_up_nobody() {
    let mut served = Served::new().await;
    served.wire.get(1, "load a").await;
    served.wire.expect(kind::LOADING, id(1)).await;
    for slot in 2..1_000 {
        served.wire.get(slot, "hit").await;
        served.wire.expect_value(id(slot), b"hit").await;
    }
    served.owner.release("load a");
    served.wire.expect_value(id(1), b"load a").await;
}

#[tokio::test(start_paused = true)]
async fn the_time_that_the_asker_has_left_bounds_its_load() {
    let mut served = Served::new().await;
    let begin = Instant::now();
    let cases = [(250, 250), (0, 60_000), (u32::MAX, 3_600_000)];
    for (slot, (millis_left, _)) in (0..).zip(cases) {
        let mut frame = Vec::new();
        encode_get(
            &mut frame,
            id(slot),
            Get { millis_left, group: "g", key: "load k", kind: GetKind::default() },
        );
        served.wire.send(&frame).await;
        served.wire.expect(kind::LOADING, id(slot)).await;
    }
    let asked = std::mem::take(&mut *served.owner.asked.lock().unwrap());
    for (request, (_, millis)) in asked.iter().zip(cases) {
        let deadline = begin + Duration::from_millis(millis);
        assert_eq!(request.deadline, deadline.into_std());
    }
    served.wire.expect_refusal(id(0), Refusal::Outcome(Outcome::TimedOut)).await;
    assert!(begin.elapsed() < Duration::from_secs(1));
    assert_eq!(served.owner.dropped.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_nobody_waits_for_goes_on_and_its_answer_is_not_sent() {
    let mut served = Served::new().await;
    served.wire.get(1, "load a").await;
    served.wire.expect(kind::LOADING, id(1)).await;
    served.wire.bare(kind::CANCEL, id(1)).await;
    served.wire.bare(kind::CANCEL, id(1)).await;
    served.wire.bare(kind::CANCEL, id(77)).await;
    served.wire.bare(kind::PING, id(5)).await;
    served.wire.expect(kind::PONG, id(5)).await;
    served.owner.release("load a");
    served.wire.get(2, "hit").await;
    served.wire.expect_value(id(2), b"hit").await;
    assert_eq!(served.owner.dropped.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_under_way_is_not_taken_twice() {
    let mut served = Served::new().await;
    served.wire.get(1, "load a").await;
    served.wire.expect(kind::LOADING, id(1)).await;
    served.wire.get(1, "load b").await;
    served.wire.expect_refusal(id(1), Refusal::Outcome(Outcome::Invalid)).await;
    served.owner.release("load a");
    served.wire.expect_value(id(1), b"load a").await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_of_its_own_get() {
    let mut served = Served::new().await;
    let failed = Refusal::Outcome(Outcome::of(PeerErrorKind::Failed));
    served.wire.get(1, "panic now").await;
    served.wire.expect_refusal(id(1), failed).await;
    served.wire.get(2, "panic-later k").await;
    served.wire.expect(kind::LOADING, id(2)).await;
    served.wire.expect_refusal(id(2), failed).await;
    served.wire.get(3, "hit").await;
    served.wire.expect_value(id(3), b"hit").await;
}

#[tokio::test(start_paused = true)]
async fn names_that_http_refuses_are_refused() {
    let mut served = Served::new().await;
    let long = "k".repeat(1_025);
    let cases = [("", "k"), ("g", ""), (&long[..65], "k"), ("g", &long)];
    for (slot, (group, key)) in (0..).zip(cases) {
        served.wire.send(&get_frame(id(slot), group, key)).await;
        let text = served.wire.expect_refusal(id(slot), Refusal::Outcome(Outcome::Invalid)).await;
        assert_eq!(Some(text), Config::default().refuse(group, key));
    }
    assert!(served.owner.asked.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn values_over_a_mebibyte_are_to_be_fetched_over_http() {
    let mut served = Served::new().await;
    for (slot, bytes) in [(0, (1 << 20) - 1), (1, 1 << 20)] {
        served.wire.get(slot, &format!("bytes {bytes}")).await;
        served.wire.expect_value(id(slot), &vec![7; bytes]).await;
    }
    served.wire.get(2, &format!("bytes {}", (1 << 20) + 1)).await;
    served.wire.expect_refusal(id(2), Refusal::OverHttp).await;
}

#[tokio::test(start_paused = true)]
async fn an_asker_may_take_smaller_values_than_the_owner_sends() {
    let mut served = Served::stranger(LinkConfig::default(), 64 << 10, b"", None);
    let small = LinkConfig { max_value_bytes: 100, ..LinkConfig::default() };
    let mut hello = Vec::new();
    small.hello().encode(&mut hello);
    served.wire.send(&hello).await;
    served.wire.expect(kind::HELLO, Id::default()).await;
    served.wire.get(1, "bytes 100").await;
    served.wire.expect_value(id(1), &[7; 100]).await;
    served.wire.get(2, "bytes 101").await;
    served.wire.expect_refusal(id(2), Refusal::OverHttp).await;
}

#[tokio::test(start_paused = true)]
async fn small_answers_go_before_large_ones_that_were_asked_for_before() {
    let mut served = Served::new().await;
    let mut frames = get_frame(id(1), "g", "bytes 500000");
    frames.extend(get_frame(id(2), "g", "bytes 10000"));
    frames.extend(get_frame(id(3), "g", "small"));
    frames.extend(Header::bare(kind::PING, id(4)).encode());
    served.wire.send(&frames).await;
    served.wire.expect_value(id(3), b"small").await;
    served.wire.expect(kind::PONG, id(4)).await;
    // The large one is under way: what comes now waits for it, and for nothing else.
    let mut begun = [0; 1_000];
    soon(served.wire.0.read_exact(&mut begun)).await.unwrap();
    served.wire.get(5, "late").await;
    tokio::task::yield_now().await;
    let mut rest = vec![0; HEADER_BYTES + 500_000 - begun.len()];
    soon(served.wire.0.read_exact(&mut rest)).await.unwrap();
    assert_eq!([&begun[..], &rest].concat(), value_frame(id(1), &[7; 500_000]));
    served.wire.expect_value(id(5), b"late").await;
    served.wire.expect_value(id(2), &[7; 10_000]).await;
}

#[tokio::test(start_paused = true)]
async fn a_queued_value_that_nobody_waits_for_is_not_sent() {
    let mut served = Served::with(LinkConfig::default(), 1_000).await;
    for (slot, key) in [(1, "bytes 100001"), (2, "bytes 100002"), (3, "bytes 100003")] {
        served.wire.get(slot, key).await;
    }
    // The first has been begun by now, and is finished.
    let mut head = [0; HEADER_BYTES];
    soon(served.wire.0.read_exact(&mut head)).await.unwrap();
    served.wire.bare(kind::CANCEL, id(1)).await;
    served.wire.bare(kind::CANCEL, id(2)).await;
    let mut rest = vec![0; 100_001];
    soon(served.wire.0.read_exact(&mut rest)).await.unwrap();
    assert_eq!(Header::decode(&head).id, id(1));
    served.wire.expect_value(id(3), &[7; 100_003]).await;
    served.wire.get(4, "hit").await;
    served.wire.expect_value(id(4), b"hit").await;
}

#[tokio::test(start_paused = true)]
async fn the_first_get_is_answered_and_what_came_early_is_read() {
    let deadline = (Instant::now() + TIME).into_std();
    let first = Request::new("g", "first", deadline);
    let early = [hello(), get_frame(id(1), "g", "early")].concat();
    let mut served = Served::stranger(LinkConfig::default(), 64 << 10, &early, Some(first));
    served.wire.expect(kind::HELLO, Id::default()).await;
    served.wire.expect_value(Id::FIRST, b"first").await;
    served.wire.expect_value(id(1), b"early").await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_says_goaway_and_answers_what_is_under_way() {
    let mut served = Served::new().await;
    served.wire.get(1, "load a").await;
    served.wire.expect(kind::LOADING, id(1)).await;
    served.drain.notify_one();
    served.wire.expect(kind::GOAWAY, Id::default()).await;
    // Sent before the asker had read the GOAWAY, and answered all the same.
    served.wire.get(2, "crossed").await;
    served.wire.expect_value(id(2), b"crossed").await;
    served.owner.release("load a");
    served.wire.expect_value(id(1), b"load a").await;
    drop(served.wire);
    assert!(matches!(soon(served.ended).await.unwrap(), End::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_drain_has_its_time() {
    let mut served = Served::new().await;
    served.wire.get(1, "load a").await;
    served.drain.notify_one();
    let begin = Instant::now();
    let dropped = Arc::clone(&served.owner.dropped);
    assert!(matches!(served.end().await, End::Drained));
    let late = begin.elapsed() - LinkConfig::default().drain_timeout;
    assert!(late <= Duration::from_millis(5), "{late:?} late");
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn an_asker_that_says_goaway_gets_its_answers_and_then_the_end() {
    let mut served = Served::new().await;
    served.wire.get(1, "load a").await;
    served.wire.expect(kind::LOADING, id(1)).await;
    served.wire.bare(kind::GOAWAY, Id::default()).await;
    tokio::task::yield_now().await;
    served.owner.release("load a");
    served.wire.expect_value(id(1), b"load a").await;
    assert!(served.wire.try_read().await.is_none());
    assert!(matches!(served.end().await, End::Goodbye));
}

#[tokio::test(start_paused = true)]
async fn a_link_rests_unless_an_answer_is_under_way() {
    let mut served = Served::new().await;
    served.wire.get(0, "load k").await;
    served.wire.expect(kind::LOADING, id(0)).await;
    tokio::task::yield_now().await;
    assert_eq!(served.activity.resting_since(), None);
    tokio::time::sleep(Duration::from_secs(1)).await;
    served.owner.release("load k");
    served.wire.expect_value(id(0), b"load k").await;
    tokio::task::yield_now().await;
    let since = served.activity.resting_since().expect("it rests");
    assert_eq!(since.elapsed(), Duration::from_secs(1), "since it was asked");
}

/// Has a value for one key at hand, and panics at another.
struct AtHand;

impl Handler for AtHand {
    fn answer(&self, request: Request) -> Reply {
        Reply::ready(Ok(Answer::new(format!("{} asked for", request.key))))
    }

    fn at_hand(&self, group: &str, key: &str) -> Option<Answer> {
        assert_ne!(key, "panic", "as asked");
        (key == "cached").then(|| Answer::new(format!("{key} in {group}")))
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_at_hand_is_not_asked_for() {
    let (ours, theirs) = duplex(1 << 20);
    tokio::spawn(serving(theirs, AtHand, LinkConfig::default()));
    let mut wire = Wire(ours);
    wire.hello().await;
    wire.expect(kind::HELLO, Id::default()).await;
    for (slot, key) in (0..).zip(["cached", "other", "panic", "cached"]) {
        wire.get(slot, key).await;
    }
    wire.expect_value(id(0), b"cached in g").await;
    wire.expect_value(id(1), b"other asked for").await;
    let text = wire.expect_refusal(id(2), Refusal::Outcome(Outcome::Overloaded)).await;
    assert_eq!(text, "the handler panicked");
    wire.expect_value(id(3), b"cached in g").await;
}
