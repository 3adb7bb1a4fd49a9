//! Peers that own keys and misbehave.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::bounds::GIVE_UP_TIME;
use super::table::{Asked, Deck, Mood, TABLE, Then, Turn};
use super::wire::{self, Inbox};

/// Fake peers; dropping them closes every socket that they have.
pub(super) struct Fakes {
    tally: Arc<Mutex<Tally>>,
    tasks: JoinSet<()>,
}

/// What the fakes have done and seen.
#[derive(Clone, Default)]
pub(super) struct Tally {
    /// Requests that were answered as they should be.
    pub(super) right: u64,
    /// How often each row of the table was met.
    pub(super) met: BTreeMap<&'static str, u64>,
    /// What no node should have done.
    pub(super) faults: Vec<String>,
}

/// One fake peer.
struct Fake {
    port: u16,
    deck: Mutex<Deck>,
    tally: Arc<Mutex<Tally>>,
}

/// Room for all that nodes may open at once.
const BACKLOG: u32 = 1024;
/// How long nothing may come before a peer says that it was too long.
const IDLE_TIME: Duration = Duration::from_millis(200);
/// How much is said at a time by who does not end.
const ENDLESS_BYTES: usize = 16 << 10;
/// The pause between two such pieces: 16 MiB a second are enough to fill a memory, and leave a
/// processor for the others.
const ENDLESS_PAUSE: Duration = Duration::from_millis(1);
/// The pause after each byte of who trickles.
const TRICKLE_PAUSE: Duration = Duration::from_millis(20);

impl Fakes {
    /// Starts a peer at each of `ports`.
    ///
    /// # Errors
    ///
    /// When somebody else listens at one of them.
    pub(super) fn start(ports: &[u16], seed: u64) -> Result<Self> {
        let (tally, mut tasks) = (Arc::<Mutex<Tally>>::default(), JoinSet::new());
        for (&port, at) in ports.iter().zip(0..) {
            let deck = Mutex::new(Deck::new(seed, at));
            let fake = Arc::new(Fake { port, deck, tally: Arc::clone(&tally) });
            // Taken before anybody is told of it.
            let listener = listen(port, BACKLOG)?;
            tasks.spawn(async move { fake.run(listener).await });
        }
        Ok(Self { tally, tasks })
    }

    /// Closes every socket that they have.
    ///
    /// # Cancel safety
    ///
    /// Dropped, some may close later.
    pub(super) async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Returns what was done and seen until now.
    pub(super) fn tally(&self) -> Tally {
        lock(&self.tally).clone()
    }
}

impl Tally {
    /// Returns how often a fake misbehaved.
    pub(super) fn misbehaved(&self) -> u64 {
        self.met.values().sum()
    }

    /// Returns the rows of the table that were not met.
    pub(super) fn missed(&self) -> Vec<&'static str> {
        TABLE.iter().map(|row| row.name).filter(|name| !self.met.contains_key(name)).collect()
    }
}

impl Fake {
    /// Changes its mood for ever.
    async fn run(self: Arc<Self>, listener: TcpListener) {
        let (mut connections, mut listener) = (JoinSet::new(), Some(listener));
        loop {
            let (mood, time) = lock(&self.deck).mood();
            match (mood, listener.take()) {
                (Mood::Gone, _) => {
                    // Nobody else gets the port meanwhile.
                    let _kept = bind(self.port);
                    sleep(time).await;
                }
                (Mood::Deaf, _) => {
                    let _full = listen(self.port, 1);
                    sleep(time).await;
                }
                (Mood::Open, first) => {
                    // Somebody else may have the port by now, and leave it again.
                    let Ok(open) = first.map_or_else(|| listen(self.port, BACKLOG), Ok) else {
                        sleep(time).await;
                        continue;
                    };
                    let accepting = self.accept(&open, &mut connections);
                    let _over = timeout(time, accepting).await;
                }
            }
        }
    }

    /// Serves who comes. Dropped, the connections go on.
    async fn accept(self: &Arc<Self>, listener: &TcpListener, connections: &mut JoinSet<()>) {
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    let fake = Arc::clone(self);
                    connections.spawn(async move {
                        // A node that leaves early has had enough: that is its right.
                        let _left = fake.serve(stream).await;
                    });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }

    /// Answers what comes over a connection, in turn rightly and not.
    async fn serve(&self, mut stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let (mut inbox, mut plan) = (Inbox::default(), None);
        while let Some(head) = inbox.head(&mut stream).await? {
            if wire::is_ping(&head) {
                // As Go's server answers, whatever becomes of the request that is waited for.
                stream.write_all(&wire::answer("404 Not Found", "", b"no such group\n")).await?;
                continue;
            }
            let Some(key) = wire::key(&head) else {
                self.fault(format!("a node sent a request that is none of a node's: {head:?}"));
                bail!("not a node");
            };
            let (asked, turn) = self.plan(key, plan.take());
            let said = turn.misbehaviour.say(&asked).filter(|_| turn.right_first == 0);
            let Some(said) = said else {
                stream.write_all(&wire::right(&asked.value)).await?;
                lock(&self.tally).right += 1;
                plan = Some(Turn { right_first: turn.right_first.saturating_sub(1), ..turn });
                continue;
            };
            *lock(&self.tally).met.entry(turn.misbehaviour.name).or_default() += 1;
            if !self.misbehave(&mut stream, &said, &turn).await? {
                break;
            }
        }
        Ok(())
    }

    /// Returns what to do about a request; a new turn unless one is under way.
    fn plan(&self, key: &str, turn: Option<Turn>) -> (Asked, Turn) {
        let mut deck = lock(&self.deck);
        let turn = turn.unwrap_or_else(|| deck.turn());
        (deck.asked(key), turn)
    }

    /// Says what is to be said and does what follows. Returns whether the connection goes on.
    async fn misbehave(&self, stream: &mut TcpStream, said: &[u8], turn: &Turn) -> Result<bool> {
        let Turn { misbehaviour, .. } = turn;
        if misbehaviour.then != Then::Trickle {
            stream.write_all(said).await?;
        }
        match misbehaviour.then {
            Then::GoOn => return Ok(true),
            Then::Close => {}
            Then::Reset => stream.set_zero_linger()?,
            Then::TellIdle => return tell_idle(stream).await,
            without_end => {
                let given_up = timeout(GIVE_UP_TIME, go_on(stream, said, without_end)).await;
                if given_up.is_err() {
                    let name = misbehaviour.name;
                    self.fault(format!("a node did not give up in {GIVE_UP_TIME:?}: {name:?}"));
                }
            }
        }
        Ok(false)
    }

    fn fault(&self, fault: String) {
        lock(&self.tally).faults.push(fault);
    }
}

/// Goes on until the other side has closed.
async fn go_on(stream: &mut TcpStream, said: &[u8], then: Then) -> Result<()> {
    match then {
        Then::Repeat(text) => repeat(stream, text.repeat(4096 / text.len()).as_bytes()).await,
        Then::Zeros { chunked: false } => repeat(stream, &[0; ENDLESS_BYTES]).await,
        Then::Zeros { chunked: true } => {
            let head = format!("{ENDLESS_BYTES:x}\r\n");
            repeat(stream, &[head.as_bytes(), &[0; ENDLESS_BYTES], b"\r\n"].concat()).await
        }
        Then::Trickle => {
            for byte in said {
                stream.write_all(&[*byte]).await?;
                sleep(TRICKLE_PAUSE).await;
            }
            closed(stream).await
        }
        _ => closed(stream).await,
    }
}

/// Says `piece` again and again. Ends when the other side has closed.
async fn repeat(stream: &mut TcpStream, piece: &[u8]) -> Result<()> {
    loop {
        stream.write_all(piece).await?;
        sleep(ENDLESS_PAUSE).await;
    }
}

/// Waits until the other side has closed; what it says is not listened to.
async fn closed(stream: &mut TcpStream) -> Result<()> {
    while stream.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}

