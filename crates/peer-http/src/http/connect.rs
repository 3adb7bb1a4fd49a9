//! Opens a socket to a peer: its name looked up, its addresses raced.

use std::any::Any;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpStream;
use tokio::runtime::{Handle, Id};
use tokio::time::{Instant, timeout_at};

use crate::http::lookup::{Lookups, Resolver, SystemResolver};
use crate::http::race::{attempt_delay, interleave, race};
use crate::pool::host::Host;
use crate::pool::url::BaseUrl;

/// Opens sockets for a pool, all of whose peers share it.
pub(crate) struct Connector {
    lookups: Lookups,
    /// The runtime that was last found to have no I/O driver.
    without_io: Mutex<Option<Id>>,
}

/// Why no socket was opened, where the network has nothing to say about it.
#[derive(Debug, Error)]
enum ConnectError {
    #[error("the name {name} was not looked up within {after:?}")]
    LookUpTimedOut { name: Arc<str>, after: Duration },
    #[error("the name {name} could not be looked up")]
    LookUpFailed { name: Arc<str>, source: io::Error },
    #[error("none of {addresses:?} answered within {after:?}")]
    TimedOut { addresses: Vec<SocketAddr>, after: Duration },
    #[error("none of {addresses:?} took the connection")]
    AllFailed { addresses: Vec<SocketAddr>, source: io::Error },
    #[error("the name {name} has no addresses")]
    NoAddresses { name: Arc<str> },
    #[error("this tokio runtime has no I/O driver: build it with enable_io() or enable_all()")]
    NoIoDriver,
}

/// How many of a name's addresses are tried. A peer has two or three; each costs a socket.
const MAX_ADDRESSES: usize = 32;

impl Connector {
    /// Returns a connector that asks the operating system for the addresses of names.
    pub(crate) fn new() -> Self {
        Self::with(SystemResolver)
    }

    /// Returns a connector that asks `resolver` for the addresses of names.
    pub(crate) fn with(resolver: impl Resolver) -> Self {
        Self { lookups: Lookups::new(resolver), without_io: Mutex::default() }
    }

    /// Returns a socket to the peer at `url`, opened within `limit`: the look-up of its name and
    /// all that its addresses take.
    ///
    /// # Errors
    ///
    /// Of kind `TimedOut` if the time passed, and else of the kind that the last address failed
    /// with.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. Only a look-up goes on, for the next who wants it.
    pub(crate) async fn connect(&self, url: &BaseUrl, limit: Duration) -> io::Result<TcpStream> {
        let deadline = Instant::now() + limit;
        let addresses = match url.host() {
            Host::Address(address) => vec![SocketAddr::new(*address, url.port())],
            Host::Name(name) => self.look_up(name, url.port(), deadline, limit).await?,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let delay = attempt_delay(left, addresses.len());
        let open = |address| self.open(address);
        let error = match timeout_at(deadline, race(&addresses, delay, open)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) if addresses.len() < 2 => return Err(error),
            Ok(Err(source)) => ConnectError::AllFailed { addresses, source },
            Err(_elapsed) => ConnectError::TimedOut { addresses, after: limit },
        };
        Err(error.into())
    }

    /// Returns the addresses of `name`, in the order in which they are tried.
    ///
    /// # Cancel safety
    ///
    /// As [`connect`](Self::connect).
    async fn look_up(
        &self,
        name: &Arc<str>,
        port: u16,
        deadline: Instant,
        limit: Duration,
    ) -> io::Result<Vec<SocketAddr>> {
        let name = Arc::clone(name);
        let found = match timeout_at(deadline, self.lookups.addresses(&name)).await {
            Ok(Ok(found)) => found,
            Ok(Err(source)) => return Err(ConnectError::LookUpFailed { name, source }.into()),
            Err(_elapsed) => {
                return Err(ConnectError::LookUpTimedOut { name, after: limit }.into());
            }
        };
        if found.is_empty() {
            return Err(ConnectError::NoAddresses { name }.into());
        }
        let mut addresses = interleave(&found);
        addresses.truncate(MAX_ADDRESSES);
        addresses.iter_mut().for_each(|address| address.set_port(port));
        Ok(addresses)
    }

