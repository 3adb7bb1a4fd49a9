//! Nodes that ask each other in TLS, and whoever else finds the port.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use carrotcache_peer_http::peer::PeerErrorKind;
use carrotcache_peer_http::{HttpPool, HttpPoolBuilder, LinkState};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::certificates::Authority;
use crate::links::Asking;
use crate::purges::{Forgetful, kind_of, purge_of, send, told};
use crate::support::{
    Client, Echo, SOON, Served, client, client_with, listen, peer_at, read_to_cut, remote,
};

/// Returns a listener on a free port, and its URL in TLS.
async fn listen_tls() -> (TcpListener, String) {
    let (listener, url) = listen().await;
    (listener, url.replace("http://", "https://"))
}

/// Starts a node that wants to see certificates of `authority`. Returns what it hears.
async fn node(
    authority: &Authority,
    configure: impl FnOnce(HttpPoolBuilder) -> HttpPoolBuilder,
) -> (Served, Forgetful) {
    let (handler, server) = (Forgetful::default(), authority.server("127.0.0.1"));
    let configure = |builder: HttpPoolBuilder| configure(builder.tls_server(server));
    (Served::start_at(listen_tls().await, handler.clone(), configure), handler)
}

/// Starts an [`Echo`] that wants to see certificates of `authority`.
async fn echo(authority: &Authority) -> Served {
    let server = authority.server("127.0.0.1");
    Served::start_at(listen_tls().await, Echo::default(), |builder| builder.tls_server(server))
}

/// Asks the node at `url`, which it trusts if that is of `trusted`, and shows a certificate of
/// `shown`.
fn asking(url: &str, trusted: &Authority, shown: Option<&Authority>) -> Asking {
    Asking::with(url, patient(trusted, shown))
}

/// Asks over HTTP likewise.
fn over_http(url: &str, trusted: &Authority, shown: Option<&Authority>) -> Client {
    client_with(url, patient(trusted, shown))
}

fn patient(
    trusted: &Authority,
    shown: Option<&Authority>,
) -> impl FnOnce(HttpPoolBuilder) -> HttpPoolBuilder {
    let config = trusted.client(shown);
    move |builder| builder.tls_client(config).tls_handshake_timeout(SOON)
}

#[tokio::test]
async fn gets_and_purges_go_over_a_link_in_tls() {
    let ours = Authority::new();
    let (served, handler) = node(&ours, |builder| builder).await;
    let asking = asking(served.pool.base_url(), &ours, Some(&ours));
    assert_eq!(asking.client.value("scores", "Tom").await, "Tom");
    assert_eq!(asking.link(), LinkState::Up);
    told(send(&asking.client, purge_of("scores", SOON))).await.expect("it is done");
    assert_eq!(handler.heard.lock().expect("no panic").len(), 1);
    assert_eq!((asking.stats().links_opened, served.pool.stats().links_served), (1, 1));
}

/// More than TLS keeps for itself, so that what it has kept has to be flushed.
#[tokio::test]
async fn values_of_all_sizes_come_whole_over_a_link_and_over_http() {
    let ours = Authority::new();
    let served = echo(&ours).await;
    let linked = asking(served.pool.base_url(), &ours, Some(&ours));
    let http = over_http(served.pool.base_url(), &ours, Some(&ours));
    for client in [linked.client.clone(), http] {
        let gets = (0..64).map(|n| {
            let client = client.clone();
            let bytes = [1, 5_000, 300_000, 2 << 20][n % 4];
            tokio::spawn(async move { (bytes, client.value("bytes", &bytes.to_string()).await) })
        });
        for get in gets.collect::<Vec<_>>() {
            let (bytes, value) = timeout(SOON, get).await.expect("in time").expect("no panic");
            assert!(value.len() == bytes && value.iter().all(|&byte| byte == 7), "{bytes}");
        }
    }
    assert_eq!(linked.link(), LinkState::Up);
}

