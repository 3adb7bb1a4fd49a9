//! One node and several runtimes: where loads run, and what their end means to others.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use carrotcache::peer::{Completion, Keys, Purge, Step};
use carrotcache::{
    GetError, Handler, Node, Owner, Peer, PeerErrorKind, Picker, RemoveError, Request,
};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::cluster::Cluster;
use crate::support::{Mesh, Source, group_of, until};
use crate::transport::assert_sums;

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_caller_whose_runtime_is_not_driven_any_more_holds_up_nobody() {
    let home = Runtime::new().unwrap();
    let source = Source::gated();
    let node = home.block_on(async { Node::new() });
    let group = node.group("g").loader(source.clone()).build().unwrap();

    let leaving = current_thread();
    let left = leaving
        .block_on(async { tokio::time::timeout(Duration::from_millis(1), group.get("Tom")).await });
    assert!(left.is_err(), "the load is held");
    // `leaving` is there, and nobody drives it.
    source.release(1);
    assert_eq!(current_thread().block_on(group.get("Tom")).unwrap(), "Tom!");
    assert_eq!(source.calls_for("Tom"), 1);
    drop(leaving);
}

/// Takes the five seconds that a runtime may show no sign of life.
#[test]
fn a_node_bound_to_a_runtime_that_nobody_drives_moves_to_one_that_runs() {
    let source = Source::gated();
    let group = group_of(source.clone());
    let asleep = current_thread();
    for key in ["Tom", "Jack"] {
        assert!(asleep.block_on(async { group.get(key).now_or_never() }).is_none());
    }
    // Those two are the first in line, and sleep.
    source.release(4);
    let awake = current_thread();
    assert_eq!(awake.block_on(group.get("Tom")).unwrap(), "Tom!");
    // The other one is not joined where it sleeps.
    assert_eq!(awake.block_on(group.get("Jack")).unwrap(), "Jack!");
    drop(asleep);
    assert_sums(&group.stats());
}

#[test]
fn loads_run_on_the_runtime_that_the_builder_was_given_wherever_the_caller_is() {
    let home = Runtime::new().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let loader = move |key: String| {
        let log = Arc::clone(&log);
        async move {
            log.lock().unwrap().push(Handle::current().id());
            tokio::task::yield_now().await;
            log.lock().unwrap().push(Handle::current().id());
            Ok::<_, std::io::Error>(Some(key))
        }
    };
    let node = Node::builder().runtime(home.handle().clone()).build();
    let group = node.group("g").loader(loader).build().unwrap();
    current_thread().block_on(group.get("Tom")).unwrap();
    // Outside of all runtimes too.
    let _started = group.get("Jack").now_or_never();
    home.block_on(until(|| group.get_cached("Jack").is_some()));
    assert_eq!(*seen.lock().unwrap(), [home.handle().id(); 4]);
}

#[tokio::test]
async fn a_load_that_never_waits_runs_in_its_caller() {
    let loader =
        |_: String| async { Ok::<_, std::io::Error>(Some(format!("{:?}", tokio::task::try_id()))) };
    let group = group_of(loader);
    let caller = tokio::spawn(async move { (tokio::task::try_id(), group.get("Tom").await) });
    let (caller, value) = caller.await.unwrap();
    assert_eq!(value.unwrap(), *format!("{caller:?}"));
}

#[tokio::test]
async fn loads_that_call_for_loads_ten_thousand_deep_do_not_exhaust_the_stack() {
    let node = Node::new();
    let again = node.clone();
    let loader = move |key: String| {
        let group = again.find("deep").unwrap();
        async move {
            let depth: u32 = key.parse()?;
            if depth > 0 {
                group.get(&(depth - 1).to_string()).await?;
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Some(key))
        }
    };
    let group = node.group("deep").loader(loader).build().unwrap();
    assert_eq!(group.get("10000").await.unwrap(), "10000");
    assert_eq!(group.stats().local_loads, 10_001);
}

#[test]
fn a_runtime_without_a_timer_is_refused_in_words() {
    let bare = Builder::new_current_thread().build().unwrap();
    let source = Source::default();
    let group = group_of(source.clone());
    for _ in 0..2 {
        let error = bare.block_on(group.get("Tom")).unwrap_err();
        assert!(matches!(error, GetError::NoTimer));
        assert!(error.to_string().contains("enable_time"), "{error}");
    }
    assert_eq!(source.started(), 0);
    let stats = group.stats();
    assert_eq!((stats.gets, stats.loads, stats.loads_deduped), (2, 2, 0));
}

