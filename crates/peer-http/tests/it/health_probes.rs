//! What becomes of a peer that is ejected: who asks it, and who does not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use carrotcache_peer_http::peer::{
    Completion, Handler, Keys, Member, Owner, PeerError, PeerErrorKind, Picker, Purge, Purged,
    Reply, Request, Step, ask as ask_peer,
};
use carrotcache_peer_http::{BuildError, HealthState, HttpPool};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::health::{Asker, Stoppable};
use crate::support::{Client, Echo, Gate, SOON, Served, listen, peer_at};

/// Returns a URL at which nobody listens.
async fn nobody() -> String {
    listen().await.1
}

/// Asks until the peer is ejected.
async fn eject(peer: &Client) {
    let ejected = async {
        loop {
            match peer.get("g", "k", Some(SOON)).await {
                Err(error) if error.kind == PeerErrorKind::Ejected => return,
                answer => assert!(answer.is_err(), "{answer:?}"),
            }
        }
    };
    timeout(SOON, ejected).await.expect("it is ejected");
}

/// Waits until the time of an ejection is over.
async fn until_due(asker: &Asker) {
    if let HealthState::Ejected { until } = asker.health().state {
        tokio::time::sleep_until(until.into()).await;
    }
}

#[tokio::test]
async fn one_of_64_askers_is_the_probe_and_the_others_are_told_at_once() {
    for links in [true, false] {
        let (listener, url) = listen().await;
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let short = Duration::from_millis(100);
        let asker = Asker::of(&url, |builder| builder.link(links).first_ejection(short));
        eject(&asker.client).await;
        let gate = Arc::new(Gate::default());
        let listener = TcpListener::bind(address).await.expect("the same port");
        let _served = Served::start_at((listener, url), Arc::clone(&gate), |builder| builder);
        until_due(&asker).await;

        let mut gets = JoinSet::new();
        for key in 0..64 {
            let client = asker.client.clone();
            gets.spawn(async move { client.get("g", &key.to_string(), Some(SOON)).await });
        }
        for _ in 0..63 {
            let told = timeout(SOON, gets.join_next()).await.expect("at once").expect("a get");
            let error = told.expect("no panic").expect_err("it is no probe");
            assert_eq!(error.kind, PeerErrorKind::Ejected);
        }
        timeout(SOON, gate.asked.notified()).await.expect("the probe has arrived");
        gate.open.notify_one();
        let probe = timeout(SOON, gets.join_next()).await.expect("in time").expect("a get");
        probe.expect("no panic").expect("a value");
        assert!(asker.is_healthy());
    }
}

#[tokio::test]
async fn a_probe_that_fails_ejects_for_longer_and_one_that_runs_out_of_time_does_not_stay() {
    let (_listener, url) = listen().await;
    let short = Duration::from_millis(400);
    let asker = Asker::of(&url, |builder| builder.first_ejection(short));
    eject(&asker.client).await;
    let since = asker.health().since;
    until_due(&asker).await;
    // Over before its silence means anything; whoever comes next is the probe, and is pinged for.
    let hasty = asker.client.get("g", "k", Some(Duration::from_millis(1))).await;
    assert_eq!(hasty.expect_err("no answer").kind, PeerErrorKind::TimedOut);
    let begin = Instant::now();
    assert_eq!(asker.error().await.kind, PeerErrorKind::Unreachable);
    assert!(begin.elapsed() < Duration::from_millis(700), "a probe has less patience");
    let HealthState::Ejected { until } = asker.health().state else {
        panic!("{:?}", asker.health());
    };
    let left = until.saturating_duration_since(Instant::now());
    assert!(left > short * 3 / 2, "twice as long, less a fifth: {left:?}");
    assert_eq!(asker.health().since, since, "of the outage, not of the last probe");
}

#[tokio::test]
async fn a_batch_to_an_ejected_peer_has_one_probe() {
    let (listener, url) = listen().await;
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let asker = Asker::of(&url, |builder| builder.first_ejection(Duration::from_millis(50)));
    eject(&asker.client).await;
    let listener = TcpListener::bind(address).await.expect("the same port");
    let _served = Served::start_at((listener, url), Echo::default(), |builder| builder);
    until_due(&asker).await;
    let (requests, told): (Vec<_>, Vec<_>) = (0..8)
        .map(|key| {
            let (tell, told) = oneshot::channel();
            let request = Request::new("g", key.to_string(), Instant::now() + SOON);
            ((request, Completion::new(|answer| drop(tell.send(answer)))), told)
        })
        .unzip();
    asker.client.0.ask_many(requests);
    for (key, told) in told.into_iter().enumerate() {
        let answer = timeout(SOON, told).await.expect("in time").expect("it is told");
        match answer {
            Ok(_) => assert_eq!(key, 0),
            Err(error) => assert_eq!(error.kind, PeerErrorKind::Ejected),
        }
    }
    assert!(asker.is_healthy());
}

