//! What the owner has to write, and in which order.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use carrotcache_byteview::ByteView;
use carrotcache_peer::Answer;
use tokio::io::AsyncWrite;

use crate::link::frame::refusal::Refusal;
use crate::link::frame::reply::{Prefix, ValueHead, encode_refusal};
use crate::link::frame::{Header, Id};
use crate::link::input::KEPT_BYTES;

/// Values up to this long are copied, longer ones are written from where they are.
const COPIED_BYTES: usize = 4 << 10;

/// With less than this that is written, the rest is not moved to the front.
const COMPACTED_BYTES: usize = 64 << 10;

/// How many parts one write takes.
const MAX_PARTS: usize = 32;

/// Frames to be written: the small ones first, in order, then the large ones, in order.
///
/// A frame that has been begun is finished before anything else. So a small answer waits for one
/// large one at most. The large ones are not overtaken for ever, since the queue is bounded: when
/// too much is in it, no more requests are read.
///
/// A large value is not copied: it is written from where the cache has it, together with whatever
/// else is queued, and kept alive by the queue until it has been. A small one is copied, which
/// costs less than a part of a write.
pub(super) struct Out {
    /// Whole frames, one after the other.
    small: Vec<u8>,
    small_written: usize,
    large: VecDeque<Large>,
    /// How much of the first large frame has been written.
    large_written: usize,
    /// How much is to be written, in all.
    queued: usize,
}

/// A value that is written from where it is.
struct Large {
    id: Id,
    head: ValueHead,
    value: ByteView,
}

impl Large {
    /// Returns the length of the whole frame.
    fn len(&self) -> usize {
        self.head.as_bytes().len() + self.value.len()
    }

    /// Returns the parts of the frame without its first `written` bytes.
    fn parts(&self, written: usize) -> [&[u8]; 2] {
        let head = self.head.as_bytes();
        let in_head = written.min(head.len());
        [&head[in_head..], &self.value[written - in_head..]]
    }
}

impl Out {
    /// Returns an empty queue, which has no memory yet.
    pub(super) fn new() -> Self {
        let (small, large) = (Vec::new(), VecDeque::new());
        Self { small, small_written: 0, large, large_written: 0, queued: 0 }
    }

    /// Returns how many bytes are to be written.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Queues what `write` appends to the small frames.
    pub(super) fn small(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.small.len();
        write(&mut self.small);
        self.queued += self.small.len() - before;
    }

    /// Queues a frame without a payload.
    pub(super) fn bare(&mut self, kind: u8, id: Id) {
        self.small(|out| out.extend_from_slice(&Header::bare(kind, id).encode()));
    }

    /// Queues a refusal.
    pub(super) fn refusal(&mut self, id: Id, refusal: Refusal, text: &str) {
        self.small(|out| encode_refusal(out, id, refusal, text));
    }

    /// Queues an answer, where values are up to `max_value_bytes` long. A longer one is refused,
    /// with a reason that means: fetch it over HTTP, where it keeps nobody else waiting.
    pub(super) fn answer(&mut self, id: Id, answer: Answer, max_value_bytes: usize) {
        let prefix = Prefix::of(&answer);
        let Some(value) = answer.entry.into_value() else {
            return self.refusal(id, Refusal::NOT_FOUND, "no such key");
        };
        if value.len() > max_value_bytes {
            return self.refusal(id, Refusal::OverHttp, "the value is too large for a link");
        }
        self.value(id, value, prefix);
    }

    /// Queues a value.
    fn value(&mut self, id: Id, value: ByteView, prefix: Prefix) {
        let head = ValueHead::new(id, prefix, value.len());
        if value.len() <= COPIED_BYTES {
            return self.small(|out| {
                out.extend_from_slice(head.as_bytes());
                out.extend_from_slice(&value);
            });
        }
        let frame = Large { id, head, value };
        self.queued += frame.len();
        self.large.push_back(frame);
    }

    /// Forgets the value of a get that nobody waits for, unless it has been begun: the bytes behind
    /// the head of a frame are that frame's, whatever happens. Looks at every large frame; small
    /// ones are sent all the same.
    pub(super) fn cancel(&mut self, id: Id) {
        let begun = usize::from(self.large_written > 0);
        let (mut at, mut forgotten) = (0, 0);
        self.large.retain(|frame| {
            let is_kept = at < begun || frame.id != id;
            at += 1;
            if !is_kept {
                forgotten += frame.len();
            }
            is_kept
        });
        self.queued -= forgotten;
    }

