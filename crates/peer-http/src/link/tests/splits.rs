//! Frames are the same frames however their bytes are cut into reads.

use carrotcache_peer::{Fate, Keys, Member, PeerErrorKind, Purge, Purged, Step};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof, proptest};
use proptest::sample::select;
use proptest::test_runner::Config as Cases;

use super::*;
use crate::link::frame::hello::Hello;
use crate::link::frame::purge::{Bounds, encode as encode_purge, encode_purged};
use crate::link::frame::request::{GetKind, ManyWriter, encode_look};
use crate::link::scripted::{Script, check_asker, check_owner, tell};
use crate::wire::outcome::Outcome;

/// The get with this number, whose answer comes behind the frame that is looked at.
const AFTER: u32 = 7;

/// Runs a test on a clock that jumps: a link that hung would say that the other side is silent.
fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().expect("a runtime").block_on(test);
}

/// The id that the get with this number has on a new link.
fn nth(number: u32) -> Id {
    Id { slot: number, generation: number }
}

fn frame(header: Header, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    [&Header { len, ..header }.encode()[..], payload].concat()
}

fn bare(kind: u8, id: Id) -> Vec<u8> {
    frame(Header::bare(kind, id), b"")
}

fn refusal(refusal: Refusal, text: &str) -> Vec<u8> {
    refusal_of(nth(0), refusal, text)
}

fn refusal_of(id: Id, refusal: Refusal, text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    encode_refusal(&mut out, id, refusal, text);
    out
}

fn purged(id: Id) -> Vec<u8> {
    let mut out = Vec::new();
    encode_purged(&mut out, id, Purged::new(1, Fate::Closed { token: 2 }));
    out
}

/// Returns a purge of this group, with some of everything. The group tells the owner what to do.
fn purge(number: u32, group: &str, key: &str) -> Vec<u8> {
    let me = Member { label: "me".into(), incarnation: 1 };
    let value = Some(Entry::new("v").with_fresh_for(TIME));
    let step = Step::Open { attempt: 1, token: 2, closed: vec![me.clone()], value };
    let keys = Keys::These(vec![key.into()]);
    let purge = Purge::new(group, keys, me, step, Instant::now().into_std());
    let bounds = Bounds { max_bytes: 1 << 20, max_value_bytes: 1 << 20 };
    let mut out = Vec::new();
    assert!(encode_purge(&mut out, Id::of_purge(number), 250, &purge, bounds));
    out
}

fn many(keys: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = ManyWriter::begin(&mut out, "g", 250, GetKind::default()).unwrap();
    for (number, key) in (0..).zip(keys) {
        assert!(writer.push(&mut out, nth(number), key));
    }
    writer.finish(&mut out);
    out
}

/// Every way to send these bytes in two parts: the first of them early, or in a read of its own and
/// with pauses.
fn in_two(bytes: &[u8]) -> impl Iterator<Item = Script> + '_ {
    let cuts = (0..=bytes.len()).flat_map(|cut| [(cut, false), (cut, true)]);
    cuts.map(|(cut, is_early)| {
        let (front, rest) = bytes.split_at(cut);
        let (front, rest) = (front.to_vec(), rest.to_vec());
        let (early, reads) =
            if is_early { (front, vec![rest]) } else { (Vec::new(), vec![front, rest]) };
        Script { early, reads, pauses: !is_early, write_bytes: usize::MAX }
    })
}

/// Returns what a completion is told of an answer of the owner's, whose HELLO says zero.
fn tell_by_owner(answer: Answer) -> String {
    tell(Ok(answer.with_incarnation(0)))
}

