//! The secret that nodes share: who is let in, and what becomes of who is not.

use carrotcache_peer_http::peer::PeerErrorKind;
use carrotcache_peer_http::{BuildError, HttpPool, HttpPoolBuilder, LinkState, SecretError};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::links::Asking;
use crate::purges::{Forgetful, kind_of, purge_of, send, told};
use crate::support::{Echo, SOON, Served, ask, client, client_with, read_response, replies};

const OLD: &str = "the-old-secret-of-this-cluster";
const NEW: &str = "the-new-secret-of-this-cluster";

/// Returns what sets these secrets.
fn secrets(
    sent: &'static str,
    other: Option<&'static str>,
) -> impl Fn(HttpPoolBuilder) -> HttpPoolBuilder + Copy {
    move |builder| {
        let builder = builder.secret(sent);
        other.map_or(builder.clone(), |other| builder.other_secret(other))
    }
}

/// Starts a node with these secrets, and returns what it hears.
async fn node(sent: &'static str, other: Option<&'static str>) -> (Served, Forgetful) {
    let handler = Forgetful::default();
    (Served::start(handler.clone(), secrets(sent, other)).await, handler)
}

#[tokio::test]
async fn who_knows_the_secret_gets_a_link_and_is_heard_over_it() {
    let (served, handler) = node(OLD, None).await;
    let asking = Asking::with(served.pool.base_url(), secrets(OLD, None));
    assert_eq!(asking.client.value("scores", "Tom").await, "Tom");
    assert_eq!(asking.link(), LinkState::Up);
    told(send(&asking.client, purge_of("scores", SOON))).await.expect("it is done");
    assert_eq!(handler.heard.lock().expect("no panic").len(), 1);

    let over_http = client_with(served.pool.base_url(), secrets(OLD, None));
    assert_eq!(over_http.value("scores", "Jack").await, "Jack");
}

#[tokio::test]
async fn who_does_not_gets_no_link_and_nothing_else_and_is_not_heard() {
    let (served, handler) = node(OLD, None).await;
    let without = |builder: HttpPoolBuilder| builder;
    let url = served.pool.base_url();
    for asking in [Asking::with(url, without), Asking::with(url, secrets(NEW, None))] {
        for _ in 0..3 {
            let error = asking.client.error("scores", "Tom").await;
            assert_eq!(error.kind, PeerErrorKind::Unauthorized);
        }
        // It is one of ours, which only does not know us: it is not taken for a plain one.
        assert_eq!(asking.link(), LinkState::Down);
        let error = kind_of(&asking.client, purge_of("scores", SOON)).await;
        assert_eq!(error, PeerErrorKind::Unauthorized);
    }
    for over_http in [client(url), client_with(url, secrets(NEW, None))] {
        let error = over_http.error("scores", "Tom").await;
        assert_eq!(error.kind, PeerErrorKind::Unauthorized);
    }
    assert_eq!(handler.asked.lock().expect("no panic").len(), 0);
    assert_eq!(handler.heard.lock().expect("no panic").len(), 0);
    assert_eq!(served.pool.stats().links_served, 0);
}

#[tokio::test]
async fn the_secret_is_looked_at_before_anything_else() {
    let (served, _) = node(OLD, None).await;
    let mut stream = served.connect().await;
    for path in ["/_groupcache/scores/Tom", "/_groupcache/", "/elsewhere", "/_groupcache/%/%"] {
        let (head, body) = ask(&mut stream, path).await;
        assert!(head.starts_with("http/1.1 401 "), "{path}: {head}");
        assert!(head.contains("www-authenticate: carrotcache-secret"), "{head}");
        assert!(head.contains("carrotcache-outcome: unauthorized"), "{head}");
        let text = String::from_utf8(body).expect("a line");
        assert!(text.contains("carrotcache-secret is missing"), "{text}");
    }
    for request in [
        "POST /_groupcache/a/b HTTP/1.1\r\nhost: x\r\n",
        "GET /_groupcache/a/b HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: carrotcache/1\r\n",
        "GET /_groupcache/a/b HTTP/1.1\r\nhost: x\r\ncarrotcache-secret: wrong\r\n",
    ] {
        stream.write_all(format!("{request}\r\n").as_bytes()).await.expect("sent");
        let (head, _) = read_response(&mut stream).await;
        assert!(head.starts_with("http/1.1 401 "), "{request}: {head}");
    }
    let right = format!("GET /_groupcache/a/b HTTP/1.1\r\ncarrotcache-secret: {OLD}\r\n\r\n");
    stream.write_all(right.as_bytes()).await.expect("sent");
    assert!(read_response(&mut stream).await.0.starts_with("http/1.1 200 "));
}

