//! Our server against clients that take their time.

use std::time::Duration;

use carrotcache_peer_http::HttpPoolBuilder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::support::{Counted, Echo, SOON, Served, ask, read_head, read_to_cut};

/// How long something may take that is meant to take too long.
const SHORT: Duration = Duration::from_millis(50);

/// The length of an answer that no buffer of the operating system takes whole.
const LONG_ANSWER: &str = "GET /_groupcache/bytes/33554432 HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn first_head_has_to_come_in_time() {
    let configure = |builder: HttpPoolBuilder| {
        builder.head_timeout(SHORT).idle_connection_timeout(Duration::MAX)
    };
    let served = Served::start(Echo::default(), configure).await;
    let mut silent = served.connect().await;
    let mut half = served.connect().await;
    half.write_all(b"GET /_groupcache/sco").await.expect("sent");
    drip_until_cut(&mut served.connect().await).await;
    read_to_cut(&mut half).await;
    read_to_cut(&mut silent).await;
}

#[tokio::test]
async fn next_head_has_to_come_in_time_once_it_has_begun() {
    let configure = |builder: HttpPoolBuilder| {
        builder.head_timeout(SHORT).idle_connection_timeout(Duration::MAX)
    };
    let served = Served::start(Echo::default(), configure).await;
    for _ in 0..2 {
        let mut stream = served.connect().await;
        ask(&mut stream, "/_groupcache/scores/Tom").await;
        drip_until_cut(&mut stream).await;
    }
}

#[tokio::test]
async fn connection_may_be_idle_for_longer_than_a_head_may_take() {
    let configure = |builder: HttpPoolBuilder| {
        builder.head_timeout(SHORT).idle_connection_timeout(Duration::MAX)
    };
    let served = Served::start(Echo::default(), configure).await;
    let mut idle = served.connect().await;
    ask(&mut idle, "/_groupcache/scores/Tom").await;
    // The time of this one begins after that, and is over before that is asked again.
    read_to_cut(&mut served.connect().await).await;
    let (head, _) = ask(&mut idle, "/_groupcache/scores/Tom").await;
    assert!(head.starts_with("http/1.1 200 "), "{head}");
}

#[tokio::test]
async fn connection_is_closed_when_it_was_idle_for_too_long() {
    let configure = |builder: HttpPoolBuilder| {
        builder.head_timeout(Duration::MAX).idle_connection_timeout(SHORT)
    };
    let served = Served::start(Echo::default(), configure).await;
    let mut stream = served.connect().await;
    for _ in 0..2 {
        ask(&mut stream, "/_groupcache/scores/Tom").await;
    }
    let ended = timeout(SOON, stream.read(&mut [0])).await.expect("in time");
    assert_eq!(ended.expect("an end in good order"), 0);
}

#[tokio::test]
async fn reader_that_never_reads_is_cut_off() {
    let configure = |builder: HttpPoolBuilder| builder.write_timeout(SHORT).max_accepted(2);
    let counted = Counted::default();
    let served = Served::start(counted.clone(), configure).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = served.connect().await;
        stream.write_all(LONG_ANSWER.as_bytes()).await.expect("sent");
        // Only the beginning, to know that the answer is under way.
        assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200 "));
        held.push(stream);
    }
    // Both places are taken, and neither connection is idle.
    assert_eq!(served.client().value("g", "3").await, [7; 3]);
    counted.all_dropped().await;
    for mut stream in held {
        assert!(read_to_cut(&mut stream).await < 33_554_432, "the answer is cut");
    }
}

#[tokio::test]
async fn reader_that_trickles_is_cut_off() {
    let configure = |builder: HttpPoolBuilder| builder.write_timeout(Duration::from_millis(300));
    let served = Served::start_at(narrow_listener(), Echo::default(), configure);
    let mut stream = narrow(&served).await;
    stream.write_all(LONG_ANSWER.as_bytes()).await.expect("sent");
    // A few bytes each time, each of which shows that the client lives.
    let trickle = async {
        while let Ok(1..) = stream.read(&mut [0; 64]).await {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, trickle).await.expect("the server closes the connection");
}

#[tokio::test]
async fn reader_that_goes_on_reading_gets_all_of_its_answer() {
    // Far less time than the whole takes, which has to wait for the reader again and again.
    let configure = |builder: HttpPoolBuilder| builder.write_timeout(Duration::from_secs(1));
    let served = Served::start_at(narrow_listener(), Echo::default(), configure);
    let mut stream = narrow(&served).await;
    let request = "GET /_groupcache/bytes/2097152 HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    // A field's tag, four bytes of length, and the value.
    let mut body = vec![0; 2_097_157];
    for part in body.chunks_mut(16 << 10) {
        stream.read_exact(part).await.expect("a part of the body");
        sleep(Duration::from_millis(15)).await;
    }
    assert!(body[5..].iter().all(|byte| *byte == 7));
}

#[tokio::test]
async fn time_between_two_answers_is_not_counted() {
    let configure =
        |builder: HttpPoolBuilder| builder.write_timeout(4 * SHORT).head_timeout(5 * SHORT);
    let served = Served::start_at(narrow_listener(), Echo::default(), configure);
    let mut stream = narrow(&served).await;
    for _ in 0..2 {
        // The first of the two has had to wait for its reader, and has then gone on to its end.
        let (head, _) = ask(&mut stream, "/_groupcache/bytes/262144").await;
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        // For as long as this one may be silent, which is longer than a write may wait.
        read_to_cut(&mut served.connect().await).await;
    }
}

#[tokio::test]
async fn reader_without_time_left_is_cut_off() {
    let configure = |builder: HttpPoolBuilder| {
        builder.write_timeout(Duration::MAX).max_time_left(Duration::from_millis(200))
    };
    let served = Served::start(Echo::default(), configure).await;
    let mut stream = served.connect().await;
    stream.write_all(LONG_ANSWER.as_bytes()).await.expect("sent");
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200 "));
    // The connection has a place until it is cut, and then no more.
    let answer = served.stop();
    let ended = timeout(SOON, answer).await.expect("in time").expect("no panic");
    assert_eq!(ended, Ok(()));
    assert!(read_to_cut(&mut stream).await < 33_554_432, "the answer is cut");
}

/// Sends half a head, byte by byte, until the server closes the connection.
async fn drip_until_cut(stream: &mut TcpStream) {
    let drip = async {
        // The server closes, and then a write fails.
        while stream.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, drip).await.expect("the server closes the connection");
}

/// Returns a listener whose connections have small buffers, so that the server notices how its
/// answers are read.
fn narrow_listener() -> (TcpListener, String) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_send_buffer_size(8 << 10).expect("a small buffer");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let listener = socket.listen(16).expect("a listener");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    (listener, url)
}

/// Returns a raw connection with small buffers.
async fn narrow(served: &Served) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4 << 10).expect("a small buffer");
    socket.connect(served.address()).await.expect("a connection")
}
