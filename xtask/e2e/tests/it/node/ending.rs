//! How a node ends when it is asked to.

use std::time::Duration;

use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::process::start;
use super::sample::{Sample, value_of};

#[tokio::test]
async fn either_signal_ends_it_with_0() {
    let sample = Sample::with_scores([]).await;
    for signal in [Signal::TERM, Signal::INT] {
        let node = start(1, &sample.file(), &[]).await.remove(0);
        node.signal(signal);
        assert_eq!(node.ended().await.code(), Some(0), "{signal:?}");
    }
}

#[tokio::test]
async fn a_request_in_flight_is_answered_and_no_new_one_is_taken() {
    let sample = Sample::with_scores(["Tom"]).await;
    let node = start(1, &sample.file(), &[("--slow-db", "3s")]).await.remove(0);
    let api = node.api.clone();
    let request = tokio::spawn(reqwest::get(format!("http://{api}/api?key=Tom")));
    node.wait_for("/loads", 1).await;
    node.signal(Signal::TERM);
    while TcpStream::connect(&api).await.is_ok() {
        assert!(!request.is_finished(), "the request ended before the node stopped to listen");
        tokio::task::yield_now().await;
    }
    let answer = request.await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.text().await.unwrap(), value_of("Tom"));
    assert_eq!(node.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_peer_s_request_in_flight_is_answered_too() {
    let sample = Sample::with_scores(["Tom"]).await;
    let node = start(1, &sample.file(), &[("--slow-db", "500ms")]).await.remove(0);
    let request = tokio::spawn(reqwest::get(format!("{}/_groupcache/scores/Tom", node.url)));
    node.wait_for("/server_requests", 1).await;
    node.signal(Signal::TERM);
    assert_eq!(request.await.unwrap().unwrap().status(), 200);
    assert_eq!(node.ended().await.code(), Some(0));
}

#[tokio::test]
async fn idle_connections_do_not_hold_it_up() {
    let sample = Sample::with_scores([]).await;
    let node = start(1, &sample.file(), &[]).await.remove(0);
    let client = reqwest::Client::new();
    client.get(format!("http://{}/healthz", node.api)).send().await.unwrap();
    let _idle = TcpStream::connect(&node.api).await.unwrap();
    let start = Instant::now();
    node.signal(Signal::TERM);
    assert_eq!(node.ended().await.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_left_after_ten_seconds_and_the_exit_code_says_so() {
    let sample = Sample::with_scores(["Tom"]).await;
    let node = start(1, &sample.file(), &[("--slow-db", "1h")]).await.remove(0);
    let request = tokio::spawn(reqwest::get(format!("http://{}/api?key=Tom", node.api)));
    node.wait_for("/loads", 1).await;
    let start = Instant::now();
    node.signal(Signal::TERM);
    let (status, text) = node.ended_with_output().await;
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(text.contains("1 connections of the API were cut"), "{text}");
    let elapsed = start.elapsed().as_secs_f64();
    assert!((9.0..20.0).contains(&elapsed), "{elapsed}");
    request.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn a_node_that_drains_says_that_it_is_not_ready_and_answers_all_the_same() {
    let sample = Sample::with_scores(["Tom", "Jack"]).await;
    let node = start(1, &sample.file(), &[("--drain", "3s")]).await.remove(0);
    assert_eq!(node.get_raw("/readyz").await, (200, b"ready\n".to_vec()));
    let start = Instant::now();
    node.signal(Signal::TERM);
    while node.get_raw("/readyz").await.0 != 503 {
        tokio::task::yield_now().await;
    }
    assert_eq!(node.get("Tom").await, (200, value_of("Tom").into_bytes()));
    let peer = reqwest::get(format!("{}/_groupcache/scores/Jack", node.url)).await.unwrap();
    assert_eq!(peer.status(), 200);
    assert_eq!(node.ended().await.code(), Some(0));
    assert!(start.elapsed() >= Duration::from_secs(3));
}
