//! How a pool tells its peers to forget.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use carrotcache_peer_http::peer::{
    Answer, Completion, Entry, Fate, Handler, Keys, Member, PeerError, PeerErrorKind, Picker,
    Purge, Purged, Reply, Request, Step,
};
use carrotcache_peer_http::{HttpPool, LinkState};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::fake::{FakePeer, Step as Do};
use crate::links::Asking;
use crate::support::{
    Client, Echo, SOON, Served, client_with, listen, pool_of, read_head, remote, replies, reply,
};

pub(crate) type Told = Result<Purged, PeerError>;

/// Notes what it is told to forget, and what it is asked for.
#[derive(Clone, Default)]
pub(crate) struct Forgetful {
    pub(crate) heard: Arc<Mutex<Vec<Purge>>>,
    pub(crate) asked: Arc<Mutex<Vec<Request>>>,
}

impl Handler for Forgetful {
    fn answer(&self, request: Request) -> Reply {
        let key = request.key.to_string();
        self.asked.lock().expect("no panic").push(request);
        Reply::ready(Ok(Answer::new(key)))
    }

    fn purge(&self, purge: Purge) -> Reply<Purged> {
        let group = Arc::clone(&purge.group);
        self.heard.lock().expect("no panic").push(purge);
        match &*group {
            "never" => Reply::pending(std::future::pending()),
            "strange" => Reply::ready(Err(PeerErrorKind::NoSuchGroup.into())),
            _ => Reply::pending(async { Ok(Purged::new(9, Fate::Closed { token: 5 })) }),
        }
    }
}

/// Returns a purge of one key.
pub(crate) fn purge_of(group: &str, time: Duration) -> Purge {
    let sender = Member { label: "http://remover".into(), incarnation: 7 };
    let keys = Keys::These(vec!["k".into()]);
    Purge::new(group, keys, sender, Step::Close { attempt: 1 }, Instant::now() + time)
}

/// Sends a purge. Returns what it is told.
pub(crate) fn send(peer: &Client, purge: Purge) -> oneshot::Receiver<Told> {
    let (tell, told) = oneshot::channel();
    peer.0.purge(purge, Completion::new(|purged| drop(tell.send(purged))));
    told
}

pub(crate) async fn told(receiver: oneshot::Receiver<Told>) -> Told {
    timeout(SOON, receiver).await.expect("in time").expect("it is told")
}

/// Sends a purge. Returns why it is not done.
pub(crate) async fn kind_of(peer: &Client, purge: Purge) -> PeerErrorKind {
    told(send(peer, purge)).await.expect_err("it is not done").kind
}

#[tokio::test]
async fn a_purge_alone_makes_a_link_and_gets_go_over_it() {
    let owner = Forgetful::default();
    let served = Served::start(owner.clone(), |builder| builder).await;
    let asking = Asking::of(served.pool.base_url());
    let sent = purge_of("g", SOON);
    let purged = told(send(&asking.client, sent.clone())).await.expect("it is done");
    assert_eq!(purged, Purged::new(9, Fate::Closed { token: 5 }));
    let mut heard = owner.heard.lock().expect("no panic").pop().expect("it was told");
    let late = heard.deadline.saturating_duration_since(sent.deadline);
    assert!(late < Duration::from_secs(1), "{late:?}");
    heard.deadline = sent.deadline;
    assert_eq!(heard, sent);
    assert_eq!(asking.link(), LinkState::Up);
    assert_eq!(asking.client.value("g", "k").await, "k");
    let stats = asking.stats();
    assert_eq!((stats.links_opened, stats.gets_in_flight), (1, 0));
    // The handler has not heard of the get that asked for the link.
    assert_eq!(owner.asked.lock().expect("no panic").len(), 1);
}

#[tokio::test]
async fn a_peer_that_takes_short_names_only_is_told_too() {
    let owner = Forgetful::default();
    let short = |builder: carrotcache_peer_http::HttpPoolBuilder| builder.max_group_bytes(1);
    let served = Served::start(owner, short).await;
    let asking = Asking::of(served.pool.base_url());
    told(send(&asking.client, purge_of("g", SOON))).await.expect("it is done");
    let error = kind_of(&asking.client, purge_of("long", SOON)).await;
    assert_eq!(error, PeerErrorKind::BadRequest);
}

