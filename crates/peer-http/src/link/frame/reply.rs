//! What the owner sends: answers, and what is said around them. Those to purges have a place of their
//! own, in [`purge`](super::purge).
//!
//! ```text
//!  VALUE    flag 0x10: with minute_qps (f64)   payload: [minute_qps │] [times │] value
//!           flag 0x20: with times (u64, u32)
//!  REFUSAL  aux: the reason                    payload: one line of text
//!  LOADING, PONG, GOAWAY                       payload: ignored
//! ```

use carrotcache_byteview::ByteView;
use carrotcache_peer::{Answer, Entry, Purged};

use super::hello::{Fields, Hello};
use super::purge::decode_purged;
use super::refusal::Refusal;
use super::{ESSENTIAL_FLAGS, FrameError, HEADER_BYTES, Header, Id, kind, len_u32};
use crate::wire::about::{TIMES_BYTES, Times};

/// The flag of a VALUE that begins with how often the key is asked for.
pub(crate) const MINUTE_QPS: u8 = 0x10;

/// The flag of a VALUE that tells for how long it is good.
pub(crate) const TIMES: u8 = 0x20;

/// The most that stands before the bytes of a value, in its payload.
pub(crate) const MAX_PREFIX_BYTES: usize = 8 + TIMES_BYTES;

/// A frame from the owner. It borrows from what was read.
#[derive(Debug, PartialEq)]
pub(crate) enum FromOwner<'a> {
    Hello(Hello),
    Value {
        id: Id,
        value: Value<'a>,
    },
    Refusal {
        id: Id,
        refusal: Refusal,
        text: &'a [u8],
    },
    /// What became of a purge; `None` if this version cannot read it.
    Purged {
        id: Id,
        purged: Option<Purged>,
    },
    /// The answer is one that this version cannot read.
    Unreadable(Id),
    Loading(Id),
    Pong,
    GoAway,
    /// Of a later version, and skipped.
    Unknown,
}

/// A value, as it stands in a frame; all of it, or what has been read so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Value<'a> {
    pub(crate) prefix: Prefix,
    pub(crate) bytes: &'a [u8],
}

/// What stands before the bytes of a value.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Prefix {
    pub(crate) minute_qps: Option<f64>,
    pub(crate) times: Option<Times>,
}

impl Prefix {
    /// Returns what is told of an answer that is a value.
    pub(crate) fn of(answer: &Answer) -> Self {
        Self { minute_qps: answer.minute_qps, times: Times::of(&answer.entry) }
    }

    /// Returns the answer that this and the value's bytes are.
    pub(crate) fn answer(self, value: ByteView) -> Answer {
        let entry = Entry::new(value);
        let mut answer = Answer::new(match self.times {
            Some(times) => times.apply(entry),
            None => entry,
        });
        answer.minute_qps = self.minute_qps;
        answer
    }
}

impl<'a> FromOwner<'a> {
    /// Returns what a frame says.
    ///
    /// # Errors
    ///
    /// When the payload is not what its kind has.
    pub(crate) fn decode(header: Header, payload: &'a [u8]) -> Result<Self, FrameError> {
        let id = header.id;
        Ok(match header.kind {
            kind::VALUE if !is_readable(header) => Self::Unreadable(id),
            kind::VALUE => {
                let fault = "the value has no room for what stands before it";
                let malformed = FrameError::Malformed { kind: header.kind, fault };
                Self::Value { id, value: Value::decode(header, payload).ok_or(malformed)? }
            }
            kind::REFUSAL => {
                Self::Refusal { id, refusal: Refusal::from_code(header.aux), text: payload }
            }
            kind::PURGED => Self::Purged { id, purged: decode_purged(header, payload)? },
            kind::LOADING => Self::Loading(id),
            kind::PONG => Self::Pong,
            kind::HELLO => Self::Hello(Hello::decode(payload)?),
            kind::GOAWAY => Self::GoAway,
            _ => Self::Unknown,
        })
    }
}

/// Returns whether all that changes the meaning of a value's payload is known here. One that is not
/// is an error of its get alone: the frame's length is right, so what follows can be read.
pub(crate) fn is_readable(header: Header) -> bool {
    header.flags & ESSENTIAL_FLAGS & !(MINUTE_QPS | TIMES) == 0
}

impl<'a> Value<'a> {
    /// Returns the value whose payload begins with `payload`; `None` if that is not enough to tell
    /// where the value's own bytes begin.
    pub(crate) fn decode(header: Header, payload: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(payload);
        let mut prefix = Prefix::default();
        if header.flags & MINUTE_QPS != 0 {
            prefix.minute_qps = Some(f64::from_le_bytes(fields.take()?));
        }
        if header.flags & TIMES != 0 {
            prefix.times = Some(Times::decode(fields.take()?));
        }
        Some(Self { prefix, bytes: fields.0 })
    }
}

/// All of a VALUE but the value: its header, and what else stands before it. Small enough to be kept in
/// place, beside a value that is not copied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ValueHead {
    bytes: [u8; HEADER_BYTES + MAX_PREFIX_BYTES],
    len: usize,
}

impl ValueHead {
    /// Returns what stands before a value of `value_bytes`.
    pub(crate) fn new(id: Id, prefix: Prefix, value_bytes: usize) -> Self {
        let mut bytes = [0; HEADER_BYTES + MAX_PREFIX_BYTES];
        let (mut flags, mut len) = (0, HEADER_BYTES);
        if let Some(qps) = prefix.minute_qps {
            bytes[len..][..8].copy_from_slice(&qps.to_le_bytes());
            (flags, len) = (flags | MINUTE_QPS, len + 8);
        }
        if let Some(times) = prefix.times {
            bytes[len..][..TIMES_BYTES].copy_from_slice(&times.encode());
            (flags, len) = (flags | TIMES, len + TIMES_BYTES);
        }
        let payload = len_u32(len - HEADER_BYTES + value_bytes);
        let header = Header { len: payload, kind: kind::VALUE, flags, aux: 0, id };
        bytes[..HEADER_BYTES].copy_from_slice(&header.encode());
        Self { bytes, len }
    }

