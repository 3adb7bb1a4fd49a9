//! What a pool remembers of the peers before a change, and how it looks at them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use carrotcache_peer_http::peer::{
    Answer, Completion, Fate, Handler, Keys, Member, Owner, Peer, PeerError, PeerErrorKind, Picker,
    Purge, Purged, Reply, Request, Step,
};
use carrotcache_peer_http::{HttpPool, LinkState};
use tokio::sync::oneshot;
use tokio::time::{advance, timeout};

use crate::support::{SOON, Served, listen};

const OWN: &str = "http://10.0.0.1:8001";
const A: &str = "http://10.0.0.2:8001";
const B: &str = "http://10.0.0.3:8001";

fn pool_with(urls: &[&str]) -> HttpPool {
    let pool = HttpPool::builder(OWN).build().expect("a pool");
    pool.set_peers(urls).expect("peers");
    pool
}

fn labels(pool: &HttpPool) -> BTreeSet<String> {
    pool.peers().iter().map(|peer| peer.label().to_owned()).collect()
}

fn former(pool: &HttpPool, key: &str) -> Option<String> {
    pool.former_owner(key).map(|peer| peer.label().to_owned())
}

/// Who owns a key; `None` if the pool's own node does.
fn owner(pool: &HttpPool, key: &str) -> Option<String> {
    match pool.owner(key) {
        Owner::Local => None,
        Owner::Remote(peer) => Some(peer.label().to_owned()),
    }
}

