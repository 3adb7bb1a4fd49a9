//! What is removed is gone from all nodes, and who did not hear of it is told.

use std::time::Duration;

use carrotcache::{GetError, Group, GroupBuilder, Mirroring, Node, RemoveError};
use futures_util::FutureExt;
use futures_util::future::join_all;

use crate::cluster::{Cluster, Way};
use crate::rows::{Table, eventually, soon};
use crate::support::{Mesh, Source};
use crate::transport::assert_sums;

const SECOND: Duration = Duration::from_secs(1);

fn mirroring(builder: GroupBuilder) -> GroupBuilder {
    builder.mirroring(Mirroring::Always)
}

/// Three nodes, the last of which owns all keys and the others of which keep copies.
fn three() -> Cluster {
    Cluster::owned_by(2, 3, mirroring)
}

/// Calls a remove in a task of its own.
fn start_remove(group: &Group, key: &str) -> tokio::task::JoinHandle<Result<(), RemoveError>> {
    let (group, key) = (group.clone(), key.to_owned());
    tokio::spawn(async move { group.remove(&key).await })
}

/// Returns whom an incomplete remove did not reach, who is plain, and how old a value can be there.
fn incomplete(removed: Result<(), RemoveError>) -> (Vec<String>, Vec<String>, Option<Duration>) {
    let error = removed.unwrap_err();
    let RemoveError::Incomplete { unreached, plain, stale_for_at_most } = error else {
        panic!("{error:?}")
    };
    let names = |labels: Vec<std::sync::Arc<str>>| labels.iter().map(ToString::to_string).collect();
    (names(unreached), names(plain), stale_for_at_most)
}

fn owed(group: &Group) -> u64 {
    group.stats().owed
}

#[tokio::test(start_paused = true)]
async fn after_a_remove_from_any_node_all_nodes_return_the_new_value() {
    let cluster = three();
    for (remover, old, new) in
        [(0, "Tom v1", "Tom v2"), (1, "Tom v2", "Tom v3"), (2, "Tom v3", "Tom v4")]
    {
        assert_eq!(cluster.get_everywhere("Tom").await, [old; 3]);
        cluster.table.update();
        assert_eq!(cluster.get_everywhere("Tom").await, [old; 3], "each has a copy");
        cluster.groups[remover].remove("Tom").await.unwrap();
        assert!(cluster.groups.iter().all(|group| group.peek("Tom").is_none()));
        assert_eq!(cluster.get_everywhere("Tom").await, [new; 3]);
    }
    for group in &cluster.groups {
        let stats = group.stats();
        assert_eq!(
            (stats.removes, stats.removes_incomplete, stats.closures, stats.owed),
            (1, 0, 0, 0)
        );
        assert_eq!(stats.purges, 4, "two rounds of two removers");
    }
    cluster.assert_sums();
}

/// There is no runtime on which a task could be.
#[test]
fn a_node_without_peers_needs_no_task_to_remove_and_to_set() {
    let group = Node::new().group("rows").loader(Table::new()).build().unwrap();
    for value in ["630", "631"] {
        group.set("Tom", value).now_or_never().expect("there is nothing to wait for").unwrap();
        assert_eq!(group.peek("Tom").unwrap(), *value);
    }
    group.remove("Tom").now_or_never().expect("as above").unwrap();
    assert_eq!(group.peek("Tom"), None);
    group.set("Tom", "630").now_or_never().expect("as above").unwrap();
    group.remove_many(["Tom", "Jack"]).now_or_never().expect("as above").unwrap();
    assert_eq!(group.peek("Tom"), None);
    group.set("Tom", "630").now_or_never().expect("as above").unwrap();
    group.clear().now_or_never().expect("as above").unwrap();
    let stats = group.stats();
    assert_eq!((stats.bytes, stats.removes, stats.closures, stats.owed), (0, 7, 0, 0));
    assert_sums(&stats);
}

#[test]
fn with_peers_and_without_a_runtime_nothing_is_removed_and_the_error_says_why() {
    let cluster = three();
    let group = &cluster.groups[2];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    // A hit needs no runtime, and the node has had none: it is filled by a peer's set.
    let tom = || group.remove("Tom").now_or_never().expect("there is nothing to wait for");
    for _ in 0..2 {
        let error = tom().unwrap_err();
        assert_eq!(error.to_string(), "nothing was removed, since peers cannot be told");
        let RemoveError::CannotAskPeers { source } = error else { panic!("{error:?}") };
        assert!(matches!(*source, GetError::NoRuntime));
    }
    assert!(cluster.take_log().is_empty());
    runtime.block_on(group.remove("Tom")).unwrap();
}

