//! How much may be read from a socket, decided before it is read.
//!
//! The HTTP library reads whatever comes, for as long as it comes: it skips one `100 Continue` after
//! another within one poll, and counts neither them nor what stands between the chunks of a body. So
//! the socket under it is given out in parts. It stops at the end of each, whoever reads the reply
//! looks at what became of it, and allows another or gives up.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};

use crate::http::socket::Socket;

/// A socket that is read as far as its [`Meter`] allows.
pub(crate) struct MeteredStream {
    stream: Take<Socket>,
    meter: Arc<Meter>,
}

/// Why what a peer says is no HTTP: it refuses a request that is not in TLS.
#[derive(Debug, Error)]
#[error("the peer speaks TLS, so its URL should begin with https://")]
pub(crate) struct SpeaksTls;

/// With what a refusal in TLS begins, and no answer in HTTP.
const TLS_ALERT: u8 = 21;

/// Says how much may be read from a socket, and counts what was.
///
/// The connection that owns both is used by one task at a time, so that nothing here has to be
/// ordered.
#[derive(Default)]
pub(crate) struct Meter {
    /// How many bytes may still be read.
    allowed: AtomicU64,
    /// How many have been read since the exchange began.
    read: AtomicU64,
    /// Whether more was wanted than is allowed.
    is_exhausted: AtomicBool,
    /// Whether more was allowed since.
    is_renewed: AtomicBool,
    /// Whether the connection is idle, so that nothing may come.
    is_idle: AtomicBool,
    /// Whether nothing of the request has been written yet, so that nothing may have come either.
    is_unasked: AtomicBool,
}

impl Meter {
    /// Begins an exchange, of which so much may be read at first.
    pub(crate) fn begin(&self, bytes: u64) {
        self.read.store(0, Ordering::Relaxed);
        self.allowed.store(bytes, Ordering::Relaxed);
        for flag in [&self.is_exhausted, &self.is_renewed, &self.is_idle] {
            flag.store(false, Ordering::Relaxed);
        }
        self.is_unasked.store(true, Ordering::Relaxed);
    }

    /// Lets so much more be read.
    pub(crate) fn allow(&self, bytes: u64) {
        self.allowed.fetch_add(bytes, Ordering::Relaxed);
        self.is_exhausted.store(false, Ordering::Relaxed);
        self.is_renewed.store(true, Ordering::Relaxed);
    }

    /// Returns whether more has been allowed since this was last asked, so that the driver of the
    /// connection has to be polled again: nothing else wakes it.
    pub(crate) fn take_renewed(&self) -> bool {
        self.is_renewed.load(Ordering::Relaxed) && self.is_renewed.swap(false, Ordering::Relaxed)
    }

    /// Ends an exchange. From here on the socket is only looked at: whether it is still open, and
    /// has nothing to say.
    pub(crate) fn rest(&self) {
        self.is_idle.store(true, Ordering::Relaxed);
    }

    /// Returns how many bytes have been read in this exchange.
    pub(crate) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Waits until more is wanted than is allowed.
    ///
    /// Nothing wakes it: it is polled after the driver of the connection, which is what reads.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time, it only looks.
    pub(crate) async fn exhausted(&self) {
        poll_fn(|_| match self.is_exhausted.load(Ordering::Relaxed) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

impl MeteredStream {
    /// Returns `stream`, read as far as `meter` allows.
    pub(crate) fn new(stream: Socket, meter: Arc<Meter>) -> Self {
        Self { stream: stream.take(0), meter }
    }

    /// Returns the socket, which nobody measures any more.
    pub(crate) fn into_stream(self) -> Socket {
        self.stream.into_inner()
    }
}

impl AsyncRead for MeteredStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, meter } = self.get_mut();
        if meter.is_idle.load(Ordering::Relaxed) {
            return stream.get_mut().poll_idle();
        }
        let allowed = meter.allowed.load(Ordering::Relaxed);
        if allowed == 0 {
            meter.is_exhausted.store(true, Ordering::Relaxed);
            return Poll::Pending;
        }
        stream.set_limit(allowed);
        let had = buf.filled().len();
        let poll = Pin::new(&mut *stream).poll_read(cx, buf);
        let read = allowed - stream.limit();
        meter.allowed.store(stream.limit(), Ordering::Relaxed);
        let had_read = meter.read.fetch_add(read, Ordering::Relaxed);
        let begins_as_tls = had_read == 0 && buf.filled().get(had) == Some(&TLS_ALERT);
        if begins_as_tls && stream.get_ref().is_tcp() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, SpeaksTls)));
        }
        poll
    }
}

impl AsyncWrite for MeteredStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.meter.is_unasked.swap(false, Ordering::Relaxed)
            && let Poll::Ready(Err(error)) = self.stream.get_mut().poll_idle()
        {
            return Poll::Ready(Err(error));
        }
        Pin::new(self.stream.get_mut()).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// It would be taken for the answer to whatever is asked first.
    #[tokio::test]
    async fn request_is_not_written_to_a_peer_that_has_spoken_before_it_was_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (ours, (mut theirs, _)) = (ours.expect("connected"), theirs.expect("accepted"));
        let meter = Arc::new(Meter::default());
        meter.begin(1);
        let mut silent = MeteredStream::new(ours.into(), Arc::clone(&meter));
        silent.write_all(b"GET").await.expect("nothing has come");

        theirs.write_all(b"HTTP/1.1 200 OK").await.expect("sent");
        silent.stream.get_ref().tcp().readable().await.expect("it has come");
        silent.write_all(b" / ").await.expect("the answer may begin before the request ends");
        meter.begin(1);
        let error = silent.write_all(b"GET").await.expect_err("something came unasked");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
