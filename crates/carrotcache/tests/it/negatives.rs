//! Keys of which it is remembered that there is no such thing.

use std::time::Duration;

use carrotcache::{ENTRY_OVERHEAD_BYTES, GetError, Group, GroupBuilder, Mirroring};
use futures_util::future::join_all;

use crate::cluster::Cluster;
use crate::rows::{Hand, Mode, Table, soon};
use crate::support::request;
use crate::transport::assert_sums;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn group_of(
    hand: &Hand,
    table: &Table,
    configure: impl FnOnce(GroupBuilder) -> GroupBuilder,
) -> Group {
    let builder = hand.node().group("rows").loader(table.clone()).jitter(0.0);
    configure(builder).build().unwrap()
}

fn remembering(builder: GroupBuilder) -> GroupBuilder {
    builder.not_found_time_to_live(10 * SECOND)
}

async fn assert_not_found(group: &Group, key: &str) {
    let error = group.get(key).await.unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
}

#[tokio::test]
async fn unless_asked_for_nothing_is_remembered_of_keys_that_are_not_there() {
    let (hand, table) = (Hand::new(), Table::new());
    let group = group_of(&hand, &table, |builder| builder.time_to_live(10 * SECOND));
    for _ in 0..3 {
        assert_not_found(&group, "missing").await;
    }
    assert_eq!(table.calls_for("missing"), 3);
    let stats = group.stats();
    assert_eq!((stats.bytes, stats.absent.items, stats.absent.gets), (0, 0, 0));
    assert_sums(&stats);
}

#[tokio::test]
async fn what_is_not_there_is_remembered_to_the_millisecond() {
    let (hand, table) = (Hand::new(), Table::new());
    let group = group_of(&hand, &table, remembering);
    assert_not_found(&group, "missing").await;
    hand.advance(10 * SECOND - MILLI);
    assert_not_found(&group, "missing").await;
    assert_eq!(
        (table.started(), group.get_cached("missing"), group.peek("missing")),
        (1, None, None)
    );
    assert_eq!(group.stats().absent.hits, 2, "the get, and the look that counts");
    hand.advance(MILLI);
    assert_not_found(&group, "missing").await;
    assert_eq!((table.started(), group.stats().not_found), (2, 2));
    assert_sums(&group.stats());
}

#[tokio::test]
async fn twenty_thousand_gets_of_a_hundred_absent_keys_cost_a_hundred_loads() {
    let (hand, table) = (Hand::new(), Table::new());
    let group = group_of(&hand, &table, remembering);
    let keys: Vec<_> = (0..100).map(|key| format!("missing-{key}")).collect();
    for _ in 0..20 {
        let gets = (0..1_000).map(|get| group.get(&keys[get % keys.len()]));
        let found = join_all(gets)
            .await
            .into_iter()
            .filter(|got| !matches!(got, Err(GetError::NotFound { .. })));
        assert_eq!(found.count(), 0);
    }
    assert_eq!(table.started(), 100);
    let stats = group.stats();
    assert_eq!((stats.gets, stats.local_loads, stats.not_found), (20_000, 100, 100));
    assert_sums(&stats);
}

#[tokio::test]
async fn a_flood_of_absent_keys_takes_a_sixteenth_of_the_bytes_and_evicts_no_value() {
    const MAX: u64 = 160_000;
    let (hand, table) = (Hand::new(), Table::new());
    let group = group_of(&hand, &table, |builder| remembering(builder).max_bytes(MAX));
    let values: Vec<_> = (0..500).map(|key| format!("row-{key}")).collect();
    for key in &values {
        group.get(key).await.unwrap();
    }
    assert_eq!(group.stats().main.evictions, 0, "all fit");
    for key in 0..5_000 {
        assert_not_found(&group, &format!("missing-{key}")).await;
        let stats = group.stats();
        assert!(stats.absent.bytes <= MAX / 16, "{stats:?}");
        assert_eq!(stats.bytes, stats.main.bytes + stats.absent.bytes);
    }
    let stats = group.stats();
    assert!(
        stats.absent.bytes > MAX / 16 - 2 * ENTRY_OVERHEAD_BYTES,
        "it was put to use: {stats:?}"
    );
    assert_eq!((stats.main.evictions, stats.main.items), (0, 500));
    assert!(values.iter().all(|key| group.peek(key).is_some()));
    assert_sums(&stats);
}

#[tokio::test]
async fn values_and_absences_together_stay_within_the_bound() {
    const MAX: u64 = 32_000;
    let (hand, table) = (Hand::new(), Table::new());
    let group = group_of(&hand, &table, |builder| remembering(builder).max_bytes(MAX));
    for key in 0..2_000 {
        group.get(&format!("row-{key}")).await.unwrap();
        assert_not_found(&group, &format!("missing-{key}")).await;
        assert!(group.stats().bytes <= MAX);
    }
    assert!(group.stats().bytes > MAX - 4 * ENTRY_OVERHEAD_BYTES);
}

