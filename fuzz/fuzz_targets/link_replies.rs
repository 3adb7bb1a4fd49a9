//! The asker's side of a link reads any bytes, however they are cut: it does not panic or wait for
//! ever, each get is told exactly once, and the same as when the bytes come in one read.
//!
//! `cargo xtask fuzz link_replies` runs it, under AddressSanitizer.

#![no_main]

mod pieces;

use arbitrary::Arbitrary;
use carrotcache_peer_http::fuzzing::read_replies;
use libfuzzer_sys::fuzz_target;

use self::pieces::{Id, Manner, Payload, Piece, RUNTIME, frame, of_purge};

/// One thing that an owner sends.
#[derive(Arbitrary, Debug)]
enum Reply {
    Any(Piece),
    Value { id: Id, has_rate: bool, has_times: bool, value: Payload },
    Refusal { id: Id, reason: u8, text: String },
    Loading(Id),
    Purged { id: Id, fate: u8, said: [u8; 17] },
    PurgeRefused { id: Id, reason: u8 },
    Goaway,
}

impl Reply {
    fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Any(piece) => piece.into_bytes(),
            Self::Value { id, has_rate, has_times, value } => {
                let flags = u8::from(has_rate) << 4 | u8::from(has_times) << 5;
                frame(16, flags, 0, id, &value.into_bytes())
            }
            Self::Refusal { id, reason, text } => {
                frame(17, 0, (reason % 10).into(), id, text.as_bytes())
            }
            Self::Loading(id) => frame(18, 0, 0, id, b""),
            Self::Purged { id, fate, said } => of_purge(frame(19, 0, (fate % 5).into(), id, &said)),
            Self::PurgeRefused { id, reason } => {
                of_purge(frame(17, 0, (reason % 10).into(), id, b"no"))
            }
            Self::Goaway => frame(21, 0, 0, Id::NONE, b""),
        }
    }
}

fuzz_target!(|input: (Vec<Reply>, Manner)| {
    let (replies, manner) = input;
    read_replies(&RUNTIME, manner.cut(replies.into_iter().map(Reply::into_bytes)));
});
