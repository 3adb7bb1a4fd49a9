//! What the owner sends: answers, and what is said around them.
//!
//! ```text
//!  VALUE    flag 0x10: the payload begins with minute_qps (f64)   payload: [minute_qps │] value
//!  REFUSAL  aux: the reason                                       payload: one line of text
//!  LOADING, PONG, GOAWAY                                          payload: ignored
//! ```

use super::hello::Hello;
use super::refusal::Refusal;
use super::{ESSENTIAL_FLAGS, FrameError, HEADER_BYTES, Header, Id, kind, len_u32};

/// The flag of a VALUE that begins with how often the key is asked for.
pub(crate) const MINUTE_QPS: u8 = 0x10;

/// The most that stands before the bytes of a value, in its payload.
pub(crate) const MAX_PREFIX_BYTES: usize = 8;

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
    pub(crate) minute_qps: Option<f64>,
    pub(crate) bytes: &'a [u8],
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
    header.flags & ESSENTIAL_FLAGS & !MINUTE_QPS == 0
}

impl<'a> Value<'a> {
    /// Returns the value whose payload begins with `payload`; `None` if that is not enough to tell
    /// where the value's own bytes begin.
    pub(crate) fn decode(header: Header, payload: &'a [u8]) -> Option<Self> {
        if header.flags & MINUTE_QPS == 0 {
            return Some(Self { minute_qps: None, bytes: payload });
        }
        let (minute_qps, bytes) = payload.split_first_chunk()?;
        Some(Self { minute_qps: Some(f64::from_le_bytes(*minute_qps)), bytes })
    }
}

/// All of a VALUE but the value: its header, and its rate if it has one. Small enough to be kept in
/// place, beside a value that is not copied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ValueHead {
    bytes: [u8; HEADER_BYTES + MAX_PREFIX_BYTES],
    len: usize,
}

impl ValueHead {
    /// Returns what stands before a value of `value_bytes`.
    pub(crate) fn new(id: Id, minute_qps: Option<f64>, value_bytes: usize) -> Self {
        let mut bytes = [0; HEADER_BYTES + MAX_PREFIX_BYTES];
        let (flags, len) = match minute_qps {
            None => (0, HEADER_BYTES),
            Some(qps) => {
                bytes[HEADER_BYTES..].copy_from_slice(&qps.to_le_bytes());
                (MINUTE_QPS, HEADER_BYTES + MAX_PREFIX_BYTES)
            }
        };
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
        let head = ValueHead::new(ID, None, 3);
        assert_eq!(head.as_bytes(), [3, 0, 0, 0, 16, 0, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0]);
        let frame = [head.as_bytes(), b"630"].concat();
        let value = Value { minute_qps: None, bytes: b"630" };
        assert_eq!(decode(&frame), Ok(FromOwner::Value { id: ID, value }));
    }

    #[test]
    fn a_value_may_tell_how_often_its_key_is_asked_for() {
        let head = ValueHead::new(ID, Some(1.5), 3);
        let golden =
            [11, 0, 0, 0, 16, 16, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f];
        assert_eq!(head.as_bytes(), golden);
        let frame = [head.as_bytes(), b"630"].concat();
        let value = Value { minute_qps: Some(1.5), bytes: b"630" };
        assert_eq!(decode(&frame), Ok(FromOwner::Value { id: ID, value }));
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
            FromOwner::decode(header, b"12345678")
        };
        for flags in [0x01, 0x0f] {
            assert!(matches!(value(flags), Ok(FromOwner::Value { .. })), "{flags:#x}");
        }
        for flags in [0x20, 0x80, 0xf0] {
            assert_eq!(value(flags), Ok(FromOwner::Unreadable(ID)), "{flags:#x}");
        }
    }

    #[test]
    fn a_value_too_short_for_its_prefix_is_malformed() {
        let header = Header { flags: MINUTE_QPS, ..Header::bare(kind::VALUE, ID) };
        let decoded = FromOwner::decode(header, b"1234567");
        assert!(matches!(decoded, Err(FrameError::Malformed { .. })));
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