#[tokio::test]
async fn when_half_of_the_peers_are_dead_nobody_is_told_so() {
    let (served, other) = (Served::echo().await, Served::echo().await);
    let (first, second) = (nobody().await, nobody().await);
    let own = "http://own.invalid";
    let pool = HttpPool::builder(own).build().expect("a pool");
    let alive = [served.pool.base_url(), other.pool.base_url()];
    pool.set_peers([own, alive[0], alive[1], &first, &second]).expect("five nodes");
    let (first, second) = (peer_at(&pool, &first), peer_at(&pool, &second));
    eject(&first).await;
    assert!(!pool.health().is_ignored, "one of four");
    for _ in 0..4 {
        assert_eq!(second.error("g", "k").await.kind, PeerErrorKind::Unreachable);
    }
    let health = pool.health();
    assert!(health.is_ignored, "two of four");
    let down = health.peers.iter().filter(|peer| peer.state != HealthState::Healthy);
    assert_eq!(down.count(), 2, "what is known is kept");
    assert_eq!(first.error("g", "k").await.kind, PeerErrorKind::Unreachable);

    // But not by all who want something at once: each would wait for what is most likely dead.
    let asked = (0..64).map(|_| {
        let (tell, told) = oneshot::channel();
        let request = Request::new("g", "k", Instant::now() + SOON);
        first.0.ask(request, Completion::new(|answer| drop(tell.send(answer))));
        told
    });
    let mut dared = 0;
    for told in asked.collect::<Vec<_>>() {
        let error = timeout(SOON, told).await.expect("in time").expect("it is told").unwrap_err();
        dared += usize::from(error.kind != PeerErrorKind::Ejected);
    }
    // And one more, if a probe is due.
    assert!((1..=17).contains(&dared), "{dared}");

    // One of them leaves the pool, and health counts again.
    pool.set_peers([own, alive[0], alive[1], first.0.label()]).expect("four nodes");
    assert!(!pool.health().is_ignored);
    assert_eq!(first.error("g", "k").await.kind, PeerErrorKind::Ejected);
}

#[tokio::test]
async fn without_ejection_every_get_asks() {
    let url = nobody().await;
    let asker = Asker::of(&url, |builder| builder.eject(false));
    for _ in 0..4 {
        assert_eq!(asker.error().await.kind, PeerErrorKind::Unreachable);
    }
    assert!(!asker.is_healthy(), "it is told all the same");
}

#[test]
fn an_ejection_takes_time() {
    let builder = HttpPool::builder("http://own.invalid").first_ejection(Duration::ZERO);
    let error = builder.build().expect_err("no time");
    assert_eq!(error, BuildError::Zero { setting: "first_ejection" });
}

/// Counts nothing and forgets nothing, but says that it has.
struct Forgetful;

impl Handler for Forgetful {
    fn answer(&self, request: Request) -> Reply {
        Echo::default().answer(request)
    }

    fn purge(&self, _: Purge) -> Reply<Purged> {
        Reply::ready(Ok(Purged::new(9, carrotcache_peer_http::peer::Fate::Told)))
    }
}

/// Tells a peer to forget a key.
async fn purge(peer: &Client) -> Result<Purged, PeerError> {
    let sender = Member { label: "http://remover".into(), incarnation: 7 };
    let (keys, step) = (Keys::These(vec!["k".into()]), Step::Tell { told: Vec::new() });
    let (tell, told) = oneshot::channel();
    let purge = Purge::new("g", keys, sender, step, Instant::now() + SOON);
    peer.0.purge(purge, Completion::new(|purged| drop(tell.send(purged))));
    timeout(SOON, told).await.expect("in time").expect("it is told")
}

#[tokio::test]
async fn a_purge_is_refused_at_once_while_its_peer_is_ejected_and_may_be_the_probe() {
    let served = Served::start(Forgetful, |builder| builder).await;
    let proxy = Stoppable::before(&served).await;
    let asker = Asker::of(&proxy.url, |builder| builder);
    purge(&asker.client).await.expect("it is done");
    proxy.stop();
    // A purge that waits is told when the peer is found dead.
    let begin = Instant::now();
    let error = purge(&asker.client).await.expect_err("it was not told");
    assert_eq!(error.kind, PeerErrorKind::Unreachable);
    assert!(begin.elapsed() < Duration::from_millis(1_200), "{:?}", begin.elapsed());
    let error = purge(&asker.client).await.expect_err("it was not told");
    assert_eq!(error.kind, PeerErrorKind::Ejected);
    proxy.go_on();
    until_due(&asker).await;
    purge(&asker.client).await.expect("it is done");
    assert!(asker.is_healthy());
}

