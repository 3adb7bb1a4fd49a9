//! Both sides of a link read any bytes, however they are cut: none panics or waits for ever, and each
//! get of the asker is told exactly once.
//!
//! `cargo +nightly fuzz run link` runs it, under AddressSanitizer.

#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use carrotcache_peer_http::fuzzing::{read_replies, read_requests};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

/// Has the clock of the links. Nothing runs on it.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));

/// One thing that is sent.
#[derive(Arbitrary, Debug)]
enum Piece {
    Bytes(Vec<u8>),
    /// A frame whose header is right in most of its fields, so that the parsers get somewhere.
    Frame {
        kind: u8,
        flags: u8,
        aux: u8,
        slot: u8,
        generation: u8,
        payload: Vec<u8>,
    },
    /// The head of a frame, whose payload need not follow.
    Head {
        kind: u8,
        len: u16,
        slot: u8,
    },
    Hello,
}

impl Piece {
    fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Frame { kind, flags, aux, slot, generation, payload } => {
                let header = header(payload.len(), kind % 24, flags, aux, slot % 9, generation % 9);
                [header, payload].concat()
            }
            Self::Head { kind, len, slot } => {
                header(len.into(), kind % 24, 0, 0, slot % 9, slot % 9)
            }
            Self::Hello => {
                let mut payload = vec![1, 0, 1, 0];
                payload.resize(24, 0);
                // A mebibyte is taken, of requests and of values.
                payload.extend([0, 0, 16, 0, 0, 0, 16, 0]);
                [header(payload.len(), 1, 0, 0, 0, 0), payload].concat()
            }
        }
    }
}

fn header(len: usize, kind: u8, flags: u8, aux: u8, slot: u8, generation: u8) -> Vec<u8> {
    let [l0, l1, l2, l3, ..] = len.to_le_bytes();
    vec![l0, l1, l2, l3, kind, flags, aux, 0, slot, 0, 0, 0, generation, 0, 0, 0]
}

#[derive(Arbitrary, Debug)]
struct Input {
    pieces: Vec<Piece>,
    /// Where the bytes are cut into reads.
    cuts: Vec<u8>,
}

fuzz_target!(|input: Input| {
    let bytes: Vec<u8> = input.pieces.into_iter().flat_map(Piece::into_bytes).collect();
    let mut rest = &bytes[..];
    let mut reads = Vec::new();
    for cut in input.cuts {
        let (read, behind) = rest.split_at(rest.len().min(cut.into()));
        reads.push(read.to_vec());
        rest = behind;
    }
    reads.push(rest.to_vec());
    read_requests(&RUNTIME, &reads);
    read_replies(&RUNTIME, &reads);
});
