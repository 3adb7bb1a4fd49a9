//! Gets that cross to the owner, as Go's groupcache tests them, and where its peers differ from
//! ours.

use std::time::Duration;

use carrotcache::{GetError, Mirroring};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::support::{Mesh, Source, Wire, owner_by_sum, request, request_with, until};
use crate::transport::assert_sums;

const SECOND: Duration = Duration::from_secs(1);

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("key-{i}")).collect()
}

async fn get_all(mesh: &Mesh, keys: &[String]) {
    for key in keys {
        assert_eq!(mesh.groups[0].get(key).await.unwrap(), *format!("{key}!"));
    }
}

#[tokio::test]
async fn keys_spread_over_the_peers_and_each_is_loaded_by_its_owner() {
    let mesh = Mesh::agreeing(4);
    let keys = keys(200);
    get_all(&mesh, &keys).await;
    for key in &keys {
        let owner = owner_by_sum(key, 4);
        assert_eq!(mesh.sources[owner].calls_for(key), 1);
        assert_eq!(mesh.calls_for(key), 1);
    }
    let stats = mesh.groups[0].stats();
    assert_eq!((stats.local_loads + stats.peer_loads, stats.peer_errors), (200, 0));
    assert!((1..4).all(|peer| mesh.asked(peer) > 20), "each peer has its share");
}

#[tokio::test]
async fn a_peer_that_is_down_costs_a_local_load_kept_in_hot() {
    let mesh = Mesh::agreeing(4);
    mesh.set_down(2, true);
    let keys = keys(200);
    get_all(&mesh, &keys).await;
    let lost = keys.iter().filter(|key| owner_by_sum(key, 4) == 2).count();
    let stats = mesh.groups[0].stats();
    assert_eq!(stats.peer_errors, lost as u64);
    assert_eq!(stats.hot.items, lost as u64 + stats.mirrored);
    // What is in hot answers the next gets: the peer is not asked again for it.
    let asked = mesh.asked(2);
    get_all(&mesh, &keys).await;
    assert_eq!(mesh.asked(2), asked);
}

#[tokio::test]
async fn an_owner_that_is_back_is_asked_again() {
    let sources = vec![Source::default(), Source::default()];
    let mesh = Mesh::new(sources, |_, _| 1, |builder| builder.max_bytes(0));
    mesh.set_down(1, true);
    mesh.groups[0].get("Tom").await.unwrap();
    assert_eq!((mesh.sources[0].started(), mesh.sources[1].started()), (1, 0));
    mesh.set_down(1, false);
    mesh.groups[0].get("Tom").await.unwrap();
    assert_eq!((mesh.sources[0].started(), mesh.sources[1].started()), (1, 1));
}

