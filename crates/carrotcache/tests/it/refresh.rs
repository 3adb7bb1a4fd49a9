//! Values that are renewed while they are served: stale ones, and those that soon expire.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use carrotcache::{Group, GroupBuilder, Loader, Mirroring, Node, Owner, Peer, Picker};
use futures_util::FutureExt;
use futures_util::future::join_all;

use crate::cluster::Cluster;
use crate::rows::{Hand, Mode, Table, soon};
use crate::transport::assert_sums;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Fresh for ten seconds, and stale for a minute.
fn stale(builder: GroupBuilder) -> GroupBuilder {
    builder.jitter(0.0).time_to_live(10 * SECOND).serve_stale(60 * SECOND)
}

fn stale_group(hand: &Hand, table: &Table) -> Group {
    stale(hand.node().group("rows").loader(table.clone())).build().unwrap()
}

/// Waits until all loads and refreshes of a node alone are over, each of which had a flight of its own.
async fn settle(group: &Group) {
    soon(|| {
        let stats = group.stats();
        let late_hits = stats.cache_hits - stats.main.hits - stats.hot.hits;
        let ended = stats.local_loads + stats.local_load_errs + stats.loads_refused + late_hits;
        ended == stats.loads + stats.refreshes
    })
    .await;
}

#[tokio::test]
async fn a_stale_value_is_served_and_refreshed_once_however_many_ask() {
    let (hand, table) = (Hand::new(), Table::new());
    let group = stale_group(&hand, &table);
    group.get("Tom").await.unwrap();
    table.update();
    hand.advance(10 * SECOND);
    table.hold(true);
    for value in join_all((0..64).map(|_| group.get("Tom"))).await {
        assert_eq!(value.unwrap(), "Tom v1");
    }
    soon(|| table.started() == 2).await;
    table.let_go(1);
    soon(|| group.stats().local_loads == 2).await;
    for value in join_all((0..64).map(|_| group.get("Tom"))).await {
        assert_eq!(value.unwrap(), "Tom v2");
    }
    let stats = group.stats();
    assert_eq!((table.started(), stats.refreshes, stats.main.hits), (2, 1, 128));
    assert_sums(&stats);
}

#[tokio::test]
async fn stale_is_over_to_the_millisecond() {
    let (hand, table) = (Hand::new(), Table::new());
    let group = stale_group(&hand, &table);
    group.get("Tom").await.unwrap();
    table.set_mode(Mode::Fails);
    hand.advance(70 * SECOND - MILLI);
    assert_eq!(group.get("Tom").await.unwrap(), "Tom v1");
    settle(&group).await;
    hand.advance(MILLI);
    assert_eq!(group.peek("Tom"), None);
    assert!(group.get("Tom").await.is_err());
    settle(&group).await;
    assert_sums(&group.stats());
}

#[tokio::test]
async fn a_failed_refresh_backs_off_up_to_half_a_minute_and_prolongs_nothing() {
    let (hand, table) = (Hand::new(), Table::new());
    let builder = stale(hand.node().group("rows").loader(table.clone()));
    let group = builder.serve_stale(100 * SECOND).build().unwrap();
    group.get("Tom").await.unwrap();
    hand.advance(10 * SECOND);
    table.set_mode(Mode::Fails);
    let mut tried = Vec::new();
    for half in 0..200 {
        let before = table.started();
        assert_eq!(group.get("Tom").await.unwrap(), "Tom v1", "after {half} halves of a second");
        settle(&group).await;
        if table.started() > before {
            tried.push(half);
        }
        hand.advance(SECOND / 2);
    }
    // Pauses of 1, 2, 4, 8, 16, 30 and 30 seconds.
    assert_eq!(tried, [0, 2, 6, 14, 30, 62, 122, 182]);
    assert_eq!(group.peek("Tom"), None, "it is over when it would have been without them");
    let stats = group.stats();
    assert_eq!((stats.refreshes, stats.local_load_errs), (8, 8));
    assert_sums(&stats);
}