#[tokio::test]
async fn a_remove_a_set_and_a_clear_forget_that_there_was_nothing() {
    let (hand, table) = (Hand::new(), Table::new());
    let group = group_of(&hand, &table, remembering);
    assert_not_found(&group, "missing").await;
    group.remove("missing").await.unwrap();
    assert_eq!(group.stats().absent.items, 0);

    assert_not_found(&group, "missing").await;
    group.clear().await.unwrap();
    assert_eq!(group.stats().absent.items, 0);

    assert_not_found(&group, "missing").await;
    group.set("missing", "it is there now").await.unwrap();
    assert_eq!(group.get("missing").await.unwrap(), "it is there now");
    assert_eq!((group.stats().absent.items, table.started()), (0, 3));
    assert_sums(&group.stats());
}

#[tokio::test]
async fn a_row_that_is_gone_at_its_refresh_is_not_served_stale_any_longer() {
    for remembers in [false, true] {
        let (hand, table) = (Hand::new(), Table::new());
        let group = group_of(&hand, &table, |builder| {
            let builder = builder.time_to_live(10 * SECOND).serve_stale(60 * SECOND);
            if remembers { remembering(builder) } else { builder }
        });
        group.get("Tom").await.unwrap();
        table.set_mode(Mode::Gone);
        hand.advance(10 * SECOND);
        assert_eq!(group.get("Tom").await.unwrap(), "Tom v1", "stale, while a new one is fetched");
        soon(|| group.stats().local_loads == 2).await;
        assert_not_found(&group, "Tom").await;
        assert_eq!(group.stats().main.items, 0);
        assert_eq!(table.calls_for("Tom"), if remembers { 2 } else { 3 });
        assert_sums(&group.stats());
    }
}

#[tokio::test]
async fn what_is_known_to_be_gone_is_not_served_when_the_database_fails_later() {
    let (hand, table) = (Hand::new(), Table::new());
    let configure =
        |builder: GroupBuilder| builder.time_to_live(10 * SECOND).stale_if_error(60 * SECOND);
    let group = group_of(&hand, &table, configure);
    group.get("Tom").await.unwrap();
    hand.advance(10 * SECOND);
    table.set_mode(Mode::Gone);
    assert_not_found(&group, "Tom").await;
    table.set_mode(Mode::Fails);
    let error = group.get("Tom").await.unwrap_err();
    assert!(matches!(error, GetError::LoadFailed { .. }), "{error:?}");
}

fn mirroring(builder: GroupBuilder) -> GroupBuilder {
    remembering(builder).mirroring(Mirroring::Always)
}

#[tokio::test]
async fn only_the_owner_remembers_what_is_not_there() {
    let cluster = Cluster::owned_by(1, 2, mirroring);
    for asked in 1..=3 {
        assert_not_found(&cluster.groups[0], "missing").await;
        assert_eq!(cluster.asked(1), asked);
    }
    assert_eq!(cluster.table.started(), 1);
    let (asker, owner) = (cluster.groups[0].stats(), cluster.groups[1].stats());
    assert_eq!((asker.absent.items, asker.hot.items, asker.mirrored), (0, 0, 0));
    assert_eq!((owner.absent.items, owner.absent.hits), (1, 2));
    cluster.assert_sums();
}

#[tokio::test]
async fn a_mirror_of_a_row_that_is_gone_is_dropped_when_its_refresh_finds_that_out() {
    let stale = |builder| mirroring(builder).time_to_live(10 * SECOND).serve_stale(60 * SECOND);
    let cluster = Cluster::owned_by(1, 2, stale);
    cluster.groups[0].get("Tom").await.unwrap();
    cluster.groups[1].remove("Tom").await.unwrap();
    cluster.groups[0].get("Tom").await.unwrap();
    cluster.table.set_mode(Mode::Gone);
    cluster.hand.advance(15 * SECOND);
    // The owner finds out first, and the mirror by asking it.
    cluster.groups[1].get("Tom").await.unwrap();
    soon(|| cluster.groups[1].stats().main.items == 0).await;
    cluster.groups[0].get("Tom").await.unwrap();
    soon(|| cluster.groups[0].stats().hot.items == 0).await;
    assert_not_found(&cluster.groups[0], "Tom").await;
    cluster.assert_sums();
}

#[tokio::test]
async fn a_peer_that_asks_is_told_at_once_what_is_remembered() {
    let hand = Hand::new();
    let (node, table) = (hand.node(), Table::new());
    let group = remembering(node.group("rows").loader(table.clone())).build().unwrap();
    assert_not_found(&group, "missing").await;
    let answer = node.answer(request("rows", "missing")).await.unwrap();
    assert_eq!((answer.entry.value(), table.started()), (None, 1));
    assert_sums(&group.stats());
}
