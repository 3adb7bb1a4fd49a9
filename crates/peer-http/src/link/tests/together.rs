//! Both sides over one connection, and what happens when either is dropped.

use std::future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use carrotcache_peer::{Handler, Reply};

use super::owner::Owner;
use super::*;

/// An asker and an owner that know each other.
pub(super) struct Pair {
    pub(super) link: Link,
    pub(super) asking: JoinHandle<Arc<End>>,
    pub(super) serving: JoinHandle<End>,
    pub(super) detoured: mpsc::UnboundedReceiver<Waiter>,
}

impl Pair {
    pub(super) fn new(handler: impl Handler) -> Self {
        Self::with(handler, LinkConfig::default(), 64 << 10)
    }

    /// The same, with so many bytes that may be on their way each way.
    pub(super) fn with(handler: impl Handler, config: LinkConfig, window: usize) -> Self {
        let (ours, theirs) = duplex(window);
        let (detour, detoured) = detour();
        let (link, driver) = Link::new(ours, b"", None, config.clone(), detour);
        let serving = serving(theirs, handler, config);
        Self { link, asking: tokio::spawn(driver), serving: tokio::spawn(serving), detoured }
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_gets_at_a_time_get_their_own_values() {
    let pair = Pair::new(Owner::default());
    for _ in 0..3 {
        let gets: Vec<_> = (0..1_000)
            .map(|i| {
                let (waiter, told) = waiter(&format!("k{i}"));
                pair.link.get(waiter).expect("it is sent");
                told
            })
            .collect();
        for (i, get) in gets.into_iter().enumerate() {
            assert_eq!(value(get).await, format!("k{i}"));
        }
        assert_eq!(pair.link.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn large_values_pass_a_narrow_connection_beside_small_ones() {
    let mut pair = Pair::with(Owner::default(), LinkConfig::default(), 1_000);
    let mut gets = Vec::new();
    for bytes in [1 << 20, 3, 5_000, (1 << 20) + 1, 200_000, 0] {
        let (waiter, told) = waiter(&format!("bytes {bytes}"));
        pair.link.get(waiter).expect("it is sent");
        gets.push((bytes, told));
    }
    let large = soon(pair.detoured.recv()).await.expect("the one over the bound");
    assert_eq!(&*large.request.key, "bytes 1048577");
    for (bytes, get) in gets.into_iter().filter(|(bytes, _)| *bytes <= 1 << 20) {
        assert_eq!(told(get).await.unwrap().entry.value().unwrap().len(), bytes);
    }
}

/// The owner may answer the get that asked for the link before it knows what the asker takes.
#[tokio::test(start_paused = true)]
async fn a_first_value_that_the_asker_does_not_take_leaves_the_link_as_it_is() {
    for (bytes, is_carried) in [(10, true), (4 << 10, true), (9_000, false), (1 << 20, false)] {
        let config = LinkConfig { max_value_bytes: 5_000, ..LinkConfig::default() };
        let (ours, theirs) = duplex(64 << 10);
        let (detour, mut detoured) = detour();
        let (first, receiver) = waiter(&format!("bytes {bytes}"));
        let request = first.request.clone();
        let (link, driver) = Link::new(ours, b"", Some(first), config, detour);
        let asking = tokio::spawn(driver);
        let (owner, owners) = (Arc::new(Owner::default()), Arc::new(Config::default()));
        let (activity, drain) = (Activity::default(), future::pending::<()>());
        tokio::spawn(Serving::new(theirs, b"", Some(request), owner, owners, activity, drain));
        if is_carried {
            assert_eq!(told(receiver).await.unwrap().entry.value().unwrap().len(), bytes);
        } else {
            assert!(soon(detoured.recv()).await.is_some(), "{bytes} bytes go over HTTP");
        }
        let (next, receiver) = waiter("bytes 5000");
        link.get(next).expect("it is sent");
        assert_eq!(told(receiver).await.unwrap().entry.value().unwrap().len(), 5_000);
        assert!(!asking.is_finished());
    }
}

#[tokio::test(start_paused = true)]
async fn either_side_ends_when_the_other_is_gone() {
    let pair = Pair::new(Owner::default());
    while pair.link.hello().is_none() {
        tokio::task::yield_now().await;
    }
    drop(pair.link);
    assert!(matches!(*soon(pair.asking).await.unwrap(), End::Unneeded));
    assert!(matches!(soon(pair.serving).await.unwrap(), End::Goodbye | End::Closed));

    let pair = Pair::new(Owner::default());
    pair.serving.abort();
    let end = soon(pair.asking).await.unwrap();
    assert!(matches!(*end, End::Closed), "{end:?}");
}

/// Polls a future up to `polls` times, letting the rest of the runtime run in between.
async fn poll_times<F: Future + Unpin>(future: &mut F, polls: usize) {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if Pin::new(&mut *future).poll(&mut cx).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn both_tasks_may_be_dropped_at_any_await() {
    for (drop_asker, polls) in (0..12).map(|n| (true, n)).chain((0..12).map(|n| (false, n))) {
        let (ours, theirs) = duplex(100);
        let (detour, mut detoured) = detour();
        let config = LinkConfig::default();
        let (link, mut driver) = Link::new(ours, b"", None, config.clone(), detour);
        let mut serving = serving(theirs, Owner::default(), config);
        let gets: Vec<_> = ["a", "bytes 20000", "load c", "d"]
            .map(|key| {
                let (waiter, told) = waiter(key);
                link.get(waiter).expect("it is sent");
                told
            })
            .into();
        if drop_asker {
            let serving = tokio::spawn(serving);
            poll_times(&mut driver, polls).await;
            drop(driver);
            soon(serving).await.expect("no panic");
        } else {
            let driver = tokio::spawn(driver);
            poll_times(&mut serving, polls).await;
            drop(serving);
            soon(driver).await.expect("no panic");
        }
        assert_eq!(link.in_flight(), 0);
        drop(link);
        // Every get was told a value or an error, or was handed on; none is left waiting.
        let mut handed_on = 0;
        while detoured.try_recv().is_ok() {
            handed_on += 1;
        }
        let mut told = 0;
        for get in gets {
            told += usize::from(soon(get).await.is_ok());
        }
        assert_eq!(told, 4, "{polls} polls; {handed_on} were handed on, and dropped by this test");
    }
}

/// Asks something of its link whenever it is told.
struct Chain {
    link: Arc<Link>,
    left: AtomicUsize,
    done: mpsc::UnboundedSender<()>,
}

impl Chain {
    fn go_on(self: Arc<Self>) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 0 {
            return self.done.send(()).expect("the test waits");
        }
        let next = Arc::clone(&self);
        let completion = Completion::new(move |answer| {
            assert!(answer.is_ok());
            next.go_on();
        });
        let deadline = (Instant::now() + TIME).into_std();
        let waiter = Waiter::new(Request::new("g", "k", deadline), completion);
        self.link.get(waiter).expect("it is sent");
    }
}

#[tokio::test(start_paused = true)]
async fn a_completion_may_ask_the_same_link_again() {
    let pair = Pair::new(Owner::default());
    let (done, mut ended) = mpsc::unbounded_channel();
    let link = Arc::new(pair.link);
    Arc::new(Chain { link, left: AtomicUsize::new(1_000), done }).go_on();
    soon(ended.recv()).await.expect("all were told");
}

/// Is never polled to its end.
struct Never;

impl Handler for Never {
    fn answer(&self, _: Request) -> Reply {
        Reply::pending(future::poll_fn(|_| Poll::Pending))
    }
}

#[tokio::test(start_paused = true)]
async fn a_loader_slower_than_every_clock_is_waited_for_to_the_deadline() {
    let pair = Pair::new(Never);
    let (mut waiter, get) = waiter_for("k", 10 * TIME);
    waiter.request = waiter.request.with_max_silence(Duration::from_secs(1));
    let begin = Instant::now();
    pair.link.get(waiter).expect("it is sent");
    let error = told(get).await.unwrap_err();
    assert_eq!(error.kind, carrotcache_peer::PeerErrorKind::TimedOut);
    assert!(begin.elapsed() >= 10 * TIME);
    assert!(!pair.asking.is_finished() && !pair.serving.is_finished());
}

/// Panics when it is dropped, unless something panics already.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "as asked");
    }
}

/// Panics with a payload that panics, at once or in a load, but for one key.
struct Bombs(Owner);

impl Handler for Bombs {
    fn answer(&self, request: Request) -> Reply {
        match &*request.key {
            "now" => std::panic::panic_any(Bomb),
            "later" => Reply::pending(async { std::panic::panic_any(Bomb) }),
            _ => self.0.answer(request),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_panic_ends_no_get_but_its_own() {
    let pair = Pair::new(Bombs(Owner::default()));
    for key in ["now", "later"] {
        let (waiter, bombed) = waiter(key);
        pair.link.get(waiter).expect("it is sent");
        let (waiter, other) = self::waiter("k");
        pair.link.get(waiter).expect("it is sent");
        assert_eq!(told(bombed).await.unwrap_err().causes(), "the handler panicked");
        assert_eq!(value(other).await, "k");
    }
    assert!(!pair.serving.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_load_is_not_cut_because_the_asker_has_asked_nothing_else_for_long() {
    let short = Duration::from_millis(300);
    let link = LinkConfig { idle_timeout: short, drain_timeout: short, ..LinkConfig::default() };
    let slow = carrotcache_peer::handler_fn(|_| async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        Ok(Answer::new("v"))
    });
    let pair = Pair::with(slow, link, 64 << 10);
    let (waiter, get) = waiter("k");
    pair.link.get(waiter).expect("it is sent");
    assert_eq!(value(get).await, "v");
}
