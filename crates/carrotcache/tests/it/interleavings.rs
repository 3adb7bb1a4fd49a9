//! What may go on while a key is removed, step by step.

use std::time::Duration;

use carrotcache::{Group, GroupBuilder, Mirroring, RemoveError};

use crate::cluster::{Cluster, Way};
use crate::rows::{Hand, Table, soon};
use crate::transport::assert_sums;

const SECOND: Duration = Duration::from_secs(1);

fn mirroring(builder: GroupBuilder) -> GroupBuilder {
    builder.mirroring(Mirroring::Always)
}

/// Three nodes, the second of which owns all keys. The first one asks, and the last one removes.
fn three() -> Cluster {
    Cluster::owned_by(1, 3, mirroring)
}

const ASKER: usize = 0;
const OWNER: usize = 1;
const REMOVER: usize = 2;

type Got = tokio::task::JoinHandle<String>;

/// Starts a get in a task of its own.
fn start_get(group: &Group) -> Got {
    let group = group.clone();
    tokio::spawn(async move { group.get("Tom").await.unwrap().as_str().unwrap().to_owned() })
}

fn start_remove(group: &Group) -> tokio::task::JoinHandle<Result<(), RemoveError>> {
    let group = group.clone();
    tokio::spawn(async move { group.remove("Tom").await })
}

/// Checks that the old value is nowhere, and the new one everywhere.
async fn assert_new(cluster: &Cluster, new: &str) {
    for group in &cluster.groups {
        assert!(group.peek("Tom").is_none_or(|value| value == *new), "the old value is kept");
    }
    assert_eq!(cluster.get_everywhere("Tom").await, [new; 3]);
    assert!(cluster.groups.iter().all(|group| group.stats().closures == 0));
    cluster.assert_sums();
}

/// When a get of the asker begins that meets the owner's old load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    BeforeAll,
    /// All but the owner have closed the key.
    OwnerNotClosed,
    /// The owner has closed the key, and its answer is on its way.
    OwnerClosed,
    /// The owner has not opened the key.
    OwnerNotOpened,
    /// The asker has not opened the key, and the owner has.
    AskerNotOpened,
}