#[tokio::test]
async fn after_a_success_of_any_kind_a_failing_refresh_is_tried_again_soon() {
    for by_a_get in [false, true] {
        let (hand, table) = (Hand::new(), Table::new());
        let builder = hand.node().group("rows").loader(table.clone()).jitter(0.0);
        let group = builder.time_to_live(SECOND / 2).serve_stale(60 * SECOND).build().unwrap();
        group.get("Tom").await.unwrap();
        hand.advance(SECOND);
        table.set_mode(Mode::Fails);
        for pause in [1, 2, 4, 8] {
            group.get("Tom").await.unwrap();
            settle(&group).await;
            hand.advance(pause * SECOND);
        }
        table.set_mode(Mode::Works);
        if by_a_get {
            // The row was removed meanwhile, and a get loads it.
            hand.advance(SECOND);
            group.remove("Tom").await.unwrap();
        }
        group.get("Tom").await.unwrap();
        settle(&group).await;
        // Stale half a second later, and its refresh is not held up by what failed before.
        hand.advance(SECOND / 2);
        let before = table.started();
        table.set_mode(Mode::Fails);
        group.get("Tom").await.unwrap();
        settle(&group).await;
        hand.advance(SECOND);
        group.get("Tom").await.unwrap();
        settle(&group).await;
        assert_eq!(table.started(), before + 2, "by a get: {by_a_get}");
    }
}

#[tokio::test]
async fn an_expiring_hot_key_under_64_askers_on_three_nodes_costs_one_load() {
    for stale_for in [Duration::ZERO, 60 * SECOND] {
        let cluster = Cluster::owned_by(2, 3, move |builder| {
            stale(builder).serve_stale(stale_for).mirroring(Mirroring::Always)
        });
        cluster.get_everywhere("Tom").await;
        cluster.hand.advance(10 * SECOND);
        cluster.table.update();
        let groups: Vec<_> = (0..64).map(|asker| &cluster.groups[asker % 3]).collect();
        for value in join_all(groups.iter().map(|group| group.get("Tom"))).await {
            let value = value.unwrap();
            assert!(value == "Tom v2" || !stale_for.is_zero() && value == "Tom v1", "{value:?}");
        }
        soon(|| cluster.groups[2].stats().local_loads == 2).await;
        // What the owner has by now reaches the others by their next refresh.
        join_all(groups.iter().map(|group| group.get("Tom"))).await;
        soon(|| cluster.groups.iter().all(|group| group.peek("Tom").unwrap() == "Tom v2")).await;
        assert_eq!(cluster.table.calls_for("Tom"), 2, "stale for {stale_for:?}");
        cluster.assert_sums();
    }
}

/// A loader each of whose calls takes a second of the clock that is moved by hand.
fn dear(hand: Hand) -> impl Loader {
    move |key: String| {
        hand.advance(SECOND);
        async move { Ok::<_, Infallible>(Some(key)) }
    }
}

#[tokio::test]
async fn a_value_that_took_long_to_load_is_refreshed_before_it_expires() {
    let hand = Hand::new();
    let builder = hand.node().group("dear").loader(dear(hand.clone())).jitter(0.0);
    let group = builder.time_to_live(100 * SECOND).build().unwrap();
    group.get("Tom").await.unwrap();
    // Ten times what the load took, and a little.
    hand.advance(90 * SECOND - MILLI);
    for _ in 0..1_000 {
        group.get("Tom").await.unwrap();
    }
    assert_eq!(group.stats().refreshes, 0, "it is early");
    hand.advance(10 * SECOND);
    // With a millisecond left it is due with a chance of .999 at each get.
    for _ in 0..10 {
        group.get("Tom").await.unwrap();
    }
    soon(|| group.stats().local_loads == 2).await;
    hand.advance(50 * SECOND);
    assert!(group.peek("Tom").is_some(), "a new one took its place");
    let stats = group.stats();
    assert_eq!((stats.loads, stats.refreshes), (1, 1), "nobody has waited");
    assert_sums(&stats);
}

