//! What both targets of the link send: bytes that are frames, nearly frames, or anything.

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use carrotcache_peer_http::fuzzing::Sent;
use tokio::runtime::{Builder, Runtime};

/// Runs the links, one after the other.
pub static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));

/// What is not specific to one side.
#[derive(Arbitrary, Debug)]
pub enum Piece {
    Bytes(Vec<u8>),
    /// A frame of any kind, whose payload need not be one of its kind.
    Frame {
        kind: u8,
        flags: u8,
        aux: u8,
        id: Id,
        payload: Payload,
    },
    /// The head of a frame, whose payload need not follow.
    Head {
        kind: u8,
        len: u32,
        id: Id,
    },
    /// A HELLO with bounds that are taken or not.
    Hello {
        can: u8,
        max_request_bytes: u32,
        max_value_bytes: u32,
    },
    /// A HELLO that takes purges, and a mebibyte of requests and of values.
    Met,
}

/// One of a few, so that frames are about the same gets.
#[derive(Arbitrary, Debug, Clone, Copy)]
pub struct Id(u8);

impl Id {
    pub const NONE: Self = Self(0);

    /// Returns the id as it is sent: a slot, and its generation, which is that of the first use of
    /// the slot more often than not.
    pub fn encode(self) -> [u8; 8] {
        let slot = self.0 % 9;
        let generation = if self.0 < 200 { slot } else { self.0 - 200 };
        [slot, 0, 0, 0, generation, 0, 0, 0]
    }
}

/// A payload, which may be long although the input is short.
#[derive(Arbitrary, Debug)]
pub enum Payload {
    Bytes(Vec<u8>),
    Filled(u8, u16),
}

impl Payload {
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Filled(byte, len) => vec![byte; len.into()],
        }
    }
}

impl Piece {
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Frame { kind, flags, aux, id, payload } => {
                frame(kind % 24, flags, aux.into(), id, &payload.into_bytes())
            }
            Self::Head { kind, len, id } => header(len, kind % 24, 0, 0, id).to_vec(),
            Self::Hello { can, max_request_bytes, max_value_bytes } => {
                hello(can, max_request_bytes, max_value_bytes)
            }
            Self::Met => hello(1, 1 << 20, 1 << 20),
        }
    }
}

fn hello(can: u8, max_request_bytes: u32, max_value_bytes: u32) -> Vec<u8> {
    let mut payload = vec![1, 0, 1, 0, can];
    payload.resize(24, 0);
    payload.extend(max_request_bytes.to_le_bytes());
    payload.extend(max_value_bytes.to_le_bytes());
    frame(1, 0, 0, Id::NONE, &payload)
}

/// Returns a frame, written here anew: a fault in how ours are written would hide itself otherwise.
pub fn frame(kind: u8, flags: u8, aux: u16, id: Id, payload: &[u8]) -> Vec<u8> {
    let len = payload.len().try_into().expect("payloads are short");
    [&header(len, kind, flags, aux, id), payload].concat()
}

/// Returns the frame with an id that purges have.
pub fn of_purge(mut frame: Vec<u8>) -> Vec<u8> {
    frame[8..12].fill(0xff);
    frame
}

fn header(len: u32, kind: u8, flags: u8, aux: u16, id: Id) -> [u8; 16] {
    let mut header = [0; 16];
    header[..4].copy_from_slice(&len.to_le_bytes());
    header[4..6].copy_from_slice(&[kind, flags]);
    header[6..8].copy_from_slice(&aux.to_le_bytes());
    header[8..].copy_from_slice(&id.encode());
    header
}

/// How the bytes come, and how the answers are taken.
#[derive(Arbitrary, Debug)]
pub struct Manner {
    /// Whether the first thing that is sent is what lets the rest be read.
    is_met: bool,
    /// How many bytes came behind the agreement on frames.
    early: u8,
    /// Where the others are cut into reads.
    cuts: Vec<u8>,
    pauses: bool,
    write_bytes: u8,
}

impl Manner {
    /// Returns how these bytes are sent.
    pub fn cut(self, pieces: impl Iterator<Item = Vec<u8>>) -> Sent {
        let met = self.is_met.then(|| Piece::Met.into_bytes());
        let bytes: Vec<u8> = met.into_iter().chain(pieces).flatten().collect();
        let (early, mut rest) = bytes.split_at(bytes.len().min(self.early.into()));
        let mut reads = Vec::new();
        for cut in self.cuts {
            let (read, behind) = rest.split_at(rest.len().min(cut.into()));
            reads.push(read.to_vec());
            rest = behind;
        }
        reads.push(rest.to_vec());
        let write_bytes = match self.write_bytes {
            u8::MAX => usize::MAX,
            // A large value in single bytes takes long, and shows nothing that parts do not.
            bytes => usize::from(bytes) * 16,
        };
        Sent { early: early.to_vec(), reads, pauses: self.pauses, write_bytes }
    }
}
