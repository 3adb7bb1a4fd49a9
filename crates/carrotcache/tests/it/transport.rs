//! A transport of a user's own, in every way that it can behave.

use std::sync::Arc;
use std::time::Duration;

use carrotcache::peer::{Completion, Limits};
use carrotcache::{
    Answer, BuildGroupError, GetError, Group, Node, Owner, Peer, PeerError, PeerErrorKind, Picker,
    Request, Stats,
};
use tokio::time::Instant;

use crate::rows::Hand;
use crate::support::Source;

/// A peer that owns all keys, and does with each request what a function says.
struct Fake<F>(F);

impl<F: Fn(Request, Completion) + Send + Sync + 'static> Peer for Fake<F> {
    fn label(&self) -> &str {
        "fake"
    }

    fn ask(&self, request: Request, completion: Completion) {
        (self.0)(request, completion);
    }
}

/// Says that one peer owns all keys.
struct AllOf {
    peer: Arc<dyn Peer>,
    limits: Limits,
}

impl Picker for AllOf {
    fn owner(&self, _key: &str) -> Owner {
        Owner::Remote(Arc::clone(&self.peer))
    }

    fn peers(&self) -> Vec<Arc<dyn Peer>> {
        vec![Arc::clone(&self.peer)]
    }

    fn limits(&self) -> Limits {
        self.limits
    }
}

/// Builds a node, all of whose keys are owned by a peer that does `ask` with each request.
fn node(ask: impl Fn(Request, Completion) + Send + Sync + 'static) -> Node {
    let picker = AllOf { peer: Arc::new(Fake(ask)), limits: Limits::default() };
    Node::builder().peers(picker).build()
}

/// Such a node, whose clock is moved by hand.
pub(crate) fn node_asking(
    hand: &Hand,
    ask: impl Fn(Request, Completion) + Send + Sync + 'static,
) -> Node {
    let picker = AllOf { peer: Arc::new(Fake(ask)), limits: Limits::default() };
    Node::builder().peers(picker).clock(hand.clock(Duration::ZERO)).build()
}

fn group(source: &Source, ask: impl Fn(Request, Completion) + Send + Sync + 'static) -> Group {
    node(ask).group("g").loader(source.clone()).build().unwrap()
}

/// Checks the sums that the docs of [`Stats`] promise.
pub(crate) fn assert_sums(stats: &Stats) {
    assert_eq!(
        stats.gets,
        stats.main.hits + stats.hot.hits + stats.absent.hits + stats.loads + stats.looks_missed,
        "{stats:?}"
    );
    let loaded = stats.local_loads + stats.local_load_errs + stats.loads_refused + stats.handed_off;
    assert_eq!(stats.loads_deduped, stats.peer_loads + stats.peer_errors + loaded, "{stats:?}");
}

#[tokio::test]
async fn every_way_to_fail_costs_a_local_load_and_keeps_the_sums() {
    type Ask = fn(Request, Completion);
    let ways: [(&str, Ask); 6] = [
        ("drops the completion", |_, completion| drop(completion)),
        ("panics", |_, _completion| panic!("as asked")),
        ("panics in a task", |_, completion| {
            tokio::spawn(async move {
                let _completion = completion;
                panic!("as asked");
            });
        }),
        ("tells an error at once", |_, completion| {
            completion.tell(Err(PeerErrorKind::Unreachable.into()));
        }),
        ("tells an error from a thread that knows no runtime", |_, completion| {
            std::thread::spawn(|| completion.tell(Err(PeerErrorKind::Overloaded.into())));
        }),
        ("tells an error when its time is over", |request, completion| {
            tokio::spawn(async move {
                let end = request.answer_by(Instant::now().into_std());
                tokio::time::sleep_until(Instant::from_std(end)).await;
                completion.tell(Err(PeerErrorKind::TimedOut.into()));
            });
        }),
    ];
    for (way, ask) in ways {
        let source = Source::default();
        let picker = AllOf { peer: Arc::new(Fake(ask)), limits: Limits::default() };
        let node = Node::builder().peers(picker).peer_timeout(Duration::from_millis(5)).build();
        let group = node.group("g").loader(source.clone()).build().unwrap();
        let (one, two) = tokio::join!(group.get("Tom"), group.get("Tom"));
        assert_eq!((one.unwrap(), two.unwrap()), ("Tom!".into(), "Tom!".into()), "{way}");
        assert_eq!(source.calls_for("Tom"), 1, "{way}");
        let stats = group.stats();
        assert_eq!((stats.peer_errors, stats.local_loads, stats.hot.items), (1, 1, 1), "{way}");
        assert_sums(&stats);
    }
}

