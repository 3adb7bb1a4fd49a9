//! What is told of a link to who watches it, and of a ring to who asks.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::owner::Served;
use super::*;
use crate::link::asker::Watcher;
use crate::link::frame::hello::Hello;

/// Notes what it hears.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn note(&self, text: impl Into<String>) {
        self.0.lock().expect("no panic").push(text.into());
    }
}

impl Watcher for Notes {
    fn met(&self, hello: Hello) {
        self.note(format!("ring {}", hello.ring));
    }

    fn ended(&self, end: &Arc<End>, has_met: bool) {
        self.note(format!("{end}, met: {has_met}"));
    }
}

/// Returns what a node says that has this ring.
fn hello_of(ring: u64) -> Vec<u8> {
    let mut frame = Vec::new();
    Hello { ring, ..LinkConfig::default().hello() }.encode(&mut frame);
    frame
}

#[tokio::test(start_paused = true)]
async fn who_watches_hears_of_an_end_once_and_before_those_who_have_asked() {
    let (asker, mut owner) = Asker::new(LinkConfig::default());
    let notes = Arc::new(Notes::default());
    asker.link.watch(Arc::clone(&notes) as _);
    for ring in [5, 6] {
        owner.send(&hello_of(ring)).await;
    }
    let told = Arc::clone(&notes);
    let request = Request::new("g", "k", (Instant::now() + TIME).into_std());
    let completion = Completion::new(move |_| told.note("the get is told"));
    asker.link.get(Waiter::new(request, completion)).expect("it is sent");
    assert_eq!(owner.read().await.0.kind, kind::HELLO);
    owner.read_get("k").await;
    drop(owner);
    asker.end().await;
    let heard = notes.0.lock().expect("no panic").clone();
    let closed = "the peer closed the connection, met: true";
    assert_eq!(heard, ["ring 5", "ring 6", closed, "the get is told"]);
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_ring_has_changed_says_so_with_its_next_answer_and_once() {
    let ring = Arc::new(AtomicU64::new(5));
    let link = LinkConfig { ring: Arc::clone(&ring), ..LinkConfig::default() };
    let mut served = Served::with(link, 64 << 10).await;
    served.wire.get(1, "k").await;
    served.wire.expect_value(id(1), b"k").await;
    ring.store(6, Ordering::Relaxed);
    served.wire.bare(kind::PING, id(2)).await;
    let (header, payload) = served.wire.read().await;
    assert_eq!(header.kind, kind::HELLO);
    assert_eq!(Hello::decode(&payload).expect("a HELLO").ring, 6);
    served.wire.expect(kind::PONG, id(2)).await;
    served.wire.get(3, "k").await;
    served.wire.expect_value(id(3), b"k").await;
}
