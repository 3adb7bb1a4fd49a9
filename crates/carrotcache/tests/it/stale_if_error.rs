//! Values that have expired, for when no new ones can be had.

use std::time::Duration;

use carrotcache::{
    Answer, Entry, GetError, Group, GroupBuilder, Mirroring, PeerError, PeerErrorKind,
};
use futures_util::FutureExt;

use crate::cluster::Cluster;
use crate::rows::{Hand, Mode, Table, soon};
use crate::transport::{assert_sums, node_asking};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Fresh for ten seconds, and good for a minute more if all else fails.
fn graceful(builder: GroupBuilder) -> GroupBuilder {
    builder.jitter(0.0).time_to_live(10 * SECOND).stale_if_error(60 * SECOND)
}

/// A group whose `Tom` has just expired, and whose row has changed since.
async fn with_an_expired_value(
    configure: impl FnOnce(GroupBuilder) -> GroupBuilder,
) -> (Group, Hand, Table) {
    let (hand, table) = (Hand::new(), Table::new());
    let group = configure(graceful(hand.node().group("rows").loader(table.clone())));
    let group = group.build().unwrap();
    group.get("Tom").await.unwrap();
    hand.advance(10 * SECOND);
    table.update();
    (group, hand, table)
}

#[tokio::test(start_paused = true)]
async fn a_load_that_fails_panics_or_takes_too_long_leaves_the_expired_value() {
    for mode in [Mode::Fails, Mode::Panics, Mode::Hangs] {
        let (group, _, table) = with_an_expired_value(|builder| builder).await;
        table.set_mode(mode);
        for gets in 1..=3 {
            assert_eq!(group.get("Tom").await.unwrap(), "Tom v1", "{mode:?}");
            assert_eq!(table.started(), 1 + gets, "each get tries");
        }
        let stats = group.stats();
        assert_eq!((stats.stale_if_error, stats.local_load_errs), (3, 3), "{mode:?}");
        assert_sums(&stats);
        table.set_mode(Mode::Works);
        assert_eq!(group.get("Tom").await.unwrap(), "Tom v2");
    }
}

#[tokio::test]
async fn a_load_that_is_refused_leaves_the_expired_value() {
    let (group, _, table) =
        with_an_expired_value(|builder| builder.max_loads(1).max_waiting_loads(0)).await;
    table.hold(true);
    assert!(group.get("busy").now_or_never().is_none());
    soon(|| table.running() == 1).await;
    assert_eq!(group.get("Tom").await.unwrap(), "Tom v1");
    assert!(group.get("other").await.unwrap_err().is_overloaded());
    let stats = group.stats();
    assert_eq!((stats.stale_if_error, stats.loads_refused), (1, 2));
    table.let_go(1);
    soon(|| group.peek("busy").is_some()).await;
    assert_sums(&group.stats());
}

#[tokio::test]
async fn the_grace_is_over_to_the_millisecond_and_counts_from_the_end_of_the_time_to_live() {
    let (group, hand, table) = with_an_expired_value(|builder| builder).await;
    table.set_mode(Mode::Fails);
    hand.advance(60 * SECOND - MILLI);
    assert_eq!(group.get("Tom").await.unwrap(), "Tom v1");
    hand.advance(MILLI);
    assert!(matches!(group.get("Tom").await, Err(GetError::LoadFailed { .. })));
}

#[tokio::test]
async fn without_being_asked_for_no_error_is_hidden() {
    let (group, _, table) =
        with_an_expired_value(|builder| builder.stale_if_error(Duration::ZERO)).await;
    table.set_mode(Mode::Fails);
    assert!(matches!(group.get("Tom").await, Err(GetError::LoadFailed { .. })));
    assert_eq!(group.peek("Tom"), None, "nor is it served while all is well");
}

#[tokio::test]
async fn that_there_is_no_such_thing_is_no_error() {
    let (group, _, table) = with_an_expired_value(|builder| builder).await;
    table.set_mode(Mode::Gone);
    assert!(group.get("Tom").await.unwrap_err().is_not_found());
    assert_eq!(group.stats().stale_if_error, 0);
}

