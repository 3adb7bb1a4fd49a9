//! As much HTTP as those need who speak it badly on purpose.

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::truth::GROUP;

/// A head that is longer is not read further.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// The tag of a message's value.
const VALUE_TAG: u8 = 0x0a;

/// Returns the request for a key, which needs no escapes.
pub(super) fn request(key: &str) -> Vec<u8> {
    format!("GET /_groupcache/{GROUP}/{key} HTTP/1.1\r\nhost: soak\r\n\r\n").into_bytes()
}

/// Returns an answer with this status line, these further headers, and a `content-length`.
pub(super) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let len = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {len}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// The header that a value has.
pub(super) const PROTOBUF: &str = "content-type: application/x-protobuf\r\n";

/// Returns the answer that a good peer gives.
pub(super) fn right(value: &[u8]) -> Vec<u8> {
    answer("200 OK", PROTOBUF, &message(value))
}

/// Returns the message that holds a value.
pub(super) fn message(value: &[u8]) -> Vec<u8> {
    let mut message = vec![VALUE_TAG];
    let mut len = value.len();
    while len > 0x7f {
        message.push(len.to_le_bytes()[0] | 0x80);
        len >>= 7;
    }
    message.push(len.to_le_bytes()[0]);
    message.extend_from_slice(value);
    message
}

/// Returns the value that a message holds, if it holds that and nothing else.
fn value(message: &[u8]) -> Option<&[u8]> {
    let (mut rest, mut len, mut shift) = (message.strip_prefix(&[VALUE_TAG])?, 0usize, 0u32);
    loop {
        let (byte, after) = rest.split_first()?;
        len |= usize::from(byte & 0x7f).checked_shl(shift)?;
        (rest, shift) = (after, shift + 7);
        if byte & 0x80 == 0 {
            return (rest.len() == len).then_some(rest);
        }
    }
}

/// Returns the key that a request asks for, if it is the request of a good node.
pub(super) fn key(head: &str) -> Option<&str> {
    let line = head.strip_prefix("GET /_groupcache/")?.strip_prefix(GROUP)?.strip_prefix('/')?;
    let (key, _) = line.split_once(" HTTP/1.1\r\n")?;
    (!key.contains(['/', ' ', '%', '\r'])).then_some(key)
}

/// Returns whether a head is that of the request by which a node finds out whether a slow peer lives.
pub(super) fn is_ping(head: &str) -> bool {
    head.starts_with("GET /_groupcache/carrotcache.link/- HTTP/1.1\r\n")
}

/// What came over a connection and is not used up yet.
#[derive(Default)]
pub(super) struct Inbox(Vec<u8>);

impl Inbox {
    /// Returns the next head, the empty line that ends it included; `None` if nothing comes any more.
    ///
    /// # Errors
    ///
    /// When the connection breaks, ends within a head, or the head does not end.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again at any time.
    pub(super) async fn head(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
    ) -> Result<Option<String>> {
        loop {
            if let Some(at) = self.0.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head: Vec<_> = self.0.drain(..at + 4).collect();
                return Ok(Some(String::from_utf8(head)?));
            }
            ensure!(self.0.len() < MAX_HEAD_BYTES, "a head does not end");
            if from.read_buf(&mut self.0).await? == 0 {
                ensure!(self.0.is_empty(), "the connection ended within a head");
                return Ok(None);
            }
        }
    }

    /// Returns the value that the next answer brings.
    ///
    /// # Errors
    ///
    /// When it brings none, or none comes.
    ///
    /// # Cancel safety
    ///
    /// Once dropped, half an answer may be used up: the connection is good for nothing more.
    pub(super) async fn value(&mut self, from: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>> {
        let head = self.head(from).await?.context("the connection ended without an answer")?;
        let status = head.lines().next().unwrap_or_default();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let len: usize = length.context("an answer has no length")?.parse()?;
        while self.0.len() < len {
            if from.read_buf(&mut self.0).await? == 0 {
                bail!("the connection ended within an answer");
            }
        }
        let body: Vec<_> = self.0.drain(..len).collect();
        ensure!(status == "HTTP/1.1 200 OK", "{status}: {}", String::from_utf8_lossy(&body).trim());
        Ok(value(&body).context("the answer is no message")?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        for len in [0, 1, 127, 128, 20_000] {
            let bytes = vec![b'x'; len];
            assert_eq!(value(&message(&bytes)), Some(&*bytes));
        }
        assert_eq!(message(&[b'x'; 300])[..3], [0x0a, 0xac, 0x02]);
        for broken in [&b""[..], b"\x0a", b"\x0a\x02x", b"\x0a\x01xx", b"\x12\x01x", &[0x0a; 40]] {
            assert_eq!(value(broken), None);
        }
    }

    #[test]
    fn the_key_of_a_good_request_is_found_and_of_no_other() {
        let head = |bytes| String::from_utf8(bytes).unwrap();
        assert_eq!(key(&head(request("small-1"))), Some("small-1"));
        assert_eq!(key("GET /_groupcache/other/small-1 HTTP/1.1\r\n\r\n"), None);
        assert_eq!(key("POST /_groupcache/soak/small-1 HTTP/1.1\r\n\r\n"), None);
        assert_eq!(key("GET /_groupcache/soak/a/b HTTP/1.1\r\n\r\n"), None);
    }

    #[tokio::test]
    async fn answers_that_came_together_are_read_one_after_the_other() {
        let bytes =
            [right(b"first"), right(b"second"), answer("404 Not Found", "", b"no\n")].concat();
        let (mut inbox, mut from) = (Inbox::default(), &bytes[..]);
        assert_eq!(inbox.value(&mut from).await.unwrap(), b"first");
        assert_eq!(inbox.value(&mut from).await.unwrap(), b"second");
        let error = inbox.value(&mut from).await.unwrap_err().to_string();
        assert_eq!(error, "HTTP/1.1 404 Not Found: no");
        assert!(inbox.value(&mut from).await.is_err());
    }

    #[tokio::test]
    async fn half_a_head_and_a_head_without_end_are_errors() {
        assert!(Inbox::default().head(&mut &b"GET /"[..]).await.is_err());
        assert!(Inbox::default().head(&mut &[b'x'; 2 * MAX_HEAD_BYTES][..]).await.is_err());
        assert_eq!(Inbox::default().head(&mut &b""[..]).await.unwrap(), None);
    }
}