#[tokio::test]
async fn a_copy_is_not_refreshed_before_it_expires() {
    let cluster = Cluster::owned_by(1, 2, |builder| {
        builder.jitter(0.0).time_to_live(100 * SECOND).mirroring(Mirroring::Always)
    });
    let hand = cluster.hand.clone();
    cluster.groups[1].set("Tom", "new").await.unwrap();
    cluster.groups[1].remove("Tom").await.unwrap();
    cluster.table.hold(true);
    let slow = async {
        soon(|| cluster.table.running() == 1).await;
        hand.advance(10 * SECOND);
        cluster.table.let_go(1);
    };
    let (got, ()) = tokio::join!(cluster.groups[0].get("Tom"), slow);
    got.unwrap();
    let asked = cluster.asked(1);
    // The copy counts from when it was asked for, ten seconds before the owner's value was there.
    hand.advance(90 * SECOND - MILLI);
    for _ in 0..1_000 {
        cluster.groups[0].get("Tom").await.unwrap();
    }
    let stats = cluster.groups[0].stats();
    assert_eq!((stats.hot.hits, stats.refreshes, cluster.asked(1)), (1_000, 0, asked));
}

#[tokio::test]
async fn a_refresh_does_not_wait_for_a_permit() {
    let (hand, table) = (Hand::new(), Table::new());
    let builder = stale(hand.node().group("rows").loader(table.clone()));
    let group = builder.max_loads(1).build().unwrap();
    group.get("Tom").await.unwrap();
    hand.advance(10 * SECOND);
    table.hold(true);
    assert!(group.get("busy").now_or_never().is_none());
    soon(|| table.running() == 1).await;
    assert_eq!(group.get("Tom").await.unwrap(), "Tom v1");
    let stats = group.stats();
    assert_eq!((stats.refreshes, stats.waiting_loads), (0, 0), "it does without");
    table.let_go(1);
    soon(|| group.peek("busy").is_some()).await;
    group.get("Tom").await.unwrap();
    table.let_go(1);
    settle(&group).await;
    assert_eq!(table.calls_for("Tom"), 2, "the next get has refreshed it, without a pause");
    assert_sums(&group.stats());
}

/// Two nodes, of which the other one owns `Tom`, and this one has a copy that is stale.
async fn with_a_stale_copy() -> Cluster {
    let owner = |_: usize, key: &str| usize::from(key == "Tom");
    let cluster =
        Cluster::new(2, owner, |builder| stale(builder).mirroring(Mirroring::Always).max_loads(1));
    cluster.groups[0].get("Tom").await.unwrap();
    cluster.hand.advance(10 * SECOND);
    cluster.table.update();
    cluster
}

#[tokio::test]
async fn a_stale_copy_whose_owner_is_away_is_refreshed_here() {
    let cluster = with_a_stale_copy().await;
    let group = &cluster.groups[0];
    cluster.set_down(1, true);
    assert_eq!(group.get("Tom").await.unwrap(), "Tom v1");
    soon(|| group.peek("Tom").unwrap() == "Tom v2").await;
    assert_eq!((cluster.table.calls_for("Tom"), group.stats().hot.items), (2, 1));
    cluster.assert_sums();
}

#[tokio::test]
async fn a_refresh_whose_owner_is_away_backs_off_if_it_fails_here_too() {
    let cluster = with_a_stale_copy().await;
    let group = &cluster.groups[0];
    cluster.set_down(1, true);
    cluster.table.set_mode(Mode::Fails);
    for _ in 0..10 {
        assert_eq!(group.get("Tom").await.unwrap(), "Tom v1");
        soon(|| group.stats().local_load_errs == 1).await;
    }
    assert_eq!((group.stats().refreshes, group.stats().peer_errors), (1, 1));
    cluster.assert_sums();
}

#[tokio::test]
async fn a_refresh_whose_owner_is_away_does_not_wait_for_a_permit_here() {
    let cluster = with_a_stale_copy().await;
    let (group, table) = (&cluster.groups[0], &cluster.table);
    cluster.set_down(1, true);
    table.hold(true);
    assert!(group.get("busy").now_or_never().is_none());
    soon(|| table.running() == 1).await;
    assert_eq!(group.get("Tom").await.unwrap(), "Tom v1");
    soon(|| group.stats().peer_errors == 1).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
        assert_eq!(group.stats().waiting_loads, 0, "it waits");
    }
    table.let_go(1);
    soon(|| group.peek("busy").is_some()).await;
    assert_eq!(table.calls_for("Tom"), 1);
    cluster.assert_sums();
}

