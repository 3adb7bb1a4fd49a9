//! How much memory answers hold that nobody reads.

use std::time::Duration;

use carrotcache_peer_http::peer::PeerErrorKind;
use carrotcache_peer_http::{HttpPool, HttpPoolBuilder, PeerResponse, PeerService};
use hyper::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Counted, SOON, Served, ask, read_head};

/// The length of a value, more than the buffers of two sockets.
const VALUE_BYTES: usize = 16 << 20;

#[tokio::test]
async fn answers_that_nobody_reads_hold_no_more_than_the_bound() {
    let counted = Counted::default();
    let configure = |builder: HttpPoolBuilder| {
        let builder = builder.max_unsent_bytes(2 * VALUE_BYTES as u64);
        builder.write_timeout(Duration::from_secs(2)).max_time_left(Duration::from_secs(4))
    };
    let served = Served::start(counted.clone(), configure).await;
    let mut heads = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let mut stream = served.connect().await;
        heads.spawn(async move {
            let head = begin(&mut stream, VALUE_BYTES).await;
            (head, stream)
        });
    }
    // Two are sent, two wait, and the others are refused at once.
    let mut streams = Vec::new();
    for _ in 0..10 {
        let (head, stream) = timeout(SOON, heads.join_next())
            .await
            .expect("in time")
            .expect("ten")
            .expect("no panic");
        streams.push((head, stream));
    }
    assert!(counted.bytes() <= 4 * VALUE_BYTES, "{} bytes", counted.bytes());
    let is_refused = |head: &str| head.starts_with("HTTP/1.1 503 ");
    assert_eq!(streams.iter().filter(|(head, _)| is_refused(head)).count(), 8);
    // Those that are sent are cut, and none of the others is left over.
    counted.all_dropped().await;
}

#[tokio::test]
async fn answer_waits_for_room_and_gets_it() {
    let counted = Counted::default();
    let configure = |builder: HttpPoolBuilder| builder.max_unsent_bytes(VALUE_BYTES as u64);
    let served = Served::start(counted.clone(), configure).await;
    let mut first = served.connect().await;
    assert!(begin(&mut first, VALUE_BYTES).await.starts_with("HTTP/1.1 200 "));
    let mut second = served.connect().await;
    let waits = tokio::spawn(async move { (begin(&mut second, VALUE_BYTES).await, second) });
    timeout(SOON, async {
        while counted.bytes() < 2 * VALUE_BYTES {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("both values are there");
    assert!(!waits.is_finished());
    // Small answers need no room.
    let mut third = served.connect().await;
    let (head, _) = timeout(SOON, ask(&mut third, "/_groupcache/g/4096")).await.expect("in time");
    assert!(head.starts_with("http/1.1 200 "), "{head}");

    read_value(&mut first, VALUE_BYTES).await;
    let (head, mut second) = timeout(SOON, waits).await.expect("in time").expect("no panic");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    read_value(&mut second, VALUE_BYTES).await;
    counted.all_dropped().await;
}

#[tokio::test]
async fn answer_that_waits_too_long_is_refused_while_its_peer_still_waits() {
    let counted = Counted::default();
    let configure = |builder: HttpPoolBuilder| builder.max_unsent_bytes(VALUE_BYTES as u64);
    let served = Served::start(counted.clone(), configure).await;
    let mut first = served.connect().await;
    assert!(begin(&mut first, VALUE_BYTES).await.starts_with("HTTP/1.1 200 "));
    let time_left = Some(Duration::from_millis(500));
    let get = served.client().get("later", &VALUE_BYTES.to_string(), time_left).await;
    let error = get.expect_err("there is no room");
    assert_eq!(error.kind, PeerErrorKind::Overloaded, "{error:?}");
    assert_eq!(counted.bytes(), VALUE_BYTES);
}

#[tokio::test]
async fn answer_larger_than_the_bound_is_sent_when_no_other_is() {
    let counted = Counted::default();
    let served = Served::start(counted.clone(), |builder| builder.max_unsent_bytes(1)).await;
    let client = served.client();
    for _ in 0..3 {
        assert_eq!(client.value("g", &VALUE_BYTES.to_string()).await.len(), VALUE_BYTES);
    }
    counted.all_dropped().await;
}

#[tokio::test]
async fn service_in_another_server_keeps_to_the_bound() {
    let pool = HttpPool::builder("http://own.invalid").max_unsent_bytes(1 << 20);
    let pool = pool.max_time_left(Duration::from_millis(20)).build().expect("a pool");
    let counted = Counted::default();
    // Two services of one pool draw on one bound.
    let (one, other) = (pool.service(counted.clone()), pool.service(counted.clone()));
    let held = call(&one, 1 << 20).await.expect("it never fails");
    assert_eq!(held.status(), StatusCode::OK);
    let refused = call(&other, 1 << 20).await.expect("it never fails");
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["carrotcache-outcome"], "overloaded");
    drop(held);
    let answer = call(&other, 1 << 20).await.expect("it never fails");
    assert_eq!(answer.status(), StatusCode::OK);
    drop(answer);
    counted.all_dropped().await;
}

/// Asks the service for a value of `bytes`.
fn call(service: &PeerService<Counted>, bytes: usize) -> PeerResponse {
    let request = Request::get(format!("/_groupcache/g/{bytes}")).body(()).expect("a request");
    hyper::service::Service::call(service, request)
}

/// Asks for a value of `bytes`, and returns the head of the response.
async fn begin(stream: &mut TcpStream, bytes: usize) -> String {
    let request = format!("GET /_groupcache/g/{bytes} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    read_head(stream).await
}

/// Reads the body that carries a value of `bytes`, of which there are at least 2 MiB.
async fn read_value(stream: &mut TcpStream, bytes: usize) {
    // A tag and four bytes of length.
    let mut body = vec![0; 5 + bytes];
    timeout(SOON, stream.read_exact(&mut body)).await.expect("in time").expect("a body");
}