    /// Writes what the socket takes, and flushes. Returns how much that was, and whether it was
    /// all.
    ///
    /// # Errors
    ///
    /// When the socket is broken, or claims to be ready and takes nothing.
    pub(super) fn write(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<Written> {
        let mut bytes = 0;
        while self.queued > 0 {
            match self.write_once(cx, io) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => bytes += count,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(Written { bytes, blocked: true }),
            }
        }
        let blocked = match Pin::new(io).poll_flush(cx) {
            Poll::Ready(flushed) => flushed.map(|()| false)?,
            Poll::Pending => true,
        };
        Ok(Written { bytes, blocked })
    }

    /// Writes once: one buffer if that is all that there is, else up to [`MAX_PARTS`] parts.
    fn write_once(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<usize>> {
        let small = &self.small[self.small_written..];
        let polled = if self.large.is_empty() {
            Pin::new(io).poll_write(cx, small)
        } else {
            let mut slices = [IoSlice::new(&[]); MAX_PARTS];
            let count = self.parts(&mut slices);
            Pin::new(io).poll_write_vectored(cx, &slices[..count])
        };
        if let Poll::Ready(Ok(count)) = polled {
            self.consume(count);
        }
        polled
    }

    /// Fills in what is to be written next, in order. Returns how many parts that are.
    fn parts<'a>(&'a self, slices: &mut [IoSlice<'a>; MAX_PARTS]) -> usize {
        let begun = self.large.front().filter(|_| self.large_written > 0);
        let begun_parts = begun.into_iter().flat_map(|frame| frame.parts(self.large_written));
        let small = [&self.small[self.small_written..]];
        let whole = self.large.iter().skip(usize::from(begun.is_some()));
        let whole_parts = whole.flat_map(|frame| frame.parts(0));
        let parts = begun_parts.chain(small).chain(whole_parts).filter(|part| !part.is_empty());
        let mut count = 0;
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
            count += 1;
        }
        count
    }

    /// Takes off what was written, in the order of [`parts`](Self::parts).
    fn consume(&mut self, mut count: usize) {
        self.queued = self.queued.saturating_sub(count);
        if self.large_written > 0 {
            count = self.consume_large(count);
        }
        let small = count.min(self.small.len() - self.small_written);
        self.small_written += small;
        count -= small;
        // Moved forward when half of it is written: an asker that reads as fast as it asks never lets
        // it be empty.
        if self.small_written >= COMPACTED_BYTES && self.small_written * 2 >= self.small.len() {
            self.small.drain(..self.small_written);
            self.small_written = 0;
        }
        if self.small_written == self.small.len() {
            self.small.clear();
            if self.small.capacity() > KEPT_BYTES {
                self.small = Vec::new(); // What a burst needed is not kept.
            }
            self.small_written = 0;
        }
        while count > 0 && !self.large.is_empty() {
            count = self.consume_large(count);
        }
    }

    /// Takes off what was written of the first large frame. Returns how much was written beyond it.
    fn consume_large(&mut self, count: usize) -> usize {
        let Some(frame) = self.large.front() else { return count };
        let left = frame.len() - self.large_written;
        if count < left {
            self.large_written += count;
            return 0;
        }
        self.large.pop_front();
        self.large_written = 0;
        count - left
    }
}

/// What became of an attempt to write.
pub(super) struct Written {
    pub(super) bytes: usize,
    /// The socket takes no more now, and there may be more.
    pub(super) blocked: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asker_that_reads_as_fast_as_it_asks_does_not_make_the_queue_grow() {
        let mut out = Out::new();
        for byte in (0..=255_u8).cycle().take(100_000) {
            out.small(|small| small.extend_from_slice(&[byte; 1_000]));
            // Never all of it is taken.
            out.consume(out.queued().saturating_sub(500).min(1_000));
        }
        assert_eq!(out.queued(), out.small.len() - out.small_written);
        assert!(out.small.capacity() <= 1 << 20, "{} bytes", out.small.capacity());
        assert_eq!(out.small.last().copied(), u8::try_from(99_999 % 256).ok());
    }
}
