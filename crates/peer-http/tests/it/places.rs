//! Who may be connected when places have run out.

use std::sync::Arc;
use std::time::Duration;

use carrotcache_peer_http::HttpPoolBuilder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Echo, Gate, SOON, Served, ask, read_response, read_to_cut};

/// No connection goes by itself: a place is free only when somebody has to leave.
fn patient(builder: HttpPoolBuilder) -> HttpPoolBuilder {
    builder.head_timeout(Duration::MAX).idle_connection_timeout(Duration::MAX)
}

#[tokio::test]
async fn connection_that_was_idle_longest_gives_up_its_place() {
    let served = Served::start(Echo::default(), |builder| patient(builder).max_accepted(3)).await;
    let mut streams = [served.connect().await, served.connect().await, served.connect().await];
    for index in [0, 1, 2, 0] {
        ask(&mut streams[index], "/_groupcache/scores/Tom").await;
    }
    ask_soon(&mut served.connect().await).await;
    // The first was accepted first, but it has been asked since.
    let [first, second, third] = &mut streams;
    assert_eq!(timeout(SOON, second.read(&mut [0])).await.expect("in time").expect("an end"), 0);
    for stream in [first, third] {
        ask_soon(stream).await;
    }
}

#[tokio::test]
async fn idle_connections_of_one_peer_are_not_in_the_way_of_another() {
    let served = Served::start(Echo::default(), |builder| patient(builder).max_accepted(32)).await;
    let mut idle = Vec::new();
    for _ in 0..32 {
        let mut stream = served.connect().await;
        ask_soon(&mut stream).await;
        idle.push(stream);
    }
    for _ in 0..8 {
        assert_eq!(served.client().value("scores", "Tom").await, "Tom");
    }
}

#[tokio::test]
async fn connections_that_say_nothing_give_up_their_places() {
    let served = Served::start(Echo::default(), |builder| patient(builder).max_accepted(2)).await;
    let mut silent = [served.connect().await, served.connect().await];
    ask_soon(&mut served.connect().await).await;
    read_to_cut(&mut silent[0]).await;
}

#[tokio::test]
async fn connection_that_is_asked_something_keeps_its_place() {
    let gate = Arc::new(Gate::default());
    let served = Served::start(Arc::clone(&gate), |builder| patient(builder).max_accepted(1)).await;
    let mut first = served.connect().await;
    let asked = tokio::spawn(async move { (ask(&mut first, "/_groupcache/g/Tom").await, first) });
    gate.asked.notified().await;
    let mut second = served.connect().await;
    let waits = tokio::spawn(async move { ask(&mut second, "/_groupcache/g/Jack").await.1 });
    gate.open.notify_one();
    let ((_, body), mut first) = timeout(SOON, asked).await.expect("in time").expect("no panic");
    assert_eq!(body, b"\x0a\x03Tom");
    // Now that it is idle, it has to go.
    gate.open.notify_one();
    let body = timeout(SOON, waits).await.expect("in time").expect("no panic");
    assert_eq!(body, b"\x0a\x04Jack");
    assert_eq!(first.read(&mut [0]).await.expect("an end"), 0);
}

#[tokio::test]
async fn connection_with_a_second_request_in_line_keeps_its_place() {
    let gate = Arc::new(Gate::default());
    let served = Served::start(Arc::clone(&gate), |builder| patient(builder).max_accepted(1)).await;
    let mut first = served.connect().await;
    let request = "GET /_groupcache/g/Tom HTTP/1.1\r\nhost: x\r\n\r\n";
    first.write_all(request.repeat(2).as_bytes()).await.expect("sent");
    gate.asked.notified().await;
    let mut second = served.connect().await;
    let waits = tokio::spawn(async move { ask(&mut second, "/_groupcache/g/Jack").await.1 });
    gate.open.notify_one();
    assert_eq!(timeout(SOON, read_response(&mut first)).await.expect("in time").1, b"\x0a\x03Tom");
    timeout(SOON, gate.asked.notified()).await.expect("the second request is asked");
    gate.open.notify_one();
    assert_eq!(timeout(SOON, read_response(&mut first)).await.expect("in time").1, b"\x0a\x03Tom");
    gate.open.notify_one();
    let body = timeout(SOON, waits).await.expect("in time").expect("no panic");
    assert_eq!(body, b"\x0a\x04Jack");
}

#[tokio::test]
async fn connection_with_half_a_head_keeps_its_place_until_its_time_is_over() {
    let served = Served::start(Echo::default(), |builder| patient(builder).max_accepted(2)).await;
    let mut half = served.connect().await;
    half.write_all(b"GET /_groupcache/scores/Tom HT").await.expect("sent");
    let mut others = vec![served.connect().await];
    for _ in 0..3 {
        ask_soon(others.last_mut().expect("one other")).await;
        others.push(served.connect().await);
    }
    half.write_all(b"TP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    let (head, _) = timeout(SOON, read_response(&mut half)).await.expect("in time");
    assert!(head.starts_with("http/1.1 200 "), "{head}");

    let configure = |builder: HttpPoolBuilder| {
        patient(builder).head_timeout(Duration::from_millis(50)).max_accepted(1)
    };
    let served = Served::start(Echo::default(), configure).await;
    let mut half = served.connect().await;
    half.write_all(b"GET /_groupcache/scores/Tom HT").await.expect("sent");
    ask_soon(&mut served.connect().await).await;
    read_to_cut(&mut half).await;
}

#[tokio::test]
async fn burst_of_new_connections_is_served_one_after_another() {
    let served = Served::start(Echo::default(), |builder| patient(builder).max_accepted(2)).await;
    let gets = (0..64).map(|_| {
        // A client of its own, so that each comes over a connection of its own.
        let client = served.client();
        tokio::spawn(async move { client.value("scores", "Tom").await })
    });
    for get in gets.collect::<Vec<_>>() {
        assert_eq!(timeout(SOON, get).await.expect("in time").expect("a value"), "Tom");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn far_more_peers_than_places_all_get_their_values() {
    let served = Served::start(Echo::default(), |builder| patient(builder).max_accepted(4)).await;
    let peers = (0..16).map(|_| {
        let client = served.client();
        tokio::spawn(async move {
            // Each keeps its connection for the next get, and most often loses it before.
            for key in 0..50 {
                let key = key.to_string();
                assert_eq!(client.value("scores", &key).await, key.as_str());
            }
        })
    });
    for peer in peers.collect::<Vec<_>>() {
        timeout(2 * SOON, peer).await.expect("in time").expect("all values");
    }
}

/// Asks for a value, and fails if it does not come.
async fn ask_soon(stream: &mut TcpStream) {
    let asked = timeout(SOON, ask(stream, "/_groupcache/scores/Tom"));
    assert_eq!(asked.await.expect("in time").1, b"\x0a\x03Tom");
}