#[tokio::test(start_paused = true)]
async fn many_keys_travel_in_as_few_messages_as_they_fit_in() {
    let cluster = three();
    let keys: Vec<_> = (0..2_500).map(|key| key.to_string()).collect();
    join_all(keys.iter().map(|key| cluster.groups[0].get(key))).await;
    cluster.table.update();
    // Twice, which makes no difference.
    cluster.groups[1].remove_many(keys.iter().chain(&keys)).await.unwrap();
    let messages = cluster.take_log();
    assert_eq!(messages.len(), 10 * 2 * 2, "ten batches, two rounds, two peers");
    for group in &cluster.groups {
        assert!(keys.iter().all(|key| group.peek(key).is_none()));
    }
    assert_eq!(cluster.get_everywhere("7").await, ["7 v2"; 3]);
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn removes_that_are_called_together_travel_together() {
    let cluster = three();
    let keys: Vec<_> = (0..64).map(|key| key.to_string()).collect();
    let removed = join_all(keys.iter().map(|key| cluster.groups[0].remove(key))).await;
    removed.into_iter().for_each(|removed| removed.unwrap());
    let messages = cluster.take_log().len();
    assert!(messages <= 2 * 2 * 2, "{messages} messages for 64 removes");
}

#[tokio::test(start_paused = true)]
async fn a_clear_removes_everything_from_everywhere() {
    let cluster = three();
    for key in ["Tom", "Jack", "Sam"] {
        cluster.get_everywhere(key).await;
    }
    cluster.table.update();
    cluster.groups[0].clear().await.unwrap();
    assert!(cluster.groups.iter().all(|group| group.stats().bytes == 0));
    assert_eq!(cluster.get_everywhere("Sam").await, ["Sam v2"; 3]);
    assert_eq!(cluster.groups[0].stats().closures, 0);
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn a_remove_goes_on_when_its_caller_leaves() {
    let cluster = three();
    cluster.get_everywhere("Tom").await;
    cluster.table.update();
    assert!(cluster.groups[0].remove("Tom").now_or_never().is_none());
    assert!(cluster.groups[0].clear().now_or_never().is_none());
    eventually(|| cluster.groups[0].stats().removes == 2).await;
    assert_eq!(cluster.get_everywhere("Tom").await, ["Tom v2"; 3]);
    assert!(cluster.groups.iter().all(|group| group.stats().closures == 0));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_not_reached_is_named_and_told_when_it_is_met_again() {
    let cluster = three();
    cluster.get_everywhere("Tom").await;
    cluster.table.update();
    cluster.set_down(1, true);
    let removed = cluster.groups[0].remove("Tom").await;
    let text = removed.as_ref().unwrap_err().to_string();
    let expected =
        "removed from all nodes but node 1, where a value may be old for as long as it likes";
    assert_eq!(text, expected);
    let expected = (vec!["node 1".to_owned()], vec![], None);
    assert_eq!(incomplete(removed), expected, "without a time to live there is no bound");
    assert_eq!(
        [0, 2].map(|node| owed(&cluster.groups[node])),
        [1, 1],
        "all who took part remember"
    );
    assert_eq!(cluster.groups[0].stats().removes_incomplete, 1);
    assert_eq!(cluster.groups[1].peek("Tom").unwrap(), "Tom v1", "it has not heard of it");
    for node in [0, 2] {
        assert_eq!(cluster.groups[node].get("Tom").await.unwrap(), "Tom v2");
    }
    cluster.set_down(1, false);
    cluster.take_log();
    // Nobody asks it, and it is told all the same.
    let hand = cluster.hand.clone();
    eventually(|| {
        hand.advance(SECOND / 100);
        cluster.groups.iter().all(|group| owed(group) == 0)
    })
    .await;
    assert!(cluster.take_log().iter().all(|message| message.ends_with("1 tell Tom")));
    assert_eq!(cluster.get_everywhere("Tom").await, ["Tom v2"; 3]);
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn with_a_time_to_live_an_incomplete_remove_tells_how_old_a_value_can_get() {
    let cluster = Cluster::owned_by(2, 3, |builder| {
        let builder = mirroring(builder).time_to_live(60 * SECOND).load_timeout(10 * SECOND);
        builder.serve_stale(5 * SECOND).stale_if_error(20 * SECOND)
    });
    cluster.set_down(1, true);
    let removed = cluster.groups[0].remove("Tom").await;
    assert_eq!(incomplete(removed).2, Some((60 + 20 + 10) * SECOND));

    // What is good for centuries is good for ever.
    for longest in [Duration::from_secs(200 * 365 * 86_400), Duration::MAX] {
        let cluster = Cluster::owned_by(2, 3, move |builder| builder.time_to_live(longest));
        cluster.set_down(1, true);
        assert_eq!(incomplete(cluster.groups[0].remove("Tom").await).2, None);
    }
}

/// An owner that has missed a remove, as the first get finds it.
#[tokio::test(start_paused = true)]
async fn an_owner_that_has_missed_a_remove_is_told_before_it_is_asked() {
    let cluster = three();
    cluster.groups[2].get("Tom").await.unwrap();
    cluster.table.update();
    cluster.set_down(2, true);
    assert_eq!(incomplete(cluster.groups[0].remove("Tom").await).0, ["node 2"]);
    // Nobody tells it for a while.
    cluster.hand.advance(60 * SECOND);
    cluster.set_down(2, false);
    cluster.take_log();
    assert_eq!(cluster.groups[0].get("Tom").await.unwrap(), "Tom v2");
    assert_eq!(cluster.take_log(), ["0>2 tell Tom"]);
    assert_eq!(cluster.asked(2), 1);
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_cannot_be_told_is_not_asked_and_the_sums_hold() {
    let cluster = three();
    cluster.groups[2].get("Tom").await.unwrap();
    cluster.table.update();
    // Its owner answers gets, and hears of no purge.
    cluster.route(|sent| if sent.to == 2 { Way::Lost } else { Way::Arrives });
    assert_eq!(incomplete(cluster.groups[0].remove("Tom").await).0, ["node 2"]);
    for _ in 0..3 {
        assert_eq!(cluster.groups[0].get("Tom").await.unwrap(), "Tom v2");
        cluster.groups[0].get("Jack").await.unwrap();
        cluster.groups[0].get("Sam").await.unwrap();
    }
    assert_eq!(cluster.asked(2), 0);
    let stats = cluster.groups[0].stats();
    assert_eq!((stats.peer_errors, stats.local_loads, stats.hot.items), (3, 3, 3));
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn peers_that_cannot_be_told_to_forget_are_named_as_plain() {
    let cluster = Cluster::owned_by(2, 3, |builder| mirroring(builder).time_to_live(60 * SECOND));
    cluster.set_plain(2, true);
    cluster.get_everywhere("Tom").await;
    let removed = cluster.groups[0].remove("Tom").await;
    let expected = (vec![], vec!["node 2".to_owned()], None);
    assert_eq!(incomplete(removed), expected, "what a plain peer keeps has no bound");
    assert_eq!(cluster.groups[0].peek("Tom"), None);
    // It is asked all the same, and nothing is owed to it for ever.
    let asked = cluster.asked(2);
    cluster.groups[0].get("Tom").await.unwrap();
    assert_eq!(cluster.asked(2), asked + 1);
    eventually(|| owed(&cluster.groups[0]) == 0 && owed(&cluster.groups[1]) == 0).await;
}

#[tokio::test]
async fn over_a_transport_that_carries_no_purges_all_peers_are_plain() {
    let sources = vec![Source::default(), Source::default(), Source::default()];
    let mesh = Mesh::new(sources, |_, _| 2, mirroring);
    mesh.groups[0].get("Tom").await.unwrap();
    let removed = mesh.groups[0].remove("Tom").await;
    let plain = vec!["node 1".to_owned(), "node 2".to_owned()];
    assert_eq!(incomplete(removed), (vec![], plain, None));
    assert_eq!(mesh.groups[0].peek("Tom"), None, "it is gone here");
    let stats = mesh.groups[0].stats();
    assert_eq!((stats.removes, stats.removes_incomplete, stats.owed), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn peers_that_do_not_have_the_group_have_nothing_to_forget() {
    let cluster = three();
    let only_here =
        cluster.node(0).group("only-here").loader(cluster.table.clone()).build().unwrap();
    only_here.get("Tom").await.unwrap();
    only_here.remove("Tom").await.unwrap();
    assert_eq!(only_here.peek("Tom"), None);
    eventually(|| owed(&only_here) == 0).await;
}

#[tokio::test(start_paused = true)]
async fn more_than_1_024_missed_keys_become_all() {
    let cluster = three();
    cluster.set_down(1, true);
    let many = |from: usize, to: usize| (from..to).map(|key| key.to_string()).collect::<Vec<_>>();
    for (keys, expected) in
        [(many(0, 1_000), 1_000), (many(500, 1_024), 1_024), (many(1_024, 1_025), 1)]
    {
        assert!(cluster.groups[0].remove_many(keys).await.is_err());
        assert_eq!([0, 2].map(|node| owed(&cluster.groups[node])), [expected; 2]);
    }
    cluster.set_down(1, false);
    cluster.take_log();
    eventually(|| {
        cluster.hand.advance(SECOND / 100);
        cluster.groups.iter().all(|group| owed(group) == 0)
    })
    .await;
    assert!(cluster.take_log().iter().all(|message| message.ends_with("1 tell all")));
}

#[tokio::test(start_paused = true)]
async fn what_peers_have_missed_of_many_keys_is_told_in_messages_that_they_take() {
    let cluster = three();
    cluster.set_down(1, true);
    let keys = (0..1_020).map(|key| key.to_string());
    assert!(cluster.groups[0].remove_many(keys).await.is_err());
    cluster.set_down(1, false);
    cluster.take_log();
    eventually(|| {
        cluster.hand.advance(SECOND / 100);
        cluster.groups.iter().all(|group| owed(group) == 0)
    })
    .await;
    let longest = cluster.take_log().iter().map(|message| message.split(' ').count() - 2).max();
    assert_eq!(longest, Some(1_000));
}

#[tokio::test(start_paused = true)]
async fn two_removers_of_a_key_do_not_stand_in_each_others_way() {
    let cluster = three();
    cluster.get_everywhere("Tom").await;
    cluster.table.update();
    cluster.route(|sent| if sent.is_close() { Way::AnswerHeld } else { Way::Arrives });
    let removes = [0, 1].map(|node| start_remove(&cluster.groups[node], "Tom"));
    soon(|| cluster.held() == 4).await;
    assert!(cluster.groups.iter().all(|group| group.stats().closures == 2));
    assert_eq!(cluster.get_everywhere("Tom").await, ["Tom v2"; 3], "gets work meanwhile");
    assert!(cluster.groups.iter().all(|group| group.peek("Tom").is_none()), "and nothing is kept");
    cluster.let_go(4);
    for removed in join_all(removes).await {
        removed.unwrap().unwrap();
    }
    assert_eq!(cluster.get_everywhere("Tom").await, ["Tom v2"; 3]);
    assert!(cluster.groups.iter().all(|group| group.stats().closures == 0));
    assert!(cluster.groups.iter().all(|group| group.peek("Tom").is_some()));
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn a_remover_that_its_peers_do_not_list_is_acknowledged() {
    let cluster = three();
    cluster.list(1, &[2]);
    cluster.list(2, &[1]);
    cluster.get_everywhere("Tom").await;
    cluster.table.update();
    // Theirs are the first purges that these processes ever see.
    cluster.groups[0].remove("Tom").await.unwrap();
    cluster.groups[0].remove("Tom").await.unwrap();
    assert_eq!(cluster.get_everywhere("Tom").await, ["Tom v2"; 3]);
    assert_eq!([1, 2].map(|node| owed(&cluster.groups[node])), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_remover_that_has_missed_something_is_refused_until_it_is_listed_and_told() {
    let cluster = three();
    cluster.list(1, &[2]);
    cluster.list(2, &[1]);
    cluster.groups[0].remove("Tom").await.unwrap();
    // Of this node 0 hears nothing: who does not list it cannot tell it.
    cluster.groups[1].remove("Sam").await.unwrap();
    let removed = cluster.groups[0].remove("Tom").await;
    let Err(RemoveError::Incomplete { unreached, .. }) = removed else { panic!("{removed:?}") };
    assert_eq!(unreached.len(), 2);
    for node in [1, 2] {
        cluster.list(node, &[0, 1, 2].into_iter().filter(|peer| *peer != node).collect::<Vec<_>>());
    }
    cluster.groups[0].remove("Tom").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn peers_that_come_back_are_told_what_was_removed_while_there_were_none() {
    let cluster = three();
    cluster.get_everywhere("Tom").await;
    cluster.groups[0].remove("Jack").await.unwrap();
    for node in 0..3 {
        cluster.list(node, &[]);
    }
    cluster.table.update();
    cluster.groups[0].remove("Tom").await.unwrap();
    assert_eq!(owed(&cluster.groups[0]), 2);
    for node in 0..3 {
        cluster.list(node, &[0, 1, 2].into_iter().filter(|peer| *peer != node).collect::<Vec<_>>());
    }
    eventually(|| cluster.groups.iter().all(|group| owed(group) == 0)).await;
    assert_eq!(cluster.get_everywhere("Tom").await, ["Tom v2"; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_started_anew_is_told_before_it_is_believed() {
    let mut cluster = three();
    cluster.get_everywhere("Tom").await;
    cluster.groups[0].remove("Tom").await.unwrap();
    cluster.restart(2);
    // It got hold of an old value: from a peer of its own that we do not know, say.
    cluster.groups[2].get("Tom").await.unwrap();
    cluster.table.update();
    cluster.take_log();
    assert_eq!(cluster.groups[0].get("Tom").await.unwrap(), "Tom v2");
    assert_eq!(cluster.take_log()[0], "0>2 tell all");
    cluster.assert_sums();
}