#[tokio::test]
async fn answers_may_be_told_before_ask_returns_and_from_any_thread() {
    let source = Source::default();
    let at_once = group(&source, |_, completion| completion.tell(Ok(Answer::new("theirs"))));
    assert_eq!(at_once.get("Tom").await.unwrap(), "theirs");
    let from_a_thread = group(&source, |_, completion| {
        std::thread::spawn(|| completion.tell(Ok(Answer::new("theirs"))));
    });
    assert_eq!(from_a_thread.get("Tom").await.unwrap(), "theirs");
    assert_eq!(source.started(), 0);
    for group in [at_once, from_a_thread] {
        assert_eq!(group.stats().peer_loads, 1);
        assert_sums(&group.stats());
    }
}

#[tokio::test]
async fn that_there_is_none_is_an_answer_and_a_failed_load_a_verdict() {
    let source = Source::default();
    let none = group(&source, |_, completion| completion.tell(Ok(Answer::absent())));
    assert!(none.get("Tom").await.unwrap_err().is_not_found());
    let failed = group(&source, |_, completion| {
        let error = PeerError::new(PeerErrorKind::LoadFailed).with_source("no disk");
        completion.tell(Err(error));
    });
    let error = failed.get("Tom").await.unwrap_err();
    assert!(matches!(&error, GetError::LoadFailed { source, .. }
        if source.to_string() == "peer fake failed to load the key"));
    assert_eq!(source.started(), 0, "the owner has spoken");
    for group in [none, failed] {
        assert_eq!((group.stats().peer_loads, group.stats().hot.items), (1, 0));
        assert_sums(&group.stats());
    }
}

#[tokio::test]
async fn a_runtime_that_cannot_ask_peers_is_told_to_the_caller() {
    let source = Source::default();
    let group = group(&source, |_, completion| {
        completion.tell(Err(PeerError::new(PeerErrorKind::Runtime).with_source("I/O is off")));
    });
    let error = group.get("Tom").await.unwrap_err();
    assert!(
        matches!(&error, GetError::CannotAskPeers { source } if source.causes() == "I/O is off")
    );
    assert_eq!(source.started(), 0);
    assert_sums(&group.stats());
}