    /// Returns a socket that is connected to `address`.
    ///
    /// It has no TCP keepalive: whoever waits for bytes on it has a deadline, and while nobody
    /// does, nobody misses what keepalive would find out.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the socket.
    async fn open(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let runtime = Handle::try_current().ok().map(|runtime| runtime.id());
        if runtime.is_some() && *self.without_io() == runtime {
            return Err(ConnectError::NoIoDriver.into());
        }
        let mut connecting = pin!(TcpStream::connect(address));
        poll_fn(|cx| {
            // Tokio panics where it has no I/O driver, and has no way to ask beforehand. Once is
            // enough: each time, the panic hook of the process is run.
            let poll = AssertUnwindSafe(|| connecting.as_mut().poll(cx));
            catch_unwind(poll).unwrap_or_else(|panic| {
                if !is_about_io(&*panic) {
                    resume_unwind(panic);
                }
                *self.without_io() = runtime;
                Poll::Ready(Err(ConnectError::NoIoDriver.into()))
            })
        })
        .await
    }

    fn without_io(&self) -> MutexGuard<'_, Option<Id>> {
        self.without_io.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether a connection did not come about because of the peer, or of the way to it. If not, it is
/// this process or machine that lacks something.
pub(crate) fn is_of_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable,
        NotFound, TimedOut,
    };
    let is_lookup = error.get_ref().and_then(|error| error.downcast_ref()).is_some_and(|error| {
        matches!(error, ConnectError::LookUpFailed { .. } | ConnectError::LookUpTimedOut { .. })
    });
    is_lookup
        || matches!(
            error.kind(),
            ConnectionRefused
                | ConnectionReset
                | ConnectionAborted
                | HostUnreachable
                | NetworkUnreachable
                | NotFound
                | TimedOut
        )
}

