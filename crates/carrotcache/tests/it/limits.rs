//! How many loads run at once, and how many wait: the database is kept from more than it can bear.

use std::time::Duration;

use carrotcache::{GetError, Group, GroupBuilder, Node};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::rows::{Hand, Mode, Table, soon};
use crate::transport::assert_sums;

const SECOND: Duration = Duration::from_secs(1);

fn group_of(table: &Table, max_loads: usize, max_waiting_loads: usize) -> Group {
    let builder = Hand::new().node().group("rows").loader(table.clone()).max_loads(max_loads);
    builder.max_waiting_loads(max_waiting_loads).build().unwrap()
}

/// Starts a get in a task of its own.
fn start(group: &Group, key: &str) -> tokio::task::JoinHandle<Result<String, GetError>> {
    let (group, key) = (group.clone(), key.to_owned());
    tokio::spawn(
        async move { group.get(&key).await.map(|value| value.as_str().unwrap().to_owned()) },
    )
}

/// A group with one permit, which the load of `busy` holds until it is let go.
async fn with_a_busy_loader(table: &Table, max_waiting_loads: usize) -> Group {
    let group = group_of(table, 1, max_waiting_loads);
    table.hold(true);
    assert!(group.get("busy").now_or_never().is_none());
    soon(|| table.running() == 1).await;
    group
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_thousand_cold_keys_no_more_than_eight_are_loaded_at_once() {
    let table = Table::new();
    let group = group_of(&table, 8, 16_384);
    let gets: Vec<_> = (0..2_000).map(|key| start(&group, &key.to_string())).collect();
    for (key, got) in gets.into_iter().enumerate() {
        assert_eq!(got.await.unwrap().unwrap(), format!("{key} v1"));
    }
    assert!(table.most_running() <= 8, "{} ran at once", table.most_running());
    let stats = group.stats();
    assert_eq!((table.started(), stats.waiting_loads, stats.loads_refused), (2_000, 0, 0));
    assert_sums(&stats);
}

#[tokio::test]
async fn loads_take_their_turn_in_the_order_in_which_they_came() {
    let table = Table::new();
    let group = with_a_busy_loader(&table, 100).await;
    let keys: Vec<_> = (0..100).map(|key| key.to_string()).collect();
    for (before, key) in keys.iter().enumerate() {
        drop(start(&group, key));
        soon(|| group.stats().waiting_loads == before as u64 + 1).await;
    }
    assert_eq!(table.started(), 1);
    table.hold(false);
    table.let_go(1);
    soon(|| group.stats().local_loads == 101).await;
    assert_eq!(table.order()[1..], keys);
    assert_eq!((table.most_running(), group.stats().waiting_loads), (1, 0));
    assert_sums(&group.stats());
}

#[tokio::test]
async fn one_more_than_may_wait_is_refused_at_once_and_cached_keys_notice_nothing() {
    let table = Table::new();
    let group = group_of(&table, 1, 2);
    group.get("cached").await.unwrap();
    table.hold(true);
    let gets: Vec<_> = ["busy", "one", "two"].map(|key| start(&group, key)).into_iter().collect();
    soon(|| group.stats().waiting_loads == 2).await;
    for _ in 0..10 {
        let refused = group.get("three").now_or_never().expect("it is refused at once");
        let error = refused.unwrap_err();
        assert!(error.is_overloaded(), "{error:?}");
        assert_eq!(
            error.to_string(),
            "the load of `three` in group `rows` was refused: there are too many"
        );
        let cached = group.get("cached").now_or_never().expect("a hit waits for nobody");
        assert_eq!(cached.unwrap(), "cached v1");
    }
    // Whoever wants what is loaded, or waits to be, joins.
    let joined = start(&group, "two");
    table.let_go(3);
    for got in gets.into_iter().chain([joined]) {
        got.await.unwrap().unwrap();
    }
    table.hold(false);
    group.get("three").await.unwrap();
    let stats = group.stats();
    assert_eq!((stats.loads_refused, stats.waiting_loads, table.most_running()), (10, 0, 1));
    assert_sums(&stats);
}

#[tokio::test(start_paused = true)]
async fn a_load_waits_no_longer_than_a_load_may_take() {
    let table = Table::new();
    table.set_mode(Mode::Hangs);
    let group = group_of(&table, 1, 100);
    let started = Instant::now();
    let (busy, waiting) = tokio::join!(group.get("busy"), group.get("waiting"));
    assert!(matches!(busy, Err(GetError::TimedOut { .. })));
    assert!(waiting.unwrap_err().is_overloaded());
    assert_eq!(started.elapsed(), 30 * SECOND);
    let stats = group.stats();
    assert_eq!((stats.loads_refused, stats.local_load_errs, stats.waiting_loads), (1, 1, 0));
    assert_sums(&stats);
}

#[tokio::test(start_paused = true)]
async fn what_a_load_has_waited_is_part_of_its_time() {
    let table = Table::new();
    let group = with_a_busy_loader(&table, 100).await;
    let started = Instant::now();
    table.set_mode(Mode::Hangs);
    let waiting = start(&group, "waiting");
    soon(|| group.stats().waiting_loads == 1).await;
    tokio::time::sleep(20 * SECOND).await;
    table.let_go(2);
    assert!(matches!(waiting.await.unwrap(), Err(GetError::TimedOut { .. })));
    assert_eq!(started.elapsed(), 30 * SECOND);
    assert_sums(&group.stats());
}

#[tokio::test]
async fn a_waiting_load_that_everybody_has_left_does_not_run() {
    let table = Table::new();
    let group = with_a_busy_loader(&table, 100).await;
    let gets: Vec<_> = (0..50).map(|key| start(&group, &key.to_string())).collect();
    soon(|| group.stats().waiting_loads == 50).await;
    let stays = start(&group, "7");
    soon(|| group.stats().loads == 52).await;
    gets.iter().for_each(tokio::task::JoinHandle::abort);
    for get in gets {
        assert!(get.await.unwrap_err().is_cancelled());
    }
    table.hold(false);
    table.let_go(1);
    assert_eq!(stays.await.unwrap().unwrap(), "7 v1");
    soon(|| group.stats().waiting_loads == 0).await;
    assert_eq!(table.order(), ["busy", "7"]);
    let stats = group.stats();
    assert_eq!((stats.loads_refused, stats.local_loads), (49, 2));
    assert_sums(&stats);
    // Nothing of them is left: they can be loaded as any other.
    assert_eq!(group.get("0").await.unwrap(), "0 v1");
}

#[tokio::test]
async fn an_owners_refusal_is_its_verdict_and_the_asker_does_not_load_itself() {
    let cluster = Cluster::owned_by(1, 2, |builder| builder.max_loads(1).max_waiting_loads(0));
    cluster.table.hold(true);
    let busy = start(&cluster.groups[1], "busy");
    soon(|| cluster.table.running() == 1).await;
    let error = cluster.groups[0].get("Tom").await.unwrap_err();
    assert!(error.is_overloaded(), "{error:?}");
    let (asker, owner) = (cluster.groups[0].stats(), cluster.groups[1].stats());
    assert_eq!((asker.peer_loads, asker.peer_errors, asker.local_loads), (1, 0, 0));
    assert_eq!((owner.loads_refused, cluster.table.started()), (1, 1));
    cluster.table.let_go(1);
    busy.await.unwrap().unwrap();
    cluster.assert_sums();
}

/// A loader that gets a `part` for each `page` of its own group, as deep as there are slashes, and holds
/// each load of a page until it is let go.
fn nested(
    node: &Node,
    name: &'static str,
    table: &Table,
    configure: impl FnOnce(GroupBuilder) -> GroupBuilder,
) -> Group {
    let (again, table) = (node.clone(), table.clone());
    let loader = move |key: String| {
        let (group, table) = (again.find(name).unwrap(), table.clone());
        async move {
            let row = carrotcache::Loader::load(&table, key.clone()).await?;
            let Some((_, part)) = key.split_once('/') else { return Ok(row) };
            let part = group.get(part).await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(Some(part.as_str().unwrap().to_owned()))
        }
    };
    configure(node.group(name).loader(loader)).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn loads_within_loads_need_no_permit_however_deep() {
    let (node, table) = (Node::new(), Table::new());
    let group =
        nested(&node, "nested", &table, |builder| builder.max_loads(2).max_waiting_loads(0));
    let gets = [start(&group, "a/b/c/d"), start(&group, "w/x/y/z")];
    for (got, leaf) in gets.into_iter().zip(["d v1", "z v1"]) {
        assert_eq!(got.await.unwrap().unwrap(), leaf);
    }
    let stats = group.stats();
    assert_eq!((stats.local_loads, stats.loads_refused), (8, 0));
    assert_sums(&stats);
}

#[tokio::test(start_paused = true)]
async fn a_load_within_a_load_takes_one_that_waits_along() {
    let (node, table) = (Node::new(), Table::new());
    let group = nested(&node, "nested", &table, |builder| builder.max_loads(1));
    table.hold(true);
    let (started, page) = (Instant::now(), start(&group, "page/part"));
    soon(|| table.running() == 1).await;
    // It waits for the permit of the page, which is about to wait for it.
    let part = start(&group, "part");
    soon(|| group.stats().waiting_loads == 1).await;
    table.hold(false);
    table.let_go(1);
    assert_eq!(page.await.unwrap().unwrap(), "part v1");
    assert_eq!(part.await.unwrap().unwrap(), "part v1");
    assert_eq!((started.elapsed(), table.calls_for("part")), (Duration::ZERO, 1));
    let stats = group.stats();
    assert_eq!((stats.waiting_loads, stats.loads_refused), (0, 0));
    assert_sums(&stats);
}

/// Two nodes that have a group `nested` each with one permit. Keys belong to the node that their first
/// letter names.
fn nested_pair(table: &Table) -> (Cluster, Vec<Group>) {
    let owner = |_: usize, key: &str| usize::from(key.starts_with('1'));
    let cluster = Cluster::new(2, owner, |builder| builder);
    let groups = (0..2)
        .map(|node| nested(&cluster.node(node), "nested", table, |builder| builder.max_loads(1)))
        .collect();
    (cluster, groups)
}

#[tokio::test(start_paused = true)]
async fn loads_within_loads_of_another_node_need_no_permit() {
    let table = Table::new();
    let (_cluster, groups) = nested_pair(&table);
    table.hold(true);
    let started = Instant::now();
    // Each node has one permit, which a page holds that needs a part of the other.
    let pages = [start(&groups[0], "0-page/1-part"), start(&groups[1], "1-page/0-part")];
    soon(|| table.running() == 2).await;
    table.hold(false);
    table.let_go(2);
    for page in pages {
        assert!(page.await.unwrap().unwrap().ends_with("v1"));
    }
    assert_eq!(started.elapsed(), Duration::ZERO, "they waited for each other");
    groups.iter().for_each(|group| assert_sums(&group.stats()));
}

#[tokio::test(start_paused = true)]
async fn a_load_within_a_load_takes_one_that_waits_at_another_node_along() {
    let table = Table::new();
    let (_cluster, groups) = nested_pair(&table);
    table.hold(true);
    let started = Instant::now();
    let pages = [start(&groups[0], "0-page/1-part"), start(&groups[1], "1-page/0-part")];
    soon(|| table.running() == 2).await;
    groups.iter().for_each(|group| assert_eq!(group.stats().waiting_loads, 0));
    // Gets of the other node's part that are no part of a load: each waits there for its turn.
    let parts = [start(&groups[1], "0-part"), start(&groups[0], "1-part")];
    soon(|| groups.iter().all(|group| group.stats().waiting_loads == 1)).await;
    table.hold(false);
    table.let_go(2);
    for got in pages.into_iter().chain(parts) {
        assert!(got.await.unwrap().unwrap().ends_with("v1"));
    }
    assert_eq!(started.elapsed(), Duration::ZERO, "they waited for each other");
    groups.iter().for_each(|group| assert_sums(&group.stats()));
}

#[tokio::test(start_paused = true)]
async fn a_load_within_a_load_takes_one_along_that_waits_because_its_owner_is_away() {
    let table = Table::new();
    let (cluster, groups) = nested_pair(&table);
    cluster.set_down(1, true);
    table.hold(true);
    let (started, page) = (Instant::now(), start(&groups[0], "0-page/1-part"));
    soon(|| table.running() == 1).await;
    let part = start(&groups[0], "1-part");
    soon(|| groups[0].stats().waiting_loads == 1).await;
    table.hold(false);
    table.let_go(1);
    for got in [page, part] {
        assert_eq!(got.await.unwrap().unwrap(), "1-part v1");
    }
    assert_eq!(started.elapsed(), Duration::ZERO, "they waited for each other");
    assert_sums(&groups[0].stats());
}

#[test]
fn the_sums_hold_when_a_runtime_ends_that_loads_wait_on() {
    let table = Table::new();
    let dying = tokio::runtime::Runtime::new().unwrap();
    let node = Node::builder().runtime(dying.handle().clone()).build();
    let group = node.group("rows").loader(table.clone()).max_loads(1).build().unwrap();
    dying.block_on(async {
        table.hold(true);
        let _gets = ["busy", "one", "two"].map(|key| start(&group, key));
        soon(|| group.stats().waiting_loads == 2).await;
    });
    dying.shutdown_timeout(10 * SECOND);
    let stats = group.stats();
    assert_eq!((stats.waiting_loads, stats.loads_refused, stats.local_load_errs), (0, 2, 1));
    assert_sums(&stats);
}

#[tokio::test]
async fn errors_of_many_waiting_loads_leave_no_place_taken() {
    let table = Table::new();
    let group = group_of(&table, 2, 10);
    for mode in [Mode::Fails, Mode::Panics] {
        table.set_mode(mode);
        let keys: Vec<_> = (0..10).map(|key| key.to_string()).collect();
        let errors = join_all(keys.iter().map(|key| group.get(key))).await;
        assert!(errors.iter().all(|got| got.as_ref().is_err_and(|error| !error.is_overloaded())));
    }
    table.set_mode(Mode::Works);
    group.get("0").await.unwrap();
    assert_eq!(group.stats().waiting_loads, 0);
    assert_sums(&group.stats());
}
