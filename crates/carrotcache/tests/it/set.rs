//! Values that are set: removed everywhere, and kept by their owner.

use std::time::Duration;

use carrotcache::{Group, GroupBuilder, Mirroring, RemoveError, SetError, Value};
use futures_util::FutureExt;

use crate::cluster::{Cluster, Way};
use crate::rows::{Hand, Table, eventually, soon};
use crate::transport::assert_sums;

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

fn mirroring(builder: GroupBuilder) -> GroupBuilder {
    builder.mirroring(Mirroring::Always)
}

/// Three nodes, the last of which owns all keys and the others of which keep copies.
fn three() -> Cluster {
    Cluster::owned_by(2, 3, mirroring)
}

/// Calls a set in a task of its own.
fn start_set(group: &Group, value: &'static str) -> tokio::task::JoinHandle<Result<(), SetError>> {
    let group = group.clone();
    tokio::spawn(async move { group.set("Tom", value).await })
}

#[tokio::test(start_paused = true)]
async fn the_owner_keeps_what_is_set_on_any_node_and_nobody_loads_it() {
    let cluster = three();
    for (setter, value) in [(0, "of 0"), (1, "of 1"), (2, "of 2")] {
        cluster.get_everywhere("Tom").await;
        let loads = cluster.table.started();
        cluster.groups[setter].set("Tom", value).await.unwrap();
        let kept: Vec<_> = cluster.groups.iter().map(|group| group.peek("Tom")).collect();
        assert_eq!(kept, [None, None, Some(value.into())]);
        assert_eq!(cluster.get_everywhere("Tom").await, [value; 3]);
        assert_eq!(cluster.table.started(), loads, "nobody has loaded it");
    }
    for group in &cluster.groups {
        let stats = group.stats();
        assert_eq!((stats.removes, stats.closures, stats.owed), (1, 0, 0));
    }
    cluster.assert_sums();
}

#[tokio::test]
async fn alone_a_set_takes_the_place_of_what_was_there() {
    let (hand, table) = (Hand::new(), Table::new());
    let group = hand.node().group("rows").loader(table.clone()).build().unwrap();
    group.get("Tom").await.unwrap();
    group.set("Tom", "one").await.unwrap();
    group.set("Tom", String::from("two")).await.unwrap();
    assert_eq!(group.get("Tom").await.unwrap(), "two");
    let stats = group.stats();
    assert_eq!((table.started(), stats.removes, stats.main.items, stats.closures), (1, 2, 1, 0));
    assert_sums(&stats);
}

