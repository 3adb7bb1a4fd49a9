//! The socket of a connection: TCP, or TLS over it.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use tokio_rustls::{client, server};

/// The socket of a connection, whichever side it is of.
///
/// What is written in TLS may be kept until it is flushed.
pub(crate) enum Socket {
    Tcp(TcpStream),
    /// In TLS, to a peer.
    #[cfg(feature = "tls")]
    Asker(Box<client::TlsStream<TcpStream>>),
    /// In TLS, of a peer.
    #[cfg(feature = "tls")]
    Owner(Box<server::TlsStream<TcpStream>>),
}

/// All that is done with a socket but looking at it.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

impl Socket {
    /// Returns the TCP socket under it.
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(tcp) => tcp,
            #[cfg(feature = "tls")]
            Self::Asker(tls) => tls.get_ref().0,
            #[cfg(feature = "tls")]
            Self::Owner(tls) => tls.get_ref().0,
        }
    }

    /// Returns whether it is without TLS.
    pub(crate) fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// Returns whether the peer, which connected to it, has shown a certificate. It was found to be in
    /// order then.
    pub(crate) fn is_certified(&self) -> bool {
        match self {
            #[cfg(feature = "tls")]
            Self::Owner(tls) => tls.get_ref().1.peer_certificates().is_some(),
            _ => false,
        }
    }

    /// Looks whether the idle socket of an asker is as it should be: open, and silent.
    ///
    /// The socket itself is asked, since what the runtime knows of it may be as old as its last look at
    /// all sockets. A peer that has sent an answer too many must not get it taken for the next one.
    pub(crate) fn poll_idle(&mut self) -> Poll<io::Result<()>> {
        let unasked = match self {
            #[cfg(feature = "tls")]
            Self::Asker(tls) => {
                let (tcp, session) = tls.get_mut();
                is_unasked_in_tls(tcp, session)
            }
            _ => is_unasked(self.tcp()),
        };
        match unasked {
            // Its end, which is told by reading nothing.
            Ok(false) => Poll::Ready(Ok(())),
            Ok(true) => {
                let error = "the peer sent something that it was not asked for";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn stream(&mut self) -> Pin<&mut dyn Stream> {
        match self {
            Self::Tcp(tcp) => Pin::new(tcp),
            #[cfg(feature = "tls")]
            Self::Asker(tls) => Pin::new(&mut **tls),
            #[cfg(feature = "tls")]
            Self::Owner(tls) => Pin::new(&mut **tls),
        }
    }
}

/// Returns whether a byte is there that can be read, or the end.
///
/// # Errors
///
/// Of the kind `WouldBlock` if neither is.
fn is_unasked(tcp: &TcpStream) -> io::Result<bool> {
    let mut byte = [MaybeUninit::uninit()];
    SockRef::from(tcp).peek(&mut byte).map(|bytes| bytes > 0)
}

/// How many parts are read at most of what an idle peer says for the sake of TLS, such as tickets.
#[cfg(feature = "tls")]
const MAX_PARTS: usize = 64;

/// Returns whether a byte is there that can be read, or the end. What TLS says for itself, such as
/// tickets to come back with, is neither.
///
/// # Errors
///
/// Of the kind `WouldBlock` if neither is.
#[cfg(feature = "tls")]
fn is_unasked_in_tls(tcp: &TcpStream, session: &mut rustls::ClientConnection) -> io::Result<bool> {
    let socket = SockRef::from(tcp);
    for _ in 0..MAX_PARTS {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let state = session.process_new_packets().map_err(invalid)?;
        if state.plaintext_bytes_to_read() > 0 {
            return Ok(true);
        }
        if state.peer_has_closed() || session.read_tls(&mut &*socket)? == 0 {
            return Ok(false);
        }
    }
    // It goes on and on, which no node does.
    Ok(true)
}

impl From<TcpStream> for Socket {
    fn from(tcp: TcpStream) -> Self {
        Self::Tcp(tcp)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.stream().poll_read(cx, buf) {
            // TLS has an end of its own, and this one came without. Nobody gains by it who cuts the
            // connection: frames and bodies say how long they are.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(()))
            }
            read => read,
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        // All of them take several parts at once.
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}
