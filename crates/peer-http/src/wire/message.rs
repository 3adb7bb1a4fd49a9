//! An owner's value as a message.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes};
use carrotcache_byteview::ByteView;
use carrotcache_peer::Answer;
use hyper::body::{Body, Frame, SizeHint};
use prost::Message as _;
use thiserror::Error;

use crate::http::unsent::Room;
use crate::wire::generated::GetResponse;
use crate::wire::outcome::one_line;

/// Returns the answer whose message is `body`.
///
/// The value is a slice of `body`, so whoever keeps it keeps all of `body`. Fields that a later
/// version may add are passed over, as many as one could have; a message without a value has an empty
/// one.
pub(crate) fn decode(body: Bytes) -> Result<Answer, MessageError> {
    check_fields(&body)?;
    let GetResponse { value, minute_qps } = GetResponse::decode(body)?;
    let mut answer = Answer::new(value.unwrap_or_default());
    answer.minute_qps = minute_qps;
    Ok(answer)
}

/// Why a body is no message.
#[derive(Debug, Error)]
pub(crate) enum MessageError {
    #[error("a message of more than {MAX_FIELDS} fields")]
    TooManyFields,
    #[error("a field of a kind that no node sends")]
    Group,
    #[error("the message cannot be decoded")]
    Decode(#[from] prost::DecodeError),
}

/// The longest number that a message can hold, in bytes: 64 bits, seven of them in each.
const MAX_VARINT_BYTES: usize = 10;

/// How many fields a message may have: nodes send one or two.
const MAX_FIELDS: usize = 64;

/// Refuses a message that takes long to decode for its size.
///
/// A body of 64 MiB can be thirty million fields, and a group of fields as many again. They would be
/// decoded within one poll, which keeps a worker busy for a good part of a second.
fn check_fields(mut body: &[u8]) -> Result<(), MessageError> {
    for _ in 0..MAX_FIELDS {
        if body.is_empty() {
            return Ok(());
        }
        // A length is a varint as any other.
        let tag = prost::decode_length_delimiter(&mut body)?;
        let bytes = match tag & 7 {
            // All bytes but the last have the high bit set. There are ten at most.
            0 => body.iter().take(MAX_VARINT_BYTES).take_while(|&&byte| byte >= 0x80).count() + 1,
            1 => 8,
            2 => prost::decode_length_delimiter(&mut body)?,
            5 => 4,
            _ => return Err(MessageError::Group),
        };
        // One that is too long is for the decoder to find.
        body = body.get(bytes..).unwrap_or_default();
    }
    if body.is_empty() { Ok(()) } else { Err(MessageError::TooManyFields) }
}

/// The body of a response: a `GetResponse` or a line of text.
///
/// It knows its length, so that it is sent with a `content-length` and never in chunks. The message
/// is written by hand, because an encoder would copy the value into its buffer:
///
/// ```text
/// 0a  length     value                 11           little-endian double
/// tag (varint)                         tag
/// ╰─ head ─────╯ ╰─ the cache's own ─╯ ╰─ tail, if there is a rate ─────╯
/// ```
#[derive(Debug)]
pub struct AnswerBody {
    /// What is still to be sent, in order. A large value is a part of its own, so that it goes
    /// from the cache to the socket without being copied.
    parts: [Bytes; 3],
}

/// The tag of field 1, length-delimited. A tag is the number of the field and its wire type.
const VALUE_TAG: u8 = 1 << 3 | 2;
/// The tag of field 2, 64 bits.
const MINUTE_QPS_TAG: u8 = 2 << 3 | 1;
/// A tag and the longest length.
const MAX_VALUE_HEAD_BYTES: usize = 11;
/// A tag and a double.
const MAX_TAIL_BYTES: usize = 9;
/// Up to here a copy into one buffer is cheaper than another part to hand to the kernel.
const COPIED_BYTES: usize = 4 << 10;

impl AnswerBody {
    /// Returns the body of an answer with this value. Only a small value is copied.
    pub(crate) fn of_value(value: ByteView, minute_qps: Option<f64>) -> Self {
        let is_copied = value.len() <= COPIED_BYTES;
        let copied_bytes = if is_copied { value.len() } else { 0 };
        let mut head = Vec::with_capacity(MAX_VALUE_HEAD_BYTES + copied_bytes + MAX_TAIL_BYTES);
        put_value_head(&mut head, value.len());
        if is_copied {
            head.extend_from_slice(&value);
            put_minute_qps(&mut head, minute_qps);
            return Self { parts: [head.into(), Bytes::new(), Bytes::new()] };
        }
        let mut tail = Vec::new();
        put_minute_qps(&mut tail, minute_qps);
        Self { parts: [head.into(), value.into_bytes(), tail.into()] }
    }

