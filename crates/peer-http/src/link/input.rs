//! Bytes that have been read and not yet taken.
//!
//! One buffer for each side of a link. A frame that is all there is looked at where it lies; one
//! that is not is read on behind what there is of it.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncReadExt};

/// How much is read at once, where it goes into the common buffer.
pub(crate) const WINDOW_BYTES: usize = 64 << 10;

/// With less room than this, a read is not worth its system call.
const LEAST_ROOM_BYTES: usize = 16 << 10;

/// A buffer that has grown beyond this is given back when it is empty.
pub(crate) const KEPT_BYTES: usize = 256 << 10;

/// A buffer that is filled at its end and taken from at its front.
///
/// It grows as bytes arrive, never by what a header promises, and gives back what it does not need.
/// A peer that announces a megabyte and sends a byte costs what every peer costs, [`WINDOW_BYTES`].
pub(crate) struct Input {
    buffer: Vec<u8>,
    /// How much of it has been taken.
    taken: usize,
}

impl Input {
    /// Returns a buffer that begins with what was read before there was a link.
    pub(crate) fn new(early: &[u8]) -> Self {
        let mut buffer = Vec::with_capacity(WINDOW_BYTES);
        buffer.extend_from_slice(early);
        Self { buffer, taken: 0 }
    }

    /// Returns what has been read and not taken.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    /// Takes `count` bytes off the front, or as many as there are.
    pub(crate) fn take(&mut self, count: usize) {
        self.taken = self.buffer.len().min(self.taken.saturating_add(count));
    }

    /// Reads once, at most `max` bytes. Returns how many came; zero at the end of the stream.
    ///
    /// There is always room for some, so that zero means nothing else.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut (impl AsyncRead + Unpin),
        max: usize,
    ) -> Poll<io::Result<usize>> {
        self.make_room();
        let room = self.buffer.capacity() - self.buffer.len();
        poll_read_into(cx, io, &mut self.buffer, max.min(room))
    }

    /// Makes some room at the end, moving and growing as little as can be.
    fn make_room(&mut self) {
        if self.taken == self.buffer.len() {
            self.buffer.clear();
            self.taken = 0;
            // What a long frame needed is not kept for the short ones that follow.
            if self.buffer.capacity() > KEPT_BYTES {
                self.buffer.shrink_to(WINDOW_BYTES);
            }
        }
        if self.buffer.capacity() - self.buffer.len() >= LEAST_ROOM_BYTES {
            return;
        }
        self.buffer.drain(..self.taken);
        self.taken = 0;
        if self.buffer.capacity() - self.buffer.len() < LEAST_ROOM_BYTES {
            self.buffer.reserve(WINDOW_BYTES);
        }
    }
}

/// Reads once to the end of `buffer`, at most `max` bytes, within its capacity unless that is used
/// up. Returns how many came; zero at the end of the stream.
pub(crate) fn poll_read_into(
    cx: &mut Context<'_>,
    io: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    max: usize,
) -> Poll<io::Result<usize>> {
    let mut room = buffer.limit(max);
    // Reads are cancel safe, so a future that is polled once and dropped has lost nothing. It is what
    // reads into a vector's spare room without unsafe code.
    pin!(io.read_buf(&mut room)).poll(cx)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn bytes_are_taken_in_order_whatever_the_reads_were() {
        let sent: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        let mut stream = &sent[..];
        let mut input = Input::new(b"early");
        let mut got = Vec::new();
        for step in 1.. {
            let read = poll_fn(|cx| input.poll_read(cx, &mut stream, step * 37)).await.unwrap();
            let take = input.bytes().len().min(step * 31);
            got.extend_from_slice(&input.bytes()[..take]);
            input.take(take);
            if read == 0 && take == 0 {
                break;
            }
        }
        assert_eq!(got, [b"early", &sent[..]].concat());
    }

    #[tokio::test]
    async fn room_for_a_long_frame_is_given_back() {
        let mut input = Input::new(&vec![1; 1 << 20]);
        input.take(1 << 20);
        let read = poll_fn(|cx| input.poll_read(cx, &mut &b"next"[..], WINDOW_BYTES)).await;
        assert_eq!(read.unwrap(), 4);
        assert_eq!(input.bytes(), b"next");
        assert!(input.buffer.capacity() <= KEPT_BYTES);
    }
}