/// One that leaves while the owner is asked takes nothing along: the completion has the flight.
#[tokio::test]
async fn a_value_that_nobody_waits_for_any_more_is_mirrored() {
    let (send, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let node = node(move |_, completion| send.send(completion).unwrap());
    let source = Source::default();
    let mirroring = carrotcache::Mirroring::Always;
    let group = node.group("g").mirroring(mirroring).loader(source).build().unwrap();
    let mut get = Box::pin(group.get("Tom"));
    let waker = std::task::Waker::noop();
    assert!(get.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
    drop(get);
    asked.recv().await.unwrap().tell(Ok(Answer::new("theirs")));
    assert_eq!(group.get_cached("Tom").unwrap(), "theirs");
    assert_sums(&group.stats());
}

/// What a transport's own runtime was to it, its end is to the node: nothing that a caller sees.
#[test]
fn a_transport_that_panics_for_a_runtime_that_is_gone_costs_a_local_load() {
    let home = tokio::runtime::Runtime::new().unwrap();
    let source = Source::default();
    let group = {
        let _entered = home.enter();
        group(&source, |_, _completion| panic!("the driver is gone"))
    };
    drop(home);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    assert_eq!(runtime.block_on(group.get("Tom")).unwrap(), "Tom!");
    assert_sums(&group.stats());
}

/// Bytes whose drop panics.
struct Bomb;

impl AsRef<[u8]> for Bomb {
    fn as_ref(&self) -> &[u8] {
        b"bomb"
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("the value's drop");
        }
    }
}

#[tokio::test]
async fn a_value_whose_drop_panics_does_not_harm_the_thread_that_tells_it() {
    let (send, mut tellers) = tokio::sync::mpsc::unbounded_channel();
    let node = node(move |_, completion| {
        let teller = std::thread::spawn(|| {
            let value = bytes::Bytes::from_owner(Bomb);
            completion.tell(Ok(Answer::new(carrotcache::ByteView::from(value))));
        });
        send.send(teller).unwrap();
    });
    let mirroring = carrotcache::Mirroring::Always;
    let group = node.group("g").mirroring(mirroring).loader(Source::default()).build().unwrap();
    // Kept as a copy, the original is dropped: by the thread that told it.
    let _ = group.get("Tom").await;
    let teller = tellers.recv().await.unwrap();
    assert!(teller.join().is_ok(), "it may have answers for others to tell");
}

/// Returns what a peer is asked for the key `Tom` by a node with these limits.
async fn request_of(peer_timeout: Duration, load_timeout: Duration) -> Request {
    let (send, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let ask = move |request, completion: Completion| {
        completion.tell(Ok(Answer::new("theirs")));
        send.send(request).unwrap();
    };
    let picker = AllOf { peer: Arc::new(Fake(ask)), limits: Limits::default() };
    let node = Node::builder().peers(picker).peer_timeout(peer_timeout).build();
    let group = node.group("g").load_timeout(load_timeout).loader(Source::default());
    assert_eq!(group.build().unwrap().get("Tom").await.unwrap(), "theirs");
    asked.recv().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_owner_may_be_silent_for_the_peer_timeout_and_load_for_the_load_timeout() {
    const SECOND: Duration = Duration::from_secs(1);
    let now = Instant::now().into_std();
    let request = request_of(5 * SECOND, 30 * SECOND).await;
    assert_eq!((&*request.group, &*request.key), ("g", "Tom"));
    assert_eq!(request.max_silence, 5 * SECOND);
    assert_eq!(request.time_left(now), 35 * SECOND, "its verdict comes before that");
    // A load that may take no time at all leaves what the way there and back takes.
    let request = request_of(5 * SECOND, Duration::ZERO).await;
    assert_eq!((request.max_silence, request.time_left(now)), (5 * SECOND, 5 * SECOND));
    assert_eq!(request_of(Duration::ZERO, Duration::ZERO).await.deadline, now);
}

#[tokio::test(start_paused = true)]
async fn limits_without_end_are_a_year() {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    const SECOND: Duration = Duration::from_secs(1);
    let now = Instant::now().into_std();
    for (peer_timeout, load_timeout, max_silence) in [
        (Duration::MAX, Duration::MAX, YEAR),
        (Duration::MAX, SECOND, YEAR),
        (SECOND, Duration::MAX, SECOND),
    ] {
        let request = request_of(peer_timeout, load_timeout).await;
        assert_eq!((request.max_silence, request.time_left(now)), (max_silence, YEAR));
    }
}

#[test]
fn a_group_does_not_allow_what_its_transport_cannot_carry() {
    let ask = |_: Request, completion: Completion| drop(completion);
    let picker = AllOf { peer: Arc::new(Fake(ask)), limits: Limits::new(8, 100) };
    let node = Node::builder().peers(picker).build();
    let build =
        |name: &str, max| node.group(name).max_key_bytes(max).loader(Source::default()).build();
    let error = build("scores", 101).unwrap_err();
    let expected =
        BuildGroupError::KeysTooLong { name: "scores".into(), max_key_bytes: 101, max: 100 };
    assert_eq!(error, expected);
    assert!(error.to_string().contains("allows keys of 101 bytes"), "{error}");
    let error = build("long-name", 100).unwrap_err();
    assert_eq!(error, BuildGroupError::NameTooLong { name: "long-name".into(), max: 8 });
    build("scores", 100).unwrap();
    // Unless set, a group allows what the transport carries.
    let group = node.group("unset").loader(Source::default()).build().unwrap();
    let long = "k".repeat(101);
    assert_eq!(group.get_cached(&long), None);
    assert_eq!(group.stats().gets, 0, "too long to be asked for");
}

#[tokio::test(start_paused = true)]
async fn loads_that_time_out_or_panic_keep_the_sums() {
    let node = Node::new();
    let loader = |key: String| async move {
        match &*key {
            "stuck" => std::future::pending().await,
            "panics" => panic!("as asked"),
            "fails" => Err(std::io::Error::other("as asked")),
            _ => Ok(Some(key)),
        }
    };
    let group = node.group("g").loader(loader).build().unwrap();
    for key in ["stuck", "panics", "fails"] {
        assert!(group.get(key).await.is_err());
    }
    assert!(group.get("fine").await.is_ok() && group.get_cached("absent").is_none());
    let stats = group.stats();
    assert_eq!((stats.local_load_errs, stats.local_loads, stats.looks_missed), (3, 1, 1));
    assert_sums(&stats);
}

#[test]
fn shutdowns_at_any_moment_keep_the_sums() {
    for moment in 0..20 {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let source = Source::gated();
        let group = {
            let _entered = runtime.enter();
            group(&source, |_, completion| {
                tokio::spawn(async move {
                    tokio::task::yield_now().await;
                    drop(completion);
                });
            })
        };
        for key in 0..8 {
            let group = group.clone();
            runtime.spawn(async move { group.get(&format!("key-{key}")).await });
        }
        runtime.block_on(async {
            for _ in 0..moment {
                tokio::task::yield_now().await;
            }
        });
        runtime.shutdown_timeout(Duration::from_secs(10));
        assert_sums(&group.stats());
    }
}