#[test]
fn a_caller_needs_no_timer_of_its_own() {
    let home = Runtime::new().unwrap();
    let node = Node::builder().runtime(home.handle().clone()).build();
    let group = node.group("g").loader(Source::default()).build().unwrap();
    let bare = Builder::new_current_thread().build().unwrap();
    for key in ["Tom", "Jack"] {
        assert_eq!(bare.block_on(group.get(key)).unwrap(), *format!("{key}!"));
    }
}

#[tokio::test]
async fn forwards_are_asked_on_the_nodes_runtime() {
    // The mesh is built here, its callers are elsewhere.
    let mesh = Mesh::agreeing(2);
    let (send, receive) = mpsc::channel();
    let groups = mesh.groups.clone();
    std::thread::spawn(move || {
        let runtime = current_thread();
        let gets = runtime.block_on(async {
            tokio::join!(groups[0].get("a"), groups[0].get("b"), groups[1].get("a"))
        });
        drop(runtime);
        send.send(gets).unwrap();
    });
    let mut gets = None;
    until_async(|| {
        gets = receive.try_recv().ok();
        gets.is_some()
    })
    .await;
    let (a, b, again) = gets.unwrap();
    assert_eq!((a.unwrap(), b.unwrap(), again.unwrap()), ("a!".into(), "b!".into(), "a!".into()));
}

/// Waits for `future` on a thread that is on no runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

/// A loader that needs its runtime from its first poll on would fail in ways of its own on one that
/// was shut down.
#[test]
fn a_node_whose_runtime_was_shut_down_moves_whatever_its_loader_needs() {
    type Load = fn() -> BoxFuture<'static, std::io::Result<()>>;
    let loads: [(&str, Load); 3] = [
        ("a timer", || tokio::time::sleep(Duration::from_millis(1)).map(Ok).boxed()),
        ("a task", || async { Ok(tokio::spawn(async {}).await?) }.boxed()),
        ("a socket", || {
            async { tokio::net::TcpListener::bind("127.0.0.1:0").map_ok(drop).await }.boxed()
        }),
    ];
    for (what, load) in loads {
        let home = Runtime::new().unwrap();
        let node = Node::builder().runtime(home.handle().clone()).build();
        let loader = move |key: String| async move {
            load().await?;
            Ok::<_, std::io::Error>(Some(key))
        };
        let group = node.group("g").loader(loader).build().unwrap();
        home.block_on(group.get("before")).unwrap();
        drop(home);
        for key in ["Tom", "Jack"] {
            assert_eq!(current_thread().block_on(group.get(key)).unwrap(), key, "{what}");
        }
        assert_sums(&group.stats());
    }
}

/// The five seconds without a sign of life count from the first of them.
#[test]
fn callers_that_give_up_early_move_a_node_whose_runtime_nobody_drives() {
    let asleep = current_thread();
    let node = Node::builder().runtime(asleep.handle().clone()).build();
    let group = node.group("g").loader(Source::default()).build().unwrap();
    let awake = current_thread();
    let hasty = || tokio::time::timeout(Duration::from_millis(200), group.get("Tom"));
    // Ends, or the test's own time is over.
    while awake.block_on(async { hasty().await }).is_err() {}
    assert_eq!(awake.block_on(group.get("Tom")).unwrap(), "Tom!");
}

#[test]
fn nobody_hangs_for_a_runtime_that_nobody_drives() {
    let asleep = current_thread();
    let node = Node::builder().runtime(asleep.handle().clone()).build();
    let group = node.group("g").loader(Source::default()).build().unwrap();
    // Outside of all runtimes there is none to move to.
    let error = block_on(group.get("Tom")).unwrap_err();
    assert!(matches!(error, GetError::NoRuntime), "{error:?}");
}

