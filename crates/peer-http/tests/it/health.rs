//! How a pool finds out that a peer does not live, and that it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use carrotcache_peer_http::peer::{Answer, Handler, PeerError, PeerErrorKind, Reply, Request};
use carrotcache_peer_http::{HealthState, HttpPool, HttpPoolBuilder, LinkState, PeerHealth};
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::fake::{FakePeer, Step, value_of};
use crate::support::{
    Client, Echo, SOON, Served, listen, pool_of, read_head, remote, replies, reply,
};

/// Longer than it takes to find out that a peer is dead, by far shorter than what gets wait for.
const DEATH: Duration = Duration::from_millis(1_200);

/// A pool with one peer, and a client of it.
pub(crate) struct Asker {
    pub(crate) pool: HttpPool,
    pub(crate) client: Client,
}

impl Asker {
    pub(crate) fn of(
        url: &str,
        configure: impl FnOnce(HttpPoolBuilder) -> HttpPoolBuilder,
    ) -> Self {
        let pool = pool_of(url, configure);
        let client = remote(&pool);
        Self { pool, client }
    }

    /// Returns what the pool tells of its peer.
    pub(crate) fn health(&self) -> PeerHealth {
        self.pool.health().peers.remove(0)
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.health().state == HealthState::Healthy
    }

    /// Waits until the peer stands so.
    pub(crate) async fn until(&self, is_so: impl Fn(&PeerHealth) -> bool) {
        let so = async {
            while !is_so(&self.health()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(SOON, so).await.unwrap_or_else(|_| panic!("stands so: {:?}", self.health()));
    }

    /// Gets a value for which there is plenty of time, and returns why there is none.
    pub(crate) async fn error(&self) -> PeerError {
        self.client.get("g", "k", Some(SOON)).await.expect_err("no answer")
    }

    /// Gets many values at once. Returns their errors, and how long it took until all were told.
    async fn errors(&self, gets: usize) -> (Vec<PeerErrorKind>, Duration) {
        let (begin, mut set) = (Instant::now(), JoinSet::new());
        for key in 0..gets {
            let client = self.client.clone();
            set.spawn(async move { client.get("g", &key.to_string(), Some(SOON)).await });
        }
        let told = set.join_all().await;
        let kinds = told.into_iter().map(|answer| answer.expect_err("no answer").kind);
        (kinds.collect(), begin.elapsed())
    }
}

/// Passes connections on to a node, until it is told to stop: then it goes on taking them, and nothing
/// passes any more. So does a process that is stopped.
pub(crate) struct Stoppable {
    pub(crate) url: String,
    is_stopped: Arc<watch::Sender<bool>>,
}

impl Stoppable {
    pub(crate) async fn before(served: &Served) -> Self {
        let (listener, url) = listen().await;
        let (address, is_stopped) = (served.address(), Arc::new(watch::Sender::new(false)));
        let stopped = Arc::clone(&is_stopped);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut stopped = stopped.subscribe();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(address).await.expect("the node");
                    loop {
                        tokio::select! {
                            _ = stopped.wait_for(|stopped| *stopped) => {}
                            _ = copy_bidirectional(&mut near, &mut far) => return,
                        }
                        let goes_on = stopped.wait_for(|stopped| !*stopped).await.is_ok();
                        if !goes_on {
                            return;
                        }
                    }
                });
            }
        });
        Self { url, is_stopped }
    }

    pub(crate) fn stop(&self) {
        self.is_stopped.send_replace(true);
    }

    pub(crate) fn go_on(&self) {
        self.is_stopped.send_replace(false);
    }
}

#[tokio::test]
async fn a_stopped_owner_is_found_out_before_there_was_a_link() {
    for links in [true, false] {
        // The system takes its connections, and nobody ever reads from them.
        let (_listener, url) = listen().await;
        let asker = Asker::of(&url, |builder| builder.link(links));
        let begin = Instant::now();
        let error = asker.error().await;
        assert!(begin.elapsed() < DEATH, "links {links}: {:?}", begin.elapsed());
        assert_eq!(error.kind, PeerErrorKind::Unreachable);
        assert_eq!(error.causes(), "it was silent, and did not answer a ping within 250ms");
        let begin = Instant::now();
        let error = asker.error().await;
        assert!(begin.elapsed() < Duration::from_millis(100), "at once");
        assert_eq!(error.kind, PeerErrorKind::Ejected);
        assert!(error.causes().contains("did not answer a ping"), "{}", error.causes());
    }
}

