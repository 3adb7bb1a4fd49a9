//! Removes that are dropped, too many at once, or meet a transport that is in a bad way.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use carrotcache::peer::{Completion, Member, Purge, Purged};
use carrotcache::{Mirroring, Node, Owner, Peer, PeerErrorKind, Picker, RemoveError, Request};
use futures_util::FutureExt;
use futures_util::future::join_all;

use crate::cluster::Cluster;
use crate::rows::eventually;

/// Three nodes, the last of which owns all keys and the others of which keep copies.
fn three() -> Cluster {
    Cluster::owned_by(2, 3, |builder| builder.mirroring(Mirroring::Always))
}

#[tokio::test(start_paused = true)]
async fn what_was_polled_once_is_removed_whatever_it_had_to_wait_for() {
    let cluster = three();
    cluster.get_everywhere("Tom").await;
    cluster.table.update();
    let group = cluster.groups[0].clone();
    // More than there is room for in the queue.
    let many: Vec<_> = (0..100_000).map(|key| key.to_string()).collect();
    assert!(group.remove_many(&many).now_or_never().is_none());
    // A task that has used up its budget, in which everything of the runtime's seems to wait.
    let spent = async move {
        while tokio::task::coop::has_budget_remaining() {
            tokio::task::coop::consume_budget().await;
        }
        assert!(group.remove("Tom").now_or_never().is_none());
    };
    tokio::spawn(spent).await.unwrap();
    let is_gone = || cluster.groups.iter().all(|group| group.peek("Tom").is_none());
    eventually(is_gone).await;
    // The second round of the last of many keys.
    let is_open =
        |line: &String| line.contains(" open ") && line.split(' ').any(|key| key == "99999");
    eventually(|| cluster.take_log().iter().any(is_open)).await;
    assert_eq!(cluster.get_everywhere("Tom").await, ["Tom v2"; 3]);
}

#[tokio::test(start_paused = true)]
async fn nodes_that_remove_many_keys_at_once_wait_for_each_other() {
    let cluster = Cluster::owned_by(0, 5, |builder| builder);
    let removing = cluster.groups.iter().enumerate().map(|(node, group)| {
        let keys = (0..5_000).map(move |key| format!("{node} {key}"));
        group.remove_many(keys.collect::<Vec<_>>())
    });
    for removed in join_all(removing).await {
        removed.unwrap();
    }
    for group in &cluster.groups {
        assert_eq!((group.stats().closures, group.stats().owed), (0, 0));
    }
}

#[tokio::test]
async fn a_transport_that_panics_leaves_its_peer_unreached_and_owed() {
    struct Panics;
    impl Peer for Panics {
        fn label(&self) -> &'static str {
            "panics"
        }
        fn ask(&self, _: Request, completion: Completion) {
            completion.tell(Err(PeerErrorKind::Unreachable.into()));
        }
        fn purge(&self, _: Purge, _: Completion<Purged>) {
            panic!("as a transport may")
        }
    }
    impl Picker for Panics {
        fn owner(&self, _: &str) -> Owner {
            Owner::Local
        }
        fn peers(&self) -> Vec<Arc<dyn Peer>> {
            vec![Arc::new(Panics)]
        }
        fn this_node(&self) -> Option<Member> {
            Some(Member { label: "me".into(), incarnation: 1 })
        }
    }
    let node = Node::builder().peers(Panics).build();
    let loader = |key: String| async move { Ok::<_, Infallible>(Some(key)) };
    let group = node.group("g").loader(loader).build().unwrap();
    let removed = group.remove("Tom").await;
    let Err(RemoveError::Incomplete { unreached, .. }) = removed else { panic!("{removed:?}") };
    assert_eq!(*unreached[0], *"panics");
    assert_eq!((group.stats().closures, group.stats().owed), (0, 1));
}

#[tokio::test]
async fn a_peer_that_can_be_told_after_all_is_told_everything() {
    let cluster = three();
    cluster.get_everywhere("Tom").await;
    cluster.table.update();
    cluster.set_plain(2, true);
    let removed = cluster.groups[0].remove("Tom").await;
    let Err(RemoveError::Incomplete { plain, .. }) = removed else { panic!("{removed:?}") };
    assert_eq!(*plain[0], *"node 2");
    // What cannot be told is not remembered.
    eventually(|| cluster.groups[0].stats().owed == 0).await;
    cluster.set_plain(2, false);
    // It may have been asked over HTTP, so it is not tried again each time.
    cluster.hand.advance(Duration::from_secs(10));
    assert_eq!(cluster.groups[0].get("Jack").await.unwrap(), "Jack v2");
    assert!(cluster.take_log().contains(&"0>2 tell all".to_owned()));
    assert_eq!(cluster.get_everywhere("Tom").await, ["Tom v2"; 3]);
}