/// Tickets to come back with are sent when the handshake is over, and are no answer to anything.
#[tokio::test]
async fn connections_in_tls_are_used_again() {
    let ours = Authority::new();
    let served = echo(&ours).await;
    let (listener, url) = listen_tls().await;
    let (address, count) = (served.address(), Arc::new(AtomicUsize::new(0)));
    let connections = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::Relaxed);
            let mut to = TcpStream::connect(address).await.expect("a connection");
            tokio::spawn(async move { copy_bidirectional(&mut from, &mut to).await });
        }
    });
    let client = over_http(&url, &ours, Some(&ours));
    for key in 0..20 {
        assert_eq!(client.value("scores", &key.to_string()).await, &*key.to_string());
    }
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_secret_may_stand_in_for_certificates_of_peers() {
    let ours = Authority::new();
    let (handler, server) = (Forgetful::default(), ours.lenient_server("127.0.0.1"));
    let secret = "the-secret-of-this-cluster";
    let configure = |builder: HttpPoolBuilder| builder.tls_server(server).secret(secret);
    let served = Served::start_at(listen_tls().await, handler.clone(), configure);
    let url = served.pool.base_url();
    let error = asking(url, &ours, None).client.error("scores", "Tom").await;
    assert_eq!(error.kind, PeerErrorKind::Unauthorized);
    let asking = Asking::with(url, |builder| patient(&ours, None)(builder.secret(secret)));
    assert_eq!(asking.client.value("scores", "Tom").await, "Tom");
    told(send(&asking.client, purge_of("scores", SOON))).await.expect("it is done");
    assert_eq!(handler.asked.lock().expect("no panic").len(), 1);
}

#[tokio::test]
async fn who_shows_no_certificate_or_a_strangers_is_neither_served_nor_heard() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (served, handler) = node(&ours, |builder| builder).await;
    for shown in [None, Some(&theirs)] {
        let asking = asking(served.pool.base_url(), &ours, shown);
        let error = asking.client.error("scores", "Tom").await;
        assert_eq!(error.kind, PeerErrorKind::Unreachable, "{}", error.causes());
        let kind = kind_of(&asking.client, purge_of("scores", SOON)).await;
        assert_eq!(kind, PeerErrorKind::Unreachable);
        assert_eq!(asking.link(), LinkState::Down);
        let over_http = over_http(served.pool.base_url(), &ours, shown);
        assert_eq!(over_http.error("scores", "Tom").await.kind, PeerErrorKind::Unreachable);
    }
    assert!(handler.asked.lock().expect("no panic").is_empty());
    assert!(handler.heard.lock().expect("no panic").is_empty());
    assert_eq!(served.pool.stats().links_served, 0);
}

#[tokio::test]
async fn a_peer_that_shows_a_strangers_certificate_or_anothers_is_not_asked() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let stranger = Forgetful::default();
    let certificates = [theirs.server("127.0.0.1"), ours.server("127.0.0.2")];
    for server in certificates {
        let configure = |builder: HttpPoolBuilder| builder.tls_server(server);
        let served = Served::start_at(listen_tls().await, stranger.clone(), configure);
        let asking = asking(served.pool.base_url(), &ours, Some(&theirs));
        let error = asking.client.error("scores", "Tom").await;
        assert_eq!(error.kind, PeerErrorKind::Unreachable);
        assert!(error.causes().contains("the TLS handshake failed"), "{}", error.causes());
        assert!(error.causes().contains("invalid peer certificate"), "{}", error.causes());
    }
    assert!(stranger.asked.lock().expect("no panic").is_empty());
}

#[tokio::test]
async fn a_name_in_the_url_is_what_the_certificate_is_for() {
    let ours = Authority::new();
    let (listener, url) = listen_tls().await;
    let url = url.replace("127.0.0.1", "localhost");
    let server = ours.server("localhost");
    let served =
        Served::start_at((listener, url), Echo::default(), |builder| builder.tls_server(server));
    let asking = asking(served.pool.base_url(), &ours, Some(&ours));
    assert_eq!(asking.client.value("scores", "Tom").await, "Tom");
}

#[tokio::test]
async fn who_asks_a_tls_port_without_tls_is_told_soon() {
    let ours = Authority::new();
    let (served, handler) = node(&ours, |builder| builder).await;
    let plain = served.pool.base_url().replace("https://", "http://");
    for client in [client(&plain), Asking::of(&plain).client] {
        let error = timeout(SOON, client.error("scores", "Tom")).await.expect("in time");
        assert_eq!(error.kind, PeerErrorKind::Malformed, "{}", error.causes());
        assert!(error.causes().contains("begin with https://"), "{}", error.causes());
    }
    assert!(handler.asked.lock().expect("no panic").is_empty());
}

#[tokio::test]
async fn who_asks_a_plain_port_in_tls_is_told_soon() {
    let (ours, served) = (Authority::new(), Served::echo().await);
    let url = served.pool.base_url().replace("http://", "https://");
    let asking = asking(&url, &ours, Some(&ours));
    let error = timeout(SOON, asking.client.error("scores", "Tom")).await.expect("in time");
    assert_eq!(error.kind, PeerErrorKind::Unreachable);
    assert!(error.causes().contains("does not speak TLS"), "{}", error.causes());
}