#[tokio::test]
async fn invariant_10_the_owners_verdict_is_final() {
    let sources = vec![Source::default(), Source::default()];
    let mesh = Mesh::new(sources, |_, _| 1, |builder| builder.mirroring(Mirroring::Always));
    assert!(mesh.groups[0].get("missing").await.unwrap_err().is_not_found());
    mesh.sources[1].fail(true);
    let error = mesh.groups[0].get("Tom").await.unwrap_err();
    assert!(matches!(error, GetError::LoadFailed { .. }));
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "peer node 1 failed to load the key");
    assert_eq!(mesh.sources[0].started(), 0, "the asking node asked the database too");
    let stats = mesh.groups[0].stats();
    assert_eq!((stats.peer_loads, stats.peer_errors, stats.local_load_errs), (2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_takes_too_long_costs_a_local_load() {
    let sources = vec![Source::default(), Source::gated()];
    let mesh = Mesh::new(sources, |_, _| 1, |builder| builder);
    let started = tokio::time::Instant::now();
    assert_eq!(mesh.groups[0].get("Tom").await.unwrap(), "Tom!");
    assert_eq!(started.elapsed(), Duration::from_secs(5));
    assert_eq!(mesh.groups[0].stats().peer_errors, 1);
}

#[tokio::test(start_paused = true)]
async fn over_wires_that_tell_nothing_of_loads_a_slow_owner_is_taken_for_dead() {
    let sources = (0..4).map(|_| Source::taking(7 * SECOND)).collect();
    let mesh = Mesh::new(sources, |_, _| 3, |builder| builder);
    let started = Instant::now();
    for value in join_all(mesh.groups.iter().map(|group| group.get("Tom"))).await {
        assert_eq!(value.unwrap(), "Tom!");
    }
    assert_eq!(mesh.calls_for("Tom"), 4);
    assert_eq!(started.elapsed(), 5 * SECOND + 7 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_takes_the_owner_too_long_is_its_verdict() {
    let sources = vec![Source::default(), Source::taking(60 * SECOND)];
    let mesh = Mesh::over(Wire::TellsOfLoads, sources, |_, _| 1, |builder| builder);
    let started = Instant::now();
    let error = mesh.groups[0].get("Tom").await.unwrap_err();
    assert!(matches!(error, GetError::LoadFailed { .. }), "{error:?}");
    assert_eq!(started.elapsed(), 30 * SECOND, "the group's load timeout");
    assert_eq!(mesh.sources[0].started(), 0, "the asking node asked the database too");
    let stats = mesh.groups[0].stats();
    assert_eq!((stats.peer_loads, stats.peer_errors), (1, 0));
    assert_sums(&stats);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_allows_longer_loads_than_the_asker_is_given_up_on() {
    let sources = vec![Source::default(), Source::taking(60 * SECOND)];
    let mesh = Mesh::over(Wire::TellsOfLoads, sources, |_, _| 1, |builder| builder);
    let patient = mesh.nodes[1].group("slow").load_timeout(90 * SECOND);
    let patient = patient.loader(mesh.sources[1].clone()).build().unwrap();
    let hasty = mesh.nodes[0].group("slow").loader(mesh.sources[0].clone()).build().unwrap();
    let started = Instant::now();
    assert_eq!(hasty.get("Tom").await.unwrap(), "Tom!");
    assert_eq!(started.elapsed(), 35 * SECOND, "a load of 30 seconds, and 5 for the peer");
    assert_eq!((hasty.stats().peer_errors, mesh.calls_for("Tom")), (1, 2));
    assert_eq!(patient.get("Tom").await.unwrap(), "Tom!");
    assert_eq!(mesh.calls_for("Tom"), 2, "the owner's load went on");
}

#[tokio::test]
async fn an_owner_without_the_group_costs_a_local_load() {
    let mesh = Mesh::agreeing(2);
    let only_here = mesh.nodes[0].group("only-here").loader(Source::default()).build().unwrap();
    for key in keys(20) {
        only_here.get(&key).await.unwrap();
    }
    let stats = only_here.stats();
    assert!(stats.peer_errors > 0);
    assert_eq!(stats.local_loads, 20);
}

#[tokio::test]
async fn concurrent_gets_of_anothers_key_ask_the_owner_once() {
    let sources = vec![Source::default(), Source::gated()];
    let mesh = Mesh::new(sources, |_, _| 1, |builder| builder);
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let group = mesh.groups[0].clone();
            tokio::spawn(async move { group.get("Tom").await })
        })
        .collect();
    until(|| mesh.groups[0].stats().loads == 50).await;
    mesh.sources[1].release(1);
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(mesh.asked(1), 1);
}

#[tokio::test(start_paused = true)]
async fn a_peers_time_left_bounds_its_wait_but_not_the_load() {
    let mesh = Mesh::new(vec![Source::gated()], |_, _| 0, |builder| builder);
    let request = request_with("numbers", "Tom", Duration::from_millis(20));
    let deadline = Instant::from_std(request.deadline);
    let reply = tokio::time::timeout_at(deadline, mesh.nodes[0].answer(request)).await;
    assert!(reply.is_err(), "the load is held");
    mesh.sources[0].release(1);
    until(|| mesh.groups[0].get_cached("Tom").is_some()).await;
}

#[tokio::test]
async fn a_request_from_a_peer_joins_a_load_but_not_a_forward() {
    // Both nodes take the other for the owner of every key.
    let sources = vec![Source::gated(), Source::gated()];
    let mesh = Mesh::new(sources, |asker, _| 1 - asker, |builder| builder);
    assert!(mesh.groups[0].get("Tom").now_or_never().is_none());
    until(|| mesh.sources[1].started() == 1).await;
    // Node 0 has a forward for the key under way. Asked by a peer, it loads.
    assert!(mesh.nodes[0].answer(request("numbers", "Tom")).now_or_never().is_none());
    until(|| mesh.sources[0].started() == 1).await;
    assert_eq!((mesh.asked(0), mesh.asked(1)), (0, 1));
}
