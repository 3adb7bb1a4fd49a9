//! How many loads a node runs that are another node's to run, and what that does to its memory.

use std::time::Duration;

use carrotcache::{ENTRY_OVERHEAD_BYTES, GetError, GroupBuilder, Mirroring};

use crate::cluster::Cluster;
use crate::rows::Mode;

const SECOND: Duration = Duration::from_secs(1);

/// Three nodes, of which only node 0 is there: node 2 owns all keys, and node 1 stands in for it.
fn alone(percent: u32, per_second: u32) -> Cluster {
    alone_with(percent, per_second, |builder| builder)
}

fn alone_with(
    percent: u32,
    per_second: u32,
    set: impl Fn(GroupBuilder) -> GroupBuilder + Send + Sync + 'static,
) -> Cluster {
    let set = move |builder: GroupBuilder| set(builder.mirroring(Mirroring::Never));
    let mut cluster = Cluster::owned_by(2, 3, set);
    cluster.set_order(|_| vec![2, 1, 0]);
    cluster.restart_with_budget(0, percent, per_second);
    cluster.set_down(1, true);
    cluster.set_down(2, true);
    cluster
}

/// Gets so many new keys, and returns how many of them there was a value for.
async fn get_new(cluster: &Cluster, from: usize, count: usize) -> usize {
    let mut got = 0;
    for key in from..from + count {
        match cluster.groups[0].get(&key.to_string()).await {
            Ok(_) => got += 1,
            Err(error) => assert!(error.is_overloaded(), "{error:?}"),
        }
    }
    got
}

#[tokio::test(start_paused = true)]
async fn loads_for_others_are_bounded_in_time_and_what_is_not_used_is_saved_for_ten_seconds() {
    let cluster = alone(0, 2);
    assert_eq!(get_new(&cluster, 0, 100).await, 20);
    cluster.hand.advance(1_000 * SECOND);
    assert_eq!(get_new(&cluster, 100, 100).await, 20);
    cluster.hand.advance(SECOND);
    assert_eq!(get_new(&cluster, 200, 100).await, 1);
    let asker = cluster.groups[0].stats();
    assert_eq!((asker.local_loads, asker.loads_over_budget, asker.loads_refused), (41, 259, 0));
    assert_eq!((asker.peer_errors, asker.stand_in_loads), (300, 0));
    // What is cached needs no load.
    assert_eq!(get_new(&cluster, 0, 20).await, 20);
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn loads_for_others_are_a_part_of_the_gets_that_miss() {
    let cluster = alone(20, 0);
    assert_eq!(get_new(&cluster, 0, 100).await, 20);
    assert_eq!(get_new(&cluster, 100, 4).await, 0);
    assert_eq!(get_new(&cluster, 104, 1).await, 1);
    // Of those for which somebody stands in nothing is taken.
    cluster.set_down(1, false);
    assert_eq!(get_new(&cluster, 200, 10).await, 10);
    cluster.set_down(1, true);
    assert_eq!(get_new(&cluster, 300, 1).await, 1);
    assert_eq!(cluster.groups[0].stats().stand_in_loads, 10);
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn without_a_budget_nothing_is_loaded_for_others() {
    let cluster = alone(0, 0);
    let error = cluster.groups[0].get("Tom").await.unwrap_err();
    let GetError::Overloaded { group, key } = &error else { panic!("{error:?}") };
    assert_eq!((&**group, &**key), ("rows", "Tom"));
    assert_eq!(cluster.table.started(), 0);
    // What it owns, or is first to stand in for, it loads.
    cluster.set_order(|_| vec![2, 0, 1]);
    cluster.groups[0].get("Tom").await.unwrap();
    // Where nobody knows who is next, nobody is asked to hold back.
    cluster.set_order(|_| vec![]);
    cluster.groups[0].get("Jack").await.unwrap();
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn beyond_the_budget_what_is_stale_is_returned() {
    let cluster = alone_with(0, 0, |builder| {
        builder.time_to_live(10 * SECOND).jitter(0.0).stale_if_error(20 * SECOND)
    });
    cluster.set_order(|_| vec![2, 0, 1]);
    cluster.groups[0].get("Tom").await.unwrap();
    cluster.set_order(|_| vec![2, 1, 0]);
    cluster.hand.advance(11 * SECOND);
    assert_eq!(cluster.groups[0].get("Tom").await.unwrap(), "Tom v1");
    let many = cluster.groups[0].get_many(["Jack", "Tom"]).await;
    assert!(many[0].as_ref().unwrap_err().is_overloaded());
    assert_eq!(many[1].as_ref().unwrap(), "Tom v1");
    cluster.hand.advance(20 * SECOND);
    assert!(cluster.groups[0].get("Tom").await.unwrap_err().is_overloaded());
    let asker = cluster.groups[0].stats();
    assert_eq!((asker.stale_if_error, asker.loads_over_budget, asker.local_loads), (2, 4, 1));
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn a_load_that_fails_has_used_its_right() {
    let cluster = alone(0, 1);
    cluster.table.set_mode(Mode::Fails);
    for _ in 0..20 {
        cluster.groups[0].get("Tom").await.unwrap_err();
    }
    assert_eq!((cluster.table.started(), cluster.groups[0].stats().loads_over_budget), (10, 10));
    cluster.assert_sums();
}

/// Room for a hundred entries of three nodes: node 0 owns what begins with `a`, node 1 stands in for
/// node 2, which owns the rest.
fn small() -> Cluster {
    let room = 100 * (ENTRY_OVERHEAD_BYTES + 5 + 8);
    let cluster = Cluster::new(
        3,
        |_, key| if key.starts_with('a') { 1 } else { 2 },
        move |builder| builder.mirroring(Mirroring::Never).max_bytes(room),
    );
    cluster.set_order(|_| vec![2, 1, 0]);
    cluster
}

/// Gets a hundred keys at a node, and returns how many of its own it holds, and how many of others.
async fn fill(cluster: &Cluster, node: usize, letter: char, from: usize) -> (u64, u64) {
    for key in from..from + 100 {
        cluster.groups[node].get(&format!("{letter} {key:03}")).await.unwrap();
        assert!(cluster.groups[1].stats().bytes <= 100 * (ENTRY_OVERHEAD_BYTES + 5 + 8));
    }
    let stats = cluster.groups[1].stats();
    (stats.main.items, stats.hot.items)
}

#[tokio::test(start_paused = true)]
async fn while_an_owner_is_away_its_keys_have_half_of_the_memory_of_the_stand_in() {
    let cluster = small();
    assert_eq!(fill(&cluster, 1, 'a', 0).await, (100, 0));
    cluster.set_down(2, true);
    let (main, hot) = fill(&cluster, 0, 'b', 0).await;
    assert_eq!((main, hot), (49, 51), "half of the bytes, and the one that came last");
    // Keys of its own do not drive them out while the owner is away.
    let (main, hot) = fill(&cluster, 1, 'a', 100).await;
    assert_eq!((main, hot), (50, 50));
    // Ten seconds after nobody has asked for the dead owner's keys, they give way.
    cluster.hand.advance(9 * SECOND);
    assert_eq!(fill(&cluster, 1, 'a', 200).await, (50, 50));
    cluster.hand.advance(2 * SECOND);
    let (main, hot) = fill(&cluster, 1, 'a', 300).await;
    assert!(hot <= main / 8 + 1 && main + hot == 100, "{main} and {hot}");
}
