//! TLS: what a pool is told of it, and how connections come to it.
//!
//! Both sides get their configuration from the user, ready made: which certificates, which
//! authorities, which provider of cryptography. Nothing is installed for the process. Without the
//! feature `tls` there are no configurations, and so there is no TLS.

use std::fmt;
use std::io;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use tokio::time::timeout;
#[cfg(feature = "tls")]
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::http::socket::Socket;
use crate::pool::host::Host;

/// The configurations of both sides.
#[derive(Clone, Default)]
pub(crate) struct Tls {
    /// How peers are asked whose URLs say `https`.
    #[cfg(feature = "tls")]
    pub(crate) client: Option<Arc<rustls::ClientConfig>>,
    /// How peers are answered. Without it they are answered without TLS.
    #[cfg(feature = "tls")]
    pub(crate) server: Option<Arc<rustls::ServerConfig>>,
}

/// Why no handshake came to its good end.
#[derive(Debug, Error)]
enum HandshakeError {
    #[error("there is no TLS configuration to ask with")]
    NotConfigured,
    #[cfg(feature = "tls")]
    #[error("no certificate can be for the name {name}")]
    Name { name: Arc<str> },
    #[cfg(feature = "tls")]
    #[error("the TLS handshake did not end within {after:?}")]
    TimedOut { after: Duration },
    #[cfg(feature = "tls")]
    #[error("the peer does not speak TLS, so its URL should begin with http://")]
    NotTls { source: io::Error },
    #[cfg(feature = "tls")]
    #[error("the TLS handshake failed")]
    Failed { source: io::Error },
}

#[cfg(not(feature = "tls"))]
impl Tls {
    /// Returns whether peers can be asked in TLS.
    pub(crate) fn is_for_asking(&self) -> bool {
        false
    }

    /// Returns that there is no TLS.
    ///
    /// # Cancel safety
    ///
    /// It does not wait.
    pub(crate) async fn connect(
        &self,
        _tcp: TcpStream,
        _host: &Host,
        _limit: Duration,
    ) -> io::Result<Socket> {
        Err(HandshakeError::NotConfigured.into())
    }

    /// Returns the socket of a peer that has connected.
    ///
    /// # Cancel safety
    ///
    /// It does not wait.
    pub(crate) async fn accept(&self, tcp: TcpStream) -> io::Result<Socket> {
        Ok(tcp.into())
    }
}

#[cfg(feature = "tls")]
impl Tls {
    /// Returns whether peers can be asked in TLS.
    pub(crate) fn is_for_asking(&self) -> bool {
        self.client.is_some()
    }

    /// Returns a socket in TLS to the peer at `host`, to which `tcp` is connected.
    ///
    /// # Errors
    ///
    /// Of kind `TimedOut` if that takes longer than `limit`; any if one side does not accept the
    /// other.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connection.
    pub(crate) async fn connect(
        &self,
        tcp: TcpStream,
        host: &Host,
        limit: Duration,
    ) -> io::Result<Socket> {
        let config = self.client.as_ref().ok_or(HandshakeError::NotConfigured)?;
        let connector = TlsConnector::from(Arc::clone(config));
        match timeout(limit, connector.connect(name_of(host)?, tcp)).await {
            Ok(Ok(tls)) => Ok(Socket::Asker(Box::new(tls))),
            Ok(Err(error)) => Err(HandshakeError::of(error).into()),
            Err(_elapsed) => Err(HandshakeError::TimedOut { after: limit }.into()),
        }
    }

    /// Returns the socket of a peer that has connected, in TLS if that is spoken here. It waits for as
    /// long as the peer does not shake hands.
    ///
    /// # Errors
    ///
    /// When one side does not accept the other.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connection.
    pub(crate) async fn accept(&self, tcp: TcpStream) -> io::Result<Socket> {
        let Some(config) = &self.server else { return Ok(tcp.into()) };
        let accepting = TlsAcceptor::from(Arc::clone(config)).accept(tcp);
        let tls = accepting.await.map_err(|source| HandshakeError::Failed { source })?;
        Ok(Socket::Owner(Box::new(tls)))
    }
}

/// Returns the name that a peer's certificate has to be for.
#[cfg(feature = "tls")]
fn name_of(host: &Host) -> Result<rustls::pki_types::ServerName<'static>, HandshakeError> {
    use rustls::pki_types::ServerName;
    match host {
        Host::Address(address) => Ok(ServerName::IpAddress((*address).into())),
        Host::Name(name) => {
            let bare = name.strip_suffix('.').unwrap_or(name);
            let error = |_| HandshakeError::Name { name: Arc::clone(name) };
            ServerName::try_from(bare.to_owned()).map_err(error)
        }
    }
}

#[cfg(feature = "tls")]
impl HandshakeError {
    /// Returns what a failed handshake means.
    fn of(source: io::Error) -> Self {
        use rustls::{Error, InvalidMessage};
        let cause = source.get_ref().and_then(|cause| cause.downcast_ref());
        match cause {
            Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
                Self::NotTls { source }
            }
            _ => Self::Failed { source },
        }
    }
}