#[tokio::test]
async fn a_get_that_comes_when_the_value_has_died_joins_its_refresh() {
    let (hand, table) = (Hand::new(), Table::new());
    let group = stale_group(&hand, &table);
    group.get("Tom").await.unwrap();
    table.update();
    hand.advance(10 * SECOND);
    table.hold(true);
    group.get("Tom").await.unwrap();
    soon(|| table.started() == 2).await;
    hand.advance(60 * SECOND);
    let (got, ()) = tokio::join!(group.get("Tom"), async {
        soon(|| group.stats().loads == 2).await;
        table.let_go(1);
    });
    assert_eq!(got.unwrap(), "Tom v2");
    assert_eq!(table.started(), 2);
    assert_sums(&group.stats());
}

#[tokio::test]
async fn a_refresh_slower_than_the_time_to_live_brings_a_whole_one_all_the_same() {
    let (hand, table) = (Hand::new(), Table::new());
    let group = stale_group(&hand, &table);
    group.get("Tom").await.unwrap();
    table.update();
    hand.advance(10 * SECOND);
    table.hold(true);
    group.get("Tom").await.unwrap();
    soon(|| table.started() == 2).await;
    hand.advance(30 * SECOND);
    assert_eq!(group.get("Tom").await.unwrap(), "Tom v1", "stale while it lasts");
    table.let_go(1);
    settle(&group).await;
    hand.advance(10 * SECOND - MILLI);
    table.hold(false);
    assert_eq!(group.get("Tom").await.unwrap(), "Tom v2");
    settle(&group).await;
    // Early refreshes are likely, as the load took longer than the value is fresh.
    assert!(table.started() <= 3);
    assert_sums(&group.stats());
}

#[tokio::test]
async fn a_stale_mirror_is_refreshed_from_its_owner_once() {
    let configure = |builder| stale(builder).mirroring(Mirroring::Always);
    let cluster = Cluster::owned_by(1, 2, configure);
    cluster.groups[0].get("Tom").await.unwrap();
    cluster.hand.advance(10 * SECOND);
    cluster.table.update();
    cluster.groups[1].get("Tom").await.unwrap();
    soon(|| cluster.groups[1].stats().local_loads == 2).await;
    for value in join_all((0..64).map(|_| cluster.groups[0].get("Tom"))).await {
        assert_eq!(value.unwrap(), "Tom v1");
    }
    soon(|| cluster.groups[0].peek("Tom").unwrap() == "Tom v2").await;
    assert_eq!((cluster.asked(1), cluster.groups[0].stats().refreshes), (2, 1));
    cluster.assert_sums();
}

/// A picker of a node alone that sets the key to a new value between a look and the flight after it.
#[derive(Clone, Default)]
struct Meddler {
    group: Arc<OnceLock<Group>>,
    is_armed: Arc<AtomicBool>,
}

impl Picker for Meddler {
    fn owner(&self, key: &str) -> Owner {
        if self.is_armed.swap(false, Ordering::SeqCst) {
            self.group.get().unwrap().set(key, "set").now_or_never().unwrap().unwrap();
        }
        Owner::Local
    }

    fn peers(&self) -> Vec<Arc<dyn Peer>> {
        Vec::new()
    }
}

#[tokio::test]
async fn a_refresh_that_finds_a_newer_value_has_not_failed() {
    let (hand, table, meddler) = (Hand::new(), Table::new(), Meddler::default());
    let node = Node::builder().peers(meddler.clone()).clock(hand.clock(Duration::ZERO)).build();
    let builder = node.group("rows").loader(table.clone()).jitter(0.0);
    let group = builder.time_to_live(SECOND / 2).serve_stale(60 * SECOND).build().unwrap();
    meddler.group.set(group.clone()).ok().unwrap();
    group.get("Tom").await.unwrap();
    hand.advance(SECOND / 2);
    meddler.is_armed.store(true, Ordering::SeqCst);
    assert_eq!(group.get("Tom").await.unwrap(), "Tom v1");
    soon(|| group.stats().cache_hits > group.stats().main.hits).await;
    assert_eq!((group.peek("Tom").unwrap(), table.started()), ("set".into(), 1));
    hand.advance(SECOND / 2);
    assert_eq!(group.get("Tom").await.unwrap(), "set");
    settle(&group).await;
    assert_eq!(table.started(), 2, "it was not held up as one that has failed");
    assert_sums(&group.stats());
}