#[test]
fn a_runtime_that_is_dropped_by_a_panic_is_shut_down_as_any_other() {
    let (send, receive) = mpsc::channel();
    let dying = thread::spawn(move || {
        let home = Runtime::new().unwrap();
        let source = Source::gated();
        let node = Node::builder().runtime(home.handle().clone()).build();
        let group = node.group("g").loader(source.clone()).build().unwrap();
        let elsewhere = source.clone();
        let waiter = thread::spawn(move || current_thread().block_on(group.get("Tom")));
        while source.started() == 0 {
            thread::yield_now();
        }
        send.send((waiter, elsewhere)).unwrap();
        panic!("as asked");
    });
    let (waiter, source) = receive.recv().unwrap();
    assert!(dying.join().is_err());
    source.release(2);
    assert_eq!(waiter.join().unwrap().unwrap(), "Tom!", "the loader has not panicked");
}

#[test]
fn a_first_caller_without_a_timer_spoils_nothing_for_the_next() {
    let group = group_of(Source::default());
    let bare = Builder::new_current_thread().build().unwrap();
    assert!(matches!(bare.block_on(group.get("Tom")), Err(GetError::NoTimer)));
    drop(bare);
    assert_eq!(current_thread().block_on(group.get("Tom")).unwrap(), "Tom!");
}

/// A paused clock jumps as soon as its runtime has nothing to do.
#[test]
fn a_callers_paused_clock_ends_no_wait() {
    let home = Runtime::new().unwrap();
    let node = Node::builder().runtime(home.handle().clone()).build();
    let source = Source::gated();
    let group = node.group("g").loader(source.clone()).build().unwrap();
    let paused = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let waits = thread::spawn(move || paused.block_on(group.get("Tom")));
    home.block_on(until(|| source.started() == 1));
    source.release(1);
    assert_eq!(waits.join().unwrap().unwrap(), "Tom!");
    assert_eq!(source.started(), 1);
}

/// A loader that blocks is its runtime's to bear, and no other's.
#[test]
fn a_caller_elsewhere_is_not_held_up_by_a_loader_that_blocks() {
    let home = Runtime::new().unwrap();
    let node = Node::builder().runtime(home.handle().clone()).build();
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let loader = move |key: String| {
        let wait = Arc::clone(&wait);
        async move {
            wait.lock().unwrap().recv().unwrap();
            Ok::<_, std::io::Error>(Some(key))
        }
    };
    let group = node.group("g").loader(loader).build().unwrap();
    let elsewhere = current_thread();
    // Returns although the loader has the thread that polls it.
    assert!(elsewhere.block_on(async { group.get("Tom").now_or_never() }).is_none());
    go_on.send(()).unwrap();
    assert_eq!(elsewhere.block_on(group.get("Tom")).unwrap(), "Tom");
}

#[tokio::test]
async fn misses_in_a_loop_give_others_a_turn() {
    let loader = |key: String| async move { Ok::<_, std::io::Error>(Some(key)) };
    let group = group_of(loader);
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let other = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
    });
    let misses = tokio::spawn(async move {
        for key in 0..10_000 {
            group.get(&key.to_string()).await.unwrap();
        }
    });
    misses.await.unwrap();
    other.abort();
    let turns = turns.load(Ordering::SeqCst);
    assert!(turns > 10, "10,000 misses in a row, and another task had {turns} turns");
}

async fn until_async(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

/// Owns the key `theirs`, fails, and panics when it is asked for its name.
struct Nameless;

impl Peer for Nameless {
    fn label(&self) -> &str {
        panic!("as asked")
    }

    fn ask(&self, _: Request, completion: Completion) {
        completion.tell(Err(PeerErrorKind::Unreachable.into()));
    }
}

impl Picker for Nameless {
    fn owner(&self, key: &str) -> Owner {
        if key == "theirs" { Owner::Remote(Arc::new(Self)) } else { Owner::Local }
    }

    fn peers(&self) -> Vec<Arc<dyn Peer>> {
        vec![Arc::new(Self)]
    }
}

#[test]
fn a_flight_that_a_panic_abandons_moves_no_node_from_a_runtime_that_runs() {
    let (home, elsewhere) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let source = Source::gated();
    let node = Node::builder().peers(Nameless).runtime(home.handle().clone()).build();
    let group = node.group("g").loader(source.clone()).build().unwrap();
    let get = |key: &'static str| {
        let group = group.clone();
        async move { group.get(key).await }
    };
    let first = home.spawn(get("slow"));
    elsewhere.block_on(until(|| source.started() == 1));
    let error = elsewhere.block_on(get("theirs")).unwrap_err();
    assert!(matches!(error, GetError::Abandoned { .. }), "{error:?}");
    let second = elsewhere.spawn(get("slow"));
    source.release(2);
    for slow in [first, second] {
        assert_eq!(elsewhere.block_on(slow).unwrap().unwrap(), "slow!");
    }
    assert_eq!(source.calls_for("slow"), 1);
}

