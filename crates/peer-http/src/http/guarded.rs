//! The socket of a connection that is served, with its clocks.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::alarm::Alarm;
use crate::http::socket::Socket;
use crate::http::stage::Stage;

/// A socket over which nobody waits without end.
///
/// A read ends with the clock of its [`Stage`]. A write ends when the peer takes too little of an
/// answer, or has no time left to wait for the rest. The end is an error of the kind `TimedOut`,
/// after which hyper closes the connection.
///
/// The clocks are looked at when the socket is not ready: an answer that it takes at once costs none.
pub(crate) struct Guarded {
    stream: Socket,
    stage: Arc<Stage>,
    alarm: Alarm,
    progress: Progress,
    write_timeout: Duration,
}

impl Guarded {
    /// Returns the socket of a connection that was just accepted.
    pub(crate) fn new(stream: Socket, stage: Arc<Stage>, write_timeout: Duration) -> Self {
        let alarm = Alarm::at(stage.until());
        Self { stream, stage, alarm, progress: Progress::default(), write_timeout }
    }

    /// Returns the socket, which has no clocks any more.
    pub(crate) fn into_stream(self) -> Socket {
        self.stream
    }

    /// Passes on what became of a write, and ends one that goes on too slowly.
    fn watch_write(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = written {
            return Poll::Ready(written.inspect(|bytes| self.progress.took(*bytes)));
        }
        let stalled_until = self.progress.since(Instant::now()) + self.write_timeout;
        ready!(self.alarm.poll(cx, stalled_until.min(self.stage.until())));
        // What the operating system still has of the answer is dropped with the socket: nobody
        // would bound how long it went on offering that to a peer that does not read. If it
        // cannot be told so, the connection ends all the same.
        let _ = self.stream.tcp().set_zero_linger();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stage.reads();
        let had = buf.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buf) {
            if buf.filled().len() > had {
                self.stage.received();
            }
            return Poll::Ready(read);
        }
        let until = self.stage.until();
        self.alarm.poll(cx, until).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when it has written all that it has. In TLS a part of it may still be here.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.progress = Progress::default();
        }
        self.watch_write(cx, flushed.map_ok(|()| 0)).map_ok(|_| ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// How fast a peer takes what is sent to it.
#[derive(Debug, Default)]
struct Progress {
    /// When a write first had to wait, and has not gone on well since.
    since: Option<Instant>,
    /// The bytes that were taken since then.
    bytes: usize,
}

/// What a peer has to take within each write timeout, if there is as much.
///
/// A single byte would not do: an answer of 64 MiB could be held for ever by a peer that takes one
/// now and then. This much in ten seconds is what a telephone modem carries.
const PROGRESS_BYTES: usize = 64 << 10;

impl Progress {
    /// Notes that a write has to wait, and returns since when it has not gone on well.
    fn since(&mut self, now: Instant) -> Instant {
        *self.since.get_or_insert(now)
    }

    /// Notes that some bytes were taken.
    fn took(&mut self, bytes: usize) {
        if self.since.is_none() {
            return;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes >= PROGRESS_BYTES {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_as_many_bytes_as_it_takes_and_not_one_less() {
        let start = Instant::now();
        let [later, last] = [1, 2].map(|secs| start + Duration::from_secs(secs));
        let mut progress = Progress::default();
        progress.took(PROGRESS_BYTES);
        assert_eq!(progress.since(start), start);
        progress.took(1000);
        assert_eq!(progress.since(later), start, "a trickle");
        progress.took(PROGRESS_BYTES - 1001);
        assert_eq!(progress.since(later), start, "still too little");
        progress.took(1);
        assert_eq!(progress.since(last), last, "it went on well in between");
    }
}
