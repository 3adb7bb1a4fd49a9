//! The owner's side of a link reads any bytes, however they are cut: it does not panic or wait for
//! ever, what it sends is whole frames, and it answers the same as when the bytes come in one read.
//!
//! `cargo xtask fuzz link_requests` runs it, under AddressSanitizer.

#![no_main]

mod pieces;

use arbitrary::Arbitrary;
use carrotcache_peer_http::fuzzing::read_requests;
use libfuzzer_sys::fuzz_target;

use self::pieces::{Id, Manner, Piece, RUNTIME, frame, of_purge};

/// One thing that an asker sends.
#[derive(Arbitrary, Debug)]
enum Request {
    Any(Piece),
    Get { id: Id, millis_left: u32, key: Key },
    GetMany { keys: Vec<(Id, Key)> },
    Purge { id: Id, group: Group, step: u8, marks: u8, names: Names, rest: Vec<u8> },
    Cancel(Id),
    Ping(Id),
    Goaway,
}

/// The group of a purge, which tells the owner what to do.
#[derive(Arbitrary, Debug)]
enum Group {
    Done,
    Fails,
    Lasts,
}

/// The keys and the members of a purge, and by how much their numbers are off.
#[derive(Arbitrary, Debug)]
struct Names {
    keys: Vec<Key>,
    more_keys: u8,
    members: Vec<(u64, String)>,
    more_members: u8,
}

/// A key, whose first letter tells the owner how to answer.
#[derive(Arbitrary, Debug)]
enum Key {
    Absent,
    AtHand,
    Big(u8),
    Fails,
    Loads,
    WithRate,
    WithTimes,
    Long(u16),
    Any(String),
}

impl Key {
    fn into_string(self) -> String {
        match self {
            Self::Absent => "a".to_owned(),
            Self::AtHand => "h".to_owned(),
            // As long a value as is copied, and longer ones.
            Self::Big(more) => "b".repeat(usize::from(more).max(1)),
            Self::Fails => "f".to_owned(),
            Self::Loads => "l".to_owned(),
            Self::WithRate => "q".to_owned(),
            Self::WithTimes => "t".to_owned(),
            // The longest key that is taken has a kibibyte.
            Self::Long(len) => "k".repeat(usize::from(len) % 1100),
            Self::Any(key) => key,
        }
    }
}

impl Request {
    fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Any(piece) => piece.into_bytes(),
            Self::Get { id, millis_left, key } => {
                let key = key.into_string();
                let payload = [&millis_left.to_le_bytes(), &b"group"[..], key.as_bytes()].concat();
                frame(2, 0, 5, id, &payload)
            }
            Self::GetMany { keys } => {
                let mut payload = b"\0\0\0\0group".to_vec();
                for (id, key) in keys {
                    let key = key.into_string();
                    let len = u16::try_from(key.len()).unwrap_or(u16::MAX);
                    payload.extend(id.encode());
                    payload.extend(len.to_le_bytes());
                    payload.extend(key.as_bytes());
                }
                frame(3, 0, 5, Id::NONE, &payload)
            }
            Self::Purge { id, group, step, marks, names, rest } => {
                let group = match group {
                    Group::Done => b"d",
                    Group::Fails => b"f",
                    Group::Lasts => b"l",
                };
                let mut payload = vec![0, 1, 0, 0, step % 5, marks % 32];
                payload.extend([7; 16]);
                payload.extend(group);
                payload.extend([9; 8]);
                put(&mut payload, "me");
                names.put_to(&mut payload);
                payload.extend(rest);
                of_purge(frame(5, 0, 1, id, &payload))
            }
            Self::Cancel(id) => frame(6, 0, 0, id, b""),
            Self::Ping(id) => frame(7, 0, 0, id, b""),
            Self::Goaway => frame(21, 0, 0, Id::NONE, b""),
        }
    }
}

impl Names {
    fn put_to(self, payload: &mut Vec<u8>) {
        // Mostly right, or hardly any would be read to its end.
        let off = |more: u8| if more < 200 { 0 } else { u32::from(more) << (more % 24) };
        let count =
            |len: usize, more| u32::try_from(len).unwrap_or(u32::MAX).wrapping_add(off(more));
        payload.extend(count(self.keys.len(), self.more_keys).to_le_bytes());
        for key in self.keys {
            put(payload, &key.into_string());
        }
        payload.extend(count(self.members.len(), self.more_members).to_le_bytes());
        for (incarnation, label) in self.members {
            payload.extend(incarnation.to_le_bytes());
            put(payload, &label);
        }
    }
}

/// Appends a text and its length.
fn put(payload: &mut Vec<u8>, text: &str) {
    payload.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
    payload.extend(text.as_bytes());
}

fuzz_target!(|input: (Vec<Request>, Manner)| {
    let (requests, manner) = input;
    read_requests(&RUNTIME, manner.cut(requests.into_iter().map(Request::into_bytes)));
});
