//! Tests of both sides: each against one that is played by hand, and against each other.

mod asker;
mod asker_ends;
mod batch;
mod hostile;
mod looks;
mod owner;
mod owner_bounds;
mod owner_many;
mod page;
mod purge_asker;
mod purge_frames;
mod purge_owner;
mod random;
mod sockets;
mod splits;
mod together;
mod watcher;

use std::future::{self, Pending};
use std::sync::Arc;
use std::time::Duration;

use carrotcache_peer::{Answer, Completion, Entry, Handler, PeerError, Request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::asker::{Detour, Link, Waiter};
use super::config::LinkConfig;
use super::end::End;
use super::frame::refusal::Refusal;
use super::frame::reply::{Prefix, ValueHead, encode_refusal};
use super::frame::request::{FromAsker, Get, GetKind, encode_get};
use super::frame::{HEADER_BYTES, Header, Id, kind};
use super::owner::{Activity, Serving};
use crate::config::Config;
use crate::wire::about::Times;

/// What a completion is told.
type Told = Result<Answer, PeerError>;

/// Much longer than anything takes, on a clock that jumps.
const SOON: Duration = Duration::from_secs(3600);

/// How long gets wait for their answer.
const TIME: Duration = Duration::from_secs(60);

/// Returns a get, and what its completion is told.
fn waiter(key: &str) -> (Waiter, oneshot::Receiver<Told>) {
    waiter_for(key, TIME)
}

fn waiter_for(key: &str, time: Duration) -> (Waiter, oneshot::Receiver<Told>) {
    let (completion, told) = completion();
    let deadline = Instant::now() + time;
    (Waiter::new(Request::new("g", key, deadline.into_std()), completion), told)
}

fn completion() -> (Completion, oneshot::Receiver<Told>) {
    let (tell, told) = oneshot::channel();
    (Completion::new(|answer| drop(tell.send(answer))), told)
}

/// Returns what comes, or fails: what is awaited here always comes, on a clock that jumps.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("it comes soon")
}

/// Returns what a get was told.
async fn told(told: oneshot::Receiver<Told>) -> Told {
    soon(told).await.expect("a completion is told before it is dropped")
}

/// Returns the text of the value that a get was told.
async fn value(receiver: oneshot::Receiver<Told>) -> String {
    let answer = told(receiver).await.expect("a value");
    answer.entry.value().expect("a value").as_str().expect("UTF-8").to_owned()
}

/// A link whose owner is played by hand.
struct Asker {
    link: Link,
    ended: JoinHandle<Arc<End>>,
    detoured: mpsc::UnboundedReceiver<Waiter>,
}

impl Asker {
    /// Returns a link and its owner's end of the connection. The owner has not said HELLO.
    fn new(config: LinkConfig) -> (Self, Wire) {
        Self::with(config, &[], None)
    }

    fn with(config: LinkConfig, early: &[u8], first: Option<Waiter>) -> (Self, Wire) {
        let (ours, theirs) = duplex(64 << 10);
        let (detour, detoured) = detour();
        let (link, driver) = Link::new(ours, early, first, config, detour);
        (Self { link, ended: tokio::spawn(driver), detoured }, Wire(theirs))
    }

    /// Returns a link whose owner has said HELLO, after the asker's own was read.
    async fn met() -> (Self, Wire) {
        Self::met_with(LinkConfig::default()).await
    }

    async fn met_with(config: LinkConfig) -> (Self, Wire) {
        let (asker, mut owner) = Self::new(config);
        owner.hello().await;
        assert_eq!(owner.read().await.0.kind, kind::HELLO);
        (asker, owner)
    }

    /// Sends a get. Returns what it is told.
    fn get(&self, key: &str) -> oneshot::Receiver<Told> {
        self.get_for(key, TIME)
    }

    fn get_for(&self, key: &str, time: Duration) -> oneshot::Receiver<Told> {
        let (waiter, told) = waiter_for(key, time);
        self.link.get(waiter).expect("it is sent");
        told
    }

    /// Waits until the link has ended.
    async fn end(self) -> Arc<End> {
        soon(self.ended).await.expect("no panic")
    }
}

fn detour() -> (Detour, mpsc::UnboundedReceiver<Waiter>) {
    let (send, detoured) = mpsc::unbounded_channel();
    (Arc::new(move |waiter| drop(send.send(waiter))), detoured)
}

