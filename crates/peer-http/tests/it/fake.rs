//! A peer that can misbehave in every way that a socket allows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::support::{listen, read_head, value_reply};

/// What a fake peer does next on a connection. At the end of its script it closes the connection.
#[derive(Clone)]
pub(crate) enum Step {
    /// Reads the head of a request.
    Request,
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends these bytes again and again, until the other side closes.
    Endless(Vec<u8>),
    /// Sends these bytes again and again, one at a time and 1 ms apart, until the other side closes.
    Trickle(Vec<u8>),
    /// Waits for the moment that the test [lets](FakePeer::let_go_on) pass.
    Wait,
    /// Does nothing until the other side closes.
    Hold,
    /// Says that it will send no more, and does nothing until the other side closes.
    HalfClose,
    /// Resets the connection.
    Reset,
}

/// A peer that follows a script.
pub(crate) struct FakePeer {
    pub(crate) url: String,
    pub(crate) seen: Arc<Seen>,
}

/// What a fake peer has seen.
pub(crate) struct Seen {
    /// How many connections were made to it.
    pub(crate) accepted: AtomicUsize,
    /// How many bytes it could send.
    pub(crate) sent: AtomicU64,
    /// A permit for each connection that the other side was seen to close.
    pub(crate) closed: Semaphore,
    /// A permit for each time that it has begun to [`Wait`](Step::Wait).
    pub(crate) waiting: Semaphore,
    go_on: Semaphore,
}

impl FakePeer {
    /// Starts a peer that follows the first script on its first connection, the second on its second,
    /// and so on. On further ones it answers every request with the key that was asked for.
    pub(crate) async fn start(scripts: Vec<Vec<Step>>) -> Self {
        let (listener, url) = listen().await;
        let seen = Arc::new(Seen {
            accepted: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
            closed: Semaphore::new(0),
            waiting: Semaphore::new(0),
            go_on: Semaphore::new(0),
        });
        tokio::spawn(accept(listener, scripts, Arc::clone(&seen)));
        Self { url, seen }
    }

    /// Lets one connection that waits go on.
    pub(crate) fn let_go_on(&self) {
        self.seen.go_on.add_permits(1);
    }
}

impl Seen {
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, scripts: Vec<Vec<Step>>, seen: Arc<Seen>) {
    let mut scripts = scripts.into_iter();
    while let Ok((stream, _)) = listener.accept().await {
        seen.accepted.fetch_add(1, Ordering::Relaxed);
        match scripts.next() {
            Some(script) => tokio::spawn(follow(stream, script, Arc::clone(&seen))),
            None => tokio::spawn(behave(stream)),
        };
    }
}

/// Answers as a node should, each request with its key.
async fn behave(mut stream: TcpStream) {
    loop {
        let head = read_head(&mut stream).await;
        let Some(path) = head.split(' ').nth(1) else { return };
        let key = path.rsplit('/').next().unwrap_or_default();
        if stream.write_all(&value_of(key)).await.is_err() {
            return;
        }
    }
}

/// Returns the reply with this value, of less than 128 bytes.
pub(crate) fn value_of(value: &str) -> Vec<u8> {
    let length = u8::try_from(value.len()).expect("a short value");
    value_reply([&[0x0a, length], value.as_bytes()].concat())
}

async fn follow(mut stream: TcpStream, script: Vec<Step>, seen: Arc<Seen>) {
    for step in script {
        if !take(step, &mut stream, &seen).await {
            seen.closed.add_permits(1);
            return;
        }
    }
}

/// Takes a step, and returns whether the connection still stands.
async fn take(step: Step, stream: &mut TcpStream, seen: &Seen) -> bool {
    match step {
        Step::Request => !read_head(stream).await.is_empty(),
        Step::Send(bytes) => send(stream, &bytes, seen).await,
        Step::Endless(bytes) => {
            // Many at once, or sending them would take longer than reading them.
            let bytes = bytes.repeat((64 << 10) / bytes.len() + 1);
            while send(stream, &bytes, seen).await {}
            false
        }
        Step::Trickle(bytes) => {
            for byte in bytes.iter().cycle() {
                if !send(stream, &[*byte], seen).await {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            false
        }
        Step::Wait => {
            seen.waiting.add_permits(1);
            seen.go_on.acquire().await.expect("never closed").forget();
            true
        }
        Step::Hold => {
            // Whatever still comes; the end of it is what is waited for.
            drop(stream.read_to_end(&mut Vec::new()).await);
            false
        }
        Step::HalfClose => {
            drop(stream.shutdown().await);
            drop(stream.read_to_end(&mut Vec::new()).await);
            false
        }
        Step::Reset => {
            let linger = SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
            linger.expect("the option is supported");
            true
        }
    }
}

/// Sends these bytes, counts what the other side takes of them, and returns whether it took all.
async fn send(stream: &mut TcpStream, mut bytes: &[u8], seen: &Seen) -> bool {
    while !bytes.is_empty() {
        match stream.write(bytes).await {
            Ok(sent) if sent > 0 => {
                seen.sent.fetch_add(sent as u64, Ordering::Relaxed);
                bytes = &bytes[sent..];
            }
            _ => return false,
        }
    }
    true
}
