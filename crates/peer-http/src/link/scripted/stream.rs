//! A connection whose other end is a script.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the other end sends, and how it comes and is taken.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    /// What came behind the agreement on frames, and was read with it.
    pub(crate) early: Vec<u8>,
    /// What each read brings. The end of the stream follows.
    pub(crate) reads: Vec<Vec<u8>>,
    /// Whether the connection is not ready every other time that it is asked.
    pub(crate) pauses: bool,
    /// How many bytes a write takes at most, if that is more than none.
    pub(crate) write_bytes: usize,
}

impl Script {
    /// Returns the script that brings `bytes` at once, and is always ready.
    pub(crate) fn whole(bytes: &[u8]) -> Self {
        let (early, reads) = (Vec::new(), vec![bytes.to_vec()]);
        Self { early, reads, pauses: false, write_bytes: usize::MAX }
    }

    /// Returns all that is sent.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [&self.early[..], &self.reads.concat()].concat()
    }
}

/// The connection to a [`Script`]. It keeps what is written to it.
pub(crate) struct Stream {
    reads: VecDeque<Vec<u8>>,
    write_bytes: usize,
    pub(crate) written: Vec<u8>,
    /// Whether the next read, and the next write, find it not ready.
    read_pause: Option<bool>,
    write_pause: Option<bool>,
    /// The last write found it not ready.
    is_blocked: bool,
}

impl Stream {
    pub(crate) fn new(script: &Script) -> Self {
        // An empty read would be the end of the stream.
        let reads = script.reads.iter().filter(|read| !read.is_empty()).cloned().collect();
        let pause = script.pauses.then_some(false);
        Self {
            reads,
            write_bytes: script.write_bytes.max(1),
            written: Vec::new(),
            read_pause: pause,
            write_pause: pause,
            is_blocked: false,
        }
    }
}

/// Not ready every other time, and then ready at once.
fn poll_pause(pause: &mut Option<bool>, cx: &mut Context<'_>) -> Poll<()> {
    let Some(is_ready) = pause else { return Poll::Ready(()) };
    *is_ready = !*is_ready;
    if !*is_ready {
        return Poll::Ready(());
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if poll_pause(&mut self.read_pause, cx).is_pending() {
            return Poll::Pending;
        }
        let Some(mut read) = self.reads.pop_front() else {
            // The other end leaves when it has got what is being written. Whoever finds out that it
            // has left may drop the rest, and how much that is would depend on the pauses.
            return if self.is_blocked { Poll::Pending } else { Poll::Ready(Ok(())) };
        };
        let count = read.len().min(buffer.remaining());
        buffer.put_slice(&read[..count]);
        if count < read.len() {
            self.reads.push_front(read.split_off(count));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_blocked = poll_pause(&mut self.write_pause, cx).is_pending();
        if self.is_blocked {
            return Poll::Pending;
        }
        let (before, mut room) = (self.written.len(), self.write_bytes);
        for part in parts {
            let count = part.len().min(room);
            self.written.extend_from_slice(&part[..count]);
            room -= count;
        }
        Poll::Ready(Ok(self.written.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