/// Returns whether `panic` is that of a runtime without an I/O driver.
fn is_about_io(panic: &(dyn Any + Send)) -> bool {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.is_some_and(|text| text.contains("IO is disabled"))
}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        let kind = match &error {
            ConnectError::LookUpTimedOut { .. } | ConnectError::TimedOut { .. } => {
                io::ErrorKind::TimedOut
            }
            ConnectError::LookUpFailed { source, .. } | ConnectError::AllFailed { source, .. } => {
                source.kind()
            }
            ConnectError::NoAddresses { .. } => io::ErrorKind::NotFound,
            ConnectError::NoIoDriver => io::ErrorKind::Unsupported,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread;

    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// Long enough for whatever should happen on a busy machine.
    const SOON: Duration = Duration::from_secs(10);
    /// As long as a test waits for what never happens.
    const SHORT: Duration = Duration::from_millis(50);

    /// Knows the same addresses for all names.
    struct Fixed(Vec<SocketAddr>);

    impl Resolver for Fixed {
        fn resolve(&self, _name: &str) -> io::Result<Vec<SocketAddr>> {
            Ok(self.0.clone())
        }
    }

    /// Says nothing before its sender is dropped.
    struct Hanging(Mutex<mpsc::Receiver<()>>);

    impl Resolver for Hanging {
        fn resolve(&self, _name: &str) -> io::Result<Vec<SocketAddr>> {
            let _dropped = self.0.lock().expect("no panic").recv();
            Ok(Vec::new())
        }
    }

    /// Returns a connector for which each name has the addresses 127.0.0.x.
    fn connector(hosts: impl IntoIterator<Item = u8>) -> Connector {
        let addresses = hosts.into_iter().map(|host| SocketAddr::from(([127, 0, 0, host], 0)));
        Connector::with(Fixed(addresses.collect()))
    }

    fn node(port: u16) -> BaseUrl {
        format!("http://node-1:{port}").parse().expect("a URL")
    }

    /// Returns a listener at 127.0.0.1, and its port.
    async fn listen() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        (listener, port)
    }

    /// Returns what keeps a host at 127.0.0.x from answering: its queue is full, so that the
    /// operating system drops whatever else comes.
    async fn silence(host: u8, port: u16) -> (TcpListener, TcpStream) {
        let address = SocketAddr::from(([127, 0, 0, host], port));
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(address).expect("a free port");
        let listener = socket.listen(0).expect("a listener");
        let queued = TcpStream::connect(address).await.expect("the queue has one place");
        (listener, queued)
    }

    /// Returns the texts of an error and of its causes.
    fn texts(error: &io::Error) -> String {
        let mut texts = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            texts = format!("{texts}: {error}");
            cause = error.source();
        }
        texts
    }

    #[tokio::test]
    async fn only_address_that_lives_is_found_among_many() {
        let (listener, port) = listen().await;
        let stream = connector((2..20).chain([1])).connect(&node(port), SOON).await;
        let reached = stream.expect("a connection").peer_addr().expect("an address");
        assert_eq!(reached, listener.local_addr().expect("an address"));
    }

    #[tokio::test]
    async fn address_that_does_not_answer_is_not_waited_for() {
        let (_listener, port) = listen().await;
        let _silence = (silence(2, port).await, silence(3, port).await);
        let stream = connector([2, 3, 1]).connect(&node(port), SOON).await;
        let reached = stream.expect("a connection").peer_addr().expect("an address").ip();
        assert_eq!(reached, IpAddr::from([127, 0, 0, 1]));
    }

    #[tokio::test]
    async fn time_is_for_all_addresses_together() {
        let (listener, port) = listen().await;
        drop(listener);
        let _silence = (silence(2, port).await, silence(3, port).await);
        let error = connector([2, 3, 1]).connect(&node(port), SHORT).await.expect_err("no answer");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let addresses = format!("[127.0.0.2:{port}, 127.0.0.3:{port}, 127.0.0.1:{port}]");
        assert_eq!(texts(&error), format!("none of {addresses} answered within 50ms"));
    }

    #[tokio::test]
    async fn failure_of_all_addresses_is_told() {
        let (listener, port) = listen().await;
        drop(listener);
        let error = connector([1, 2]).connect(&node(port), SOON).await.expect_err("closed");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let expected =
            format!("none of [127.0.0.1:{port}, 127.0.0.2:{port}] took the connection: ");
        assert!(texts(&error).starts_with(&expected), "{error}");

        let error = connector([]).connect(&node(port), SOON).await.expect_err("no address");
        assert_eq!(texts(&error), "the name node-1 has no addresses");
    }

    #[test]
    fn what_this_process_lacks_says_nothing_of_the_peer() {
        let name = Arc::from("node-1");
        let failed = io::Error::other("no such name");
        assert!(is_of_peer(&ConnectError::LookUpFailed { name, source: failed }.into()));
        assert!(is_of_peer(&io::ErrorKind::ConnectionRefused.into()));
        assert!(is_of_peer(&io::ErrorKind::TimedOut.into()));
        // Too many open files, and no port or memory left.
        for number in [24, 23, 99, 12] {
            assert!(!is_of_peer(&io::Error::from_raw_os_error(number)), "{number}");
        }
        assert!(!is_of_peer(&ConnectError::NoIoDriver.into()));
    }

    #[tokio::test]
    async fn resolver_that_hangs_holds_up_names_within_their_time_and_no_addresses() {
        let (_hold, held) = mpsc::channel();
        let connector = Connector::with(Hanging(Mutex::new(held)));
        let (_listener, port) = listen().await;
        let error = connector.connect(&node(port), SHORT).await.expect_err("no addresses");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(texts(&error), "the name node-1 was not looked up within 50ms");

        let address = format!("http://127.0.0.1:{port}").parse().expect("a URL");
        connector.connect(&address, SOON).await.expect("no look-up is needed");
    }

    #[test]
    fn runtime_that_hangs_on_a_resolver_can_be_dropped() {
        let (hold, held) = mpsc::channel::<()>();
        let connector = Connector::with(Hanging(Mutex::new(held)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        runtime.block_on(connector.connect(&node(1), SHORT)).expect_err("no addresses");
        drop(runtime);
        drop(hold);
    }

    #[test]
    fn runtime_without_io_is_told_how_to_get_it_and_panics_once() {
        let panics = count_panics_of_this_thread();
        let connector = connector([1, 2]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime");
        for url in ["http://127.0.0.1:1", "http://node-1:1", "http://127.0.0.1:1"] {
            let url = url.parse().expect("a URL");
            let error = runtime.block_on(connector.connect(&url, SOON)).expect_err("no I/O");
            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
            let expected = "no I/O driver: build it with enable_io() or enable_all()";
            assert!(texts(&error).contains(expected), "{error}");
        }
        assert_eq!(panics.load(Ordering::Relaxed), 1);

        // It is that runtime which lacks it; another may have it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let with_io = runtime.expect("a runtime").block_on(async {
            let (_listener, port) = listen().await;
            connector.connect(&node(port), SOON).await
        });
        drop(with_io.expect("a connection"));
    }

    /// Returns how often this thread will have panicked from now on.
    fn count_panics_of_this_thread() -> Arc<AtomicUsize> {
        let (panics, test) = (Arc::new(AtomicUsize::new(0)), thread::current().id());
        let (count, others) = (Arc::clone(&panics), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |panic| {
            if thread::current().id() == test {
                count.fetch_add(1, Ordering::Relaxed);
            } else {
                others(panic);
            }
        }));
        panics
    }
}
