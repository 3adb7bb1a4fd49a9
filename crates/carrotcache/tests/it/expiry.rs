//! How long values are good, on one node and on mirrors.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use carrotcache::{Answer, Entry, Group, Mirroring, Node, Value};
use futures_util::future::join_all;
use proptest::prelude::*;

use crate::cluster::Cluster;
use crate::rows::{Hand, Table};
use crate::support::request;
use crate::transport::{assert_sums, node_asking};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A group of a node alone, whose values are fresh for exactly so long.
fn group_for(hand: &Hand, table: &Table, time_to_live: Duration) -> Group {
    let builder = hand.node().group("rows").loader(table.clone()).jitter(0.0);
    builder.time_to_live(time_to_live).build().unwrap()
}

#[tokio::test]
async fn with_a_time_to_live_of_zero_those_who_wait_share_a_value_that_is_not_kept() {
    let (hand, table) = (Hand::new(), Table::new());
    let group = group_for(&hand, &table, Duration::ZERO);
    let values = join_all((0..32).map(|_| group.get("Tom"))).await;
    assert!(values.into_iter().all(|value| value.unwrap() == "Tom v1"));
    assert_eq!(table.calls_for("Tom"), 1);
    let stats = group.stats();
    assert_eq!((stats.main.items, stats.hot.items, stats.bytes), (0, 0, 0));
    group.get("Tom").await.unwrap();
    assert_eq!(table.calls_for("Tom"), 2);
    assert_sums(&group.stats());
}

#[tokio::test]
async fn a_time_to_live_of_centuries_never_ends_whoever_has_set_it() {
    let (hand, table) = (Hand::new(), Table::new());
    let of_the_group = group_for(&hand, &table, 300 * YEAR);
    let loader = |key: String| async move {
        Ok::<_, Infallible>(Some(Value::new(key).with_time_to_live(Duration::MAX)))
    };
    let of_the_value = hand.node().group("own").loader(loader).build().unwrap();
    for group in [&of_the_group, &of_the_value] {
        group.get("Tom").await.unwrap();
    }
    hand.advance(1_000_000 * YEAR);
    assert!(of_the_group.get_cached("Tom").is_some() && of_the_value.get_cached("Tom").is_some());
}

#[tokio::test]
async fn a_value_expires_to_the_millisecond() {
    let (hand, table) = (Hand::new(), Table::new());
    let group = group_for(&hand, &table, 10 * SECOND);
    group.get("Tom").await.unwrap();
    hand.advance(10 * SECOND - MILLI);
    assert_eq!(group.peek("Tom").unwrap(), "Tom v1");
    hand.advance(MILLI);
    assert_eq!(group.peek("Tom"), None);
    table.update();
    assert_eq!(group.get("Tom").await.unwrap(), "Tom v2");
    assert_eq!(table.calls_for("Tom"), 2);
    let stats = group.stats();
    assert_eq!((stats.loads, stats.main.items), (2, 1), "the new one took the place of the old");
    assert_sums(&stats);
}

#[tokio::test]
async fn the_time_counts_from_the_end_of_the_load() {
    let hand = Hand::new();
    let slow = hand.clone();
    let loader = move |key: String| {
        slow.advance(7 * SECOND);
        async move { Ok::<_, Infallible>(Some(key)) }
    };
    let builder = hand.node().group("slow").loader(loader).jitter(0.0);
    let group = builder.time_to_live(10 * SECOND).build().unwrap();
    group.get("Tom").await.unwrap();
    hand.advance(10 * SECOND - MILLI);
    assert!(group.peek("Tom").is_some());
    hand.advance(MILLI);
    assert!(group.peek("Tom").is_none());
}

#[tokio::test]
async fn of_the_values_time_and_the_groups_the_shorter_counts() {
    let hand = Hand::new();
    let loader = |key: String| async move {
        let own = Duration::from_secs(key.parse().unwrap());
        Ok::<_, Infallible>(Some(Value::new(key).with_time_to_live(own)))
    };
    let builder = hand.node().group("own").loader(loader).jitter(0.0);
    let group = builder.time_to_live(10 * SECOND).build().unwrap();
    for key in ["0", "3", "10", "99"] {
        group.get(key).await.unwrap();
    }
    let alive = || ["0", "3", "10", "99"].into_iter().filter(|key| group.peek(key).is_some());
    assert_eq!(alive().collect::<Vec<_>>(), ["3", "10", "99"]);
    hand.advance(3 * SECOND);
    assert_eq!(alive().collect::<Vec<_>>(), ["10", "99"]);
    hand.advance(7 * SECOND);
    assert_eq!(alive().count(), 0);
}

