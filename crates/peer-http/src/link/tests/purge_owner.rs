//! The owner's side of purges, with an asker that is played by hand.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use carrotcache_peer::{Fate, Handler, Keys, Member, PeerErrorKind, Purge, Purged, Reply, Step};
use tokio::sync::Semaphore;

use super::*;
use crate::link::frame::purge::{Bounds, decode_purged, encode};
use crate::wire::outcome::Outcome;

const INCARNATION: u64 = 99;

/// Does with a purge what the name of its group says.
struct Forgetful {
    heard: Mutex<Vec<Purge>>,
    /// Lets those that take a while end.
    release: Arc<Semaphore>,
    dropped: Arc<AtomicUsize>,
}

impl Default for Forgetful {
    fn default() -> Self {
        let release = Arc::new(Semaphore::new(0));
        Self { heard: Mutex::default(), release, dropped: Arc::default() }
    }
}

/// Counts itself when it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Handler for Forgetful {
    fn answer(&self, request: Request) -> Reply {
        let len = request.key.parse().unwrap_or(0);
        Reply::ready(Ok(Answer::new(vec![7; len])))
    }

    fn purge(&self, purge: Purge) -> Reply<Purged> {
        let group = Arc::clone(&purge.group);
        self.heard.lock().unwrap().push(purge);
        match &*group {
            "strange" => Reply::ready(Err(PeerErrorKind::NoSuchGroup.into())),
            "panic" => panic!("as asked"),
            "panic-later" => Reply::pending(async { panic!("as asked") }),
            "slow" => {
                let (release, counted) =
                    (Arc::clone(&self.release), Counted(Arc::clone(&self.dropped)));
                Reply::pending(async move {
                    release.acquire().await.expect("it is open").forget();
                    std::mem::forget(counted);
                    Ok(Purged::new(INCARNATION, Fate::Told))
                })
            }
            _ => Reply::ready(Ok(Purged::new(INCARNATION, Fate::Closed { token: 5 }))),
        }
    }
}

/// A connection to an owner, on which both sides have said HELLO.
struct Served {
    owner: Arc<Forgetful>,
    wire: Wire,
    ended: JoinHandle<End>,
    activity: Activity,
}

impl Served {
    async fn new() -> Self {
        Self::with(LinkConfig::default()).await
    }

    async fn with(link: LinkConfig) -> Self {
        let (ours, theirs) = duplex(64 << 10);
        let (owner, activity) = (Arc::new(Forgetful::default()), Activity::default());
        let config = Arc::new(Config { link, ..Config::default() });
        let (handler, its) = (Arc::clone(&owner), activity.clone());
        let serving = Serving::new(theirs, b"", None, handler, config, its, future::pending());
        let mut served = Self { owner, wire: Wire(ours), ended: tokio::spawn(serving), activity };
        served.wire.hello().await;
        served.wire.expect(kind::HELLO, Id::default()).await;
        served
    }

    /// Reads what the owner says to a purge.
    async fn purged(&mut self, slot: u32) -> Purged {
        let (header, payload) = self.wire.read().await;
        assert_eq!((header.kind, header.id), (kind::PURGED, id(slot)));
        decode_purged(header, &payload).expect("it adds up").expect("it is of this version")
    }

    fn heard(&self) -> Vec<Purge> {
        self.owner.heard.lock().unwrap().clone()
    }
}

fn purge(group: &str, keys: Keys) -> Purge {
    let sender = Member { label: "http://remover".into(), incarnation: 7 };
    Purge::new(group, keys, sender, Step::Close { attempt: 1 }, Instant::now().into_std())
}

fn these(keys: &[&str]) -> Keys {
    Keys::These(keys.iter().map(|key| (*key).into()).collect())
}

fn frame_for(slot: u32, millis_left: u32, purge: &Purge) -> Vec<u8> {
    let mut out = Vec::new();
    let bounds = Bounds { max_bytes: usize::MAX, max_value_bytes: usize::MAX };
    assert!(encode(&mut out, id(slot), millis_left, purge, bounds));
    out
}

fn purge_frame(slot: u32, group: &str, keys: Keys) -> Vec<u8> {
    frame_for(slot, 60_000, &purge(group, keys))
}

