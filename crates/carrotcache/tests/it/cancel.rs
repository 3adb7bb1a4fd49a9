//! Invariants 6 and 7: callers may leave at any time, and a panic hurts nobody but its own flight.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use carrotcache::GetError;
use futures_util::FutureExt;

use crate::cluster::Cluster;
use crate::support::{Mesh, Source, group_of, until};

#[tokio::test]
async fn a_load_that_everyone_has_left_still_fills_the_cache() {
    let source = Source::gated();
    let group = group_of(source.clone());
    for _ in 0..3 {
        assert!(group.get("Tom").now_or_never().is_none(), "the load is held");
    }
    source.release(1);
    until(|| group.get_cached("Tom").is_some()).await;
    assert_eq!(source.calls_for("Tom"), 1);
}

#[tokio::test]
async fn a_follower_survives_the_one_who_started_the_load() {
    let source = Source::gated();
    let group = group_of(source.clone());
    let leader = tokio::spawn({
        let group = group.clone();
        async move { group.get("Tom").await }
    });
    until(|| source.started() == 1).await;
    let follower = tokio::spawn({
        let group = group.clone();
        async move { group.get("Tom").await }
    });
    until(|| group.stats().loads == 2).await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    source.release(1);
    assert_eq!(follower.await.unwrap().unwrap(), "Tom!");
    assert_eq!(source.calls_for("Tom"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_with_its_own_timeout_leaves_alone() {
    let source = Source::gated();
    let group = group_of(source.clone());
    let patient = tokio::spawn({
        let group = group.clone();
        async move { group.get("Tom").await }
    });
    let hasty = tokio::time::timeout(Duration::from_millis(50), group.get("Tom")).await;
    assert!(hasty.is_err());
    source.release(1);
    assert_eq!(patient.await.unwrap().unwrap(), "Tom!");
    assert_eq!(source.calls_for("Tom"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_never_ends_holds_up_its_own_key_alone_and_not_for_ever() {
    let is_stuck = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&is_stuck);
    let group = group_of(move |key: String| {
        let is_stuck = key == "stuck" && switch.load(Ordering::SeqCst);
        async move {
            if is_stuck {
                std::future::pending::<()>().await;
            }
            Ok::<_, std::io::Error>(Some(key))
        }
    });
    let started = tokio::time::Instant::now();
    let (stuck, other) = tokio::join!(group.get("stuck"), group.get("other"));
    let limit = Duration::from_secs(30);
    assert!(matches!(stuck, Err(GetError::TimedOut { after, .. }) if after == limit));
    assert_eq!(other.unwrap(), "other");
    assert_eq!(started.elapsed(), limit);
    is_stuck.store(false, Ordering::SeqCst);
    assert_eq!(group.get("stuck").await.unwrap(), "stuck", "the key is usable at once");
    let stats = group.stats();
    assert_eq!((stats.local_load_errs, stats.local_loads, stats.loads_deduped), (1, 2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_circle_through_tasks_of_the_loaders_ends_with_the_load_timeout() {
    let node = carrotcache::Node::new();
    let again = node.clone();
    let loader = move |key: String| {
        let group = again.find("circle").unwrap();
        async move {
            let other = if key == "a" { "b" } else { "a" };
            // In a task of its own, so that nothing tells that it belongs to this load.
            let other = tokio::spawn(async move { group.get(other).await }).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Some(other?))
        }
    };
    let timeout = Duration::from_secs(3);
    let group = node.group("circle").load_timeout(timeout).loader(loader).build().unwrap();
    let started = tokio::time::Instant::now();
    let (a, b) = tokio::join!(group.get("a"), group.get("b"));
    assert!(a.is_err() && b.is_err());
    assert_eq!(started.elapsed(), timeout);
}

/// The owner cannot be asked, so the key is loaded here, and its loader asks for it as for one of another
/// node.
#[tokio::test(start_paused = true)]
async fn a_loader_that_gets_its_own_key_is_told_so_wherever_that_belongs() {
    let cluster = Cluster::owned_by(1, 2, |builder| builder);
    cluster.set_down(1, true);
    let (node, again) = (cluster.node(0), cluster.node(0));
    let loader = move |key: String| {
        let group = again.find("again").unwrap();
        async move {
            let start = tokio::time::Instant::now();
            let inner = [group.get(&key).await.unwrap_err(), {
                let mut many = group.get_many([&key]).await;
                many.remove(0).unwrap_err()
            }];
            assert!(
                inner.iter().all(|error| matches!(error, GetError::Reentrant { .. })),
                "{inner:?}"
            );
            assert!(start.elapsed().is_zero());
            Ok::<_, std::io::Error>(Some("630"))
        }
    };
    let group = node.group("again").loader(loader).build().unwrap();
    assert_eq!(group.get("Tom").await.unwrap(), "630");
    assert_eq!(group.get_many(["Tom", "Jack"]).await[1].as_ref().unwrap(), "630");
}

#[tokio::test]
async fn a_forward_that_everyone_has_left_still_ends() {
    let sources = vec![Source::default(), Source::gated()];
    let mesh = Mesh::new(sources, |_, _| 1, |builder| builder);
    assert!(mesh.groups[0].get("Tom").now_or_never().is_none());
    until(|| mesh.sources[1].started() == 1).await;
    mesh.sources[1].release(1);
    until(|| mesh.groups[0].stats().peer_loads == 1).await;
    assert_eq!(mesh.groups[0].get("Tom").await.unwrap(), "Tom!");
    assert_eq!(mesh.calls_for("Tom"), 1);
}

#[tokio::test]
async fn a_panic_is_an_error_for_every_waiter_and_the_key_is_free_at_once() {
    let panicking = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&panicking);
    let group = group_of(move |key: String| {
        let panicking = switch.load(Ordering::SeqCst);
        async move {
            tokio::task::yield_now().await;
            assert!(!panicking, "no such luck");
            Ok::<_, std::io::Error>(Some(key))
        }
    });
    let (one, two) = tokio::join!(group.get("Tom"), group.get("Tom"));
    for error in [one.unwrap_err(), two.unwrap_err()] {
        assert!(
            matches!(&error, GetError::LoadPanicked { message, .. } if &**message == "no such luck")
        );
    }
    assert_eq!(group.stats().local_load_errs, 1);
    panicking.store(false, Ordering::SeqCst);
    assert_eq!(group.get("Tom").await.unwrap(), "Tom");
}

#[tokio::test]
async fn a_panic_before_the_first_await_is_caught_too() {
    let group = group_of(|key: String| {
        assert!(key.len() > 3, "{key} is too short");
        async move { Ok::<_, std::io::Error>(Some(key)) }
    });
    let error = group.get("Tom").await.unwrap_err();
    assert!(error.to_string().ends_with("panicked for `Tom`: Tom is too short"), "{error}");
    assert_eq!(group.get("Jack").await.unwrap(), "Jack");
}

#[test]
fn those_who_wait_on_another_runtime_survive_the_one_that_shuts_down() {
    let source = Source::gated();
    let group = group_of(source.clone());
    let dying = tokio::runtime::Runtime::new().unwrap();
    dying.spawn({
        let group = group.clone();
        async move { group.get("Tom").await }
    });
    let surviving = tokio::runtime::Runtime::new().unwrap();
    surviving.block_on(until(|| source.started() == 1));
    let (sender, receiver) = mpsc::channel();
    surviving.spawn({
        let group = group.clone();
        async move { sender.send(group.get("Tom").await) }
    });
    surviving.block_on(until(|| group.stats().loads == 2));
    dying.shutdown_timeout(Duration::from_secs(10));
    // It starts anew, on the runtime that lives.
    surviving.block_on(until(|| source.started() == 2));
    source.release(1);
    assert_eq!(receiver.recv().unwrap().unwrap(), "Tom!");
    let stats = group.stats();
    assert_eq!((stats.local_load_errs, stats.local_loads, stats.loads_deduped), (1, 1, 2));
}
