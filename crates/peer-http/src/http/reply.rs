//! What a peer replies, read to its end.

use std::error::Error as _;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use carrotcache_peer::{Answer, BoxError, PeerErrorKind};
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::{Body, Incoming};
use tokio::select;
use tokio::task::yield_now;
use tokio::time::timeout_at;

use crate::http::meter::{Meter, SpeaksTls};
use crate::http::patience::Patience;
use crate::http::room::{Claim, NoRoom, Room};
use crate::wire::about::About;
use crate::wire::head::{self, Said};
use crate::wire::message::{self, MessageError};
use crate::wire::outcome::one_line;

/// What came back for a request.
pub(crate) enum Reply {
    /// The peer agrees to a link, over which the answer comes.
    Link,
    /// The body of a value, and what is told beside it.
    Value(ReplyBody, About),
    /// There is no such key.
    Absent(About),
    /// Why there is no value, and what the peer tells of it.
    Refused(PeerErrorKind, String),
    /// It does not come from a node, and why.
    Foreign(String),
}

/// The body of a reply.
pub(crate) struct ReplyBody {
    bytes: Bytes,
    /// Whether `bytes` are a slice of the connection's buffer, which may be far larger.
    is_borrowed: bool,
    /// Given back when the answer is on its way to the caller.
    _claim: Claim,
}

/// Why no reply came.
pub(crate) enum ExchangeError {
    /// The connection ended before the head of the reply was complete.
    Unanswered(BoxError),
    /// The connection ended before the body of the reply was complete.
    Truncated(BoxError),
    /// The reply is no HTTP, or what is around its body is out of proportion.
    Malformed(BoxError),
    /// The body is larger than it may be.
    TooLarge,
    /// The answers that are under way take all the room there is.
    NoRoom,
}

/// Reads replies, within these bounds.
pub(crate) struct Reader<'a> {
    /// The largest body of a value.
    pub(crate) max_bytes: u64,
    /// The room for all answers that are under way.
    pub(crate) room: &'a Arc<Room>,
    /// How much of the time that is left may be spent waiting for room.
    pub(crate) patience: Patience,
}

/// How much is read of a reply that is not a value.
const MAX_TEXT_BYTES: usize = 4 << 10;
/// How long the text of such a reply is waited for, in percent of the time that is left. What it is
/// about is known by then.
const TEXT_PATIENCE_PERCENT: u8 = 25;
/// How much memory is set aside on the word of a `content-length` alone.
const MAX_TRUSTED_BYTES: usize = 64 << 10;
/// The smallest and the largest part in which a body is read, and claimed before.
const PART_BYTES: RangeInclusive<u64> = 64 << 10..=256 << 10;
/// How much more than the body, and as much again, may be read of a reply: for its head, what is
/// buffered, and what stands between chunks. Without a bound chunks of a byte each would keep a
/// worker busy for seconds.
const MAX_FRAMING_BYTES: u64 = 256 << 10;

impl Reader<'_> {
    /// Reads a response to its end, or as far as it is of interest.
    ///
    /// # Cancel safety
    ///
    /// What was read is lost, and the connection is not reusable.
    pub(crate) async fn read(
        &self,
        response: Response<Incoming>,
        meter: &Meter,
    ) -> Result<Reply, ExchangeError> {
        let (head, body) = response.into_parts();
        Ok(match head::read(head.status, &head.headers) {
            Said::Value => {
                let body = self.read_value(body, meter).await?;
                Reply::Value(body, About::read(&head.headers))
            }
            Said::Foreign(why) => Reply::Foreign(why),
            // The text is read all the same, so that the connection can be used again.
            Said::Absent => {
                self.read_text(body, meter).await;
                Reply::Absent(About::read(&head.headers))
            }
            Said::Refused(kind) => {
                let text = self.read_text(body, meter).await;
                let told = if text.is_empty() { format!("status {}", head.status) } else { text };
                Reply::Refused(kind, told)
            }
        })
    }

    /// Reads the body of a value.
    ///
    /// A body that came in one piece is passed on as it is. One in many is put together in a buffer
    /// of its own, which grows with what has really come.
    ///
    /// # Cancel safety
    ///
    /// What was read is lost, and the connection is not reusable.
    async fn read_value(
        &self,
        mut body: Incoming,
        meter: &Meter,
    ) -> Result<ReplyBody, ExchangeError> {
        let announced = body.size_hint().exact();
        if announced.is_some_and(|announced| announced > self.max_bytes) {
            return Err(ExchangeError::TooLarge);
        }
        let mut all = Vec::new();
        let mut claim = self.room.claim();
        loop {
            let frame = select! {
                biased;
                frame = body.frame() => frame,
                () = meter.exhausted() => {
                    self.allow_part(meter, &mut claim, all.len() as u64, announced).await?;
                    continue;
                }
            };
            let Some(frame) = frame else { break };
            // Trailers mean nothing here.
            let Ok(data) = frame.map_err(ExchangeError::of_body)?.into_data() else { continue };
            if all.is_empty() && announced == Some(data.len() as u64) {
                return Ok(ReplyBody { bytes: data, is_borrowed: true, _claim: claim });
            }
            if (all.len() + data.len()) as u64 > self.max_bytes {
                return Err(ExchangeError::TooLarge);
            }
            make_room(&mut all, data.len(), announced);
            all.extend_from_slice(&data);
        }
        if announced.is_some_and(|announced| announced != all.len() as u64) {
            return Err(ExchangeError::Truncated("the body is shorter than announced".into()));
        }
        Ok(ReplyBody { bytes: all.into_boxed_slice().into(), is_borrowed: false, _claim: claim })
    }

    /// Lets the next part of a body be read, once there is room for it.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. Nothing more is read then.
    async fn allow_part(
        &self,
        meter: &Meter,
        claim: &mut Claim,
        body_bytes: u64,
        announced: Option<u64>,
    ) -> Result<(), ExchangeError> {
        if meter.read() > 2 * body_bytes + MAX_FRAMING_BYTES {
            let error = "there is more around the chunks of the body than in them";
            return Err(ExchangeError::Malformed(error.into()));
        }
        // As much again as has come: who sends little gets little, whatever they announce.
        let part = body_bytes.clamp(*PART_BYTES.start(), *PART_BYTES.end());
        let rest = announced.map_or(part, |announced| announced - body_bytes);
        let part = part.min(rest).max(1);
        claim.grow(part, self.patience.until()).await.map_err(|NoRoom| ExchangeError::NoRoom)?;
        if meter.read() >= *PART_BYTES.end() {
            // A peer that sends faster than it is read must not have the worker to itself.
            yield_now().await;
        }
        meter.allow(part);
        Ok(())
    }

    /// Reads the beginning of a text, as one short line. The head has said all that matters.
    ///
    /// # Cancel safety
    ///
    /// What was read is lost, and the connection is not reusable.
    async fn read_text(&self, mut body: Incoming, meter: &Meter) -> String {
        let mut text = Vec::new();
        let read = async {
            while text.len() < MAX_TEXT_BYTES {
                let frame = select! {
                    biased;
                    frame = body.frame() => frame,
                    () = meter.exhausted() => return,
                };
                let Some(Ok(frame)) = frame else { return };
                if let Ok(data) = frame.into_data() {
                    text.extend_from_slice(&data[..data.len().min(MAX_TEXT_BYTES - text.len())]);
                }
            }
        };
        let until = self.patience.with_percent(TEXT_PATIENCE_PERCENT).until();
        // Whatever has come by then is told.
        drop(timeout_at(until, read).await);
        one_line(&String::from_utf8_lossy(&text))
    }
}

