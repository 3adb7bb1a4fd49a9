//! How two nodes come to a link, and what happens when they do not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use carrotcache_peer_http::peer::{Completion, PeerErrorKind, Request};
use carrotcache_peer_http::{HttpPool, HttpPoolBuilder, LinkState, PeerStats};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::fake::{FakePeer, Step, value_of};
use crate::support::{Client, Echo, SOON, Served, listen, pool_of, remote};

/// A pool with one peer, and a client of it.
pub(crate) struct Asking {
    pub(crate) pool: HttpPool,
    pub(crate) client: Client,
}

impl Asking {
    pub(crate) fn of(url: &str) -> Self {
        Self::with(url, |builder| builder)
    }

    pub(crate) fn with(
        url: &str,
        configure: impl FnOnce(HttpPoolBuilder) -> HttpPoolBuilder,
    ) -> Self {
        let pool = pool_of(url, configure);
        let client = remote(&pool);
        Self { pool, client }
    }

    /// Returns what the pool tells of its peer.
    pub(crate) fn stats(&self) -> PeerStats {
        self.pool.stats().peers.remove(0)
    }

    pub(crate) fn link(&self) -> LinkState {
        self.stats().link
    }

    /// Waits until the peer stands so.
    pub(crate) async fn until(&self, is_so: impl Fn(&PeerStats) -> bool) {
        let so = async {
            while !is_so(&self.stats()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(SOON, so).await.unwrap_or_else(|_| panic!("stands so: {:?}", self.stats()));
    }
}

#[tokio::test]
async fn the_first_get_becomes_a_link_and_is_answered_over_it() {
    let served = Served::echo().await;
    let asking = Asking::of(served.pool.base_url());
    assert_eq!(asking.link(), LinkState::Down);
    assert_eq!(asking.client.value("scores", "Tom").await, "Tom");
    assert_eq!(asking.link(), LinkState::Up);
    assert_eq!(asking.client.value("later", "Jack").await, "Jack");
    let stats = asking.stats();
    assert_eq!((stats.links_opened, stats.gets_in_flight), (1, 0));
    assert!(stats.bytes_sent > 0 && stats.bytes_received > 0, "{stats:?}");
    assert_eq!(served.pool.stats().links_served, 1);
}

#[tokio::test]
async fn a_node_without_links_is_asked_over_http_whichever_of_the_two_it_is() {
    let served = Served::start(Echo::default(), |builder| builder.link(false)).await;
    let asking = Asking::of(served.pool.base_url());
    assert_eq!(asking.client.value("scores", "Tom").await, "Tom");
    assert!(matches!(asking.link(), LinkState::Plain { .. }), "{:?}", asking.link());
    assert_eq!(asking.client.value("scores", "Jack").await, "Jack");

    let served = Served::echo().await;
    let pool = pool_of(served.pool.base_url(), |builder| builder.link(false));
    assert_eq!(remote(&pool).value("scores", "Tom").await, "Tom");
    assert_eq!(pool.stats().peers[0].link, LinkState::Off);
    assert_eq!(served.pool.stats().links_served, 0);
}

#[tokio::test]
async fn inside_axum_there_are_links_and_they_end_with_the_service() {
    let (listener, url) = listen().await;
    let owner = HttpPool::builder(&url).build().expect("a pool");
    let peers = owner.service(Echo::default());
    let app = axum::Router::new().route_service("/_groupcache/{*path}", peers);
    let serving: JoinHandle<()> = tokio::spawn(async {
        axum::serve(listener, app).await.expect("it serves");
    });
    let asking = Asking::of(&url);
    assert_eq!(asking.client.value("scores", "Tom").await, "Tom");
    assert_eq!((asking.link(), owner.stats().links_served), (LinkState::Up, 1));
    serving.abort();
    asking.until(|stats| stats.link == LinkState::Down).await;
}

#[tokio::test]
async fn a_server_without_upgrades_is_asked_over_http() {
    let (listener, url) = listen().await;
    let owner = HttpPool::builder(&url).build().expect("a pool");
    let service = owner.service(Echo::default());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    let asking = Asking::of(&url);
    for key in ["Tom", "Jack"] {
        assert_eq!(asking.client.value("scores", key).await, key);
    }
    assert!(matches!(asking.link(), LinkState::Plain { .. }), "{:?}", asking.link());
}

#[tokio::test]
async fn what_looks_like_an_agreement_and_is_none_costs_no_get() {
    let agreed = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                  upgrade: carrotcache/1\r\n\r\n";
    let sent = |bytes: &[u8]| Step::Send([agreed.as_bytes(), bytes].concat());
    let scripts: [(&str, Vec<Step>); 5] = [
        ("silence", vec![Step::Request, sent(b""), Step::Hold]),
        ("the end", vec![Step::Request, sent(b"")]),
        ("a reset", vec![Step::Request, sent(b""), Step::Reset]),
        ("an answer in HTTP", vec![Step::Request, sent(&value_of("wrong")), Step::Hold]),
        ("zeros", vec![Step::Request, sent(b""), Step::Endless(vec![0; 16])]),
    ];
    for (name, script) in scripts {
        let peer = FakePeer::start(vec![script]).await;
        let asking = Asking::of(&peer.url);
        let value = timeout(SOON, asking.client.value("scores", "Tom")).await;
        assert_eq!(value.unwrap_or_else(|_| panic!("{name}: in time")), "Tom", "{name}");
        assert!(matches!(asking.link(), LinkState::Plain { .. }), "{name}: {:?}", asking.link());
    }
}

#[tokio::test]
async fn another_protocol_than_the_one_that_was_asked_for_is_no_answer() {
    let other = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n";
    let script = vec![Step::Request, Step::Send(other.to_vec()), Step::Hold];
    let asking = Asking::of(&FakePeer::start(vec![script]).await.url);
    assert_eq!(asking.client.error("scores", "Tom").await.kind, PeerErrorKind::Foreign);
    assert_eq!(asking.client.value("scores", "Tom").await, "Tom");
}

#[tokio::test]
async fn what_keeps_one_get_from_being_asked_keeps_no_other() {
    let served = Served::echo().await;
    let asking = Asking::of(served.pool.base_url());
    // The first get asks for the link, the others wait for what comes of it.
    let too_long = "k".repeat(70_000);
    let (first, second, third) = tokio::join!(
        asking.client.get("scores", &too_long, None),
        asking.client.get("scores", "Tom", None),
        asking.client.get("scores", "Jack", None),
    );
    assert_eq!(first.expect_err("no path is so long").kind, PeerErrorKind::BadRequest);
    for (answer, key) in [(second, "Tom"), (third, "Jack")] {
        assert_eq!(answer.expect("a value").entry.into_value().expect("a value"), key);
    }
    assert_eq!(asking.client.value("scores", "Ada").await, "Ada");
    assert_eq!(asking.link(), LinkState::Up);
}

#[test]
fn those_who_wait_for_a_link_may_ask_again_where_they_are_told() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let url = runtime.block_on(async { listen().await.1 });
    // Nobody is there, which all who wait are told.
    let peer = remote(&pool_of(&url, |builder| builder.eject(false))).0;
    let (tell, told) = std::sync::mpsc::channel();
    let entered = runtime.enter();
    for _ in 0..64 {
        let (tell, again) = (tell.clone(), Arc::clone(&peer));
        let ask = move |_| {
            again.ask(request(), Completion::new(move |_| tell.send(()).expect("it waits")));
        };
        peer.ask(request(), Completion::new(ask));
    }
    drop(entered);
    let are_told = (0..64).all(|_| told.recv_timeout(SOON).is_ok());
    // Before anything fails: a worker that hangs would be waited for.
    runtime.shutdown_background();
    assert!(are_told, "each is told twice");
}

fn request() -> Request {
    Request::new("g", "k", Instant::now() + SOON)
}