/// What the first get is told for each kind of frame.
fn replies() -> Vec<(&'static str, Vec<u8>, Result<Answer, PeerErrorKind>)> {
    let value =
        |flags, bytes: &[u8]| frame(Header { flags, ..Header::bare(kind::VALUE, nth(0)) }, bytes);
    let unanswered = || Err(PeerErrorKind::Truncated);
    let rated = |value: &[u8]| [&1.5_f64.to_le_bytes()[..], value].concat();
    let good =
        |value: &[u8]| Entry::new(value.to_vec()).with_fresh_for(TIME).with_stale_for(TIME / 2);
    let timed = |value: &[u8]| {
        let times = Times::of(&good(value)).expect("it is not good for ever");
        [&times.encode()[..], value].concat()
    };
    // Longer than what is read to where it stays.
    let long = vec![b'v'; (8 << 10) + 100];
    let long_rated = Answer::new(long.clone()).with_minute_qps(1.5);
    let failed = Refusal::Outcome(Outcome::LoadFailed);
    vec![
        ("a second HELLO", hello(), unanswered()),
        ("a value", value(0, b"v"), Ok(Answer::new("v"))),
        ("no bytes", value(0, b""), Ok(Answer::new(""))),
        (
            "a value with its rate",
            value(0x10, &rated(b"v")),
            Ok(Answer::new("v").with_minute_qps(1.5)),
        ),
        ("a value with its times", value(0x20, &timed(b"v")), Ok(Answer::new(good(b"v")))),
        (
            "a value with its rate and its times",
            value(0x30, &rated(&timed(b"v"))),
            Ok(Answer::new(good(b"v")).with_minute_qps(1.5)),
        ),
        ("an unreadable value", value(0x40, b"v"), Err(PeerErrorKind::Malformed)),
        ("a long value", value(0, &long), Ok(Answer::new(long.clone()))),
        ("a long value with its rate", value(0x10, &rated(&long)), Ok(long_rated)),
        ("a long value with its times", value(0x20, &timed(&long)), Ok(Answer::new(good(&long)))),
        ("an unreadable long value", value(0x80, &long), Err(PeerErrorKind::Malformed)),
        ("no such key", refusal(Refusal::NOT_FOUND, "no such key"), Ok(Answer::absent())),
        ("an error", refusal(failed, "no disk"), Err(PeerErrorKind::LoadFailed)),
        (
            "a refusal of a later version",
            refusal(Refusal::Unknown, "?"),
            Err(PeerErrorKind::Failed),
        ),
        ("a detour", refusal(Refusal::OverHttp, "long"), Err(PeerErrorKind::Dropped)),
        ("LOADING", bare(kind::LOADING, nth(0)), unanswered()),
        ("PONG", bare(kind::PONG, nth(0)), unanswered()),
        ("what became of a purge", purged(Id::of_purge(0)), unanswered()),
        ("what became of no purge", purged(nth(0)), unanswered()),
        ("a purge that is refused", refusal_of(Id::of_purge(1), failed, "no"), unanswered()),
        ("GOAWAY", bare(kind::GOAWAY, nth(0)), unanswered()),
        ("an unknown frame", frame(Header::bare(99, nth(0)), &long), unanswered()),
        ("a long value for nobody", frame(Header::bare(kind::VALUE, id(0)), &long), unanswered()),
    ]
}

#[test]
fn every_reply_is_the_same_reply_wherever_it_is_cut() {
    for (name, frame, expected) in replies() {
        let bytes = [hello(), frame, value_frame(nth(AFTER), b"after")].concat();
        run(async {
            for script in in_two(&bytes) {
                let asked = check_asker(&script).await;
                let told = &asked.told[0][0];
                match &expected {
                    Ok(answer) => assert_eq!(*told, tell_by_owner(answer.clone()), "{name}"),
                    Err(kind) => assert!(told.starts_with(&format!("{kind:?}")), "{name}: {told}"),
                }
                let after = &asked.told[AFTER as usize][0];
                assert_eq!(*after, tell_by_owner(Answer::new("after")), "{name}");
                assert_eq!(asked.detoured.len(), usize::from(name == "a detour"), "{name}");
            }
        });
    }
}

