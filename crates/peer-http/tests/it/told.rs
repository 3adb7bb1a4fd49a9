//! What owners of this project tell beside an answer: for how long it is good, and which process it is.

use std::time::Duration;

use carrotcache_peer_http::HttpPool;
use carrotcache_peer_http::peer::{Entry, Picker};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{
    Client, Echo, Served, ask, client, pool_of, read_response, remote, replies, reply, value_head,
};

/// Returns a client that asks over a link, and one that asks over HTTP.
fn both_ways(url: &str) -> [Client; 2] {
    [remote(&pool_of(url, |builder| builder)), client(url)]
}

#[tokio::test]
async fn times_arrive_with_the_value_either_way() {
    let served = Served::echo().await;
    for client in both_ways(served.pool.base_url()) {
        for millis in [0_u64, 1, 60_000, 86_400_000_000] {
            let answer = client.get("fresh", &millis.to_string(), None).await.expect("a value");
            let fresh_for = Duration::from_millis(millis);
            let entry = Entry::new(millis.to_string()).with_fresh_for(fresh_for);
            assert_eq!(answer.entry, entry.with_stale_for(fresh_for / 2));
        }
        let answer = client.get("group", "for good", None).await.expect("a value");
        assert_eq!(answer.entry, Entry::new("for good"));
    }
}

#[tokio::test]
async fn the_process_that_answers_is_told_either_way_and_a_restart_shows() {
    let mut seen = Vec::new();
    let served = Served::echo().await;
    let clients = both_ways(served.pool.base_url());
    let (address, mut served) = (served.address(), Some(served));
    for _ in 0..2 {
        let now = served.take().expect("it serves");
        let incarnation = now.pool.this_node().expect("links are on").incarnation;
        for client in &clients {
            for group in ["group", "not-found"] {
                let answer = client.get(group, "Tom", None).await.expect("an answer");
                assert_eq!(answer.incarnation, Some(incarnation), "{group}");
            }
        }
        seen.push(incarnation);
        now.stop().await.expect("no panic").expect("it ends well");
        let listener = tokio::net::TcpListener::bind(address).await.expect("the same port");
        let url = format!("http://{address}");
        served = Some(Served::start_at((listener, url), Echo::default(), |builder| builder));
    }
    assert_ne!(seen[0], seen[1]);
}

#[tokio::test]
async fn plain_peers_tell_no_process() {
    let served = Served::start(Echo::default(), |builder| builder.link(false)).await;
    let plain = replies(reply(&value_head("content-length: 5"), b"\x0a\x03Tom")).await;
    for client in both_ways(served.pool.base_url()).into_iter().chain(both_ways(&plain)) {
        let answer = client.get("group", "Tom", None).await.expect("a value");
        assert_eq!((answer.entry, answer.incarnation), (Entry::new("Tom"), None));
    }
}

/// Sends a request with this header, and returns the head of the response.
async fn head_for(stream: &mut TcpStream, path: &str, header: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    read_response(stream).await.0
}

#[tokio::test]
async fn nodes_of_go_get_the_head_that_they_always_got() {
    let served = Served::echo().await;
    let mut stream = served.connect().await;
    for (path, fresh) in [
        ("/_groupcache/fresh/60000", Some("carrotcache-fresh: 60000;30000")),
        ("/_groupcache/group/Tom", None),
        ("/_groupcache/not-found/Tom", None),
    ] {
        let to_go = ask(&mut stream, path).await.0;
        assert!(!to_go.contains("carrotcache-fresh"), "{to_go}");
        assert!(!to_go.contains("carrotcache-incarnation"), "{to_go}");
        let to_us = head_for(&mut stream, path, "carrotcache-time-left: 5000\r\n").await;
        let line = to_us.lines().find(|line| line.starts_with("carrotcache-fresh"));
        assert_eq!(line, fresh, "{to_us}");
        assert!(to_us.contains("\ncarrotcache-incarnation: "), "{to_us}");
    }
}

#[tokio::test]
async fn a_node_tells_the_label_that_the_list_has() {
    let pool = HttpPool::builder("http://NODE-1:80").build().expect("a pool");
    let label = || pool.this_node().expect("links are on").label;
    assert_eq!(&*label(), "http://NODE-1:80");
    pool.set_peers(["http://node-1", "http://node-2"]).expect("two nodes");
    assert_eq!(&*label(), "http://node-1");
    assert_eq!(pool.this_node(), pool.clone().this_node());

    let pool = HttpPool::builder("http://node-1").link(false).build().expect("a pool");
    assert_eq!(pool.this_node(), None);
}