#[tokio::test]
async fn all_that_a_purge_says_arrives() {
    let owner = Forgetful::default();
    let served = Served::start(owner.clone(), |builder| builder).await;
    let pool = pool_of(served.pool.base_url(), |builder| builder);
    let peer = remote(&pool);
    let me = pool.this_node().expect("links are on");
    let entry = Entry::new("new").with_fresh_for(SOON).with_stale_for(SOON / 2);
    let you = Member { label: peer.0.label().into(), incarnation: 8 };
    let steps = [
        (Keys::All, Step::Tell { told: vec![you.clone()] }),
        (
            Keys::These(vec!["k".into()]),
            Step::Open { attempt: 1, token: 2, closed: vec![me.clone(), you], value: Some(entry) },
        ),
        (
            Keys::These((0..1_000).map(|n| n.to_string().into()).collect()),
            Step::Close { attempt: 3 },
        ),
    ];
    for (keys, step) in steps {
        let deadline = Instant::now() + SOON;
        let sent = Purge::new("g", keys, me.clone(), step, deadline);
        told(send(&peer, sent.clone())).await.expect("it is done");
        let mut heard = owner.heard.lock().expect("no panic").pop().expect("it was told");
        heard.deadline = deadline;
        assert_eq!(heard, sent);
    }
}

#[tokio::test]
async fn refusals_and_deadlines_are_told_by_their_kind() {
    let served = Served::start(Forgetful::default(), |builder| builder).await;
    let asking = Asking::of(served.pool.base_url());
    let short = Duration::from_millis(50);
    for (group, time, kind) in [
        ("strange", SOON, PeerErrorKind::NoSuchGroup),
        ("never", short, PeerErrorKind::TimedOut),
        ("g", Duration::ZERO, PeerErrorKind::TimedOut),
    ] {
        assert_eq!(kind_of(&asking.client, purge_of(group, time)).await, kind, "{group}");
    }
    // A handler that takes none refuses.
    let served = Served::echo().await;
    let asking = Asking::of(served.pool.base_url());
    assert_eq!(kind_of(&asking.client, purge_of("g", SOON)).await, PeerErrorKind::BadRequest);
}