/// What each kind of frame is answered with: the small frames, and how many large ones.
fn requests() -> Vec<(&'static str, Vec<u8>, Vec<u8>, usize)> {
    let get = |key| get_frame(nth(0), "g", key);
    let look = |key| {
        let (mut frame, get) =
            (Vec::new(), Get { millis_left: 50, group: "g", key, kind: GetKind::default() });
        assert!(encode_look(&mut frame, nth(0), get));
        frame
    };
    let forgotten = [get("load"), bare(kind::CANCEL, nth(0))].concat();
    let long_key = "k".repeat(1_000);
    let twice = vec![kind::LOADING, kind::REFUSAL];
    vec![
        ("a second HELLO", hello(), vec![], 0),
        ("a get", get("k"), vec![kind::VALUE], 0),
        ("a get of a long key", get(&long_key), vec![kind::VALUE], 0),
        ("a get that is at hand", get("here"), vec![kind::VALUE], 0),
        ("a get with a rate", get("q"), vec![kind::VALUE], 0),
        ("a get of nothing", get("absent"), vec![kind::REFUSAL], 0),
        ("a get that fails", get("fails"), vec![kind::REFUSAL], 0),
        ("a get that is loading", get("load"), vec![kind::LOADING], 0),
        ("a get of a large value", get("big"), vec![], 1),
        ("a get without a key", get(""), vec![kind::REFUSAL], 0),
        ("many gets", many(&["k", "big", "absent"]), vec![kind::VALUE, kind::REFUSAL], 1),
        ("a look at what is there", look("here"), vec![kind::VALUE], 0),
        ("a look at what is not", look("load"), vec![kind::REFUSAL], 0),
        ("a look without a key", look(""), vec![kind::REFUSAL], 0),
        ("a load twice", [get("load"), get("load")].concat(), twice, 0),
        ("CANCEL", forgotten, vec![kind::LOADING], 0),
        ("a purge", purge(0, "d", "k"), vec![kind::PURGED], 0),
        ("a purge that fails", purge(0, "f", "k"), vec![kind::REFUSAL], 0),
        ("a purge that lasts", purge(0, "l", "k"), vec![], 0),
        ("a purge without a key", purge(0, "d", ""), vec![kind::REFUSAL], 0),
        (
            "a purge twice",
            [purge(0, "l", "k"), purge(0, "l", "k")].concat(),
            vec![kind::REFUSAL],
            0,
        ),
        ("PING", bare(kind::PING, nth(0)), vec![kind::PONG], 0),
        ("GOAWAY", bare(kind::GOAWAY, nth(0)), vec![], 0),
        ("an unknown frame", frame(Header::bare(99, nth(0)), &[7; 100]), vec![], 0),
    ]
}

#[test]
fn every_request_is_the_same_request_wherever_it_is_cut() {
    for (name, frame, expected, large) in requests() {
        let bytes = [hello(), frame, bare(kind::PING, nth(AFTER))].concat();
        let expected = [&[kind::HELLO][..], &expected, &[kind::PONG]].concat();
        run(async {
            for script in in_two(&bytes) {
                let served = check_owner(&script).await;
                let small: Vec<u8> = served.small.iter().map(|(header, _)| header.kind).collect();
                assert_eq!(small, expected, "{name}");
                assert_eq!(served.large.len(), large, "{name}");
            }
        });
    }
}

#[test]
fn frames_of_every_number_are_the_same_wherever_they_are_cut() {
    run(async {
        // The numbers that are given, those between, and some far from them.
        for kind in (0..32).chain([99, u8::MAX]) {
            for (flags, payload) in [(0, &b""[..]), (0x10, b"12345678"), (0xff, b"?")] {
                let frame = frame(Header { flags, ..Header::bare(kind, nth(0)) }, payload);
                for bytes in [frame.clone(), [hello(), frame].concat()] {
                    for script in in_two(&bytes) {
                        check_asker(&script).await;
                        check_owner(&script).await;
                    }
                }
            }
        }
    });
}