#[tokio::test]
async fn all_who_wait_for_a_stopped_owner_are_woken_at_once() {
    for links in [true, false] {
        let (_listener, url) = listen().await;
        // Most of them wait for a place, or for the link.
        let asker = Asker::of(&url, |builder| builder.link(links).max_connections(4));
        let (kinds, time) = asker.errors(64).await;
        assert!(time < DEATH, "links {links}: {time:?}");
        assert_eq!(kinds, [PeerErrorKind::Unreachable; 64]);
        assert!(!asker.is_healthy());
    }
}

#[tokio::test]
async fn an_owner_that_is_stopped_under_a_link_is_ejected_and_comes_back() {
    let served = Served::echo().await;
    let proxy = Stoppable::before(&served).await;
    let asker = Asker::of(&proxy.url, |builder| builder);
    assert_eq!(asker.client.value("g", "k").await, "k");
    assert_eq!(asker.pool.stats().peers[0].link, LinkState::Up);
    proxy.stop();
    let (kinds, time) = asker.errors(64).await;
    assert!(time < DEATH, "{time:?}");
    assert_eq!(kinds, [PeerErrorKind::Unreachable; 64]);
    assert_eq!(asker.error().await.kind, PeerErrorKind::Ejected, "no later than they are told");
    proxy.go_on();
    let back = async {
        while asker.client.get("g", "k", None).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, back).await.expect("it is asked again");
    let health = asker.health();
    assert_eq!(health.state, HealthState::Healthy);
    assert!(health.why.is_none(), "{health:?}");
}

/// Loads until it is told to end, and counts.
#[derive(Clone, Default)]
struct Slow {
    asked: Arc<AtomicUsize>,
    end: Arc<watch::Sender<bool>>,
}

impl Handler for Slow {
    fn answer(&self, request: Request) -> Reply {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut end = self.end.subscribe();
        Reply::pending(async move {
            drop(end.wait_for(|end| *end).await);
            Ok(Answer::new(request.key.to_string()))
        })
    }
}

/// Answers as a node of Go's with a slow getter: nothing for a key until it is let go on, and 404 for a
/// group that it does not have. Tells how often it was asked for one.
async fn go_node(end: Arc<Semaphore>) -> (String, Arc<AtomicUsize>) {
    let (listener, url) = listen().await;
    let pings = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&pings);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (pings, end) = (Arc::clone(&counted), Arc::clone(&end));
            tokio::spawn(async move {
                let head = read_head(&mut stream).await;
                let answer = if head.starts_with("GET /_groupcache/carrotcache.link/- ") {
                    pings.fetch_add(1, Ordering::Relaxed);
                    reply("HTTP/1.1 404 Not Found\r\ncontent-length: 14", "no such group\n")
                } else {
                    end.acquire().await.expect("it is open").forget();
                    value_of("late")
                };
                drop(stream.write_all(&answer).await);
            });
        }
    });
    (url, pings)
}

/// Has pings follow each other fast, and takes its time for each.
fn fast_pings(builder: HttpPoolBuilder) -> HttpPoolBuilder {
    builder.link_ping_after(Duration::from_millis(20)).link_pong_timeout(Duration::from_secs(5))
}

