//! The owner's side: what is not at hand of one frame is handed over together.

use std::sync::Mutex;

use carrotcache_peer::{Handler, Reply};

use super::*;
use crate::link::frame::request::{GetKind, ManyWriter};
use crate::wire::outcome::Outcome;

/// Has keys that begin with `hit` at hand, and answers others together: `load` after a while, what ends
/// in a panic by none, and with `few` among them those before it only.
#[derive(Clone, Default)]
struct Together {
    /// What was handed over, frame by frame.
    asked: Arc<Mutex<Vec<Vec<Request>>>>,
}

impl Together {
    /// Returns the keys that were handed over, frame by frame.
    fn keys(&self) -> Vec<Vec<String>> {
        let keys = |requests: &Vec<Request>| requests.iter().map(|it| it.key.to_string()).collect();
        self.asked.lock().unwrap().iter().map(keys).collect()
    }
}

impl Handler for Together {
    fn answer(&self, request: Request) -> Reply {
        panic!("{request:?} came alone");
    }

    fn at_hand(&self, _group: &str, key: &str) -> Option<Answer> {
        key.starts_with("hit").then(|| Answer::new(key.to_owned()))
    }

    fn answer_many(&self, requests: Vec<Request>) -> Vec<Reply> {
        self.asked.lock().unwrap().push(requests.clone());
        let taken = requests.into_iter().take_while(|request| &*request.key != "few");
        let replies = taken.map(|request| match &*request.key {
            "panic" => panic!("as asked"),
            "load" => Reply::pending(async { Ok(Answer::new("loaded")) }),
            key => Reply::ready(Ok(Answer::new(key.to_owned()))),
        });
        replies.collect()
    }
}

const USUAL: GetKind = GetKind { is_nested: false, is_for_stand_in: false };
const NESTED: GetKind = GetKind { is_nested: true, is_for_stand_in: false };
const FOR_STAND_IN: GetKind = GetKind { is_nested: false, is_for_stand_in: true };

/// Returns a frame with a get for each key, the first of them in slot zero.
fn many(group: &str, kind: GetKind, keys: &[&str]) -> Vec<u8> {
    let mut frame = Vec::new();
    let mut writer = ManyWriter::begin(&mut frame, group, 60_000, kind).expect("a short name");
    for (slot, key) in (0..).zip(keys) {
        assert!(writer.push(&mut frame, id(slot), key));
    }
    writer.finish(&mut frame);
    frame
}

/// Returns a connection to an owner, on which both sides have said HELLO.
async fn wire(handler: Together, link: LinkConfig) -> Wire {
    let (ours, theirs) = duplex(64 << 10);
    tokio::spawn(serving(theirs, handler, link));
    let mut wire = Wire(ours);
    wire.hello().await;
    wire.expect(kind::HELLO, Id::default()).await;
    wire
}