impl From<HandshakeError> for io::Error {
    fn from(error: HandshakeError) -> Self {
        match error {
            #[cfg(feature = "tls")]
            HandshakeError::TimedOut { .. } => Self::new(io::ErrorKind::TimedOut, error),
            _ => Self::other(error),
        }
    }
}

/// Tells which side is configured. What is in there is the user's secret.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut set = f.debug_struct("Tls");
        #[cfg(feature = "tls")]
        set.field("client", &self.client.is_some()).field("server", &self.server.is_some());
        set.finish()
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests {
    use std::task::Poll;

    use rustls::pki_types::ServerName;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::certificates::Authority;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Returns both ends of a connection in TLS: the asker's, and the owner's.
    async fn shake_hands(
        client: Arc<rustls::ClientConfig>,
        server: Arc<rustls::ServerConfig>,
    ) -> (Socket, Socket) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let tls = Tls { client: Some(client), server: Some(server) };
        let asks = async {
            let tcp = TcpStream::connect(address).await.expect("connected");
            tls.connect(tcp, &Host::Address(address.ip()), LIMIT).await.expect("a handshake")
        };
        let owns = async {
            let (tcp, _) = listener.accept().await.expect("a connection");
            tls.accept(tcp).await.expect("a handshake")
        };
        tokio::join!(asks, owns)
    }

    #[tokio::test]
    async fn whoever_shows_a_certificate_is_known_and_nobody_else_is() {
        let ours = Authority::new();
        let owner = || ours.lenient_server("127.0.0.1");
        let (asks, owns) = shake_hands(ours.client(Some(&ours)), ours.server("127.0.0.1")).await;
        assert!(owns.is_certified());
        assert!(!asks.is_certified(), "the owner's certificate says nothing of who asks it");
        let (_asks, owns) = shake_hands(ours.client(None), owner()).await;
        assert!(!owns.is_certified());
        // One that was not asked for is not sent.
        let (_asks, owns) = shake_hands(ours.client(Some(&ours)), owner()).await;
        assert!(!owns.is_certified());
    }

    /// An owner sends tickets once it has read the end of the handshake, whenever that is.
    #[tokio::test]
    async fn an_idle_socket_is_silent_in_spite_of_tickets_and_not_of_anything_else() {
        let ours = Authority::new();
        let (mut asks, mut owns) =
            shake_hands(ours.client(None), ours.lenient_server("127.0.0.1")).await;
        owns.flush().await.expect("the tickets are sent");
        asks.tcp().readable().await.expect("they have come");
        assert!(asks.poll_idle().is_pending());
        assert!(asks.poll_idle().is_pending());

        // What comes behind them is read as ever.
        owns.write_all(b"one").await.expect("sent");
        owns.flush().await.expect("sent");
        let mut read = [0; 3];
        asks.read_exact(&mut read).await.expect("it comes");
        assert_eq!(&read, b"one");
        assert!(asks.poll_idle().is_pending());

        owns.write_all(b"two").await.expect("sent");
        owns.flush().await.expect("sent");
        let unasked = loop {
            match asks.poll_idle() {
                Poll::Pending => tokio::task::yield_now().await,
                Poll::Ready(unasked) => break unasked,
            }
        };
        assert_eq!(unasked.expect_err("nobody has asked").kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn the_end_of_an_idle_socket_is_seen_gentle_or_not() {
        let ours = Authority::new();
        for is_gentle in [true, false] {
            let (mut asks, mut owns) =
                shake_hands(ours.client(None), ours.lenient_server("127.0.0.1")).await;
            if is_gentle {
                owns.shutdown().await.expect("it says so");
            }
            drop(owns);
            let end = loop {
                match asks.poll_idle() {
                    Poll::Pending => tokio::task::yield_now().await,
                    Poll::Ready(end) => break end,
                }
            };
            end.expect("an end is no failure");
            let mut rest = Vec::new();
            asks.read_to_end(&mut rest).await.expect("nor is it for who reads");
            assert_eq!(rest, b"");
        }
    }

    #[test]
    fn names_and_addresses_can_be_in_a_certificate() {
        let name = |host: &str| name_of(&Host::bare(host).expect("a host")).expect("a name");
        let expected = ServerName::try_from("cache-1.example.org").expect("a name");
        assert_eq!(name("Cache-1.example.org"), expected);
        assert_eq!(name("cache-1.example.org."), expected, "the dot is for the resolver");
        assert_eq!(name("10.0.0.1"), ServerName::try_from("10.0.0.1").expect("an address"));
        let v6 = name_of(&Host::in_brackets("2001:db8::1").expect("a host")).expect("a name");
        assert_eq!(v6, ServerName::try_from("2001:db8::1").expect("an address"));
        name("node_1");
        let odd = Host::bare("-node-").expect("a host");
        assert!(matches!(name_of(&odd), Err(HandshakeError::Name { .. })));
    }
}
