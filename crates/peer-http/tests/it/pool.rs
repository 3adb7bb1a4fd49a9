//! The set of peers, and who of them owns a key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use carrotcache_peer_http::peer::{Limits, Owner, Picker};
use carrotcache_peer_http::{BuildError, HttpPool, SetPeersError};

use crate::fake::FakePeer;
use crate::support::Client;

const OWN: &str = "http://10.0.0.1:8001";
const OTHER: &str = "http://10.0.0.2:8001";

#[test]
fn pool_without_peers_owns_everything() {
    let pool = HttpPool::builder(OWN).build().expect("a pool");
    assert!(matches!(pool.owner("Tom"), Owner::Local));
    assert!(pool.ring().is_empty());
}

#[test]
fn owners_are_those_of_the_ring() {
    let pool = pool();
    let ring = pool.ring();
    for key in (0..1000).map(|key| format!("key{key}")) {
        let owner = match pool.owner(&key) {
            Owner::Local => OWN.to_owned(),
            Owner::Remote(peer) => peer.label().to_owned(),
        };
        assert_eq!(ring.get(&key), Some(&*owner));
    }
}

#[test]
fn refused_peers_leave_the_old_set() {
    let pool = pool();
    let before = pool.ring().fingerprint();
    let missing = pool.set_peers([OTHER]).expect_err("own URL missing");
    assert_eq!(missing, SetPeersError::OwnUrlMissing { own: OWN.to_owned() });
    let bad = pool.set_peers([OWN, "nowhere"]).expect_err("not a URL");
    assert!(matches!(bad, SetPeersError::Url(_)), "{bad:?}");
    let twice = pool.set_peers([OWN, OTHER, OTHER]).expect_err("a URL twice");
    assert!(matches!(twice, SetPeersError::SameNode { .. }), "{twice:?}");
    assert_eq!(pool.ring().fingerprint(), before);
}

#[test]
fn peers_may_be_names_and_addresses_of_both_kinds() {
    let pool = pool();
    pool.set_peers([OWN, "http://node-2", "http://[::1]:8001", "http://a.example.org:80"]).unwrap();
    assert_eq!(pool.ring().len(), 4);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let build = |base_path: &str| HttpPool::builder(OWN).base_path(base_path).build();
    for base_path in ["", "a", "/a", "a/", "/a b/", "/%41/", "/?/"] {
        assert!(matches!(build(base_path), Err(BuildError::BasePath { .. })), "{base_path}");
    }
    assert!(build("/").is_ok() && build("/cache/v1/").is_ok());
    let zero = HttpPool::builder(OWN).max_connections(0).build().expect_err("no connections");
    assert_eq!(zero, BuildError::Zero { setting: "max_connections" });
    let small = HttpPool::builder(OWN).max_answer_bytes(2_000).max_bytes_under_way(1_999).build();
    let fault = BuildError::NoRoomForAnswer { max_bytes_under_way: 1_999, max_answer_bytes: 2_000 };
    assert_eq!(small.expect_err("no room"), fault);
    let zero = HttpPool::builder(OWN).ring_points(0).build().expect_err("no points");
    assert!(matches!(zero, BuildError::Ring(_)));
    assert!(matches!(HttpPool::builder("nowhere").build(), Err(BuildError::Url(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_peers_under_load_keeps_the_connections_of_those_that_stay() {
    let fake = FakePeer::start(vec![]).await;
    let url = fake.url.clone();
    let pool = HttpPool::builder(OWN).build().expect("a pool");
    pool.set_peers([OWN, &url]).expect("two peers");
    let stop = Arc::new(AtomicBool::new(false));
    let load = (0..4).map(|_| {
        let (pool, url, stop) = (pool.clone(), url.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut gets = 0;
            while !stop.load(Ordering::Relaxed) || gets == 0 {
                let key = format!("key{gets}");
                if let Owner::Remote(peer) = pool.owner(&key)
                    && peer.label() == url
                {
                    Client(peer).get("group", &key, None).await.expect("a value");
                }
                gets += 1;
                tokio::task::yield_now().await;
            }
        })
    });
    let load: Vec<_> = load.collect();
    for round in 0..200 {
        let other = format!("http://10.0.0.{round}:9");
        pool.set_peers([OWN, &url, &other]).expect("three peers");
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::Relaxed);
    for gets in load {
        gets.await.expect("no get failed");
    }
    let accepted = fake.seen.accepted();
    assert!((1..=4).contains(&accepted), "{accepted} connections for four at a time");
}

#[test]
fn peers_that_were_not_met_do_not_stand_in() {
    let pool = pool();
    pool.set_peers([OWN, OTHER, "http://10.0.0.3:8001", "http://10.0.0.4:8001"]).expect("four");
    for key in (0..100).map(|key| format!("key{key}")) {
        match Picker::owner(&pool, &key) {
            Owner::Remote(owner) => {
                assert!(matches!(pool.next(&key, owner.label()), Some(Owner::Local)), "{key}");
            }
            Owner::Local => assert!(pool.next(&key, OWN).is_none(), "{key}"),
        }
    }
    assert!(pool.next("Tom", "http://nobody").is_none());
}

#[test]
fn peers_are_all_but_the_node_itself() {
    let pool = pool();
    let labels: Vec<_> = pool.peers().iter().map(|peer| peer.label().to_owned()).collect();
    assert_eq!(labels, [OTHER]);
}

#[test]
fn bounds_that_no_path_can_hold_are_refused() {
    let build = |bytes| HttpPool::builder(OWN).max_key_bytes(bytes).build();
    // Three bytes for each of a name, two for the slashes around the group's and 13 for the base.
    let most = (65_534 - "/_groupcache/".len() - 1) / 3 - 64;
    let pool = build(most).expect("it fits");
    assert_eq!(pool.limits(), Limits::new(64, most));
    let error = build(most + 1).expect_err("a path too long");
    assert_eq!(error, BuildError::NamesTooLong { max_group_bytes: 64, max_key_bytes: most + 1 });
    assert!(build(usize::MAX).is_err());
}

fn pool() -> HttpPool {
    let pool = HttpPool::builder(OWN).build().expect("a pool");
    pool.set_peers([OWN, OTHER]).expect("two peers");
    pool
}
