//! How much of all the answers that are under way is held at one moment, over all peers of a pool.

use std::time::Duration;

use carrotcache_peer_http::peer::PeerErrorKind;
use carrotcache_peer_http::{HttpPool, HttpPoolBuilder};
use tokio::task::JoinSet;

use crate::fake::FakePeer;
use crate::fake::Step::{Endless, Hold, Request, Send};
use crate::support::{Client, Echo, Served, client_with, peer_at, reply, value_head};

/// The largest answer, and the room for two of them.
const ANSWER_BYTES: u64 = 1 << 20;
const ROOM_BYTES: u64 = 2 * ANSWER_BYTES;

fn with_little_room(builder: HttpPoolBuilder) -> HttpPoolBuilder {
    builder.max_answer_bytes(ANSWER_BYTES).max_bytes_under_way(ROOM_BYTES)
}

/// Returns the peers at these URLs, all of one pool.
fn peers_at(urls: &[&str]) -> Vec<Client> {
    let own = "http://own.invalid";
    let pool = with_little_room(HttpPool::builder(own)).build().expect("a pool");
    pool.set_peers(urls.iter().copied().chain([own])).expect("a set of peers");
    urls.iter().map(|url| peer_at(&pool, url)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_stop_half_way_hold_no_more_than_the_room() {
    // Each answer comes but for its last bytes, and then nothing: it is held to its deadline.
    let almost = usize::try_from(ANSWER_BYTES - 1_000).expect("a small number");
    let head = value_head(&format!("content-length: {ANSWER_BYTES}"));
    let script = vec![Request, Send(reply(&head, vec![0; almost])), Hold];
    let one = FakePeer::start(vec![script.clone(); 8]).await;
    let other = FakePeer::start(vec![script; 8]).await;
    let mut gets = JoinSet::new();
    for peer in peers_at(&[&one.url, &other.url]) {
        for _ in 0..8 {
            let peer = peer.clone();
            let time_left = Some(Duration::from_secs(1));
            gets.spawn(async move { peer.get("group", "key", time_left).await });
        }
    }
    let answers = gets.join_all().await;
    let kinds: Vec<_> = answers.into_iter().map(|answer| answer.expect_err("cut").kind).collect();
    let held = kinds.iter().filter(|kind| **kind == PeerErrorKind::TimedOut).count();
    let refused = kinds.iter().filter(|kind| **kind == PeerErrorKind::TooLarge).count();
    assert_eq!(held + refused, 16, "{kinds:?}");
    // Two fill the room; no third can have come to where it stops.
    assert!((1..=2).contains(&held), "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn small_answers_need_no_room() {
    let head = value_head("transfer-encoding: chunked");
    let endless = vec![Request, Send(reply(&head, "fffffff\r\n")), Endless(vec![0])];
    let (endless, behaved) =
        (FakePeer::start(vec![endless; 8]).await, FakePeer::start(vec![]).await);
    let peers = peers_at(&[&endless.url, &behaved.url]);
    let [greedy, small] = &peers[..] else { panic!("two peers") };
    let mut gets = JoinSet::new();
    for _ in 0..8 {
        let greedy = greedy.clone();
        gets.spawn(async move { greedy.get("group", "key", None).await });
    }
    for key in 0..100 {
        assert_eq!(small.value("group", &key.to_string()).await, key.to_string());
    }
    for answer in gets.join_all().await {
        assert_eq!(answer.expect_err("endless").kind, PeerErrorKind::TooLarge);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_together_need_more_than_the_room_all_arrive() {
    const GETS: usize = 32;
    let bytes = usize::try_from(ANSWER_BYTES - 100).expect("a small number");
    let served = Served::start(Echo::default(), |builder| builder).await;
    let client = client_with(served.pool.base_url(), |builder| {
        with_little_room(builder).max_wait_percent(100)
    });
    let mut gets = JoinSet::new();
    for _ in 0..GETS {
        let client = client.clone();
        gets.spawn(async move { client.value("bytes", &bytes.to_string()).await });
    }
    let values = gets.join_all().await;
    assert!(values.iter().all(|value| value.len() == bytes));
    assert_eq!(values.len(), GETS);
}