#[tokio::test(start_paused = true)]
async fn what_is_not_at_hand_of_one_frame_is_handed_over_together() {
    let handler = Together::default();
    let mut wire = wire(handler.clone(), LinkConfig::default()).await;
    let first = many("g", USUAL, &["a", "hit", "load", "b"]);
    let others = [many("h", NESTED, &["c"]), many("h", FOR_STAND_IN, &["d", "hit"])].concat();
    wire.send(&[first, others, many("g", USUAL, &["hit"])].concat()).await;
    // What is at hand does not wait for the others to be looked at.
    wire.expect_value(id(1), b"hit").await;
    wire.expect_value(id(0), b"a").await;
    wire.expect(kind::LOADING, id(2)).await;
    wire.expect_value(id(3), b"b").await;
    wire.expect_value(id(0), b"c").await;
    wire.expect_value(id(1), b"hit").await;
    wire.expect_value(id(0), b"d").await;
    wire.expect_value(id(0), b"hit").await;
    wire.expect_value(id(2), b"loaded").await;
    assert_eq!(handler.keys(), [vec!["a", "load", "b"], vec!["c"], vec!["d"]]);
    let asked = handler.asked.lock().unwrap();
    let kinds: Vec<_> = asked.iter().flatten().map(GetKind::of).collect();
    assert_eq!(kinds, [USUAL, USUAL, USUAL, NESTED, FOR_STAND_IN]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_of_each_get_that_was_handed_over() {
    let mut wire = wire(Together::default(), LinkConfig::default()).await;
    wire.send(&many("g", USUAL, &["a", "hit", "panic"])).await;
    wire.expect_value(id(1), b"hit").await;
    for slot in [0, 2] {
        let refusal = Refusal::Outcome(Outcome::Overloaded);
        assert_eq!(wire.expect_refusal(id(slot), refusal).await, "the handler panicked");
    }
    wire.send(&many("g", USUAL, &["after"])).await;
    wire.expect_value(id(0), b"after").await;
}

#[tokio::test(start_paused = true)]
async fn a_get_that_the_handler_passes_over_is_refused() {
    let mut wire = wire(Together::default(), LinkConfig::default()).await;
    wire.send(&many("g", USUAL, &["a", "few", "b"])).await;
    wire.expect_value(id(0), b"a").await;
    for slot in [1, 2] {
        let refusal = Refusal::Outcome(Outcome::Overloaded);
        assert_eq!(wire.expect_refusal(id(slot), refusal).await, "the handler gave no answer");
    }
}

#[tokio::test(start_paused = true)]
async fn loads_of_one_frame_beyond_the_bound_are_refused() {
    let link = LinkConfig { max_loads: 2, ..LinkConfig::default() };
    let mut wire = wire(Together::default(), link).await;
    wire.send(&many("g", USUAL, &["load", "load", "load", "", "hit"])).await;
    wire.expect_refusal(id(3), Refusal::Outcome(Outcome::Invalid)).await;
    wire.expect_value(id(4), b"hit").await;
    for slot in [0, 1] {
        wire.expect(kind::LOADING, id(slot)).await;
    }
    wire.expect_refusal(id(2), Refusal::Outcome(Outcome::Overloaded)).await;
    for slot in [0, 1] {
        wire.expect_value(id(slot), b"loaded").await;
    }
}

#[tokio::test(start_paused = true)]
async fn askers_say_which_gets_loads_wait_for_and_which_a_stand_in_is_asked() {
    let (asker, mut owner) = Asker::met().await;
    let of_kind = |key, kind: GetKind| {
        let (mut waiter, told) = waiter(key);
        waiter.request = kind.mark(waiter.request);
        (waiter, told)
    };
    let (alone, _told) = of_kind("alone", NESTED);
    asker.link.get(alone).expect("it is sent");
    // Those of a kind have frames of their own.
    let kinds = [("a", NESTED), ("b", NESTED), ("c", USUAL), ("d", FOR_STAND_IN)];
    let (asked, _told): (Vec<_>, Vec<_>) =
        kinds.into_iter().map(|(key, kind)| of_kind(key, kind)).unzip();
    assert!(asker.link.get_many(asked).is_empty());
    let mut frames = Vec::new();
    for _ in 0..4 {
        let (header, payload) = owner.read().await;
        frames.push(match FromAsker::decode(header, &payload) {
            Ok(FromAsker::Get { get, .. }) => vec![(get.key.to_owned(), get.kind)],
            Ok(FromAsker::GetMany(many)) => many
                .gets()
                .map(|get| get.map(|(_, get)| (get.key.to_owned(), get.kind)).unwrap())
                .collect(),
            other => panic!("no gets: {other:?}"),
        });
    }
    let get = |key: &str, kind| (key.to_owned(), kind);
    assert_eq!(frames[0], [get("alone", NESTED)]);
    assert_eq!(frames[1], [get("a", NESTED), get("b", NESTED)]);
    assert_eq!(frames[2..], [[get("c", USUAL)], [get("d", FOR_STAND_IN)]]);
}