/// Takes the five seconds that a runtime may show no sign of life.
#[test]
fn removes_and_tellings_go_on_after_a_runtime_that_nobody_drives() {
    let asleep = current_thread();
    let cluster = asleep.block_on(async { Cluster::owned_by(1, 3, |builder| builder) });
    let (node, group) = (cluster.node(0), &cluster.groups[0]);
    // Node 2 has missed something, of which a task that sleeps is to tell it.
    let (all, step) = (Keys::All, Step::Tell { told: Vec::new() });
    let tell = Purge::new("rows", all, cluster.member(1), step, Instant::now());
    asleep.block_on(node.purge(tell)).unwrap();
    assert_eq!(group.stats().owed, 1);

    let awake = Runtime::new().unwrap();
    let remove = async || tokio::time::timeout(Duration::from_secs(60), group.remove("Tom")).await;
    awake.block_on(remove()).expect("nobody sees to it").unwrap();
    let told = async {
        tokio::time::timeout(Duration::from_secs(60), until(|| group.stats().owed == 0)).await
    };
    awake.block_on(told).expect("nobody tells it");
    drop(asleep);
}

/// Takes the five seconds that a runtime may show no sign of life.
#[test]
fn a_queue_that_nobody_empties_any_more_is_emptied_elsewhere() {
    let asleep = current_thread();
    let cluster = asleep.block_on(async { Cluster::owned_by(1, 3, |builder| builder) });
    let group = &cluster.groups[0];
    // More than there is room for in the queue.
    let keys: Vec<_> = (0..70_000).map(|key| key.to_string()).collect();
    assert!(asleep.block_on(async { group.remove_many(&keys).now_or_never() }).is_none());
    let awake = Runtime::new().unwrap();
    let removed =
        async { tokio::time::timeout(Duration::from_secs(60), group.remove("Tom")).await };
    awake.block_on(removed).expect("it hangs").unwrap();
    drop(asleep);
}

#[test]
fn a_node_whose_runtime_was_shut_down_removes_on_that_of_its_caller() {
    let home = Runtime::new().unwrap();
    let cluster = home.block_on(async { Cluster::owned_by(1, 3, |builder| builder) });
    let awake = Runtime::new().unwrap();
    awake.block_on(cluster.get_everywhere("Tom"));
    drop(home);
    cluster.table.update();
    let group = &cluster.groups[0];
    let changes: [BoxFuture<'_, Result<(), RemoveError>>; 3] = [
        group.remove("Tom").boxed(),
        group.remove_many(["Tom", "Jack"]).boxed(),
        group.clear().boxed(),
    ];
    for change in changes {
        awake.block_on(change).unwrap();
        assert!(group.peek("Tom").is_none());
    }
    assert_eq!(awake.block_on(cluster.get_everywhere("Tom")), ["Tom v2"; 3]);
    awake.block_on(group.set("Tom", "set")).unwrap();
    awake.shutdown_background();
    let third = Runtime::new().unwrap();
    third.block_on(group.set("Tom", "set again")).unwrap();
    // It took a second attempt, which carries no value.
    assert_eq!(third.block_on(group.get("Tom")).unwrap(), "Tom v2");
}

/// Takes the five seconds that a runtime may show no sign of life.
#[test]
fn a_load_on_a_runtime_that_nobody_drives_takes_no_permit_from_others() {
    let source = Source::gated();
    let node = Node::new();
    let group = node.group("g").max_loads(1).loader(source.clone()).build().unwrap();
    let asleep = current_thread();
    assert!(asleep.block_on(async { group.get("Tom").now_or_never() }).is_none());
    let awake = current_thread();
    source.release(4);
    for key in ["Jack", "Tom", "Sam"] {
        assert_eq!(awake.block_on(group.get(key)).unwrap(), format!("{key}!"));
    }
    drop(asleep);
}
