//! Peers that do not keep to the protocol, and connections that end anywhere.

use super::owner::Served;
use super::*;
use crate::link::frame::FrameError;
use crate::link::frame::hello::Hello;

/// Returns a frame whose header and payload need not fit each other.
fn frame(header: Header, payload: &[u8]) -> Vec<u8> {
    [&header.encode()[..], payload].concat()
}

fn sized(kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    frame(Header { len, ..Header::bare(kind, Id::FIRST) }, payload)
}

fn encoded(hello: Hello) -> Vec<u8> {
    let mut frame = Vec::new();
    hello.encode(&mut frame);
    frame
}

/// Frames that neither side takes for a HELLO.
fn bad_hellos() -> Vec<(&'static str, Vec<u8>)> {
    let hello = LinkConfig::default().hello();
    let huge = Header { len: u32::MAX, ..Header::bare(kind::HELLO, Id::default()) };
    let begun = Header { len: 50_000, ..Header::bare(kind::VALUE, Id::FIRST) };
    vec![
        ("another frame first", frame(Header::bare(kind::GOAWAY, Id::default()), b"")),
        ("the head of another frame first", frame(begun, b"")),
        ("an unknown frame first", frame(Header::bare(99, Id::default()), b"")),
        ("an empty HELLO", sized(kind::HELLO, b"")),
        ("a short HELLO", sized(kind::HELLO, &[1; 31])),
        ("a HELLO of later versions", encoded(Hello { version: 3, oldest: 2, ..hello })),
        ("a HELLO of no version", encoded(Hello { version: 0, oldest: 0, ..hello })),
        ("a HELLO that takes nothing", encoded(Hello { max_request_bytes: 0, ..hello })),
        ("a HELLO without an end", frame(huge, b"")),
        ("HTTP", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()),
        ("ones", vec![0xff; 100]),
    ]
}

