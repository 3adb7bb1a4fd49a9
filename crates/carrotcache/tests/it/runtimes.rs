//! One node and several runtimes: where loads run, and what their end means to others.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use carrotcache::{GetError, Node};
use futures_util::FutureExt;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::support::{Mesh, Source, group_of, until};

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

#[test]
fn a_node_bound_to_a_runtime_that_nobody_drives_moves_to_one_that_runs() {
    let source = Source::gated();
    let timeout = Duration::from_millis(10);
    let group =
        Node::new().group("g").load_timeout(timeout).loader(source.clone()).build().unwrap();
    let asleep = current_thread();
    assert!(asleep.block_on(async { group.get("Tom").now_or_never() }).is_none());

    let awake = current_thread();
    let error = awake.block_on(group.get("Tom")).unwrap_err();
    assert!(matches!(error, GetError::TimedOut { .. }), "{error:?}");
    // One for the load that sleeps, which is the first in line.
    source.release(2);
    assert_eq!(awake.block_on(group.get("Tom")).unwrap(), "Tom!");
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

async fn until_async(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}