#[tokio::test(start_paused = true)]
async fn an_old_load_reaches_nobody_who_asks_after_the_remove_whenever_it_is_joined() {
    use When::{AskerNotOpened, BeforeAll, OwnerClosed, OwnerNotClosed, OwnerNotOpened};
    for when in [BeforeAll, OwnerNotClosed, OwnerClosed, OwnerNotOpened, AskerNotOpened] {
        for old_ends_first in [false, true] {
            let cluster = three();
            let (asker, owner) = (&cluster.groups[ASKER], &cluster.groups[OWNER]);
            cluster.table.hold(true);
            let mut gets = vec![start_get(owner)];
            soon(|| cluster.table.running() == 1).await;
            if when == BeforeAll {
                gets.push(start_get(asker));
                soon(|| cluster.asked(OWNER) == 1).await;
            }
            // What has begun until now reads the old row, and is held.
            cluster.table.hold(false);
            cluster.table.update();
            cluster.route(move |sent| match when {
                OwnerNotClosed if sent.to == OWNER && sent.is_close() => Way::Held,
                OwnerClosed if sent.to == OWNER && sent.is_close() => Way::AnswerHeld,
                OwnerNotOpened if sent.to == OWNER && sent.is_open() => Way::Held,
                AskerNotOpened if sent.to == ASKER && sent.is_open() => Way::Held,
                _ => Way::Arrives,
            });
            let remove = start_remove(&cluster.groups[REMOVER]);
            if when != BeforeAll {
                soon(|| cluster.held() == 1).await;
                gets.push(start_get(asker));
                soon(|| cluster.asked(OWNER) == 1).await;
            }
            if old_ends_first {
                cluster.table.let_go(1);
                soon(|| cluster.table.running() == 0).await;
                gets.pop().unwrap().await.unwrap();
            }
            cluster.let_go(1);
            remove.await.unwrap().unwrap();
            assert_eq!(asker.get("Tom").await.unwrap(), "Tom v2", "{when:?}, {old_ends_first}");
            cluster.table.let_go(1);
            for got in gets {
                got.await.unwrap();
            }
            soon(|| cluster.table.running() == 0).await;
            assert_new(&cluster, "Tom v2").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_get_that_has_begun_before_gets_the_old_value_and_a_later_one_does_not_join_it() {
    let (hand, table) = (Hand::new(), Table::new());
    let group = hand.node().group("rows").loader(table.clone()).build().unwrap();
    table.hold(true);
    let early = start_get(&group);
    soon(|| table.running() == 1).await;
    table.hold(false);
    table.update();
    group.remove("Tom").await.unwrap();
    assert_eq!(group.get("Tom").await.unwrap(), "Tom v2");
    table.let_go(1);
    assert_eq!(early.await.unwrap(), "Tom v1");
    assert_eq!(
        group.get("Tom").await.unwrap(),
        "Tom v2",
        "the old one came later, and is not kept"
    );
    assert_sums(&group.stats());
}

#[tokio::test(start_paused = true)]
async fn a_load_because_the_owner_is_away_is_not_kept_if_the_key_is_removed_meanwhile() {
    let cluster = three();
    cluster.set_down(OWNER, true);
    cluster.table.hold(true);
    let early = start_get(&cluster.groups[ASKER]);
    soon(|| cluster.table.running() == 1).await;
    cluster.table.hold(false);
    cluster.table.update();
    let removed = cluster.groups[REMOVER].remove("Tom").await.unwrap_err();
    assert!(matches!(removed, RemoveError::Incomplete { .. }));
    cluster.table.let_go(1);
    assert_eq!(early.await.unwrap(), "Tom v1");
    let asker = &cluster.groups[ASKER];
    assert_eq!(asker.peek("Tom"), None);
    assert_eq!(asker.get("Tom").await.unwrap(), "Tom v2");
    assert_sums(&asker.stats());
}

#[tokio::test(start_paused = true)]
async fn a_refresh_under_way_is_not_kept_if_the_key_is_removed_meanwhile() {
    let cluster = Cluster::owned_by(OWNER, 3, |builder| {
        mirroring(builder).jitter(0.0).time_to_live(10 * SECOND).serve_stale(60 * SECOND)
    });
    cluster.get_everywhere("Tom").await;
    cluster.hand.advance(10 * SECOND);
    cluster.table.hold(true);
    assert_eq!(cluster.get_everywhere("Tom").await, ["Tom v1"; 3]);
    soon(|| cluster.table.running() == 1).await;
    cluster.table.hold(false);
    cluster.table.update();
    cluster.groups[REMOVER].remove("Tom").await.unwrap();
    // Nothing stale is served after a remove, and the refresh comes too late.
    assert!(cluster.groups.iter().all(|group| group.peek("Tom").is_none()));
    cluster.table.let_go(1);
    soon(|| cluster.table.running() == 0).await;
    assert_new(&cluster, "Tom v2").await;
}

#[tokio::test(start_paused = true)]
async fn a_remove_and_a_clear_at_the_same_time_both_hold() {
    let cluster = three();
    cluster.get_everywhere("Tom").await;
    cluster.get_everywhere("Jack").await;
    cluster.table.update();
    cluster.route(|sent| if sent.is_close() { Way::AnswerHeld } else { Way::Arrives });
    let remove = start_remove(&cluster.groups[REMOVER]);
    let clear = tokio::spawn({
        let group = cluster.groups[ASKER].clone();
        async move { group.clear().await }
    });
    soon(|| cluster.held() == 4).await;
    assert_eq!(cluster.get_everywhere("Jack").await, ["Jack v2"; 3]);
    cluster.let_go(4);
    remove.await.unwrap().unwrap();
    clear.await.unwrap().unwrap();
    assert_eq!(cluster.get_everywhere("Jack").await, ["Jack v2"; 3]);
    assert_new(&cluster, "Tom v2").await;
}

#[tokio::test(start_paused = true)]
async fn a_closure_that_lapses_before_the_second_round_costs_another_attempt() {
    let cluster = three();
    cluster.get_everywhere("Tom").await;
    cluster.table.update();
    cluster.route(|sent| if sent.to == OWNER && sent.is_open() { Way::Held } else { Way::Arrives });
    let remove = start_remove(&cluster.groups[REMOVER]);
    soon(|| cluster.held() == 1).await;
    cluster.hand.advance(5 * SECOND);
    // The owner keeps things again, although the remover does not know.
    cluster.groups[OWNER].get("Tom").await.unwrap();
    assert!(cluster.groups[OWNER].peek("Tom").is_some());
    cluster.route(|_| Way::Arrives);
    cluster.let_go(1);
    remove.await.unwrap().unwrap();
    let closes = cluster.take_log().iter().filter(|line| line.contains("close")).count();
    assert_eq!(closes, 4, "two attempts at two peers");
    assert_new(&cluster, "Tom v2").await;
}

#[tokio::test(start_paused = true)]
async fn a_second_round_whose_answers_are_lost_promises_nothing_and_says_so() {
    let cluster = three();
    cluster.get_everywhere("Tom").await;
    cluster.table.update();
    cluster.route(
        |sent| {
            if sent.to == OWNER && sent.is_open() { Way::AnswerLost } else { Way::Arrives }
        },
    );
    let error = cluster.groups[REMOVER].remove("Tom").await.unwrap_err();
    let RemoveError::Unsettled { unreached, plain } = error else { panic!("{error:?}") };
    assert_eq!((&*unreached[0], unreached.len(), plain.len()), ("node 1", 1, 0));
    assert_eq!(cluster.take_log().len(), 3 * 4, "three attempts at two peers, of two rounds each");
    let stats = cluster.groups[REMOVER].stats();
    assert_eq!((stats.removes, stats.removes_incomplete, stats.closures), (1, 1, 0));
    assert_eq!(cluster.get_everywhere("Tom").await, ["Tom v2"; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_started_anew_between_the_rounds_costs_another_attempt() {
    let mut cluster = three();
    cluster.get_everywhere("Tom").await;
    cluster.table.update();
    cluster.route(|sent| if sent.to == OWNER && sent.is_open() { Way::Held } else { Way::Arrives });
    let remove = start_remove(&cluster.groups[REMOVER]);
    soon(|| cluster.held() == 1).await;
    cluster.restart(OWNER);
    cluster.route(|_| Way::Arrives);
    cluster.let_go(1);
    remove.await.unwrap().unwrap();
    assert_new(&cluster, "Tom v2").await;
}

#[tokio::test(start_paused = true)]
async fn a_remover_that_dies_between_the_rounds_leaves_no_key_closed_for_ever() {
    let cluster = three();
    cluster.get_everywhere("Tom").await;
    cluster.table.update();
    cluster.route(|sent| if sent.is_open() { Way::Lost } else { Way::Arrives });
    let remove = start_remove(&cluster.groups[REMOVER]);
    soon(|| cluster.groups[ASKER].stats().closures == 1).await;
    cluster.set_down(REMOVER, true);
    assert!(remove.await.unwrap().is_err());
    for node in [ASKER, OWNER] {
        assert_eq!(cluster.groups[node].get("Tom").await.unwrap(), "Tom v2");
        assert_eq!(cluster.groups[node].peek("Tom"), None, "it is closed");
    }
    cluster.hand.advance(5 * SECOND);
    for node in [ASKER, OWNER] {
        assert_eq!(cluster.groups[node].get("Tom").await.unwrap(), "Tom v2");
        assert!(cluster.groups[node].peek("Tom").is_some(), "it is open again");
        assert_eq!(cluster.groups[node].stats().closures, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_left_and_comes_back_with_its_memory_is_told_before_it_is_asked() {
    let cluster = three();
    cluster.get_everywhere("Tom").await;
    cluster.groups[REMOVER].remove("Jack").await.unwrap();
    for node in [ASKER, REMOVER] {
        cluster.list(node, &[ASKER + REMOVER - node]);
    }
    cluster.table.update();
    cluster.groups[REMOVER].remove("Tom").await.unwrap();
    assert_eq!(cluster.groups[OWNER].peek("Tom").unwrap(), "Tom v1", "it has left");
    cluster.list(ASKER, &[OWNER, REMOVER]);
    cluster.take_log();
    assert_eq!(cluster.groups[ASKER].get("Tom").await.unwrap(), "Tom v2");
    assert_eq!(cluster.take_log(), ["0>1 tell Tom"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_the_remover_never_knew_is_told_by_those_who_ask_it() {
    let cluster = three();
    cluster.list(REMOVER, &[ASKER]);
    cluster.groups[OWNER].get("Tom").await.unwrap();
    cluster.table.update();
    cluster.groups[REMOVER].remove("Tom").await.unwrap();
    assert_eq!(cluster.groups[OWNER].peek("Tom").unwrap(), "Tom v1", "it has not heard of it yet");
    cluster.take_log();
    assert_eq!(cluster.groups[ASKER].get("Tom").await.unwrap(), "Tom v2");
    assert_eq!(cluster.take_log(), ["0>1 tell Tom"]);
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn a_remover_that_has_missed_something_is_told_before_it_is_answered() {
    let cluster = three();
    cluster.get_everywhere("Tom").await;
    cluster.table.update();
    cluster.set_down(REMOVER, true);
    assert!(cluster.groups[OWNER].remove("Tom").await.is_err());
    cluster.hand.advance(60 * SECOND);
    cluster.set_down(REMOVER, false);
    assert_eq!(cluster.groups[REMOVER].peek("Tom").unwrap(), "Tom v1");
    cluster.take_log();
    cluster.groups[REMOVER].remove("Jack").await.unwrap();
    let log = cluster.take_log();
    let at = |message: &str| log.iter().position(|line| line == message);
    for (tell, open) in [("0>2 tell Tom", "2>0 open Jack"), ("1>2 tell Tom", "2>1 open Jack")] {
        assert!(at(tell).unwrap() < at(open).unwrap(), "{log:?}");
    }
    assert_new(&cluster, "Tom v2").await;
}

/// Threads that remove and get at once, of few keys and little room, so that loads, evictions and purges
/// meet in every way.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_no_get_that_begins_after_a_remove_returns_an_older_value() {
    const KEYS: usize = 8;
    let cluster = std::sync::Arc::new(Cluster::new(
        3,
        |_, key| usize::from(key.as_bytes()[0]) % 3,
        |builder| mirroring(builder).max_bytes(1_400),
    ));
    let version = |value: &str| value.split_once(" v").unwrap().1.parse::<u64>().unwrap();
    let tasks = (0..6).map(|task| {
        let cluster = std::sync::Arc::clone(&cluster);
        tokio::spawn(async move {
            for round in 0..150 {
                let key = ((task + round) % KEYS).to_string();
                let remover = &cluster.groups[round % 3];
                let committed = cluster.table.update();
                remover.remove(&key).await.unwrap();
                for group in &cluster.groups {
                    let value = group.get(&key).await.unwrap();
                    let seen = version(value.as_str().unwrap());
                    assert!(seen >= committed, "{seen} was read, {committed} was removed for");
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    cluster.assert_sums();
    assert!(cluster.groups.iter().all(|group| group.stats().closures == 0));
}