#[tokio::test(start_paused = true)]
async fn a_purge_reaches_the_handler_with_all_it_says() {
    let mut served = Served::new().await;
    for (slot, (millis, time)) in (0..).zip([
        (5_000, Duration::from_secs(5)),
        // Not believed, and not said.
        (u32::MAX, Config::default().max_time_left),
        (0, Config::default().max_time_left),
    ]) {
        let sent = purge("g", these(&["a", "b"]));
        let now = Instant::now();
        served.wire.send(&frame_for(slot, millis, &sent)).await;
        let expected = Purged::new(INCARNATION, Fate::Closed { token: 5 });
        assert_eq!(served.purged(slot).await, expected);
        let mut heard = served.heard().pop().expect("it was told");
        assert_eq!(heard.deadline, (now + time).into_std());
        heard.deadline = sent.deadline;
        assert_eq!(heard, sent);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_is_refused_by_its_kind() {
    let mut served = Served::new().await;
    for (group, outcome, text) in [
        ("strange", Outcome::NoSuchGroup, "the peer has no such group"),
        ("panic", Outcome::Overloaded, "the handler panicked"),
        ("panic-later", Outcome::Overloaded, "the handler panicked"),
    ] {
        served.wire.send(&purge_frame(1, group, Keys::All)).await;
        let refusal = Refusal::Outcome(outcome);
        assert_eq!(served.wire.expect_refusal(id(1), refusal).await, text);
    }
    // The link goes on.
    served.wire.send(&purge_frame(2, "g", Keys::All)).await;
    served.purged(2).await;
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_is_not_as_it_should_be_is_refused_and_does_nothing() {
    let mut served = Served::new().await;
    let long = "k".repeat(1_025);
    let many: Vec<&str> = vec!["k"; 1_000];
    let mut too_many = purge_frame(1, "g", these(&many));
    // The number of keys stands behind the header, the time, the step, the marks, two numbers, the
    // group and the sender.
    let at = HEADER_BYTES + 4 + 2 + 16 + 1 + 10 + "http://remover".len();
    assert_eq!(too_many[at..at + 4], 1_000_u32.to_le_bytes());
    too_many[at..at + 4].copy_from_slice(&1_000_000_u32.to_le_bytes());
    let mut later = purge_frame(1, "g", Keys::All);
    later[5] = 0x80;
    let value = Some(Entry::new(vec![7; (1 << 20) + 1]));
    let step = Step::Open { attempt: 1, token: 1, closed: Vec::new(), value };
    let mut large = purge("g", Keys::All);
    large.step = step;
    let large = frame_for(1, 0, &large);
    for (frame, text) in [
        (purge_frame(1, "g", these(&["good", ""])), "key is empty"),
        (purge_frame(1, "g", these(&["good", &long])), "key of 1025 bytes is over 1024"),
        (purge_frame(1, "", Keys::All), "group is empty"),
        (purge_frame(1, &"g".repeat(65), Keys::All), "group of 65 bytes is over 64"),
        (too_many, "there are more than a thousand keys"),
        (later, "the request is of a later version of the protocol"),
        (large, "value of 1048577 bytes is too large for a link"),
    ] {
        served.wire.send(&frame).await;
        let invalid = Refusal::Outcome(Outcome::Invalid);
        assert_eq!(served.wire.expect_refusal(id(1), invalid).await, text);
    }
    assert_eq!(served.heard(), []);
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_does_not_add_up_ends_the_link() {
    for cut in [0, 1, 30] {
        let mut served = Served::new().await;
        let whole = purge_frame(1, "g", these(&["key"]));
        let payload = &whole[HEADER_BYTES..whole.len() - 1 - cut];
        let len = u32::try_from(payload.len()).unwrap();
        let header = Header { len, aux: 1, ..Header::bare(kind::PURGE, id(1)) };
        served.wire.send(&[&header.encode()[..], payload].concat()).await;
        assert!(matches!(soon(served.ended).await.unwrap(), End::Violation(_)));
        assert_eq!(served.owner.heard.lock().unwrap().len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_purges_is_refused_beyond_the_bound_and_gets_are_not() {
    let mut served = Served::new().await;
    for slot in 0..64 {
        served.wire.send(&purge_frame(slot, "slow", Keys::All)).await;
    }
    for slot in 64..1_000 {
        served.wire.send(&purge_frame(slot, "slow", Keys::All)).await;
        let overloaded = Refusal::Outcome(Outcome::Overloaded);
        let text = served.wire.expect_refusal(id(slot), overloaded).await;
        assert_eq!(text, "64 purges are under way");
    }
    assert_eq!(served.heard().len(), 64, "nothing is done for what is refused");
    served.wire.get(1_000, "0").await;
    served.wire.expect_value(id(1_000), b"").await;
    served.owner.release.add_permits(64);
    for _ in 0..64 {
        assert_eq!(served.wire.read().await.0.kind, kind::PURGED);
    }
    served.wire.send(&purge_frame(0, "g", Keys::All)).await;
    served.purged(0).await;
}

#[tokio::test(start_paused = true)]
async fn long_purges_are_bounded_by_their_bytes() {
    let mut served = Served::new().await;
    let key = "k".repeat(1_000);
    let keys = these(&vec![&*key; 1_000]);
    // Four of a million bytes and a little more are within four mebibytes.
    for slot in 0..4 {
        served.wire.send(&purge_frame(slot, "slow", keys.clone())).await;
    }
    served.wire.send(&purge_frame(4, "slow", keys.clone())).await;
    let overloaded = Refusal::Outcome(Outcome::Overloaded);
    served.wire.expect_refusal(id(4), overloaded).await;
    served.owner.release.add_permits(1);
    assert_eq!(served.wire.read().await.0.kind, kind::PURGED);
    served.wire.send(&purge_frame(4, "slow", keys)).await;
    served.owner.release.add_permits(4);
    for _ in 0..4 {
        assert_eq!(served.wire.read().await.0.kind, kind::PURGED);
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_has_its_time_and_no_loading_is_said() {
    let mut served = Served::new().await;
    let begin = Instant::now();
    served.wire.send(&frame_for(1, 2_000, &purge("slow", Keys::All))).await;
    served.wire.send(&purge_frame(1, "slow", Keys::All)).await;
    let text = served.wire.expect_refusal(id(1), Refusal::Outcome(Outcome::Invalid)).await;
    assert_eq!(text, "another with this id is under way");
    served.wire.bare(kind::CANCEL, id(1)).await;
    served.wire.expect_refusal(id(1), Refusal::Outcome(Outcome::TimedOut)).await;
    assert_eq!(begin.elapsed(), Duration::from_secs(2));
    assert_eq!(served.owner.dropped.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_said_to_a_purge_goes_before_large_values() {
    let mut served = Served::new().await;
    let gets = [get_frame(id(1), "g", "500000"), get_frame(id(2), "g", "500000")].concat();
    served.wire.send(&[gets, purge_frame(3, "g", Keys::All)].concat()).await;
    served.purged(3).await;
    for slot in [1, 2] {
        served.wire.expect_value(id(slot), &[7; 500_000]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_does_not_rest_while_a_purge_is_under_way() {
    let mut served = Served::new().await;
    served.wire.send(&frame_for(1, 0, &purge("slow", Keys::All))).await;
    served.wire.bare(kind::PING, id(2)).await;
    served.wire.expect(kind::PONG, id(2)).await;
    assert_eq!(served.activity.resting_since(), None);
    served.wire.bare(kind::GOAWAY, Id::default()).await;
    served.owner.release.add_permits(1);
    // It has said goodbye, and gets what it asked for all the same.
    served.purged(1).await;
    assert!(served.wire.try_read().await.is_none());
    assert!(matches!(soon(served.ended).await.unwrap(), End::Goodbye));
}

#[tokio::test(start_paused = true)]
async fn an_asker_that_purges_and_never_reads_is_cut() {
    let link = LinkConfig { max_queued_bytes: 10_000, ..LinkConfig::default() };
    let Served { wire, ended, owner, .. } = Served::with(link).await;
    let (_unread, mut requests) = tokio::io::split(wire.0);
    let asking = tokio::spawn(async move {
        let frame = purge_frame(1, "g", Keys::All);
        while requests.write_all(&frame).await.is_ok() {}
    });
    assert!(matches!(soon(ended).await.unwrap(), End::Stalled { .. }));
    soon(asking).await.unwrap();
    // What was not read of it was not done: 64 KiB are on their way, and 10,000 bytes are queued.
    let heard = owner.heard.lock().unwrap().len();
    assert!((300..4_000).contains(&heard), "{heard} purges");
}

#[tokio::test(start_paused = true)]
async fn an_asker_that_is_gone_takes_what_waits_for_its_purges_along() {
    let mut served = Served::new().await;
    served.wire.send(&purge_frame(1, "slow", Keys::All)).await;
    served.wire.bare(kind::PING, id(2)).await;
    served.wire.expect(kind::PONG, id(2)).await;
    drop(served.wire);
    assert!(matches!(soon(served.ended).await.unwrap(), End::Closed));
    while served.owner.dropped.load(Ordering::Relaxed) < 1 {
        tokio::task::yield_now().await;
    }
}

/// Does not override what a handler does with purges.
struct Deaf;

impl Handler for Deaf {
    fn answer(&self, _: Request) -> Reply {
        Reply::ready(Ok(Answer::absent()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_knows_no_purges_refuses_them() {
    let (ours, theirs) = duplex(64 << 10);
    tokio::spawn(serving(theirs, Deaf, LinkConfig::default()));
    let mut wire = Wire(ours);
    wire.hello().await;
    wire.expect(kind::HELLO, Id::default()).await;
    wire.send(&purge_frame(1, "g", Keys::All)).await;
    wire.expect_refusal(id(1), Refusal::Outcome(Outcome::Invalid)).await;
}