/// Answers as a node of Go's that has no groups: 404 below its base path, whatever the headers say. Notes
/// the paths.
async fn plain(paths: Arc<Mutex<Vec<String>>>) -> String {
    let (listener, url) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let paths = Arc::clone(&paths);
            tokio::spawn(async move {
                loop {
                    let head = read_head(&mut stream).await;
                    let Some(path) = head.split(' ').nth(1) else { return };
                    paths.lock().expect("no panic").push(path.to_owned());
                    let reply =
                        reply("HTTP/1.1 404 Not Found\r\ncontent-length: 14", "no such group\n");
                    if stream.write_all(&reply).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn a_plain_peer_is_asked_below_its_base_path_and_not_again_for_a_while() {
    let paths = Arc::default();
    let asking = Asking::of(&plain(Arc::clone(&paths)).await);
    for _ in 0..3 {
        assert_eq!(kind_of(&asking.client, purge_of("g", SOON)).await, PeerErrorKind::Plain);
    }
    assert!(matches!(asking.link(), LinkState::Plain { .. }), "{:?}", asking.link());
    assert_eq!(*paths.lock().expect("no panic"), ["/_groupcache/carrotcache.link/-"]);
}

#[tokio::test]
async fn nodes_without_links_are_plain_whichever_of_the_two_it_is() {
    let owner = Forgetful::default();
    let served = Served::start(owner.clone(), |builder| builder.link(false)).await;
    let asking = Asking::of(served.pool.base_url());
    assert_eq!(kind_of(&asking.client, purge_of("g", SOON)).await, PeerErrorKind::Plain);

    let served = Served::start(owner.clone(), |builder| builder).await;
    let off = client_with(served.pool.base_url(), |builder| builder);
    assert_eq!(kind_of(&off, purge_of("g", SOON)).await, PeerErrorKind::Plain);
    assert!(
        owner.heard.lock().expect("no panic").is_empty() && owner.asked.lock().unwrap().is_empty()
    );
}

#[tokio::test]
async fn what_stands_before_a_peer_does_not_make_it_plain() {
    for (head, kind) in [
        ("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0", PeerErrorKind::Overloaded),
        ("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0", PeerErrorKind::Foreign),
        ("HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 0", PeerErrorKind::TimedOut),
    ] {
        let asking = Asking::of(&replies(reply(head, "")).await);
        for _ in 0..2 {
            assert_eq!(kind_of(&asking.client, purge_of("g", SOON)).await, kind, "{head}");
        }
    }
}

#[tokio::test]
async fn a_server_that_agrees_and_speaks_no_frames_is_plain() {
    let agrees =
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: carrotcache/1";
    let peer = FakePeer::start(vec![vec![Do::Request, Do::Send(reply(agrees, ""))]]).await;
    let asking = Asking::of(&peer.url);
    assert_eq!(kind_of(&asking.client, purge_of("g", SOON)).await, PeerErrorKind::Plain);
}

#[tokio::test]
async fn a_node_that_was_met_is_not_plain_because_a_link_was_cut_before_its_hello() {
    let served = Served::start(Forgetful::default(), |builder| builder).await;
    let (listener, url) = listen().await;
    let address = served.address();
    // The first connection leads to a node, and is cut when it has spoken; the next agrees, and is cut.
    let (cut, mut when_cut) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.expect("a connection");
        let mut far = tokio::net::TcpStream::connect(address).await.expect("the owner");
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
            _ = &mut when_cut => {}
        }
        drop((near, far));
        let agrees =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: carrotcache/1";
        while let Ok((mut stream, _)) = listener.accept().await {
            read_head(&mut stream).await;
            drop(stream.write_all(&reply(agrees, "")).await);
        }
    });
    let asking = Asking::of(&url);
    told(send(&asking.client, purge_of("g", SOON))).await.expect("it is done");
    cut.send(()).expect("it is linked");
    asking.until(|stats| stats.link == LinkState::Down).await;
    for _ in 0..2 {
        // Whether the purge or the end of the link comes first is the scheduler's affair.
        let kind = kind_of(&asking.client, purge_of("g", SOON)).await;
        let is_cut = matches!(kind, PeerErrorKind::Truncated | PeerErrorKind::Unreachable);
        assert!(is_cut, "{kind:?}");
    }
}

#[tokio::test]
async fn a_peer_that_is_not_there_is_unreachable_however_often_that_was_found_out() {
    let (listener, url) = listen().await;
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let pool = pool_of(&url, |builder| builder.eject(false));
    let client = remote(&pool);
    for _ in 0..3 {
        assert_eq!(kind_of(&client, purge_of("g", SOON)).await, PeerErrorKind::Unreachable);
    }
    // Gets would wait a while before they ask for a link again. A purge does not.
    let listener = TcpListener::bind(address).await.expect("the same port");
    let served = Served::start_at((listener, url), Forgetful::default(), |builder| builder);
    told(send(&client, purge_of("g", SOON))).await.expect("it is done");
    drop(served);
}

#[tokio::test]
async fn a_peer_that_accepts_and_is_silent_has_until_the_deadline() {
    let peer = FakePeer::start(vec![vec![Do::Request, Do::Hold]]).await;
    let asking = Asking::of(&peer.url);
    // Less than what a silent peer is given, which is then found dead.
    let begin = Instant::now();
    // The first asks for a link, and the others wait for what it hears; each until its own deadline.
    let [long, short] =
        [400, 100].map(|millis| send(&asking.client, purge_of("g", Duration::from_millis(millis))));
    assert_eq!(told(short).await.unwrap_err().kind, PeerErrorKind::TimedOut);
    assert!(begin.elapsed() < Duration::from_millis(350), "{:?}", begin.elapsed());
    assert_eq!(told(long).await.unwrap_err().kind, PeerErrorKind::TimedOut);
    assert!(begin.elapsed() >= Duration::from_millis(400), "{:?}", begin.elapsed());
    assert_eq!(peer.seen.accepted(), 1);
}

#[tokio::test]
async fn a_purge_waits_for_the_link_that_a_get_asks_for_and_outlives_its_patience() {
    let owner = Forgetful::default();
    let served = Served::start(owner.clone(), |builder| builder).await;
    // Its first connection says nothing at all.
    let (listener, url) = listen().await;
    let address = served.address();
    tokio::spawn(async move {
        let silent = listener.accept().await.expect("a connection");
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = tokio::net::TcpStream::connect(address).await.expect("the owner");
                drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
            });
        }
        drop(silent);
    });
    let asking = Asking::of(&url);
    let client = asking.client.clone();
    let hasty = Some(Duration::from_millis(100));
    let get = tokio::spawn(async move { client.get("g", "k", hasty).await });
    asking.until(|stats| stats.link == LinkState::Asking).await;
    let purge = send(&asking.client, purge_of("g", SOON));
    let error = get.await.expect("no panic").expect_err("nothing came");
    assert_eq!(error.kind, PeerErrorKind::TimedOut);
    told(purge).await.expect("it asked for a link of its own");
    assert_eq!(owner.heard.lock().expect("no panic").len(), 1);
}

