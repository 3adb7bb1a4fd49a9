//! The connections to one peer: when they are used again, and when they are not.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use carrotcache_peer_http::HttpPool;
use carrotcache_peer_http::peer::{Entry, PeerErrorKind};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::fake::Step::{HalfClose, Hold, Request, Send, Wait};
use crate::fake::{FakePeer, value_of};
use crate::support::{Client, SOON, Served, client, client_with, listen, read_head, value_reply};

#[tokio::test]
async fn sequential_gets_share_one_connection() {
    let peer = FakePeer::start(vec![]).await;
    let client = client(&peer.url);
    for key in 0..20 {
        client.get("group", &key.to_string(), None).await.expect("a value");
    }
    assert_eq!(peer.seen.accepted(), 1);
}

#[tokio::test]
async fn connection_that_was_idle_too_long_is_not_used_again() {
    let peer = FakePeer::start(vec![]).await;
    let client = client_with(&peer.url, |builder| builder.idle_timeout(Duration::ZERO));
    for key in 0..3 {
        client.get("group", &key.to_string(), None).await.expect("a value");
    }
    assert_eq!(peer.seen.accepted(), 3);
}

#[tokio::test]
async fn connection_that_the_peer_closed_meanwhile_is_replaced() {
    let served = Served::echo().await;
    let client = served.client();
    client.get("scores", "Tom", None).await.expect("a value");
    let address = served.pool.base_url().strip_prefix("http://").expect("a URL").to_owned();
    served.stop().await.expect("no panic").expect("drained");

    let listener = tokio::net::TcpListener::bind(address).await.expect("the port is free again");
    tokio::spawn(HttpPool::builder("http://own.invalid").build().expect("a pool").serve(
        listener,
        crate::support::Echo::default(),
        std::future::pending(),
    ));
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

#[tokio::test]
async fn silence_on_one_used_connection_condemns_the_other_unused_ones() {
    const CONNECTIONS: usize = 8;
    // All of them answer one request, and nothing after it.
    let script = vec![Request, Wait, Send(value_of("first")), Hold];
    let peer = FakePeer::start(vec![script; CONNECTIONS]).await;
    let client = client(&peer.url);
    let mut gets = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let client = client.clone();
        gets.spawn(async move { client.value("group", "first").await });
    }
    // None is answered before all are connected.
    wait_for(&peer.seen.waiting, CONNECTIONS).await;
    (0..CONNECTIONS).for_each(|_| peer.let_go_on());
    assert_eq!(gets.join_all().await, vec!["first"; CONNECTIONS]);

    let time_left = Some(Duration::from_millis(50));
    let error = client.get("group", "second", time_left).await.expect_err("silence");
    assert_eq!(error.kind, PeerErrorKind::TimedOut);
    assert_eq!(client.value("group", "third").await, "third", "over a new connection");
    // And perhaps one on which it was asked for a sign of life.
    let others = peer.seen.accepted() - CONNECTIONS;
    assert!((1..=2).contains(&others), "{others}");
    wait_for(&peer.seen.closed, CONNECTIONS).await;
}

#[tokio::test]
async fn connections_that_the_peer_closes_are_closed_here_though_it_is_asked_no_more() {
    let scripts = vec![vec![Request, Send(value_of("Tom")), HalfClose]; 2];
    let peers = [FakePeer::start(scripts.clone()).await, FakePeer::start(scripts).await];
    let pool = HttpPool::builder("http://own.invalid").build().expect("a pool");
    // A peer that has left the ring keeps its connections while somebody has it in hand.
    for peer in &peers {
        pool.set_peers(["http://own.invalid", &peer.url]).expect("two peers");
        let client = crate::support::remote(&pool);
        assert_eq!(client.value("group", "Tom").await, "Tom");
        wait_for(&peer.seen.closed, 1).await;
        // And again, after the task that looks after them has ended for want of work.
        assert_eq!(client.value("group", "Tom").await, "Tom");
        wait_for(&peer.seen.closed, 1).await;
    }
}