/// One end of a connection, whose frames are read and written by hand.
struct Wire(DuplexStream);

impl Wire {
    async fn send(&mut self, bytes: &[u8]) {
        soon(self.0.write_all(bytes)).await.expect("the other end reads");
    }

    async fn hello(&mut self) {
        self.send(&hello()).await;
    }

    async fn bare(&mut self, kind: u8, id: Id) {
        self.send(&Header::bare(kind, id).encode()).await;
    }

    async fn value(&mut self, id: Id, value: &[u8]) {
        self.send(&value_frame(id, value)).await;
    }

    async fn refuse(&mut self, id: Id, refusal: Refusal, text: &str) {
        let mut frame = Vec::new();
        encode_refusal(&mut frame, id, refusal, text);
        self.send(&frame).await;
    }

    async fn get(&mut self, slot: u32, key: &str) {
        self.send(&get_frame(id(slot), "g", key)).await;
    }

    /// Returns the next frame.
    async fn read(&mut self) -> (Header, Vec<u8>) {
        self.try_read().await.expect("a frame")
    }

    /// Returns the next frame; `None` at the end of the stream.
    async fn try_read(&mut self) -> Option<(Header, Vec<u8>)> {
        let mut header = [0; HEADER_BYTES];
        soon(self.0.read_exact(&mut header)).await.ok()?;
        let header = Header::decode(&header);
        let mut payload = vec![0; header.len as usize];
        soon(self.0.read_exact(&mut payload)).await.expect("a whole frame");
        Some((header, payload))
    }

    /// Returns the next bytes, so many of them.
    async fn read_bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        soon(self.0.read_exact(&mut bytes)).await.expect("as many bytes");
        bytes
    }

    /// Reads the next bytes, which are these.
    async fn expect_bytes(&mut self, bytes: Vec<u8>) {
        assert_eq!(self.read_bytes(bytes.len()).await, bytes);
    }

    /// Returns the id of the next frame, which is a get of `key`.
    async fn read_get(&mut self, key: &str) -> Id {
        let (id, asked) = self.read_any_get().await;
        assert_eq!(asked, key);
        id
    }

    /// Returns the id and the key of the next frame, which is a get.
    async fn read_any_get(&mut self) -> (Id, String) {
        let (header, payload) = self.read().await;
        match FromAsker::decode(header, &payload) {
            Ok(FromAsker::Get { id, get }) => (id, get.key.to_owned()),
            other => panic!("not a get: {other:?}"),
        }
    }

    /// Reads the next frame, which is of this kind and about this get.
    async fn expect(&mut self, kind: u8, id: Id) {
        let (header, _) = self.read().await;
        assert_eq!((header.kind, header.id), (kind, id));
    }

    /// Reads the next frame, which is this value.
    async fn expect_value(&mut self, id: Id, value: &[u8]) {
        let (header, payload) = self.read().await;
        assert_eq!((header.kind, header.id), (kind::VALUE, id));
        assert_eq!(payload, value);
    }

    /// Reads the next frame, which is this refusal. Returns its text.
    async fn expect_refusal(&mut self, id: Id, refusal: Refusal) -> String {
        let (header, payload) = self.read().await;
        assert_eq!((header.kind, header.id), (kind::REFUSAL, id));
        assert_eq!(Refusal::from_code(header.aux), refusal);
        String::from_utf8(payload).expect("UTF-8")
    }
}

/// Returns what serves a link with these bounds, for ever.
fn serving<IO, H>(io: IO, handler: H, link: LinkConfig) -> Serving<IO, H, Pending<()>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
{
    let (handler, config) = (Arc::new(handler), Arc::new(Config { link, ..Config::default() }));
    Serving::new(io, b"", None, handler, config, Activity::default(), future::pending())
}

fn id(slot: u32) -> Id {
    Id { slot, generation: 9 }
}

fn hello() -> Vec<u8> {
    let mut frame = Vec::new();
    LinkConfig::default().hello().encode(&mut frame);
    frame
}

fn value_frame(id: Id, value: &[u8]) -> Vec<u8> {
    [ValueHead::new(id, Prefix::default(), value.len()).as_bytes(), value].concat()
}

fn get_frame(id: Id, group: &str, key: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    assert!(encode_get(
        &mut frame,
        id,
        Get { millis_left: 60_000, group, key, kind: GetKind::default() }
    ));
    frame
}