#[tokio::test]
async fn a_secret_is_replaced_round_by_round_without_an_error() {
    // What the nodes of a round have, each together with those of the next one.
    let rounds = [(OLD, None), (OLD, Some(NEW)), (NEW, Some(OLD)), (NEW, None)];
    for pair in rounds.windows(2) {
        for (asks, answers) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            let (served, _) = node(answers.0, answers.1).await;
            let asking = Asking::with(served.pool.base_url(), secrets(asks.0, asks.1));
            assert_eq!(asking.client.value("scores", "Tom").await, "Tom");
            told(send(&asking.client, purge_of("scores", SOON))).await.expect("it is done");
            assert_eq!(asking.link(), LinkState::Up);
        }
    }
    let (served, _) = node(NEW, None).await;
    let late = Asking::with(served.pool.base_url(), secrets(OLD, Some(NEW)));
    let error = late.client.error("scores", "Tom").await;
    assert_eq!(error.kind, PeerErrorKind::Unauthorized);
}

#[tokio::test]
async fn a_node_without_a_secret_takes_those_that_have_one() {
    let served = Served::echo().await;
    let asking = Asking::with(served.pool.base_url(), secrets(OLD, None));
    assert_eq!(asking.client.value("scores", "Tom").await, "Tom");
    assert_eq!(asking.link(), LinkState::Up);
}

/// As by a proxy before the peer, or a peer of another version.
#[tokio::test]
async fn a_401_by_whomever_is_a_no_and_neither_a_value_nor_a_plain_peer() {
    let url = replies("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").await;
    let asking = Asking::of(&url);
    assert_eq!(asking.client.error("scores", "Tom").await.kind, PeerErrorKind::Unauthorized);
    assert_eq!(asking.link(), LinkState::Down);
}

#[tokio::test]
async fn gets_that_wait_for_a_link_hear_that_this_node_is_not_let_in() {
    let (served, handler) = node(OLD, None).await;
    let asking = Asking::of(served.pool.base_url());
    let gets = (0..100).map(|key| {
        let client = asking.client.clone();
        tokio::spawn(async move { client.error("scores", &key.to_string()).await.kind })
    });
    for get in gets.collect::<Vec<_>>() {
        let kind = timeout(SOON, get).await.expect("in time").expect("no panic");
        assert_eq!(kind, PeerErrorKind::Unauthorized);
    }
    assert_eq!(asking.stats().links_opened, 0);
    assert_eq!(handler.asked.lock().expect("no panic").len(), 0);
}

#[test]
fn a_secret_that_could_be_guessed_is_refused_by_the_builder() {
    let build = |secret: &str| HttpPool::builder("http://a").secret(secret).build().map(drop);
    let short = BuildError::Secret(SecretError::TooShort { bytes: 6 });
    assert_eq!(build("secret").expect_err("too short"), short);
    let text = "the secret has 6 bytes, fewer than 16: it could be guessed";
    assert_eq!(short.to_string(), text);
    build(OLD).expect("it is long enough");
    let alone = HttpPool::builder("http://a").other_secret(OLD).build().map(drop);
    let error = BuildError::Secret(SecretError::NoneToSend);
    assert_eq!(alone.expect_err("none to send"), error);
}

#[test]
fn no_builder_and_no_pool_prints_its_secret() {
    let builder = secrets(OLD, Some(NEW))(HttpPool::builder("http://a"));
    let printed = format!("{builder:?}");
    let pool = builder.build().expect("a pool");
    let service = pool.service(Echo::default());
    let printed = format!("{printed} {pool:?} {service:?}");
    assert!(!printed.contains(OLD) && !printed.contains(NEW), "{printed}");
}
