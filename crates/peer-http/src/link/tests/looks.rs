//! Looks, over a whole link and with either side played by hand.

use std::sync::atomic::{AtomicUsize, Ordering};

use carrotcache_peer::{Handler, PeerErrorKind, Reply};

use super::*;
use crate::link::asker::Why;
use crate::link::frame::hello::Hello;
use crate::link::tests::together::Pair;

/// Has Tom cached, Max with a value of 9,000 bytes, and nobody else; panics for one. Counts what it is
/// asked to load.
#[derive(Clone, Default)]
struct Cached(Arc<AtomicUsize>);

impl Handler for Cached {
    fn answer(&self, _request: Request) -> Reply {
        self.0.fetch_add(1, Ordering::Relaxed);
        Reply::ready(Ok(Answer::new("loaded")))
    }

    fn look(&self, group: &str, key: &str) -> Option<Answer> {
        assert_eq!(group, "g");
        match key {
            "Tom" => Some(Answer::new("630")),
            "Max" => Some(Answer::new(vec![b'x'; 9_000])),
            "panics" => panic!("as asked"),
            _ => None,
        }
    }
}

/// Looks for a key. Returns what that is told.
fn look(link: &Link, key: &str) -> oneshot::Receiver<Told> {
    let (waiter, told) = waiter(key);
    link.get(Waiter::look(waiter.request, waiter.completion)).expect("it is sent");
    told
}

async fn kind_of(looked: oneshot::Receiver<Told>) -> PeerErrorKind {
    told(looked).await.expect_err("there is no value").kind
}

fn encoded(hello: Hello) -> Vec<u8> {
    let mut out = Vec::new();
    hello.encode(&mut out);
    out
}

#[tokio::test(start_paused = true)]
async fn a_look_brings_what_is_cached_and_never_loads() {
    let handler = Cached::default();
    let mut pair = Pair::with(
        handler.clone(),
        LinkConfig { max_value_bytes: 5_000, ..LinkConfig::default() },
        64 << 10,
    );
    assert_eq!(value(look(&pair.link, "Tom")).await, "630");
    assert_eq!(kind_of(look(&pair.link, "Jack")).await, PeerErrorKind::NotCached);
    // What is too large for the link would be loaded, perhaps, if it were fetched over HTTP.
    assert_eq!(kind_of(look(&pair.link, "Max")).await, PeerErrorKind::NotCached);
    assert!(pair.detoured.try_recv().is_err());
    assert_eq!(kind_of(look(&pair.link, "panics")).await, PeerErrorKind::Overloaded);
    assert_eq!(kind_of(look(&pair.link, "")).await, PeerErrorKind::BadRequest);
    assert_eq!(handler.0.load(Ordering::Relaxed), 0);
    let (get, got) = waiter("Jack");
    pair.link.get(get).expect("it is sent");
    assert_eq!(value(got).await, "loaded");
    assert_eq!(pair.link.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn looks_wait_for_the_owners_hello_and_then_go_in_their_order() {
    let (asker, mut owner) = Asker::new(LinkConfig::default());
    assert_eq!(owner.read().await.0.kind, kind::HELLO);
    let (first, second) = (look(&asker.link, "first"), look(&asker.link, "second"));
    let get = asker.get("get");
    let id = owner.read_get("get").await;
    owner.hello().await;
    owner.value(id, b"630").await;
    assert_eq!(value(get).await, "630");
    for key in ["first", "second"] {
        let (header, payload) = owner.read().await;
        match FromAsker::decode(header, &payload) {
            Ok(FromAsker::Look { id, get }) => {
                assert_eq!(get.key, key);
                owner.value(id, key.as_bytes()).await;
            }
            other => panic!("not a look: {other:?}"),
        }
    }
    assert_eq!([value(first).await, value(second).await], ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_takes_no_looks_is_sent_none() {
    let old = Hello { takes_looks: false, ..LinkConfig::default().hello() };
    let (asker, mut owner) = Asker::new(LinkConfig::default());
    assert_eq!(owner.read().await.0.kind, kind::HELLO);
    let before = look(&asker.link, "before");
    owner.send(&encoded(old)).await;
    assert_eq!(kind_of(before).await, PeerErrorKind::NotCached);
    let (after, _told) = waiter("after");
    let unsent = asker.link.get(Waiter::look(after.request, after.completion)).expect_err("unsent");
    assert_eq!(unsent.why, Why::NoLooks);
    // It hears of neither.
    let _get = asker.get("k");
    owner.read_get("k").await;
}

#[tokio::test(start_paused = true)]
async fn a_look_ends_with_its_time_and_with_its_link_and_is_not_asked_elsewhere() {
    let (mut asker, owner) = Asker::new(LinkConfig::default());
    let (short, told_short) = waiter_for("short", Duration::from_millis(50));
    asker.link.get(Waiter::look(short.request, short.completion)).expect("it is kept");
    assert_eq!(kind_of(told_short).await, PeerErrorKind::TimedOut);
    let unsaid = look(&asker.link, "unsaid");
    drop(owner);
    assert_eq!(kind_of(unsaid).await, PeerErrorKind::NotCached, "it speaks no frames");
    assert!(asker.detoured.try_recv().is_err());
}