#[tokio::test]
async fn what_is_set_lives_as_long_as_what_is_loaded() {
    let (hand, table) = (Hand::new(), Table::new());
    let builder = hand.node().group("rows").loader(table.clone()).jitter(0.0);
    let group = builder.time_to_live(10 * SECOND).build().unwrap();
    let for_good = Value::new("630").with_time_to_live(Duration::MAX);
    let for_a_while = Value::new("630").with_time_to_live(3 * SECOND);
    for (value, lives) in [(for_good, 10), (for_a_while, 3), (Value::new("630"), 10)] {
        group.set("Tom", value).await.unwrap();
        hand.advance(lives * SECOND - MILLI);
        assert_eq!(group.get("Tom").await.unwrap(), "630");
        hand.advance(MILLI);
        assert_eq!(group.peek("Tom"), None);
    }
    group.set("Tom", Value::new("630").with_time_to_live(Duration::ZERO)).await.unwrap();
    assert_eq!((group.peek("Tom"), group.stats().main.items), (None, 0), "it is not kept");
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_value_counts_from_when_it_was_set_however_long_that_takes() {
    let cluster = Cluster::owned_by(2, 3, |builder| builder.time_to_live(10 * SECOND).jitter(0.0));
    for setter in [0, 2] {
        cluster.route(|sent| if sent.is_close() { Way::AnswerHeld } else { Way::Arrives });
        let set = start_set(&cluster.groups[setter], "set");
        soon(|| cluster.held() == 2).await;
        cluster.hand.advance(2 * SECOND);
        cluster.let_go(2);
        set.await.unwrap().unwrap();
        cluster.hand.advance(8 * SECOND - MILLI);
        assert_eq!(cluster.groups[2].peek("Tom").unwrap(), "set");
        cluster.hand.advance(MILLI);
        assert_eq!(cluster.groups[2].peek("Tom"), None, "set by node {setter}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_over_max_bytes_is_not_kept_and_the_old_one_is_gone() {
    let large = "v".repeat(2_000);
    for nodes in [1, 3] {
        let cluster = Cluster::owned_by(nodes - 1, nodes, |b| mirroring(b).max_bytes(1_000));
        cluster.get_everywhere("Tom").await;
        cluster.table.update();
        let error = cluster.groups[0].set("Tom", large.clone()).await.unwrap_err();
        assert_eq!(error.to_string(), "the value has 2000 bytes, more than the group `rows` keeps");
        assert!(matches!(error, SetError::TooLarge { len: 2_000, .. }));
        assert!(cluster.groups.iter().all(|group| group.peek("Tom").is_none()));
        assert_eq!(cluster.groups[0].get("Tom").await.unwrap(), "Tom v2", "a get loads it");
        cluster.assert_sums();
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_sets_at_the_same_time_none_leaves_its_value() {
    let cluster = three();
    for setters in [[0, 1], [0, 2], [1, 1], [2, 2]] {
        cluster.route(|sent| if sent.is_close() { Way::AnswerHeld } else { Way::Arrives });
        let (one, other) = (setters[0], setters[1]);
        let sets =
            [start_set(&cluster.groups[one], "one"), start_set(&cluster.groups[other], "other")];
        soon(|| cluster.held() == 4).await;
        cluster.let_go(4);
        for set in sets {
            set.await.unwrap().unwrap();
        }
        cluster.route(|_| Way::Arrives);
        assert!(cluster.groups.iter().all(|group| group.peek("Tom").is_none()), "{setters:?}");
        assert_eq!(
            cluster.get_everywhere("Tom").await,
            ["Tom v1"; 3],
            "what the loader says counts"
        );
    }
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn of_two_sets_one_after_the_other_the_second_stands() {
    let cluster = three();
    for (first, second) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 1)] {
        cluster.groups[first].set("Tom", "first").await.unwrap();
        cluster.groups[second].set("Tom", "second").await.unwrap();
        assert_eq!(cluster.get_everywhere("Tom").await, ["second"; 3]);
    }
    assert_eq!(cluster.table.started(), 0);
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn a_remove_during_a_set_leaves_no_value() {
    for (setter, remover) in [(0, 1), (0, 2), (2, 0), (0, 0)] {
        let cluster = three();
        cluster.route(move |sent| match sent.from == setter && sent.is_open() {
            true => Way::Held,
            false => Way::Arrives,
        });
        let set = start_set(&cluster.groups[setter], "set");
        soon(|| cluster.held() == 2).await;
        if setter == remover {
            cluster.route(|_| Way::Arrives);
        }
        cluster.table.update();
        cluster.groups[remover].remove("Tom").await.unwrap();
        cluster.let_go(2);
        set.await.unwrap().unwrap();
        assert!(cluster.groups.iter().all(|group| group.peek("Tom").is_none()));
        assert_eq!(cluster.get_everywhere("Tom").await, ["Tom v2"; 3]);
        cluster.assert_sums();
    }
}

#[tokio::test(start_paused = true)]
async fn a_set_that_has_to_be_repeated_does_not_carry_its_value_again() {
    let cluster = three();
    // The owner keeps the value, and its answer is lost. Something newer may have been set since.
    cluster.route(|sent| match sent.purge.step {
        carrotcache::peer::Step::Open { value: Some(_), .. } => Way::AnswerLost,
        _ => Way::Arrives,
    });
    cluster.groups[0].set("Tom", "set").await.unwrap();
    let log = cluster.take_log();
    let with_a_value: Vec<_> = log.iter().filter(|line| line.contains("value")).collect();
    assert_eq!(with_a_value, ["0>2 open with a value Tom"], "{log:?}");
    assert!(log.iter().filter(|line| line.contains("close")).count() > 2, "it was repeated");
    assert_eq!(cluster.get_everywhere("Tom").await, ["Tom v1"; 3]);
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn a_set_whose_owner_is_not_reached_is_incomplete_and_kept_by_nobody() {
    let cluster = three();
    cluster.get_everywhere("Tom").await;
    cluster.set_down(2, true);
    cluster.table.update();
    let error = cluster.groups[0].set("Tom", "set").await.unwrap_err();
    let SetError::Remove(RemoveError::Incomplete { unreached, .. }) = error else {
        panic!("{error:?}")
    };
    assert_eq!((unreached.len(), &*unreached[0]), (1, "node 2"));
    for node in [0, 1] {
        assert_eq!(cluster.groups[node].peek("Tom"), None);
        assert_eq!(cluster.groups[node].get("Tom").await.unwrap(), "Tom v2");
    }
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn a_set_goes_on_when_its_caller_leaves() {
    let cluster = three();
    assert!(cluster.groups[0].set("Tom", "set").now_or_never().is_none());
    eventually(|| cluster.groups[0].stats().removes == 1).await;
    assert_eq!(cluster.get_everywhere("Tom").await, ["set"; 3]);
}

#[tokio::test(start_paused = true)]
async fn the_first_set_of_a_process_makes_nobody_forget_other_keys() {
    let cluster = three();
    cluster.get_everywhere("Jack").await;
    cluster.groups[0].set("Tom", "set").await.unwrap();
    // Whoever is owed anything is told in the background.
    tokio::time::sleep(10 * SECOND).await;
    assert!(cluster.groups.iter().all(|group| group.peek("Jack").is_some()));
    let log = cluster.take_log();
    assert!(log.iter().all(|line| !line.contains("tell")), "{log:?}");
}

#[test]
fn without_a_runtime_a_set_fails_and_leaves_nothing_closed() {
    let cluster = three();
    let group = &cluster.groups[2];
    let error = group.set("Tom", "set").now_or_never().expect("there is nothing to wait for");
    let error = error.unwrap_err();
    assert!(matches!(error, SetError::Remove(RemoveError::CannotAskPeers { .. })), "{error:?}");
    assert_eq!(group.stats().closures, 0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(group.get("Tom")).unwrap();
    assert!(group.peek("Tom").is_some(), "it is kept as any other");
}
