//! The set of peers, and the connections to each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use carrotcache_peer_http::peer::{Answer, Limits, Owner, PeerErrorKind, Picker};
use carrotcache_peer_http::{BuildError, HttpPool, SetPeersError};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::support::{Client, SOON, Served, client_with, listen, read_head, value_reply};

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
    let (url, accepted) = counting_peer().await;
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
    let accepted = accepted.load(Ordering::Relaxed);
    assert!((1..=4).contains(&accepted), "{accepted} connections for four at a time");
}

#[tokio::test]
async fn sequential_gets_share_one_connection() {
    let (url, accepted) = counting_peer().await;
    let client = client_with(&url, |builder| builder);
    for key in 0..20 {
        client.get("group", &key.to_string(), None).await.expect("a value");
    }
    assert_eq!(accepted.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn connection_that_was_idle_too_long_is_not_used_again() {
    let (url, accepted) = counting_peer().await;
    let client = client_with(&url, |builder| builder.idle_timeout(Duration::ZERO));
    for key in 0..3 {
        client.get("group", &key.to_string(), None).await.expect("a value");
    }
    assert_eq!(accepted.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn gets_over_the_bound_wait_and_dropped_ones_give_their_place_back() {
    let (listener, url) = listen().await;
    let (heads, mut heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            read_head(&mut stream).await;
            heads.send(stream).expect("the test goes on");
        }
    });
    let client = client_with(&url, |builder| builder.max_connections(2));
    let get = |client: &Client| {
        let client = client.clone();
        tokio::spawn(async move { client.get("group", "key", None).await })
    };
    for _ in 0..10 {
        let gets = [get(&client), get(&client)];
        let held = [heard.recv().await, heard.recv().await];
        // Both places are taken, so that this one does not even connect.
        let time_left = Some(Duration::from_millis(5));
        let error = client.get("group", "key", time_left).await.expect_err("no place");
        assert_eq!(error.kind, PeerErrorKind::Unreachable);
        assert!(heard.try_recv().is_err());
        for get in gets {
            get.abort();
            assert!(get.await.expect_err("aborted").is_cancelled());
        }
        drop(held);
    }
    let last = get(&client);
    let mut stream = timeout(SOON, heard.recv()).await.expect("a place is free").expect("a stream");
    stream.write_all(&value_reply("")).await.expect("sent");
    assert_eq!(last.await.expect("no panic").expect("a value"), Answer::new(""));
}

#[test]
fn the_next_after_a_peer_is_the_next_on_the_ring_until_nobody_is_left() {
    let pool = pool();
    pool.set_peers([OWN, OTHER, "http://10.0.0.3:8001", "http://10.0.0.4:8001"]).expect("four");
    let label = |owner: Owner| match owner {
        Owner::Local => OWN.to_owned(),
        Owner::Remote(peer) => peer.label().to_owned(),
    };
    for key in (0..100).map(|key| format!("key{key}")) {
        let mut order = vec![label(Picker::owner(&pool, &key))];
        while let Some(next) = pool.next(&key, order.last().expect("an owner")) {
            order.push(label(next));
        }
        let ring = pool.ring();
        assert_eq!(order, ring.successors(&key).map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(order.len(), 4);
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

#[tokio::test]
async fn connection_that_the_peer_closed_meanwhile_is_replaced() {
    let served = Served::echo().await;
    let client = served.client();
    client.get("scores", "Tom", None).await.expect("a value");
    let address = served.pool.base_url().strip_prefix("http://").expect("a URL").to_owned();
    served.stop().await.expect("no panic").expect("drained");

    let listener = tokio::net::TcpListener::bind(address).await.expect("the port is free again");
    tokio::spawn(pool().serve(listener, crate::support::Echo::default(), std::future::pending()));
    assert_eq!(client.value("scores", "Tom").await, "Tom", "over a new connection");
}

#[tokio::test]
async fn connection_that_ends_under_a_request_is_replaced_once() {
    let (listener, url) = listen().await;
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        // Each connection answers once, then reads a request more and ends.
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                read_head(&mut stream).await;
                stream.write_all(&value_reply("")).await.expect("sent");
                read_head(&mut stream).await;
            });
        }
    });
    let client = client_with(&url, |builder| builder);
    for gets in 1..=3 {
        client.get("group", "key", None).await.expect("a value");
        assert_eq!(accepted.load(Ordering::Relaxed), gets);
    }
}

fn pool() -> HttpPool {
    let pool = HttpPool::builder(OWN).build().expect("a pool");
    pool.set_peers([OWN, OTHER]).expect("two peers");
    pool
}

/// Returns the URL of a peer that answers everything with an empty value, and the number of
/// connections that it was asked over.
async fn counting_peer() -> (String, Arc<AtomicUsize>) {
    let (listener, url) = listen().await;
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                while !read_head(&mut stream).await.is_empty() {
                    stream.write_all(&value_reply("")).await.expect("sent");
                }
            });
        }
    });
    (url, accepted)
}