fn keys() -> impl Iterator<Item = String> {
    (0..300).map(|key| format!("key {key}"))
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_was_taken_off_the_list_leaves_for_a_minute_and_owns_nothing() {
    let pool = pool_with(&[OWN, A, B]);
    let before: Vec<_> = keys().map(|key| owner(&pool, &key)).collect();
    pool.set_peers([OWN, A]).expect("two");
    assert_eq!(labels(&pool), [A, B].map(str::to_owned).into());
    assert!(pool.ring().labels().eq([OWN, A]));
    assert_eq!(pool.stats().peers.len(), 1, "it is not one of the list");
    for (key, before) in keys().zip(&before) {
        assert_ne!(owner(&pool, &key).as_deref(), Some(B));
        if owner(&pool, &key).is_none() && before.is_some() {
            assert_eq!(former(&pool, &key), *before, "{key} came from there");
        }
    }
    advance(Duration::from_secs(60)).await;
    assert_eq!(labels(&pool), [A.to_owned()].into());
    assert!(keys().all(|key| former(&pool, &key).is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_just_started_finds_who_would_own_a_key_without_it() {
    let (pool, without) = (pool_with(&[OWN, A, B]), HttpPool::builder(A).build().expect("a pool"));
    without.set_peers([A, B]).expect("two");
    let others = |key: &str| owner(&without, key).unwrap_or_else(|| A.to_owned());
    assert!(keys().all(|key| former(&pool, &key) == Some(others(&key))));
    // So does one that first knew of nobody else.
    let alone = pool_with(&[OWN]);
    assert!(keys().all(|key| former(&alone, &key).is_none()));
    alone.set_peers([OWN, A, B]).expect("three");
    assert!(keys().all(|key| former(&alone, &key) == Some(others(&key))));
}

#[tokio::test(start_paused = true)]
async fn former_owners_are_remembered_through_further_changes() {
    let pool = pool_with(&[OWN, A]);
    let changes = pool.changes();
    pool.set_peers([OWN, A, B]).expect("three");
    pool.set_peers([OWN, A]).expect("two");
    assert_eq!(pool.changes(), changes + 2);
    pool.set_peers([OWN, A]).expect("the same two");
    assert_eq!(pool.changes(), changes + 2, "nothing has changed");
    let mut seen = BTreeSet::new();
    for key in keys().filter(|key| owner(&pool, key).is_none()) {
        seen.extend(former(&pool, &key));
    }
    // From B what that had for a moment, from A what it had before this node started.
    assert_eq!(seen, [A, B].map(str::to_owned).into());
    for port in 1..100 {
        pool.set_peers([OWN, &format!("http://10.0.0.4:{port}")]).expect("two");
    }
    assert!(labels(&pool).len() > 50 && keys().any(|key| former(&pool, &key).is_some()));
    advance(Duration::from_secs(60)).await;
    assert_eq!(labels(&pool).len(), 1);
}

#[tokio::test]
async fn with_no_time_for_it_nobody_leaves_and_nobody_is_a_former_owner() {
    let pool = HttpPool::builder(OWN).hand_off(Duration::ZERO).build().expect("a pool");
    pool.set_peers([OWN, A, B]).expect("three");
    pool.set_peers([OWN, A]).expect("two");
    assert_eq!(labels(&pool), [A.to_owned()].into());
    assert!(keys().all(|key| former(&pool, &key).is_none()));
}

/// Has Tom cached, forgets what it is told to, and counts what it is asked to load.
#[derive(Clone, Default)]
struct Cached(Arc<AtomicUsize>);

impl Handler for Cached {
    fn answer(&self, _request: Request) -> Reply {
        self.0.fetch_add(1, Ordering::SeqCst);
        Reply::ready(Ok(Answer::new("loaded")))
    }

    fn look(&self, _group: &str, key: &str) -> Option<Answer> {
        (key == "Tom").then(|| Answer::new("630"))
    }

    fn purge(&self, _purge: Purge) -> Reply<Purged> {
        Reply::ready(Ok(Purged::new(9, Fate::Told)))
    }
}

type Told<T> = Result<T, PeerError>;

async fn look(peer: &Arc<dyn Peer>, key: &str) -> Told<String> {
    let (tell, told) = oneshot::channel();
    let request = Request::new("scores", key, Instant::now() + SOON);
    peer.look(request, Completion::new(|answer| drop(tell.send(answer))));
    let told = timeout(SOON, told).await.expect("in time").expect("it is told");
    told.map(|answer| answer.entry.value().expect("a value").as_str().expect("text").to_owned())
}

async fn purge(peer: &Arc<dyn Peer>) -> Told<Purged> {
    let (tell, told) = oneshot::channel();
    let sender = Member { label: OWN.into(), incarnation: 7 };
    let step = Step::Tell { told: Vec::new() };
    let purge = Purge::new("scores", Keys::All, sender, step, Instant::now() + SOON);
    peer.purge(purge, Completion::new(|purged| drop(tell.send(purged))));
    timeout(SOON, told).await.expect("in time").expect("it is told")
}

fn only(pool: &HttpPool) -> Arc<dyn Peer> {
    pool.peers().pop().expect("a peer")
}

async fn until(is_so: impl Fn() -> bool) {
    let so = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, so).await.expect("it is so in time");
}

#[tokio::test]
async fn a_look_opens_a_link_and_loads_nothing() {
    let handler = Cached::default();
    let served = Served::start(handler.clone(), |builder| builder).await;
    let pool = pool_with(&[OWN, served.pool.base_url()]);
    let peer = only(&pool);
    let (tom, jack, again) =
        tokio::join!(look(&peer, "Tom"), look(&peer, "Jack"), look(&peer, "Tom"));
    assert_eq!([tom.expect("a value"), again.expect("a value")], ["630", "630"]);
    assert_eq!(jack.expect_err("nothing").kind, PeerErrorKind::NotCached);
    assert_eq!(pool.stats().peers[0].links_opened, 1);
    assert_eq!(handler.0.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn over_http_nothing_is_cached_and_where_nobody_listens_nothing_is_known() {
    let handler = Cached::default();
    let served = Served::start(handler.clone(), |builder| builder.link(false)).await;
    let pool = pool_with(&[OWN, served.pool.base_url()]);
    let peer = only(&pool);
    // The first one finds out that there are no links.
    assert!(look(&peer, "Tom").await.is_err());
    assert_eq!(look(&peer, "Tom").await.expect_err("plain").kind, PeerErrorKind::NotCached);
    assert_eq!(handler.0.load(Ordering::SeqCst), 0);

    let (listener, url) = listen().await;
    drop(listener);
    let pool = pool_with(&[OWN, &url]);
    let peer = only(&pool);
    for _ in 0..3 {
        let error = look(&peer, "Tom").await.expect_err("nobody");
        assert_eq!(error.kind, PeerErrorKind::Unreachable);
    }
}

#[tokio::test]
async fn a_peer_that_leaves_keeps_its_link_and_has_it_when_it_is_back() {
    let served = Served::start(Cached::default(), |builder| builder).await;
    let url = served.pool.base_url().to_owned();
    let pool = pool_with(&[OWN, &url]);
    assert_eq!(look(&only(&pool), "Tom").await.expect("a value"), "630");
    pool.set_peers([OWN]).expect("nobody else");
    assert_eq!(look(&only(&pool), "Tom").await.expect("it is looked at"), "630");
    assert_eq!(purge(&only(&pool)).await.expect("it is told").fate, Fate::Told);
    pool.set_peers([OWN, &url]).expect("it is back");
    let stats = pool.stats().peers.remove(0);
    assert_eq!((stats.link, stats.links_opened), (LinkState::Up, 1));
}

#[tokio::test]
async fn a_peer_that_leaves_is_none_any_more_once_it_has_ended() {
    // It says goodbye.
    let served = Served::start(Cached::default(), |builder| builder).await;
    let pool = pool_with(&[OWN, served.pool.base_url()]);
    look(&only(&pool), "Tom").await.expect("a value");
    pool.set_peers([OWN]).expect("nobody else");
    assert_eq!(labels(&pool).len(), 1);
    timeout(SOON, served.stop()).await.expect("in time").expect("no panic").expect("it drains");
    until(|| labels(&pool).is_empty()).await;
    assert!(keys().all(|key| former(&pool, &key).is_none()));

    // Or nobody listens there when it is to be told something.
    let (listener, url) = listen().await;
    drop(listener);
    let pool = pool_with(&[OWN, &url]);
    let error = purge(&only(&pool)).await.expect_err("nobody");
    assert_eq!(error.kind, PeerErrorKind::Unreachable);
    assert_eq!(labels(&pool).len(), 1, "it is on the list all the same");
    pool.set_peers([OWN]).expect("nobody else");
    assert!(labels(&pool).is_empty());
}
