//! What a peer replies, read to its end.

use bytes::Bytes;
use carrotcache_peer::{Answer, PeerErrorKind};
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::{Body, Incoming};

use crate::wire::head::{self, Said};
use crate::wire::message;
use crate::wire::outcome::one_line;

/// What came back for a request.
pub(crate) enum Reply {
    /// The body of a value.
    Value(ReplyBody),
    /// There is no such key.
    Absent,
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
}

/// Why no reply came.
pub(crate) enum ExchangeError {
    /// The connection was closed before the head of the reply was complete.
    Unanswered(hyper::Error),
    /// The connection was closed before the body of the reply was complete.
    Truncated(hyper::Error),
    /// The reply is no HTTP.
    Malformed(hyper::Error),
    /// The body is larger than it may be.
    TooLarge,
}

/// How much is read of a reply that is not a value.
const MAX_TEXT_BYTES: usize = 4 << 10;
/// How much memory is set aside on the word of a `content-length` alone.
const MAX_TRUSTED_BYTES: u64 = 1 << 20;

/// Reads a response to its end, or as far as it is of interest.
///
/// # Cancel safety
///
/// What was read is lost, and the connection is not reusable.
pub(crate) async fn read(
    response: Response<Incoming>,
    max_bytes: u64,
) -> Result<Reply, ExchangeError> {
    let (head, body) = response.into_parts();
    Ok(match head::read(head.status, &head.headers) {
        Said::Value => Reply::Value(read_value(body, max_bytes).await?),
        Said::Foreign(why) => Reply::Foreign(why),
        // The text is read all the same, so that the connection can be used again.
        Said::Absent => {
            read_text(body).await;
            Reply::Absent
        }
        Said::Refused(kind) => {
            let text = read_text(body).await;
            let told = if text.is_empty() { format!("status {}", head.status) } else { text };
            Reply::Refused(kind, told)
        }
    })
}

/// Reads the body of a value, of at most `max_bytes`.
///
/// A body that came in one piece is passed on as it is. One in many is put together in a buffer of
/// its own, which grows with what has really come.
///
/// # Cancel safety
///
/// What was read is lost, and the connection is not reusable.
async fn read_value(mut body: Incoming, max_bytes: u64) -> Result<ReplyBody, ExchangeError> {
    let announced = body.size_hint().lower();
    if announced > max_bytes {
        return Err(ExchangeError::TooLarge);
    }
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        // Trailers mean nothing here.
        let Ok(data) = frame.map_err(ExchangeError::Truncated)?.into_data() else { continue };
        if data.len() as u64 == announced {
            return Ok(ReplyBody { bytes: data, is_borrowed: true });
        }
        if (all.len() + data.len()) as u64 > max_bytes {
            return Err(ExchangeError::TooLarge);
        }
        if all.is_empty() {
            all.reserve_exact(announced.min(MAX_TRUSTED_BYTES) as usize);
        }
        all.extend_from_slice(&data);
    }
    Ok(ReplyBody { bytes: all.into_boxed_slice().into(), is_borrowed: false })
}

/// Reads the beginning of a text, as one short line. The head has said all that matters.
///
/// # Cancel safety
///
/// What was read is lost, and the connection is not reusable.
async fn read_text(mut body: Incoming) -> String {
    let mut text = Vec::new();
    while text.len() < MAX_TEXT_BYTES
        && let Some(Ok(frame)) = body.frame().await
    {
        if let Ok(data) = frame.into_data() {
            text.extend_from_slice(&data[..data.len().min(MAX_TEXT_BYTES - text.len())]);
        }
    }
    one_line(&String::from_utf8_lossy(&text))
}

impl ReplyBody {
    /// Returns the answer that the body is, free of the buffer that it was read into.
    pub(crate) fn into_answer(self) -> Result<Answer, prost::DecodeError> {
        let mut answer = message::decode(self.bytes)?;
        if self.is_borrowed {
            answer.entry = answer.entry.compact();
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_value_does_not_keep_the_buffer_it_was_read_into() {
        let mut buffer = vec![0; 64 << 10];
        buffer[..5].copy_from_slice(b"\x0a\x03Tom");
        let buffer = Bytes::from(buffer);
        let body = ReplyBody { bytes: buffer.slice(..5), is_borrowed: true };
        let answer = body.into_answer().expect("a message");
        let value = answer.entry.into_value().expect("a value");
        assert_eq!(value, "Tom");
        assert!(!buffer.as_ptr_range().contains(&value.as_ptr()));
        assert!(buffer.is_unique());
    }
}