#[tokio::test]
async fn unused_connections_are_closed_when_they_are_old() {
    let peer = FakePeer::start(vec![vec![Request, Send(value_of("Tom")), Hold]]).await;
    let client = client_with(&peer.url, |builder| builder.idle_timeout(Duration::from_millis(20)));
    assert_eq!(client.value("group", "Tom").await, "Tom");
    wait_for(&peer.seen.closed, 1).await;
}

/// An answer that came too late for one get, or twice, must not become the value of another key. The
/// runtime has had no time to see that anything came.
#[test]
fn answer_that_comes_between_two_gets_is_not_taken_for_the_second() {
    let (url, late, sent) = answers_twice();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let client = client(&url);
        assert_eq!(client.value("group", "first").await, "first");
        late.send(()).expect("the peer waits");
        // Blocks the only thread of the runtime, so that it looks at no socket meanwhile.
        sent.recv().expect("the peer has sent it");
        assert_eq!(client.value("group", "second").await, "second");
    });
}

/// Returns the URL of a peer that answers `first` on its first connection, and, when it is told to,
/// answers something else that nobody has asked for. It tells when that is sent. The second
/// connection is answered as it should be.
fn answers_twice() -> (String, Sender<()>, Receiver<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let ((late, when), (tell, sent)) = (channel(), channel());
    std::thread::spawn(move || {
        let accept = || {
            let mut stream = listener.accept().expect("a connection").0;
            // A request is one segment.
            assert!(stream.read(&mut [0; 4096]).expect("a request") > 0);
            stream
        };
        let mut stream = accept();
        stream.write_all(&value_of("first")).expect("sent");
        when.recv().expect("the test goes on");
        stream.write_all(&value_of("another")).expect("sent");
        tell.send(()).expect("the test waits");
        accept().write_all(&value_of("second")).expect("sent");
    });
    (url, late, sent)
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
    // That it ends connections without an answer is no reason not to ask it here.
    let client = client_with(&url, |builder| builder.max_connections(2).eject(false));
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
        assert_eq!(error.causes(), "all 2 connections to it were in use for 20 % of the time left");
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
    assert_eq!(last.await.expect("no panic").expect("a value").entry, Entry::new(""));
}

#[tokio::test]
async fn get_waits_for_a_place_no_longer_than_it_is_told_to() {
    let peer = FakePeer::start(vec![vec![Request, Hold]]).await;
    let one_place = |percent: u8| {
        client_with(&peer.url, |builder| builder.max_connections(1).max_wait_percent(percent))
    };
    let impatient = one_place(0);
    let asking = impatient.clone();
    let first = tokio::spawn(async move { asking.get("group", "first", None).await });
    // The place is taken when the peer has the connection.
    while peer.seen.accepted() == 0 {
        tokio::task::yield_now().await;
    }
    // An hour, of which it does not wait at all.
    let hour = Some(Duration::from_secs(3_600));
    let get = impatient.get("group", "second", hour);
    let error = timeout(SOON, get).await.expect("at once").expect_err("no place");
    assert_eq!(error.kind, PeerErrorKind::Unreachable);
    first.abort();
}

#[test]
fn runtime_without_a_timer_is_told_how_to_get_one() {
    let client = client("http://127.0.0.1:1");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let error = runtime.expect("a runtime").block_on(client.error("group", "key"));
    assert_eq!(error.kind, PeerErrorKind::Runtime);
    assert!(error.causes().contains("enable_time()"), "{}", error.causes());
}

/// Waits until something was seen so many times more.
async fn wait_for(seen: &tokio::sync::Semaphore, times: usize) {
    let times = u32::try_from(times).expect("a small number");
    let seen = timeout(SOON, seen.acquire_many(times)).await.expect("in time");
    seen.expect("never closed").forget();
}
