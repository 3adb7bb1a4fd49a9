//! Many keys of owners that cannot be asked: as few messages and loads as if they could.

use carrotcache::{GroupBuilder, Mirroring};

use crate::bulk::{Rows, outcomes};
use crate::cluster::{Asked, Cluster};

/// Four nodes: node 3 owns all keys. What begins with `a` is next node 0's, with `b` node 1's, with `c`
/// node 2's, and then node 0's.
fn four(set: impl Fn(GroupBuilder) -> GroupBuilder + Send + Sync + 'static) -> Cluster {
    let set = move |builder: GroupBuilder| set(builder.mirroring(Mirroring::Never));
    let cluster = Cluster::owned_by(3, 4, set);
    cluster.set_order(|key| match &key[..1] {
        "a" => vec![3, 0, 1, 2],
        "b" => vec![3, 1, 0, 2],
        _ => vec![3, 2, 0, 1],
    });
    cluster.set_down(3, true);
    cluster
}

const KEYS: [&str; 7] = ["a1", "b1", "c1", "b2", "c2", "a2", "b1"];
const VALUES: [&str; 7] = ["a1!", "b1!", "c1!", "b2!", "c2!", "a2!", "b1!"];

fn asked(to: usize, keys: usize, is_for_stand_in: bool) -> Asked {
    Asked { from: 0, to, keys, is_for_stand_in }
}

#[tokio::test(start_paused = true)]
async fn each_stand_in_is_asked_once_and_loads_once() {
    let rows = Rows::default();
    let bulk_loader = rows.clone();
    let cluster = four(move |builder| builder.bulk_loader(bulk_loader.clone()));
    let answers = cluster.groups[0].get_many(KEYS).await;
    assert_eq!(outcomes(&answers), VALUES);
    let questions = [asked(3, 6, false), asked(1, 2, true), asked(2, 2, true)];
    assert_eq!(cluster.take_questions(), questions);
    let mut calls = rows.calls();
    calls.sort();
    assert_eq!(calls, [["a1", "a2"], ["b1", "b2"], ["c1", "c2"]]);
    let asker = cluster.groups[0].stats();
    assert_eq!((asker.peer_errors, asker.stand_in_loads, asker.local_loads), (6, 4, 2));
    for node in [1, 2] {
        let stand_in = cluster.groups[node].stats();
        assert_eq!((stand_in.served_as_stand_in, stand_in.bulk_loads), (2, 1));
        assert_eq!((stand_in.hot.items, stand_in.main.items), (2, 0));
    }
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn without_a_bulk_loader_there_are_as_few_messages() {
    let cluster = four(|builder| builder);
    cluster.eject(0, &[3]);
    let answers = cluster.groups[0].get_many(KEYS).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(cluster.take_questions(), [asked(1, 2, true), asked(2, 2, true)]);
    assert_eq!(cluster.table.started(), 6);
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn a_bulk_load_for_others_takes_one_right_of_the_budget() {
    let rows = Rows::default();
    let bulk_loader = rows.clone();
    let mut cluster = four(move |builder| builder.bulk_loader(bulk_loader.clone()));
    cluster.restart_with_budget(0, 0, 1);
    cluster.set_down(1, true);
    for batch in 0..10 {
        let keys = (0..100).map(|key| format!("b {batch} {key}"));
        assert!(cluster.groups[0].get_many(keys).await.iter().all(Result::is_ok));
    }
    assert_eq!(rows.calls().len(), 10);
    let answers = cluster.groups[0].get_many(["b1", "a1", "c1", "b2"]).await;
    assert_eq!(outcomes(&answers), ["Overloaded", "a1!", "c1!", "Overloaded"]);
    let asker = cluster.groups[0].stats();
    assert_eq!((asker.loads_over_budget, asker.local_loads), (2, 1_001));
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn without_a_bulk_loader_each_key_takes_its_right() {
    let mut cluster = four(|builder| builder);
    cluster.restart_with_budget(0, 0, 1);
    cluster.set_down(1, true);
    let answers = cluster.groups[0].get_many((0..100).map(|key| format!("b{key}"))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 10);
    assert_eq!(cluster.table.started(), 10);
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn stand_ins_that_have_missed_a_remove_are_told_before_they_are_asked_for_many() {
    let cluster = four(|builder| builder);
    cluster.groups[1].get("b1").await.unwrap();
    cluster.table.update();
    cluster.set_down(1, true);
    cluster.groups[0].remove("b1").await.unwrap_err();
    cluster.set_down(1, false);
    cluster.hand.advance(std::time::Duration::from_secs(60));
    cluster.take_log();
    let answers = cluster.groups[0].get_many(["b1", "b2"]).await;
    assert_eq!(outcomes(&answers), ["b1 v2", "b2 v2"]);
    assert!(cluster.take_log().contains(&"0>1 tell b1".to_owned()));
    cluster.assert_sums();
}