#[tokio::test]
async fn purges_that_wait_for_a_link_are_bounded() {
    let peer = FakePeer::start(vec![vec![Do::Request, Do::Hold]]).await;
    let asking = Asking::of(&peer.url);
    // All of them end at one moment.
    let purge = purge_of("g", Duration::from_secs(2));
    let waiting: Vec<_> = (0..4_096).map(|_| send(&asking.client, purge.clone())).collect();
    let one_more = told(send(&asking.client, purge)).await.unwrap_err();
    assert_eq!(one_more.kind, PeerErrorKind::Unreachable);
    assert_eq!(one_more.causes(), "4096 purges wait for a link to it");
    for purge in waiting {
        assert_eq!(told(purge).await.unwrap_err().kind, PeerErrorKind::TimedOut);
    }
}

#[tokio::test]
async fn a_purge_under_way_ends_with_its_link() {
    let served = Served::start(Forgetful::default(), |builder| {
        builder.drain_timeout(Duration::from_millis(50))
    })
    .await;
    let asking = Asking::of(served.pool.base_url());
    let purge = send(&asking.client, purge_of("never", SOON));
    asking.until(|stats| stats.link == LinkState::Up).await;
    drop(served.stop().await.expect("no panic"));
    assert_eq!(told(purge).await.unwrap_err().kind, PeerErrorKind::Truncated);
}

#[test]
fn a_runtime_that_ends_tells_its_purges_so() {
    let asker = tokio::runtime::Runtime::new().expect("a runtime");
    let owner = tokio::runtime::Runtime::new().expect("a runtime");
    let served = owner.block_on(Served::start(Forgetful::default(), |builder| builder));
    let silent = owner.block_on(FakePeer::start(vec![vec![Do::Request, Do::Hold]]));
    let (over_link, waits) = asker.block_on(async {
        let asking = Asking::of(served.pool.base_url());
        let over_link = send(&asking.client, purge_of("never", SOON));
        asking.until(|stats| stats.link == LinkState::Up).await;
        let waits = send(&Asking::of(&silent.url).client, purge_of("g", SOON));
        (over_link, waits)
    });
    drop(asker);
    for purge in [over_link, waits] {
        let error = owner.block_on(told(purge)).unwrap_err();
        assert_eq!(error.kind, PeerErrorKind::Dropped);
    }
}

#[test]
fn without_a_runtime_nothing_is_purged() {
    let pool = HttpPool::builder("http://own.invalid").build().expect("a pool");
    pool.set_peers(["http://own.invalid", "http://127.0.0.1:1"]).expect("two peers");
    let mut purge = send(&remote(&pool), purge_of("g", SOON));
    let error = purge.try_recv().expect("told at once").unwrap_err();
    assert_eq!(error.kind, PeerErrorKind::Runtime);
    // One without a timer cannot keep a deadline.
    let bare = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let error = bare.block_on(async { send(&remote(&pool), purge_of("g", SOON)).await });
    assert_eq!(error.expect("it is told").unwrap_err().kind, PeerErrorKind::Runtime);
}

#[tokio::test]
async fn gets_go_on_beside_purges() {
    let served = Served::start(Echo::default(), |builder| builder).await;
    let asking = Asking::of(served.pool.base_url());
    let purge = send(&asking.client, purge_of("g", SOON));
    assert_eq!(asking.client.value("g", "k").await, "k");
    assert_eq!(told(purge).await.unwrap_err().kind, PeerErrorKind::BadRequest);
    assert_eq!(asking.stats().links_opened, 1);
}

/// Somebody else at its address for a moment, or a proxy that has lost it.
#[tokio::test]
async fn one_bad_answer_does_not_make_a_peer_plain_that_has_spoken_over_a_link() {
    for answer in ["404 Not Found", "400 Bad Request", "500 Internal Server Error"] {
        let served = Served::start(Forgetful::default(), |builder| {
            builder.drain_timeout(Duration::from_millis(50))
        })
        .await;
        let url = served.pool.base_url().to_owned();
        let asking = Asking::of(&url);
        told(send(&asking.client, purge_of("g", SOON))).await.expect("it is done");
        drop(served.stop().await.expect("no panic"));
        asking.until(|stats| stats.link != LinkState::Up).await;
        let address = url.trim_start_matches("http://").to_owned();
        let stranger = TcpListener::bind(address).await.expect("the port is free again");
        let answering = tokio::spawn(async move {
            loop {
                let (mut stream, _) = stranger.accept().await.expect("it listens");
                read_head(&mut stream).await;
                let head = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).await;
            }
        });
        let kind = kind_of(&asking.client, purge_of("g", SOON)).await;
        assert_ne!(kind, PeerErrorKind::Plain, "{answer}");
        answering.abort();
    }
}