/// Waits for the next request, and returns whether one comes; says so if none does.
async fn tell_idle(stream: &mut TcpStream) -> Result<bool> {
    match timeout(IDLE_TIME, stream.peek(&mut [0])).await {
        Ok(peeked) => Ok(peeked? > 0),
        Err(_idle) => {
            stream.write_all(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n").await?;
            Ok(false)
        }
    }
}

/// Listens on a port on which connections of before may still be open.
fn listen(port: u16, backlog: u32) -> Result<TcpListener> {
    let listener = bind(port).and_then(|socket| socket.listen(backlog));
    listener.with_context(|| format!("cannot listen on port {port}"))
}

/// Returns a socket at a port that does not listen: who connects is refused.
fn bind(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok(socket)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::truth;

    /// Returns a fake that answers a connection, and the other end of it.
    async fn pair() -> (Arc<Fake>, TcpStream, TcpStream) {
        let listener = listen(0, BACKLOG).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let tally = Arc::default();
        (Arc::new(Fake { port, deck: Mutex::new(Deck::new(1, 1)), tally }), stream, client)
    }

    fn turn(name: &str) -> Turn {
        let misbehaviour = TABLE.iter().find(|row| row.name == name).expect("a row of the table");
        Turn { right_first: 0, misbehaviour }
    }

    #[tokio::test]
    async fn requests_are_answered_and_misbehaved_to_and_counted() {
        let (fake, stream, mut client) = pair().await;
        let serving = tokio::spawn({
            let fake = Arc::clone(&fake);
            async move { fake.serve(stream).await }
        });
        let mut inbox = Inbox::default();
        while fake.tally.lock().unwrap().misbehaved() == 0 {
            client.write_all(&wire::request("small-1")).await.unwrap();
            let Ok(value) = inbox.value(&mut client).await else { break };
            assert_eq!(value, truth::value("small-1"));
        }
        drop(client);
        serving.abort();
        assert_eq!(lock(&fake.tally).misbehaved(), 1);
    }

    #[tokio::test]
    async fn who_sends_what_no_node_sends_is_told() {
        let (fake, stream, mut client) = pair().await;
        client.write_all(b"DELETE / HTTP/1.1\r\n\r\n").await.unwrap();
        fake.serve(stream).await.unwrap_err();
        assert!(lock(&fake.tally).faults[0].contains("DELETE /"));
    }

    #[tokio::test]
    async fn each_end_is_what_it_is_called() {
        for (name, is_error) in [("closes in the head", false), ("resets in the head", true)] {
            let (fake, mut stream, mut client) = pair().await;
            let said = b"HTTP/1.1 200";
            assert!(!fake.misbehave(&mut stream, said, &turn(name)).await.unwrap());
            drop(stream);
            let mut heard = Vec::new();
            let ended = client.read_to_end(&mut heard).await;
            assert_eq!(ended.is_err(), is_error, "{name}: {ended:?}");
            assert!(is_error || heard == said);
        }
        let (fake, mut stream, _client) = pair().await;
        assert!(fake.misbehave(&mut stream, b"", &turn("text")).await.unwrap());
    }

    #[tokio::test]
    async fn what_has_no_end_ends_when_the_node_leaves() {
        for name in ["says nothing", "1xx for ever", "chunks for ever", "trickles"] {
            let (fake, mut stream, mut client) = pair().await;
            let reader = tokio::spawn(async move { client.read(&mut [0; 100]).await });
            let said = if name == "says nothing" { &b"x"[..] } else { b"HTTP/1.1 200 OK" };
            // Fails or not, as the kernel tells that the other side is gone.
            let _ended = fake.misbehave(&mut stream, said, &turn(name)).await;
            reader.await.unwrap().unwrap();
            assert_eq!(*lock(&fake.tally).faults, [""; 0]);
        }
    }

    #[tokio::test]
    async fn a_port_is_kept_and_listened_on_again_while_its_connections_are_open() {
        let listener = listen(0, 1).unwrap();
        let address = listener.local_addr().unwrap();
        let _client = TcpStream::connect(address).await.unwrap();
        let _accepted = listener.accept().await.unwrap();
        drop(listener);
        let kept = bind(address.port()).unwrap();
        assert!(TcpStream::connect(address).await.is_err());
        drop(kept);
        listen(address.port(), 1).unwrap();
    }
}