#[tokio::test]
async fn jitter_spreads_the_end_of_100_000_equal_times_to_live() {
    const KEYS: usize = 100_000;
    let (hand, table) = (Hand::new(), Table::new());
    let builder = hand.node().group("rows").loader(table).time_to_live(100 * SECOND);
    let group = builder.build().unwrap();
    let mut alive: Vec<_> = (0..KEYS).map(|key| key.to_string()).collect();
    for key in &alive {
        group.get(key).await.unwrap();
    }
    assert_eq!(group.stats().main.items, KEYS as u64, "all fit");
    hand.advance(90 * SECOND - MILLI);
    assert!(alive.iter().all(|key| group.peek(key).is_some()), "nine tenths are for all");
    for second in 91..=100 {
        hand.advance(SECOND);
        let before = alive.len();
        alive.retain(|key| group.peek(key).is_some());
        // A tenth of 100,000, with a standard deviation of 95: these bounds are more than 10 of them
        // off.
        let expired = before - alive.len();
        assert!((9_000..11_000).contains(&expired), "{expired} expired in second {second}");
    }
    hand.advance(MILLI);
    alive.retain(|key| group.peek(key).is_some());
    assert_eq!(alive.len(), 0, "jitter never adds");
}

/// A node whose clock counts how often it is read.
fn counting_node() -> (Node, Arc<AtomicU64>) {
    let reads = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&reads);
    let clock = move || {
        counter.fetch_add(1, Ordering::SeqCst);
        SECOND
    };
    (Node::builder().clock(clock).build(), reads)
}

#[tokio::test]
async fn the_clock_is_not_asked_for_values_that_never_expire() {
    let (node, reads) = counting_node();
    for (name, time_to_live, is_asked) in [
        ("for-good", None, false),
        ("ages", Some(100 * YEAR), false),
        ("an-hour", Some(3_600 * SECOND), true),
    ] {
        let builder = node.group(name).loader(Table::new());
        let builder =
            time_to_live.into_iter().fold(builder, |builder, time| builder.time_to_live(time));
        let group = builder.build().unwrap();
        group.get("Tom").await.unwrap();
        let before = reads.load(Ordering::SeqCst);
        for _ in 0..100 {
            group.get("Tom").await.unwrap();
            group.get_cached("Tom").unwrap();
            group.peek("Tom").unwrap();
        }
        let has_asked = reads.load(Ordering::SeqCst) > before;
        assert_eq!(has_asked, is_asked, "{name}");
    }
}

#[tokio::test]
async fn a_value_that_expires_between_look_up_and_clone_is_returned_and_told_as_expired() {
    let hand = Hand::new();
    let jump = Arc::new(AtomicU64::new(0));
    let clock = {
        let (read, hand, jump) = (hand.clock(Duration::ZERO), hand.clone(), Arc::clone(&jump));
        move || {
            let now = read();
            hand.advance(Duration::from_millis(jump.swap(0, Ordering::SeqCst)));
            now
        }
    };
    let node = Node::builder().clock(clock).build();
    let builder = node.group("rows").loader(Table::new()).time_to_live(10 * SECOND);
    let group = builder.jitter(0.0).build().unwrap();
    let jump_after_the_next_look = || jump.store(10_000, Ordering::SeqCst);

    group.get("Tom").await.unwrap();
    jump_after_the_next_look();
    assert_eq!(group.get("Tom").await.unwrap(), "Tom v1", "it was fresh when it was looked at");
    assert_eq!(group.stats().main.hits, 1);
    assert_eq!(group.peek("Tom"), None);

    group.get("Tom").await.unwrap();
    jump_after_the_next_look();
    let answer = node.answer(request("rows", "Tom")).await.unwrap();
    assert_eq!(answer.entry, Entry::new("Tom v1").with_fresh_for(Duration::ZERO));
    assert_sums(&group.stats());
}

fn mirroring(builder: carrotcache::GroupBuilder) -> carrotcache::GroupBuilder {
    builder.mirroring(Mirroring::Always).jitter(0.0)
}