/// Makes room in `all` for so many bytes more: twice what there is, and no more than announced.
fn make_room(all: &mut Vec<u8>, bytes: usize, announced: Option<u64>) {
    if all.capacity() - all.len() >= bytes {
        return;
    }
    let most = announced.and_then(|announced| usize::try_from(announced).ok());
    let wanted = (2 * all.len()).max(MAX_TRUSTED_BYTES);
    let wanted = most.map_or(wanted, |most| wanted.min(most)).max(all.len() + bytes);
    all.reserve_exact(wanted - all.len());
}

impl ExchangeError {
    /// Returns the error for a reply whose head does not come to its end.
    pub(crate) fn endless_head() -> Self {
        Self::Malformed("the head of the answer does not end".into())
    }

    /// Returns the error for a connection that failed before the head of the reply was complete.
    pub(crate) fn of_head(error: hyper::Error) -> Self {
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        let cause = cause.and_then(io::Error::get_ref);
        if error.is_parse() || cause.is_some_and(|cause| cause.is::<SpeaksTls>()) {
            Self::Malformed(error.into())
        } else {
            Self::Unanswered(error.into())
        }
    }

    /// Returns the error for a connection that failed before the body of the reply was complete.
    fn of_body(error: hyper::Error) -> Self {
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        match cause.map(io::Error::kind) {
            Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => {
                Self::Malformed(error.into())
            }
            _ => Self::Truncated(error.into()),
        }
    }
}

/// What a body may have beside its value and be kept as it is.
const MAX_SPARE_BYTES: usize = 64;

impl ReplyBody {
    /// Returns the answer that the body is, free of the buffer that it was read into.
    pub(crate) fn into_answer(self) -> Result<Answer, MessageError> {
        let body_bytes = self.bytes.len();
        let mut answer = message::decode(self.bytes)?;
        // A message may consist of fields that mean nothing here, and a value of a few bytes.
        let value_bytes = answer.entry.value().map_or(0, |value| value.len());
        if self.is_borrowed || body_bytes > 2 * value_bytes + MAX_SPARE_BYTES {
            answer.entry = answer.entry.compact();
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_value_does_not_keep_what_else_its_message_held() {
        let padding = vec![0; 1 << 20];
        // Field 15, of as many bytes as there are.
        let message = [&b"\x0a\x03Tom\x7a\x80\x80\x40"[..], &padding].concat();
        let bytes = Bytes::from(message);
        let claim = Arc::new(Room::new(1, 1)).claim();
        let body = ReplyBody { bytes: bytes.clone(), is_borrowed: false, _claim: claim };
        let answer = body.into_answer().expect("a message");
        let value = answer.entry.into_value().expect("a value");
        assert_eq!(value, "Tom");
        assert!(bytes.is_unique(), "the value holds the message");
    }

    #[test]
    fn small_value_does_not_keep_the_buffer_it_was_read_into() {
        let mut buffer = vec![0; 64 << 10];
        buffer[..5].copy_from_slice(b"\x0a\x03Tom");
        let buffer = Bytes::from(buffer);
        let claim = Arc::new(Room::new(1, 1)).claim();
        let body = ReplyBody { bytes: buffer.slice(..5), is_borrowed: true, _claim: claim };
        let answer = body.into_answer().expect("a message");
        let value = answer.entry.into_value().expect("a value");
        assert_eq!(value, "Tom");
        assert!(!buffer.as_ptr_range().contains(&value.as_ptr()));
        assert!(buffer.is_unique());
    }
}
