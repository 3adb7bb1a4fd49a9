//! Purges and what is said to them, as bytes.

use carrotcache_peer::{Fate, Keys, Member, Purge, Purged, Step};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::Config as Cases;

use super::*;
use crate::link::frame::purge::{self, Bounds, MAX_MEMBERS, Purging, decode_purged, encode_purged};
use crate::link::frame::{FrameError, Front, front};

const BOUNDS: Bounds = Bounds { max_bytes: 1 << 20, max_value_bytes: 1 << 20 };

/// Returns the frame of a purge, if there is room for it.
fn encode(purge: &Purge, bounds: Bounds) -> Option<Vec<u8>> {
    let mut out = b"before".to_vec();
    let is_whole = purge::encode(&mut out, id(3), 250, purge, bounds);
    assert_eq!(is_whole, out.len() > 6, "nothing is left of what is not sent");
    is_whole.then(|| out.split_off(6))
}

/// Returns the header and the payload of the frame of a purge.
fn parts(purge: &Purge) -> (Header, Vec<u8>) {
    let frame = encode(purge, BOUNDS).expect("there is room");
    let Ok(Front::Whole(header, payload)) = front(&frame, u32::MAX) else { panic!("no frame") };
    (header, payload.to_vec())
}

/// Returns the purge that a payload is, as its receiver sees it.
fn decode(
    header: Header,
    payload: &[u8],
) -> Result<Result<Box<Purging>, &'static str>, FrameError> {
    match FromAsker::decode(header, payload)? {
        FromAsker::Purge { id, purge } => {
            assert_eq!(id, header.id);
            Ok(purge)
        }
        other => panic!("no purge: {other:?}"),
    }
}

fn member(label: &str, incarnation: u64) -> Member {
    Member { label: label.into(), incarnation }
}

fn purge_of(keys: Keys, step: Step) -> Purge {
    Purge::new("g", keys, member("me", 7), step, Instant::now().into_std())
}

fn keys(keys: &[&str]) -> Keys {
    Keys::These(keys.iter().map(|key| (*key).into()).collect())
}

/// A purge that has some of everything.
fn rich() -> Purge {
    let entry = Entry::new("new").with_fresh_for(TIME).with_stale_for(TIME / 2);
    let closed = vec![member("me", 7), member("you", 8)];
    purge_of(keys(&["ab", "c"]), Step::Open { attempt: 1, token: 2, closed, value: Some(entry) })
}

#[test]
fn a_purge_has_its_golden_bytes() {
    let frame = encode(&rich(), BOUNDS).expect("there is room");
    let golden = [
        &[90, 0, 0, 0, 5, 0, 1, 0, 3, 0, 0, 0, 9, 0, 0, 0][..],
        &[250, 0, 0, 0, 2, 0x0e],
        &[1, 0, 0, 0, 0, 0, 0, 0],
        &[2, 0, 0, 0, 0, 0, 0, 0],
        b"g\x07\0\0\0\0\0\0\0\x02\0me",
        b"\x02\0\0\0\x02\0ab\x01\0c",
        b"\x02\0\0\0\x07\0\0\0\0\0\0\0\x02\0me\x08\0\0\0\0\0\0\0\x03\0you",
        &[0x60, 0xea, 0, 0, 0, 0, 0, 0, 0x30, 0x75, 0, 0],
        b"new",
    ];
    assert_eq!(frame, golden.concat());
}

#[test]
fn what_becomes_of_a_purge_has_its_golden_bytes() {
    let head = |fate| [17, 0, 0, 0, 19, 0, fate, 0, 3, 0, 0, 0, 9, 0, 0, 0];
    let incarnation = [8, 7, 6, 5, 4, 3, 2, 1];
    for (fate, number, token, marks) in [
        (Fate::Closed { token: 77 }, 1, 77, 0),
        (Fate::Opened { stood: false, kept: false }, 2, 0, 0),
        (Fate::Opened { stood: true, kept: false }, 2, 0, 1),
        (Fate::Opened { stood: false, kept: true }, 2, 0, 2),
        (Fate::Told, 3, 0, 0),
    ] {
        let purged = Purged::new(0x0102_0304_0506_0708, fate);
        let mut out = Vec::new();
        encode_purged(&mut out, id(3), purged);
        let golden = [&head(number)[..], &incarnation, &[token, 0, 0, 0, 0, 0, 0, 0, marks]];
        assert_eq!(out, golden.concat());
        let Ok(Front::Whole(header, payload)) = front(&out, u32::MAX) else { panic!("no frame") };
        assert_eq!(decode_purged(header, payload), Ok(Some(purged)));
        for cut in 0..payload.len() {
            assert!(decode_purged(header, &payload[..cut]).is_err(), "cut at {cut}");
        }
        let longer = [payload, b"of a later version"].concat();
        assert_eq!(decode_purged(header, &longer), Ok(Some(purged)));
        for later in [Header { aux: 4, ..header }, Header { flags: 0x10, ..header }] {
            assert_eq!(decode_purged(later, payload), Ok(None));
        }
    }
}