    /// Returns what is sent before the value.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Appends a refusal to `out`.
pub(crate) fn encode_refusal(out: &mut Vec<u8>, id: Id, refusal: Refusal, text: &str) {
    let len = len_u32(text.len());
    let header = Header { len, kind: kind::REFUSAL, flags: 0, aux: refusal.code(), id };
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Front, front};
    use super::*;
    use crate::wire::outcome::Outcome;

    const ID: Id = Id { slot: 3, generation: 7 };

    fn decode(bytes: &[u8]) -> Result<FromOwner<'_>, FrameError> {
        match front(bytes, u32::MAX)? {
            Front::Whole(header, payload) => FromOwner::decode(header, payload),
            other => panic!("no frame: {other:?}"),
        }
    }

    #[test]
    fn a_value_has_its_golden_bytes() {
        let head = ValueHead::new(ID, Prefix::default(), 3);
        assert_eq!(head.as_bytes(), [3, 0, 0, 0, 16, 0, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0]);
        let frame = [head.as_bytes(), b"630"].concat();
        let value = Value { prefix: Prefix::default(), bytes: b"630" };
        assert_eq!(decode(&frame), Ok(FromOwner::Value { id: ID, value }));
    }

    #[test]
    fn a_value_may_tell_how_often_its_key_is_asked_for() {
        let prefix = Prefix { minute_qps: Some(1.5), times: None };
        let head = ValueHead::new(ID, prefix, 3);
        let golden =
            [11, 0, 0, 0, 16, 16, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f];
        assert_eq!(head.as_bytes(), golden);
        let frame = [head.as_bytes(), b"630"].concat();
        let value = Value { prefix, bytes: b"630" };
        assert_eq!(decode(&frame), Ok(FromOwner::Value { id: ID, value }));
    }

    #[test]
    fn a_value_may_tell_for_how_long_it_is_good() {
        let times = Some(Times::decode([0x60, 0xea, 0, 0, 0, 0, 0, 0, 0x30, 0x75, 0, 0]));
        let (minute, half) = (Duration::from_secs(60), Duration::from_secs(30));
        let entry = Entry::new("630").with_fresh_for(minute).with_stale_for(half);
        assert_eq!(Times::of(&entry), times);
        for (minute_qps, flags, before) in [(None, 0x20, 12), (Some(1.5), 0x30, 20)] {
            let prefix = Prefix { minute_qps, times };
            let head = ValueHead::new(ID, prefix, 3);
            assert_eq!(head.as_bytes()[..8], [before + 3, 0, 0, 0, 16, flags, 0, 0]);
            let end = [0x60, 0xea, 0, 0, 0, 0, 0, 0, 0x30, 0x75, 0, 0];
            assert!(head.as_bytes().ends_with(&end));
            let frame = [head.as_bytes(), b"630"].concat();
            let value = Value { prefix, bytes: b"630" };
            assert_eq!(decode(&frame), Ok(FromOwner::Value { id: ID, value }));
            assert_eq!(prefix.answer("630".into()).entry, entry);
        }
    }

    #[test]
    fn a_refusal_has_its_golden_bytes() {
        let mut out = Vec::new();
        encode_refusal(&mut out, ID, Refusal::Outcome(Outcome::LoadFailed), "no disk");
        assert_eq!(out, *b"\x07\0\0\0\x11\0\x02\0\x03\0\0\0\x07\0\0\0no disk");
        let refusal = Refusal::Outcome(Outcome::LoadFailed);
        assert_eq!(decode(&out), Ok(FromOwner::Refusal { id: ID, refusal, text: b"no disk" }));
    }

    #[test]
    fn flags_that_matter_make_a_value_unreadable_and_others_do_not() {
        let value = |flags| {
            let header = Header { flags, ..Header::bare(kind::VALUE, ID) };
            FromOwner::decode(header, &[1; MAX_PREFIX_BYTES])
        };
        for flags in [0x01, 0x0f, 0x3f] {
            assert!(matches!(value(flags), Ok(FromOwner::Value { .. })), "{flags:#x}");
        }
        for flags in [0x40, 0x80, 0xf0] {
            assert_eq!(value(flags), Ok(FromOwner::Unreadable(ID)), "{flags:#x}");
        }
    }

    #[test]
    fn a_value_too_short_for_its_prefix_is_malformed() {
        for (flags, bytes) in [(MINUTE_QPS, 8), (TIMES, 12), (MINUTE_QPS | TIMES, 20)] {
            let header = Header { flags, ..Header::bare(kind::VALUE, ID) };
            let payload = vec![0; bytes];
            assert!(FromOwner::decode(header, &payload).is_ok());
            let decoded = FromOwner::decode(header, &payload[1..]);
            assert!(matches!(decoded, Err(FrameError::Malformed { .. })));
        }
    }

    #[test]
    fn what_has_no_payload_may_have_one_later() {
        let bare = |kind| FromOwner::decode(Header::bare(kind, ID), b"of a later version");
        assert_eq!(bare(kind::LOADING), Ok(FromOwner::Loading(ID)));
        assert_eq!(bare(kind::PONG), Ok(FromOwner::Pong));
        assert_eq!(bare(kind::GOAWAY), Ok(FromOwner::GoAway));
        assert_eq!(bare(kind::GET), Ok(FromOwner::Unknown));
        assert_eq!(bare(255), Ok(FromOwner::Unknown));
    }
}