#[tokio::test]
async fn a_slow_loader_is_not_taken_for_a_dead_peer() {
    for links in [true, false] {
        let end = Arc::new(Semaphore::new(0));
        let (url, pings) = go_node(Arc::clone(&end)).await;
        let asker = Asker::of(&url, |builder| fast_pings(builder).link(links));
        let client = asker.client.clone();
        let get = tokio::spawn(async move { client.get("g", "k", Some(SOON)).await });
        let pinged = async {
            while pings.load(Ordering::Relaxed) < 3 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(SOON, pinged).await.expect("it is pinged again and again");
        assert!(asker.is_healthy() && !get.is_finished());
        end.add_permits(1);
        let answer = get.await.expect("no panic").expect("a value");
        assert_eq!(answer.entry.into_value().expect("a value"), "late");
    }
}

#[tokio::test]
async fn a_slow_loader_of_ours_without_links_is_not_taken_for_a_dead_peer_either() {
    let slow = Slow::default();
    let served = Served::start(slow.clone(), |builder| builder.link(false)).await;
    let asker = Asker::of(served.pool.base_url(), fast_pings);
    let client = asker.client.clone();
    let get = tokio::spawn(async move { client.get("g", "k", Some(SOON)).await });
    // Long enough for several pings, whose answers nobody sees but the judge.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(asker.is_healthy() && !get.is_finished());
    slow.end.send_replace(true);
    get.await.expect("no panic").expect("a value");
    assert_eq!(slow.asked.load(Ordering::Relaxed), 1, "pings do not reach the handler");
}

#[tokio::test]
async fn a_peer_whose_other_answers_come_lives_without_a_ping() {
    // It answers the first connection after the second, and its pings never.
    let scripts = vec![
        vec![Step::Request, Step::Wait, Step::Send(value_of("first")), Step::Hold],
        vec![Step::Request, Step::Hold],
        vec![Step::Request, Step::Send(value_of("second")), Step::Hold],
    ];
    let peer = FakePeer::start(scripts).await;
    let configure = |builder: HttpPoolBuilder| {
        let builder = builder.link(false).link_ping_after(Duration::from_millis(50));
        builder.link_pong_timeout(Duration::from_millis(400))
    };
    let asker = Asker::of(&peer.url, configure);
    let client = asker.client.clone();
    let first = tokio::spawn(async move { client.get("g", "first", Some(SOON)).await });
    let pinged = async {
        while peer.seen.accepted() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, pinged).await.expect("it is pinged");
    assert_eq!(asker.client.value("g", "second").await, "second");
    peer.let_go_on();
    first.await.expect("no panic").expect("a value");
    // The ping that is not answered ends only now.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(asker.is_healthy(), "{:?}", asker.health());
}

#[tokio::test]
async fn refused_twice_is_ejected_and_the_listener_that_comes_back_is_found() {
    let (listener, url) = listen().await;
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let asker = Asker::of(&url, |builder| builder.first_ejection(Duration::from_millis(50)));
    for _ in 0..2 {
        assert!(asker.is_healthy());
        assert_eq!(asker.error().await.kind, PeerErrorKind::Unreachable);
    }
    let error = asker.error().await;
    assert_eq!(error.kind, PeerErrorKind::Ejected);
    assert!(error.causes().contains("onnection refused"), "{}", error.causes());
    assert!(asker.health().why.is_some_and(|why| why.kind == PeerErrorKind::Unreachable));

    let listener = TcpListener::bind(address).await.expect("the same port");
    let _served = Served::start_at((listener, url), Echo::default(), |builder| builder);
    let back = async {
        while asker.client.get("g", "k", None).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, back).await.expect("it is asked again");
    assert!(asker.is_healthy());
}

#[tokio::test]
async fn reset_twice_is_ejected_and_a_byte_in_between_is_life() {
    let reset = || vec![Step::Request, Step::Reset];
    let answer = vec![Step::Request, Step::Send(value_of("v")), Step::Hold];
    let scripts = vec![reset(), answer, vec![Step::Reset], reset(), reset()];
    let peer = FakePeer::start(scripts).await;
    let asker = Asker::of(&peer.url, |builder| builder.link(false).max_idle_connections(0));
    assert_eq!(asker.error().await.kind, PeerErrorKind::Truncated);
    assert_eq!(asker.client.value("g", "k").await, "v");
    assert_eq!(asker.error().await.kind, PeerErrorKind::Truncated);
    assert!(asker.is_healthy());
    assert_eq!(asker.error().await.kind, PeerErrorKind::Truncated);
    assert_eq!(asker.error().await.kind, PeerErrorKind::Ejected);
}

#[tokio::test]
async fn whatever_a_peer_answers_is_life() {
    for head in [
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0",
        "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0",
        "HTTP/1.1 400 Bad Request\r\ncontent-length: 0",
        "HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 0",
        "no HTTP at all",
        // A body that is cut short.
        "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 9",
    ] {
        let asker = Asker::of(&replies(reply(head, "")).await, |builder| builder);
        for _ in 0..6 {
            assert_ne!(asker.error().await.kind, PeerErrorKind::Ejected, "{head}");
        }
        assert!(asker.is_healthy(), "{head}");
    }
}

#[tokio::test]
async fn a_killed_owner_costs_the_cut_of_its_link_and_one_refusal() {
    let served =
        Served::start(Slow::default(), |builder| builder.drain_timeout(Duration::from_millis(1)))
            .await;
    let asker = Asker::of(served.pool.base_url(), |builder| builder);
    let client = asker.client.clone();
    let get = tokio::spawn(async move { client.get("g", "k", Some(SOON)).await });
    let linked = async {
        while asker.pool.stats().peers[0].link != LinkState::Up {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, linked).await.expect("a link");
    drop(served.stop().await.expect("no panic"));
    let cut = get.await.expect("no panic").expect_err("it is cut");
    assert_eq!(cut.kind, PeerErrorKind::Truncated);
    assert_eq!(asker.error().await.kind, PeerErrorKind::Unreachable);
    assert_eq!(asker.error().await.kind, PeerErrorKind::Ejected);
}

#[tokio::test]
async fn a_get_with_little_time_leads_to_the_discovery_all_the_same() {
    let (_listener, url) = listen().await;
    let asker = Asker::of(&url, |builder| builder.link(false));
    let error = asker.client.get("g", "k", Some(Duration::from_millis(30))).await;
    assert_eq!(error.expect_err("no answer").kind, PeerErrorKind::TimedOut);
    asker.until(|peer| peer.state != HealthState::Healthy).await;
}