fn any_member() -> impl Strategy<Value = Member> {
    (".{0,20}", any::<u64>()).prop_map(|(label, incarnation)| member(&label, incarnation))
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let value = prop_oneof![vec(any::<u8>(), 0..200).prop_map(Entry::new), Just(Entry::absent())];
    let times = option::of((0..u64::MAX / 2, any::<u32>()));
    (value, times).prop_map(|(entry, times)| match times {
        // Stale is only what is not fresh for good.
        Some((fresh, stale)) => {
            let entry = entry.with_fresh_for(Duration::from_millis(fresh % 1_000_000_000_000));
            entry.with_stale_for(Duration::from_millis(stale.into()))
        }
        None => entry,
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let members = || vec(any_member(), 0..5);
    prop_oneof![
        any::<u64>().prop_map(|attempt| Step::Close { attempt }),
        (any::<u64>(), any::<u64>(), members(), option::of(any_entry())).prop_map(
            |(attempt, token, closed, value)| Step::Open { attempt, token, closed, value }
        ),
        members().prop_map(|told| Step::Tell { told }),
    ]
}

fn any_purge() -> impl Strategy<Value = Purge> {
    let these = vec(".{0,9}", 0..20)
        .prop_map(|keys| Keys::These(keys.iter().map(|key| key.as_str().into()).collect()));
    let keys = prop_oneof![1 => Just(Keys::All), 3 => these];
    ("[a-z]{1,9}", keys, any_member(), any_step()).prop_map(|(group, keys, sender, step)| {
        Purge::new(group, keys, sender, step, Instant::now().into_std())
    })
}

proptest! {
    #![proptest_config(Cases { cases: 256, ..Cases::default() })]

    #[test]
    fn a_purge_is_read_as_it_was_written(purge in any_purge()) {
        let (header, payload) = parts(&purge);
        let purging = decode(header, &payload).expect("it adds up").expect("it is taken");
        prop_assert_eq!(purging.millis_left, 250);
        prop_assert_eq!(purging.until(purge.deadline), purge);
    }

    #[test]
    fn no_payload_is_too_strange(
        flags: u8, aux in 0..20_u16, mut payload in vec(any::<u8>(), 0..200), step in 0..5_u8,
    ) {
        // Most random bytes fail at the first count, so some have small ones.
        for byte in &mut payload {
            if *byte > 200 {
                *byte = 0;
            }
        }
        if let Some(at) = payload.get_mut(4) {
            *at = step;
        }
        let header = Header { flags: flags & 0x0f, aux, ..Header::bare(kind::PURGE, id(1)) };
        if let Ok(Ok(purging)) = decode(header, &payload) {
            prop_assert!(purging.group.len() == usize::from(aux));
        }
    }
}

#[test]
fn a_payload_cut_anywhere_is_malformed_unless_a_value_is_its_end() {
    let (header, payload) = parts(&rich());
    let value_at = payload.len() - 3;
    for cut in 0..payload.len() {
        match decode(header, &payload[..cut]) {
            Ok(Ok(purging)) => {
                assert!(cut >= value_at, "cut at {cut}");
                assert_eq!(purging.value().expect("a value"), &b"new"[..cut - value_at]);
            }
            Ok(Err(why)) => panic!("cut at {cut}, it is refused: {why}"),
            Err(error) => {
                assert!(cut < value_at, "cut at {cut}: {error}");
                assert!(matches!(error, FrameError::Malformed { .. }), "cut at {cut}: {error}");
            }
        }
    }
    let (header, mut payload) = parts(&purge_of(keys(&["k"]), Step::Close { attempt: 1 }));
    payload.push(0);
    let fault = "there is something behind its end";
    assert_eq!(decode(header, &payload), Err(FrameError::Malformed { kind: kind::PURGE, fault }));
}

#[test]
fn claims_beyond_the_bounds_are_refused_before_they_are_looked_at() {
    let (header, payload) =
        parts(&purge_of(keys(&["k"]), Step::Tell { told: vec![member("x", 1)] }));
    // Behind the time, the step, the marks, two numbers, the group and the sender.
    let keys_at = 4 + 2 + 16 + 1 + 12;
    let members_at = keys_at + 4 + 3;
    for (at, claim, why) in [
        (keys_at, 1_001_u32, "there are more than a thousand keys"),
        (keys_at, 1_000_000, "there are more than a thousand keys"),
        (keys_at, u32::MAX, "there are more than a thousand keys"),
        (members_at, 4_097, "there are more than 4,096 members"),
        (members_at, u32::MAX, "there are more than 4,096 members"),
    ] {
        let mut payload = payload.clone();
        payload[at..at + 4].copy_from_slice(&claim.to_le_bytes());
        assert_eq!(decode(header, &payload), Ok(Err(why)), "{claim}");
    }
    // As many as may be claimed, and are not there.
    for (at, claim) in [(keys_at, 1_000_u32), (members_at, 4_096)] {
        let mut payload = payload.clone();
        payload[at..at + 4].copy_from_slice(&claim.to_le_bytes());
        assert!(decode(header, &payload).is_err(), "{claim}");
    }
    let mut long_label = payload.clone();
    long_label[members_at + 12..][..2].copy_from_slice(&1_025_u16.to_le_bytes());
    assert_eq!(decode(header, &long_label), Ok(Err("a label is longer than a kibibyte")));
    let mut no_text = payload;
    *no_text.last_mut().expect("a label") = 0xff;
    let fault = "a name is not UTF-8";
    assert_eq!(decode(header, &no_text), Err(FrameError::Malformed { kind: kind::PURGE, fault }));
}

#[test]
fn what_is_of_a_later_version_is_refused() {
    let (header, payload) = parts(&purge_of(Keys::All, Step::Close { attempt: 1 }));
    let changed = |at: usize, byte| {
        let mut payload = payload.clone();
        payload[at] = byte;
        payload
    };
    for step in [0, 4, 255] {
        assert!(matches!(decode(header, &changed(4, step)), Ok(Err(_))), "step {step}");
    }
    for marks in [0x11, 0x80] {
        assert!(matches!(decode(header, &changed(5, marks)), Ok(Err(_))), "marks {marks:#x}");
    }
    let later = FromAsker::decode(Header { flags: 0x10, ..header }, &payload);
    assert_eq!(later, Ok(FromAsker::Unreadable(header.id)));
    assert!(decode(Header { flags: 0x0f, ..header }, &payload).is_ok());
}

#[test]
fn a_purge_that_its_receiver_would_not_take_is_not_written() {
    let many: Vec<Arc<str>> = vec!["k".into(); Purge::MAX_KEYS + 1];
    let told = vec![member("x", 1); MAX_MEMBERS + 1];
    for (purge, what) in [
        (purge_of(Keys::These(many), Step::Close { attempt: 1 }), "keys"),
        (purge_of(Keys::All, Step::Tell { told }), "members"),
        (purge_of(Keys::All, Step::Tell { told: vec![member(&"x".repeat(1_025), 1)] }), "a label"),
        (purge_of(keys(&[&"k".repeat(1 << 16)]), Step::Close { attempt: 1 }), "a key"),
    ] {
        assert_eq!(encode(&purge, BOUNDS), None, "{what}");
    }
    let purge = purge_of(keys(&["k"]), Step::Close { attempt: 1 });
    let bytes = parts(&purge).1.len();
    assert!(encode(&purge, Bounds { max_bytes: bytes, ..BOUNDS }).is_some());
    assert_eq!(encode(&purge, Bounds { max_bytes: bytes - 1, ..BOUNDS }), None);
}

#[test]
fn an_entry_for_which_there_is_no_room_is_left_out() {
    let whole = parts(&rich()).1.len();
    for bounds in
        [Bounds { max_value_bytes: 2, ..BOUNDS }, Bounds { max_bytes: whole - 1, ..BOUNDS }]
    {
        let frame = encode(&rich(), bounds).expect("there is room for the rest");
        let Ok(Front::Whole(header, payload)) = front(&frame, u32::MAX) else { panic!("no frame") };
        let purging = decode(header, payload).expect("it adds up").expect("it is taken");
        assert_eq!(purging.keys, keys(&["ab", "c"]));
        assert!(matches!(purging.step, Step::Open { value: None, .. }), "{:?}", purging.step);
    }
}