#[tokio::test(start_paused = true)]
async fn an_asker_that_breaks_the_protocol_is_cut() {
    let mut cases = bad_hellos();
    let huge = Header { len: u32::MAX, ..Header::bare(kind::GET, Id::FIRST) };
    let group = Header { len: 8, aux: 5, ..Header::bare(kind::GET, Id::FIRST) };
    let after_hello = [
        ("a get without an end", frame(huge, b"")),
        ("a get without a time", sized(kind::GET, b"\0\0\0")),
        ("a get with half a group", frame(group, b"\0\0\0\0grou")),
        ("a get that is not text", sized(kind::GET, b"\0\0\0\0\xff")),
        ("a look without a time", sized(kind::LOOK, b"\0\0\0")),
        ("many gets with half a key", sized(kind::GET_MANY, b"\0\0\0\0\0\0\0\0\0\0\0\0\x05\0ab")),
        ("a second HELLO that is wrong", sized(kind::HELLO, b"")),
    ];
    cases.extend(after_hello.map(|(name, bytes)| (name, [hello(), bytes].concat())));
    for (name, bytes) in cases {
        let mut served = Served::stranger(LinkConfig::default(), 64 << 10, b"", None);
        served.wire.send(&bytes).await;
        let begin = Instant::now();
        let end = served.end().await;
        assert!(matches!(end, End::Violation(_)), "{name}: {end:?}");
        assert_eq!(begin.elapsed(), Duration::ZERO, "{name} is noticed at once");
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_breaks_the_protocol_is_cut_and_its_gets_fail() {
    let mut cases = bad_hellos();
    let huge = Header { len: (1 << 20) + 21, ..Header::bare(kind::VALUE, Id::FIRST) };
    let prefix = Header { flags: 0x10, ..Header::bare(kind::VALUE, Id::FIRST) };
    let after_hello = [
        ("a value longer than agreed", frame(huge, b"")),
        ("a value cut before it begins", frame(prefix, b"")),
        ("an unknown frame without an end", frame(Header { kind: 99, ..huge }, b"")),
        ("a second HELLO that is wrong", sized(kind::HELLO, b"")),
    ];
    cases.extend(after_hello.map(|(name, bytes)| (name, [hello(), bytes].concat())));
    for (name, bytes) in cases {
        let met = bytes.starts_with(&hello());
        let (mut asker, mut owner) = Asker::new(LinkConfig::default());
        let get = asker.get("k");
        let begin = Instant::now();
        owner.send(&bytes).await;
        if met {
            let error = told(get).await.expect_err(name);
            assert_eq!(error.kind, carrotcache_peer::PeerErrorKind::Malformed, "{name}");
        } else {
            assert!(soon(asker.detoured.recv()).await.is_some(), "{name}");
        }
        assert_eq!(begin.elapsed(), Duration::ZERO, "{name} is noticed at once");
        let end = asker.end().await;
        assert!(matches!(*end, End::Violation(_)), "{name}: {end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn versions_that_do_not_meet_are_told_apart_from_garbage() {
    let (asker, mut owner) = Asker::new(LinkConfig::default());
    owner.send(&encoded(Hello { version: 9, oldest: 8, ..LinkConfig::default().hello() })).await;
    let end = asker.end().await;
    let expected = FrameError::Version { oldest: 8, newest: 9, ours: 1 };
    assert!(matches!(&*end, End::Violation(error) if *error == expected), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn answers_that_came_before_the_fault_count() {
    let (asker, mut owner) = Asker::met().await;
    let get = asker.get("k");
    let id = owner.read_get("k").await;
    owner.send(&[value_frame(id, b"v"), sized(kind::HELLO, b"")].concat()).await;
    assert_eq!(value(get).await, "v");
    assert!(matches!(*asker.end().await, End::Violation(_)));
}

#[tokio::test(start_paused = true)]
async fn unknown_frames_are_skipped_by_both_sides() {
    let strange = [sized(0, b"zero"), sized(99, &[7; 100_000]), sized(8, b"later")].concat();

    let (asker, mut owner) = Asker::met().await;
    let get = asker.get("k");
    let asked = owner.read_get("k").await;
    owner.send(&strange).await;
    owner.value(asked, b"v").await;
    assert_eq!(value(get).await, "v");

    let mut served = Served::new().await;
    served.wire.send(&strange).await;
    served.wire.get(1, "k").await;
    served.wire.expect_value(id(1), b"k").await;
}

/// Everything that an owner may send for gets of `a`, `b` and `c`, the first three of a link.
fn all_replies() -> Vec<u8> {
    let ids: Vec<Id> = (0..3).map(|i| Id { slot: i, generation: i }).collect();
    let mut bytes = [hello(), Header::bare(kind::LOADING, ids[0]).encode().to_vec()].concat();
    bytes.extend(Header::bare(kind::PONG, Id::default()).encode());
    let times = Times::of(&Entry::new("").with_fresh_for(TIME));
    bytes.extend(ValueHead::new(ids[0], Prefix { minute_qps: Some(1.0), times }, 1).as_bytes());
    bytes.extend(b"A");
    encode_refusal(&mut bytes, ids[1], Refusal::NOT_FOUND, "no such key");
    bytes.extend(value_frame(ids[2], &[b'C'; 50]));
    bytes.extend(Header::bare(kind::GOAWAY, Id::default()).encode());
    bytes
}

#[tokio::test(start_paused = true)]
async fn answers_cut_anywhere_are_the_same_answers() {
    let bytes = all_replies();
    for cut in 0..=bytes.len() {
        let (asker, mut owner) = Asker::new(LinkConfig::default());
        let gets = [asker.get("a"), asker.get("b"), asker.get("c")];
        owner.send(&bytes[..cut]).await;
        tokio::task::yield_now().await;
        owner.send(&bytes[cut..]).await;
        let [a, b, c] = gets;
        assert_eq!(value(a).await, "A", "cut at {cut}");
        assert_eq!(told(b).await.unwrap().entry, Entry::absent(), "cut at {cut}");
        assert_eq!(value(c).await, "C".repeat(50), "cut at {cut}");
        assert!(matches!(*asker.end().await, End::Goodbye), "cut at {cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_anywhere_gives_whole_answers_or_errors() {
    let bytes = all_replies();
    for cut in 0..bytes.len() {
        let (mut asker, mut owner) = Asker::new(LinkConfig::default());
        let gets = [asker.get("a"), asker.get("b"), asker.get("c")];
        owner.send(&bytes[..cut]).await;
        drop(owner);
        soon(&mut asker.ended).await.expect("no panic");
        let mut detoured = 0;
        while asker.detoured.try_recv().is_ok() {
            detoured += 1;
        }
        assert_eq!(detoured, if cut < hello().len() { 3 } else { 0 }, "cut at {cut}");
        for (get, expected) in gets.into_iter().zip(["A", "", "CC"]) {
            if let Ok(answer) = told(get).await {
                let value = answer.entry.into_value().unwrap_or_default();
                assert!(value.as_str().unwrap().starts_with(expected), "cut at {cut}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn requests_cut_anywhere_are_the_same_requests() {
    let mut bytes = [hello(), get_frame(id(1), "g", "a"), get_frame(id(2), "g", "load b")].concat();
    bytes.extend(sized(99, b"unknown"));
    bytes.extend(Header::bare(kind::CANCEL, id(2)).encode());
    bytes.extend(Header::bare(kind::PING, id(3)).encode());
    for cut in 0..=bytes.len() {
        let mut served = Served::stranger(LinkConfig::default(), 64 << 10, b"", None);
        served.wire.send(&bytes[..cut]).await;
        tokio::task::yield_now().await;
        served.wire.send(&bytes[cut..]).await;
        served.wire.expect(kind::HELLO, Id::default()).await;
        served.wire.expect_value(id(1), b"a").await;
        served.wire.expect(kind::LOADING, id(2)).await;
        served.wire.expect(kind::PONG, id(3)).await;
    }
}
