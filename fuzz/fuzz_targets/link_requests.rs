//! The owner's side of a link reads any bytes, however they are cut: it does not panic or wait for
//! ever, what it sends is whole frames, and it answers the same as when the bytes come in one read.
//!
//! `cargo xtask fuzz link_requests` runs it, under AddressSanitizer.

#![no_main]

mod pieces;

use arbitrary::Arbitrary;
use carrotcache_peer_http::fuzzing::read_requests;
use libfuzzer_sys::fuzz_target;

use self::pieces::{Id, Manner, Piece, RUNTIME, frame};

/// One thing that an asker sends.
#[derive(Arbitrary, Debug)]
enum Request {
    Any(Piece),
    Get { id: Id, millis_left: u32, key: Key },
    GetMany { keys: Vec<(Id, Key)> },
    Cancel(Id),
    Ping(Id),
    Goaway,
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
            Self::Cancel(id) => frame(6, 0, 0, id, b""),
            Self::Ping(id) => frame(7, 0, 0, id, b""),
            Self::Goaway => frame(21, 0, 0, Id::NONE, b""),
        }
    }
}

fuzz_target!(|input: (Vec<Request>, Manner)| {
    let (requests, manner) = input;
    read_requests(&RUNTIME, manner.cut(requests.into_iter().map(Request::into_bytes)));
});