proptest! {
    /// Whatever the delays of the wire and the ages at which copies are made, whenever the copy is
    /// good, the owner's value is.
    #[test]
    fn a_mirror_never_outlives_its_owners_copy(
        (fresh, stale) in (1_u64..2_000, prop_oneof![Just(0), 0_u64..2_000]),
        mirrored in proptest::option::of(0_u64..2_000),
        (there, back) in (0_u64..300, 0_u64..300),
        (jitter, age) in (0.0..=1.0, 0_u64..3_000),
        steps in proptest::collection::vec(1_u64..400, 1..16),
    ) {
        let millis = Duration::from_millis;
        let configure = move |builder: carrotcache::GroupBuilder| {
            let builder = mirroring(builder).time_to_live(millis(fresh)).serve_stale(millis(stale));
            let builder = builder.jitter(jitter);
            mirrored.into_iter().fold(builder, |builder, time| builder.mirror_time_to_live(millis(time)))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let cluster = Cluster::owned_by(1, 2, configure);
            cluster.groups[1].get("Tom").await.unwrap();
            cluster.hand.advance(millis(age));
            cluster.set_delays(millis(there), millis(back));
            cluster.groups[0].get("Tom").await.unwrap();
            for step in steps {
                let (copy, owners) = (cluster.groups[0].peek("Tom"), cluster.groups[1].peek("Tom"));
                prop_assert!(copy.is_none() || owners.is_some(), "the copy is good alone");
                cluster.hand.advance(millis(step));
            }
            cluster.assert_sums();
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn over_a_wire_that_takes_no_time_a_mirror_lives_as_long_as_its_owners_copy() {
    let cluster = Cluster::owned_by(1, 2, |builder| mirroring(builder).time_to_live(10 * SECOND));
    cluster.groups[1].get("Tom").await.unwrap();
    cluster.hand.advance(4 * SECOND);
    cluster.groups[0].get("Tom").await.unwrap();
    cluster.hand.advance(6 * SECOND - MILLI);
    assert!(cluster.groups.iter().all(|group| group.peek("Tom").is_some()));
    cluster.hand.advance(MILLI);
    assert!(cluster.groups.iter().all(|group| group.peek("Tom").is_none()));
}

#[tokio::test]
async fn a_mirrors_own_time_to_live_bounds_it() {
    for owners in [Duration::MAX, 10 * SECOND] {
        let cluster = Cluster::owned_by(1, 2, move |builder| {
            mirroring(builder).mirror_time_to_live(2 * SECOND).time_to_live(owners)
        });
        cluster.groups[0].get("Tom").await.unwrap();
        cluster.hand.advance(2 * SECOND - MILLI);
        cluster.groups[0].get("Tom").await.unwrap();
        assert_eq!(cluster.asked(1), 1);
        cluster.hand.advance(MILLI);
        cluster.groups[0].get("Tom").await.unwrap();
        assert_eq!((cluster.asked(1), cluster.table.calls_for("Tom")), (2, 1));
        cluster.assert_sums();
    }
}

#[tokio::test]
async fn with_a_mirrors_time_to_live_of_zero_there_are_no_copies() {
    let configure = |builder| mirroring(builder).mirror_time_to_live(Duration::ZERO);
    let cluster = Cluster::owned_by(1, 2, configure);
    for _ in 0..3 {
        assert_eq!(cluster.groups[0].get("Tom").await.unwrap(), "Tom v1");
    }
    let stats = cluster.groups[0].stats();
    assert_eq!((stats.hot.items, stats.mirrored, cluster.asked(1)), (0, 0, 3));
}

#[tokio::test]
async fn a_mirror_is_not_filled_from_a_stale_entry() {
    let configure = |builder| mirroring(builder).time_to_live(10 * SECOND).serve_stale(5 * SECOND);
    let cluster = Cluster::owned_by(1, 2, configure);
    cluster.groups[1].get("Tom").await.unwrap();
    cluster.hand.advance(12 * SECOND);
    cluster.table.hold(true);
    assert_eq!(cluster.groups[0].get("Tom").await.unwrap(), "Tom v1");
    let stats = cluster.groups[0].stats();
    assert_eq!((stats.hot.items, stats.mirrored), (0, 0));
    cluster.table.let_go(1);
}

/// What a peer claims is believed for as long as this group keeps values of its own.
#[tokio::test]
async fn what_a_peer_claims_of_times_is_bounded_by_the_groups_own() {
    let claims = [
        ("for good, as every plain peer", Entry::new("theirs")),
        ("2^64 ms", Entry::new("theirs").with_fresh_for(Duration::from_millis(u64::MAX))),
        ("99 years", Entry::new("theirs").with_fresh_for(99 * YEAR)),
        ("stale for weeks", Entry::new("theirs").with_fresh_for(SECOND).with_stale_for(YEAR)),
    ];
    for (claim, entry) in claims {
        let hand = Hand::new();
        let answered = entry.clone();
        let node = node_asking(&hand, move |_, completion| {
            completion.tell(Ok(Answer::new(answered.clone())));
        });
        let builder = mirroring(node.group("rows").loader(Table::new()));
        let builder = builder.time_to_live(10 * SECOND).serve_stale(5 * SECOND);
        let group = builder.build().unwrap();
        assert_eq!(group.get("Tom").await.unwrap(), "theirs");
        assert!(group.peek("Tom").is_some(), "{claim}");
        hand.advance(15 * SECOND);
        assert_eq!(group.peek("Tom"), None, "{claim}");
    }
}

#[tokio::test]
async fn what_a_peer_says_is_stale_without_having_been_fresh_is_not_kept() {
    let hand = Hand::new();
    let entry = Entry::new("theirs").with_fresh_for(Duration::ZERO).with_stale_for(YEAR);
    let node = node_asking(&hand, move |_, completion| {
        completion.tell(Ok(Answer::new(entry.clone())));
    });
    let group = mirroring(node.group("rows").loader(Table::new())).build().unwrap();
    assert_eq!(group.get("Tom").await.unwrap(), "theirs");
    assert_eq!((group.peek("Tom"), group.stats().hot.items), (None, 0));
}