#[tokio::test]
async fn a_peer_that_shakes_no_hands_is_waited_for_no_longer_than_set() {
    let ours = Authority::new();
    // It connects, by the queue of the operating system, and nobody is there.
    let (_listener, url) = listen_tls().await;
    let limit = Duration::from_millis(50);
    let config = ours.client(Some(&ours));
    let client =
        client_with(&url, |builder| builder.tls_client(config).tls_handshake_timeout(limit));
    let error = client.get("scores", "Tom", Some(SOON)).await.expect_err("nobody is there");
    assert_eq!(error.kind, PeerErrorKind::Unreachable);
    assert_eq!(error.causes(), "the TLS handshake did not end within 50ms");
}

#[tokio::test]
async fn half_a_handshake_ends_with_the_time_for_a_head() {
    let ours = Authority::new();
    let limit = Duration::from_millis(100);
    let (served, _) = node(&ours, |builder| builder.head_timeout(limit)).await;
    // Nothing; the beginning of a record; a record that is all of a handshake but its end.
    for part in [&b""[..], &[22, 3, 1], &[22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3]] {
        let (mut stream, start) = (served.connect().await, Instant::now());
        stream.write_all(part).await.expect("sent");
        assert_eq!(read_to_cut(&mut stream).await, 0);
        assert!(start.elapsed() >= limit, "{part:?}: {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn half_handshakes_keep_nobody_out() {
    let ours = Authority::new();
    let patient = |builder: HttpPoolBuilder| builder.max_accepted(2).head_timeout(SOON * 10);
    let (served, _) = node(&ours, patient).await;
    let mut halves = Vec::new();
    for _ in 0..4 {
        let mut half = served.connect().await;
        half.write_all(&[22, 3, 1]).await.expect("sent");
        halves.push(half);
    }
    let asking = asking(served.pool.base_url(), &ours, Some(&ours));
    let value = timeout(SOON, asking.client.value("scores", "Tom")).await.expect("in time");
    assert_eq!(value, "Tom");
}

#[tokio::test]
async fn a_reader_in_tls_that_does_not_read_is_cut() {
    let ours = Authority::new();
    let (handler, server) = (Echo::default(), ours.server("127.0.0.1"));
    let impatient = |builder: HttpPoolBuilder| {
        builder.tls_server(server).write_timeout(Duration::from_millis(100))
    };
    let served = Served::start_at(listen_tls().await, handler, impatient);
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    let connector = TlsConnector::from(ours.client(Some(&ours)));
    let mut tls = connector.connect(name, served.connect().await).await.expect("a handshake");
    let request = b"GET /_groupcache/bytes/50000000 HTTP/1.1\r\nhost: x\r\n\r\n";
    tls.write_all(request).await.expect("sent");
    tls.flush().await.expect("sent");
    // The answer begins, and then it reads nothing until the node has given up.
    tls.read_u8().await.expect("an answer");
    timeout(SOON, served.stop()).await.expect("in time").expect("no panic").expect("it drains");
    let bytes = read_to_cut(&mut tls.into_inner().0).await;
    assert!(bytes < 50_000_000, "{bytes}");
}

#[tokio::test]
async fn a_list_may_have_peers_with_and_without_tls() {
    let ours = Authority::new();
    let (tls, plain) = (echo(&ours).await, Served::echo().await);
    let own = "https://own.invalid";
    let config = ours.client(Some(&ours));
    let pool = HttpPool::builder(own).tls_client(config).tls_handshake_timeout(SOON).build();
    let pool = pool.expect("a pool");
    let urls = [tls.pool.base_url(), plain.pool.base_url()];
    pool.set_peers([own, urls[0], urls[1]]).expect("three nodes");
    for url in urls {
        assert_eq!(peer_at(&pool, url).value("scores", "Tom").await, "Tom");
    }
}

#[tokio::test]
async fn a_link_in_tls_ends_gently_when_its_owner_stops() {
    let ours = Authority::new();
    let served = echo(&ours).await;
    let asking = asking(served.pool.base_url(), &ours, Some(&ours));
    assert_eq!(asking.client.value("scores", "Tom").await, "Tom");
    timeout(SOON, served.stop()).await.expect("in time").expect("no panic").expect("it drains");
    asking.until(|stats| stats.link == LinkState::Down).await;
    // Whoever asks now asks in vain, and at once.
    let error = remote(&asking.pool).error("scores", "Tom").await;
    assert_eq!(error.kind, PeerErrorKind::Unreachable);
}