    /// Returns how many bytes the body keeps in memory that are not its own: those of a value that
    /// is too large to be copied.
    pub(crate) fn pinned_bytes(&self) -> usize {
        self.parts[1].len()
    }

    /// Keeps `room` until the value is sent or dropped.
    pub(crate) fn hold(&mut self, room: Room) {
        self.parts[1] = room.around(std::mem::take(&mut self.parts[1]));
    }

    /// Returns a body of nothing.
    pub(crate) fn empty() -> Self {
        Self { parts: [Bytes::new(), Bytes::new(), Bytes::new()] }
    }

    /// Returns a body that says `line`, and nothing else.
    pub(crate) fn of_line(line: &str) -> Self {
        let line = one_line(line) + "\n";
        Self { parts: [line.into(), Bytes::new(), Bytes::new()] }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.parts.iter_mut().find(|part| !part.is_empty()).map(std::mem::take);
        Poll::Ready(next.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.iter().all(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.parts.iter().map(|part| part.len() as u64).sum())
    }
}

/// Appends all of field 1 that stands before the value: the tag and the length.
fn put_value_head(out: &mut Vec<u8>, len: usize) {
    out.push(VALUE_TAG);
    prost::encode_length_delimiter(len, out).expect("a vector grows as it is written to");
}

/// Appends field 2, if it is set.
fn put_minute_qps(out: &mut Vec<u8>, minute_qps: Option<f64>) {
    if let Some(minute_qps) = minute_qps {
        out.push(MINUTE_QPS_TAG);
        out.put_f64_le(minute_qps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(body: &[u8]) -> Result<Answer, MessageError> {
        super::decode(Bytes::copy_from_slice(body))
    }

    #[test]
    fn fields_of_every_kind_are_passed_over() {
        // A varint, 64 bits, bytes and 32 bits, the value in their midst.
        let body = b"\x18\xff\x01\x21\0\0\0\0\0\0\0\0\x0a\x03Tom\x2a\x02hi\x35\0\0\0\0";
        assert_eq!(decode(body).expect("a message"), Answer::new("Tom"));
        assert_eq!(decode(b"").expect("a message"), Answer::new(""));
    }

    #[test]
    fn message_of_many_fields_is_refused() {
        let body = [b"\x18\x01".repeat(MAX_FIELDS - 1), b"\x0a\x03Tom".to_vec()].concat();
        assert_eq!(decode(&body).expect("a message"), Answer::new("Tom"));
        let body = b"\x18\x01".repeat(MAX_FIELDS + 1);
        assert!(matches!(decode(&body), Err(MessageError::TooManyFields)));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        // A group and its end, kinds that do not exist, and what is cut short.
        for body in [&b"\x1b\x1c"[..], b"\x1c", b"\x1e", b"\x1f"] {
            assert!(matches!(decode(body), Err(MessageError::Group)), "{body:?}");
        }
        for body in [&b"\x0a"[..], b"\x0a\x04Tom", b"\x11\0", b"\x80", &[0xff; 20], b"\x00\x00"] {
            assert!(matches!(decode(body), Err(MessageError::Decode(_))), "{body:?}");
        }
    }
}