#[tokio::test]
async fn a_purge_waits_for_no_peer_that_is_stopped_before_there_was_a_link() {
    let (_listener, url) = listen().await;
    let asker = Asker::of(&url, |builder| builder);
    let begin = Instant::now();
    let error = purge(&asker.client).await.expect_err("it was not told");
    assert_eq!(error.kind, PeerErrorKind::Unreachable);
    assert!(begin.elapsed() < Duration::from_millis(1_200), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_plain_peer_is_plain_to_purges_though_it_is_ejected() {
    let served = Served::start(Echo::default(), |builder| builder.link(false)).await;
    let url = served.pool.base_url().to_owned();
    let asker = Asker::of(&url, |builder| builder);
    assert_eq!(asker.client.value("g", "k").await, "k");
    drop(served.stop().await.expect("no panic"));
    eject(&asker.client).await;
    assert_eq!(purge(&asker.client).await.expect_err("plain").kind, PeerErrorKind::Plain);
}

/// Returns whom a get goes to after its owner, and after each further one.
fn stand_ins(pool: &HttpPool, key: &str) -> Vec<String> {
    let label = |owner: &Owner| match owner {
        Owner::Local => "here".to_owned(),
        Owner::Remote(peer) => peer.label().to_owned(),
    };
    let ring_label = |label: &str| match label {
        "here" => pool.base_url().to_owned(),
        label => label.to_owned(),
    };
    let mut order = vec![label(&Picker::owner(pool, key))];
    while let Some(next) = pool.next(key, &ring_label(order.last().expect("an owner"))) {
        order.push(label(&next));
    }
    order.split_off(1)
}

#[tokio::test]
async fn only_peers_that_can_be_asked_and_speak_frames_stand_in() {
    let (good, plain) =
        (Served::echo().await, Served::start(Echo::default(), |builder| builder.link(false)).await);
    let (dying, strange) = (Served::echo().await, Served::echo().await);
    let proxy = Stoppable::before(&dying).await;
    let own = "http://own.invalid";
    let pool = HttpPool::builder(own).build().expect("a pool");
    let urls = [good.pool.base_url(), plain.pool.base_url(), &proxy.url, strange.pool.base_url()];
    pool.set_peers([&[own][..], &urls].concat()).expect("five nodes");
    // All but the last are met.
    for url in &urls[..3] {
        assert_eq!(peer_at(&pool, url).value("g", "k").await, "k");
    }
    let standing_in = |key: &str| {
        let mut labels = stand_ins(&pool, key);
        labels.sort();
        labels
    };
    let keys: Vec<_> = (0..400).map(|key| format!("key{key}")).collect();
    let owned_by = |url: &str| {
        let is_its = |key: &&String| match Picker::owner(&pool, key) {
            Owner::Remote(peer) => peer.label() == url,
            Owner::Local => url == own,
        };
        keys.iter().find(is_its).expect("each owns some")
    };
    let mut met = vec![good.pool.base_url().to_owned(), proxy.url.clone(), "here".to_owned()];
    met.sort();
    assert_eq!(standing_in(owned_by(plain.pool.base_url())), met);
    assert_eq!(standing_in(owned_by(strange.pool.base_url())), met);

    proxy.stop();
    let request = Request::new("g", "k2", Instant::now() + SOON);
    ask_peer(&*peer_at(&pool, &proxy.url).0, request).await.expect_err("it is found dead");
    let mut alive = vec![good.pool.base_url().to_owned(), "here".to_owned()];
    alive.sort();
    assert_eq!(standing_in(owned_by(&proxy.url)), alive);
    assert_eq!(standing_in(owned_by(plain.pool.base_url())), alive);
}

#[tokio::test]
async fn rings_that_differ_are_told_when_that_lasts_and_until_they_agree() {
    let served = Served::echo().await;
    let url = served.pool.base_url().to_owned();
    let asker = Asker::of(&url, |builder| builder);
    let (own, third) = ("http://own.invalid", "http://third.invalid");
    served.pool.set_peers([own, &url, third]).expect("three nodes");
    assert_eq!(asker.client.value("g", "k").await, "k");
    assert_eq!(asker.health().ring_differs_since, None, "while a deployment rolls, they do");
    pass_eleven_seconds().await;
    assert!(asker.health().ring_differs_since.is_some(), "they differ for ten seconds");
    // The peer is told the same list, and says so with its next answer.
    served.pool.set_peers([own, &url]).expect("two nodes");
    // The clock of the runtime is ahead of the system's now.
    let deadline = tokio::time::Instant::now().into_std() + SOON;
    ask_peer(&*asker.client.0, Request::new("g", "k", deadline)).await.expect("a value");
    assert_eq!(asker.health().ring_differs_since, None);
    // And the other way round: it is our own list that changes.
    asker.pool.set_peers([own, &url, third]).expect("three nodes");
    pass_eleven_seconds().await;
    let health = asker.pool.health();
    let peer = health.peers.iter().find(|peer| *peer.peer == *url).expect("it is listed");
    assert!(peer.ring_differs_since.is_some());
}

/// Lets the time pass at once, with whatever falls due in it.
async fn pass_eleven_seconds() {
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(11)).await;
    tokio::time::resume();
}
