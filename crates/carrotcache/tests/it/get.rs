//! The way of a get on one node, as Go's groupcache tests it.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use carrotcache::{GetError, Node, Owner, Peer, Picker};
use futures_util::FutureExt;

use crate::support::{Source, group_of, until};

#[tokio::test]
async fn ten_gets_of_a_key_cost_one_fill() {
    let source = Source::default();
    let group = group_of(source.clone());
    for _ in 0..10 {
        assert_eq!(group.get("TestCaching-key").await.unwrap(), "TestCaching-key!");
    }
    assert_eq!(source.calls_for("TestCaching-key"), 1);
    let stats = group.stats();
    assert_eq!((stats.gets, stats.cache_hits, stats.loads, stats.local_loads), (10, 9, 1, 1));
}

#[tokio::test]
async fn concurrent_gets_of_a_key_share_one_load() {
    let source = Source::gated();
    let group = group_of(source.clone());
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let group = group.clone();
            tokio::spawn(async move { group.get("Tom").await })
        })
        .collect();
    until(|| group.stats().loads == 100).await;
    source.release(1);
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), "Tom!");
    }
    assert_eq!(source.calls_for("Tom"), 1);
    assert_eq!(group.stats().loads_deduped, 1);
}

#[tokio::test]
async fn an_evicted_key_is_filled_again_once() {
    let source = Source::default();
    let node = Node::new();
    let group = node.group("numbers").max_bytes(8 << 10).loader(source.clone()).build().unwrap();
    group.get("first").await.unwrap();
    for i in 0..1_000 {
        group.get(&format!("filler-{i}")).await.unwrap();
    }
    assert!(group.stats().main.evictions > 0);
    for _ in 0..3 {
        group.get("first").await.unwrap();
    }
    assert_eq!(source.calls_for("first"), 2);
}

#[tokio::test]
async fn a_missing_key_is_not_found_and_asked_for_again() {
    let source = Source::default();
    let group = group_of(source.clone());
    for _ in 0..2 {
        let error = group.get("missing").await.unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(error.to_string(), "nothing is stored under `missing`");
    }
    assert_eq!(source.calls_for("missing"), 2);
    let stats = group.stats();
    assert_eq!((stats.not_found, stats.local_loads, stats.local_load_errs), (2, 2, 0));
}

#[tokio::test]
async fn a_failed_load_tells_every_waiter_why_and_is_not_cached() {
    let source = Source::gated();
    let group = group_of(source.clone());
    source.fail(true);
    let (one, two) = (group.get("Tom"), group.get("Tom"));
    let release = async {
        until(|| group.stats().loads == 2).await;
        source.release(1);
    };
    let (one, two, ()) = tokio::join!(one, two, release);
    for error in [one.unwrap_err(), two.unwrap_err()] {
        assert!(matches!(error, GetError::LoadFailed { .. }));
        assert_eq!(error.to_string(), "the loader of group `numbers` failed for `Tom`");
        let cause = std::error::Error::source(&error).unwrap();
        assert_eq!(cause.to_string(), "the database is away");
    }
    source.fail(false);
    source.release(1);
    assert_eq!(group.get("Tom").await.unwrap(), "Tom!");
    assert_eq!(group.stats().local_load_errs, 1);
}

/// A picker that holds up the first caller between its miss and its flight.
struct HeldPicker {
    calls: AtomicUsize,
    missed: mpsc::Sender<()>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl Picker for HeldPicker {
    fn owner(&self, _key: &str) -> Owner {
        if self.calls.fetch_add(1, Ordering::SeqCst) == 0 {
            self.missed.send(()).unwrap();
            self.go_on.lock().unwrap().recv().unwrap();
        }
        Owner::Local
    }

    fn peers(&self) -> Vec<Arc<dyn Peer>> {
        Vec::new()
    }
}

#[test]
fn a_second_flight_looks_in_the_cache_again() {
    let ((missed, missed_by), (let_go, go_on)) = (mpsc::channel(), mpsc::channel());
    let picker = HeldPicker { calls: AtomicUsize::new(0), missed, go_on: Mutex::new(go_on) };
    let source = Source::default();
    let node = Node::builder().peers(picker).build();
    let group = node.group("held").loader(source.clone()).build().unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let late = std::thread::spawn({
        let group = group.clone();
        move || runtime().block_on(group.get("Tom"))
    });
    missed_by.recv().unwrap();
    // The late caller has missed. Another one's whole flight passes before it starts its own.
    runtime().block_on(group.get("Tom")).unwrap();
    let_go.send(()).unwrap();
    assert_eq!(late.join().unwrap().unwrap(), "Tom!");
    assert_eq!(source.calls_for("Tom"), 1);
    let stats = group.stats();
    assert_eq!((stats.loads, stats.loads_deduped, stats.cache_hits), (2, 1, 1));
}

#[tokio::test]
async fn get_cached_never_loads() {
    let source = Source::default();
    let group = group_of(source.clone());
    assert_eq!(group.get_cached("Tom"), None);
    assert_eq!(source.started(), 0);
    group.get("Tom").await.unwrap();
    assert_eq!(group.get_cached("Tom").unwrap(), "Tom!");
    assert_eq!(group.get_cached(""), None);
}

#[tokio::test]
async fn a_loader_may_get_other_keys_of_its_own_group() {
    let node = Node::new();
    let again = node.clone();
    let group = node
        .group("nested")
        .loader(move |key: String| {
            let node = again.clone();
            async move {
                let Some(rest) = key.strip_prefix('/') else { return Ok(Some(key)) };
                let group = node.find("nested").unwrap();
                group.get(rest).await.map(|value| Some(format!("{}/", value.as_str().unwrap())))
            }
        })
        .build()
        .unwrap();
    assert_eq!(group.get("///leaf").await.unwrap(), "leaf///");
}

#[tokio::test]
async fn a_loader_that_asks_for_its_own_key_gets_an_error() {
    let node = Node::new();
    let again = node.clone();
    let loader = move |key: String| {
        let group = again.find("circular").unwrap();
        async move { group.get(&key).await.map(Some) }
    };
    let group = node.group("circular").loader(loader).build().unwrap();
    let error = group.get("Tom").await.unwrap_err();
    assert!(matches!(error, GetError::LoadFailed { .. }));
    let cause = error.source().unwrap().to_string();
    assert_eq!(cause, "the loader of group `circular` asked for `Tom` while loading it");
}

#[test]
fn a_hit_needs_no_runtime_and_a_miss_says_that_it_does() {
    let group = group_of(Source::default());
    let miss = group.get("Jack").now_or_never();
    assert!(matches!(miss.unwrap().unwrap_err(), GetError::NoRuntime));
    // The failed attempt left nothing behind.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    assert_eq!(runtime.block_on(group.get("Jack")).unwrap(), "Jack!");
    let hit = group.get("Jack").now_or_never();
    assert_eq!(hit.unwrap().unwrap(), "Jack!");
    // The node has a runtime by now.
    let _started = group.get("Tom").now_or_never();
    runtime.block_on(until(|| group.get_cached("Tom").is_some()));
}