#[test]
fn what_breaks_the_protocol_is_the_same_fault_wherever_it_is_cut() {
    let short_bound = Hello { max_request_bytes: 1, ..LinkConfig::default().hello() };
    let mut wrong_hello = Vec::new();
    short_bound.encode(&mut wrong_hello);
    let endless = |kind| Header { len: u32::MAX, ..Header::bare(kind, nth(0)) }.encode().to_vec();
    let to_either = [
        wrong_hello,
        endless(kind::HELLO),
        bare(kind::HELLO, nth(0)),
        endless(99),
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(),
    ];
    let rate = Header { flags: 0x10, ..Header::bare(kind::VALUE, nth(0)) };
    let to_asker = [endless(kind::VALUE), frame(rate, b"short")];
    let key = b"\0\0\0\0\0\0\0\0\0\0\0\0\x05\0ab";
    let short_purge = purge(0, "d", "k")[..60].to_vec();
    let to_owner = [
        frame(Header { aux: 1, ..Header::bare(kind::PURGE, nth(0)) }, &short_purge[HEADER_BYTES..]),
        endless(kind::GET),
        frame(Header::bare(kind::GET, nth(0)), b"\0\0\0"),
        frame(Header::bare(kind::GET, nth(0)), b"\0\0\0\0\xff"),
        frame(Header { aux: 9, ..Header::bare(kind::GET, nth(0)) }, b"\0\0\0\0group"),
        frame(Header::bare(kind::GET_MANY, nth(0)), key),
    ];
    run(async {
        for fault in to_either.iter().chain(&to_asker) {
            for script in in_two(&[&hello()[..], fault].concat()) {
                let end = check_asker(&script).await.end;
                assert!(matches!(*end, End::Violation(_)), "{end:?} for {fault:?}");
            }
        }
        for fault in to_either.iter().chain(&to_owner) {
            for script in in_two(&[&hello()[..], fault].concat()) {
                let end = check_owner(&script).await.end;
                assert!(matches!(end, End::Violation(_)), "{end:?} for {fault:?}");
            }
        }
    });
}

/// Returns a conversation of these frames and made-up ones, cut and taken in any way.
fn scripts(
    known: Vec<Vec<u8>>,
    made_up: impl Strategy<Value = Vec<u8>>,
) -> impl Strategy<Value = Script> {
    let frames = vec(prop_oneof![2 => select(known), 3 => made_up], 0..20);
    let cuts = vec(prop_oneof![0..40_usize, 0..10_000_usize], 0..40);
    let write_bytes = prop_oneof![1..100_usize, 1..20_000_usize];
    let script = (frames, any::<bool>(), cuts, any::<bool>(), write_bytes);
    script.prop_map(|(frames, is_early, cuts, pauses, write_bytes)| {
        let mut rest = [hello(), frames.concat()].concat();
        let mut reads = Vec::new();
        for cut in cuts {
            let behind = rest.split_off(cut.min(rest.len()));
            reads.push(std::mem::replace(&mut rest, behind));
        }
        let early = if is_early && !reads.is_empty() { reads.remove(0) } else { Vec::new() };
        reads.push(rest);
        Script { early, reads, pauses, write_bytes }
    })
}

/// Values of any length, for any of the gets of an asker; some for gets that there are not.
fn any_value() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![0..100_usize, 8_000..9_000_usize, 16_000..70_000_usize];
    (0..10_u32, len).prop_map(|(number, len)| value_frame(nth(number), &vec![b'v'; len]))
}

/// Gets with any first letter, which tells the owner how to answer.
fn any_get() -> impl Strategy<Value = Vec<u8>> {
    let key = (select(vec!["a", "b", "f", "h", "k", "l", "q"]), 1..1_500_usize);
    (0..10_u32, key)
        .prop_map(|(number, (letter, len))| get_frame(nth(number), "g", &letter.repeat(len)))
}

proptest! {
    #![proptest_config(Cases { cases: 300, ..Cases::default() })]

    #[test]
    fn replies_cut_into_many_reads_are_the_same(
        script in scripts(replies().into_iter().map(|case| case.1).collect(), any_value())
    ) {
        run(async { drop(check_asker(&script).await) });
    }

    #[test]
    fn requests_cut_into_many_reads_are_the_same(
        script in scripts(requests().into_iter().map(|case| case.1).collect(), any_get())
    ) {
        run(async { drop(check_owner(&script).await) });
    }
}