#[tokio::test]
async fn what_is_removed_does_not_come_back_for_an_error() {
    for by_clear in [false, true] {
        let (group, _, table) = with_an_expired_value(|builder| builder).await;
        if by_clear {
            group.clear().await.unwrap();
        } else {
            group.remove("Tom").await.unwrap();
        }
        table.set_mode(Mode::Fails);
        assert!(matches!(group.get("Tom").await, Err(GetError::LoadFailed { .. })));
    }
}

#[tokio::test]
async fn what_is_removed_during_the_load_that_fails_does_not_come_back_for_later_gets() {
    let (group, _, table) = with_an_expired_value(|builder| builder).await;
    table.set_mode(Mode::Fails);
    table.hold(true);
    assert!(group.get("Tom").now_or_never().is_none());
    soon(|| table.running() == 1).await;
    group.remove("Tom").await.unwrap();
    table.hold(false);
    table.let_go(1);
    assert!(matches!(group.get("Tom").await, Err(GetError::LoadFailed { .. })));
    soon(|| table.running() == 0).await;
    assert!(matches!(group.get("Tom").await, Err(GetError::LoadFailed { .. })));
    assert_sums(&group.stats());
}

/// The owner says what kept it from loading, and the asker has a copy that has expired.
#[tokio::test]
async fn a_peers_verdict_leaves_the_expired_copy() {
    for kind in [PeerErrorKind::LoadFailed, PeerErrorKind::TooManyLoads] {
        let (hand, table) = (Hand::new(), Table::new());
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let node = node_asking(&hand, move |_, completion| {
            let is_first = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
            let copy = Entry::new("theirs").with_fresh_for(10 * SECOND);
            completion.tell(if is_first {
                Ok(Answer::new(copy))
            } else {
                Err(PeerError::new(kind))
            });
        });
        let builder = graceful(node.group("rows").loader(table.clone()));
        let group = builder.mirroring(Mirroring::Always).build().unwrap();
        group.get("Tom").await.unwrap();
        hand.advance(70 * SECOND - MILLI);
        assert_eq!(group.get("Tom").await.unwrap(), "theirs", "{kind:?}");
        assert_eq!((group.stats().stale_if_error, table.started()), (1, 0));
        hand.advance(MILLI);
        let error = group.get("Tom").await.unwrap_err();
        let is_overloaded = kind == PeerErrorKind::TooManyLoads;
        assert_eq!(error.is_overloaded(), is_overloaded, "{error:?}");
        assert_eq!(table.started(), 0, "the verdict is final");
        assert_sums(&group.stats());
    }
}

#[tokio::test]
async fn an_owner_tells_its_expired_value_as_one_that_is_not_to_be_kept() {
    let cluster = Cluster::owned_by(1, 2, |builder| graceful(builder).mirroring(Mirroring::Always));
    cluster.groups[1].get("Tom").await.unwrap();
    cluster.hand.advance(10 * SECOND);
    cluster.table.set_mode(Mode::Fails);
    assert_eq!(cluster.groups[0].get("Tom").await.unwrap(), "Tom v1");
    let (asker, owner) = (cluster.groups[0].stats(), cluster.groups[1].stats());
    assert_eq!((asker.hot.items, asker.stale_if_error, owner.stale_if_error), (0, 0, 1));
    cluster.hand.advance(60 * SECOND);
    let error = cluster.groups[0].get("Tom").await.unwrap_err();
    assert!(matches!(error, GetError::LoadFailed { .. }));
    cluster.assert_sums();
}

#[tokio::test]
async fn neither_copies_nor_originals_come_back_after_a_remove_from_elsewhere() {
    let cluster = Cluster::owned_by(1, 3, |builder| graceful(builder).mirroring(Mirroring::Always));
    cluster.get_everywhere("Tom").await;
    cluster.hand.advance(10 * SECOND);
    cluster.table.set_mode(Mode::Fails);
    assert_eq!(cluster.get_everywhere("Tom").await, ["Tom v1"; 3]);
    cluster.groups[2].remove("Tom").await.unwrap();
    for group in &cluster.groups {
        assert!(matches!(group.get("Tom").await, Err(GetError::LoadFailed { .. })));
    }
    cluster.assert_sums();
}
