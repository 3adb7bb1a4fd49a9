//! What comes from the owner, from bytes to answers.
//!
//! A short value is copied out of the common buffer, into an allocation of just its size: a cached
//! value must not keep 64 KiB alive. A long one is read to where it stays, without the copy. Its
//! memory is the only one that a header can claim: no more than the longest value that was agreed
//! on, and only while somebody waits for it.

use std::io;
use std::task::{Context, Poll};

use carrotcache_byteview::ByteView;
use carrotcache_peer::{Answer, PeerError, PeerErrorKind, Purged};
use tokio::io::AsyncRead;
use tokio::time::Instant;

use super::shared::Shared;
use crate::link::frame::refusal::Refusal;
use crate::link::frame::reply::{FromOwner, Prefix, Value, is_readable};
use crate::link::frame::{FrameError, Front, HEADER_BYTES, Header, Id, front, kind};
use crate::link::input::{Input, WINDOW_BYTES, poll_read_into};

/// A value that is longer than this, and not yet all there, is read to where it stays.
const DIRECT_BYTES: usize = 8 << 10;

/// After a value this long, a read is for the head of the next only, so that what follows the head
/// can go to where it stays.
const LONG_BYTES: usize = 16 << 10;

/// How much is read for the head of a long value.
const HEAD_WINDOW_BYTES: usize = 4 << 10;

/// Reads frames, and collects what they tell.
///
/// It tells nobody itself: the driver does, so that all that one read brings is told under one
/// lock.
pub(super) struct Inbox {
    /// What was read, and does not lie in `body`. Empty while a wanted body is read.
    input: Input,
    /// The long value that is being read, if one is.
    body: Option<Body>,
    /// What was told, in the order of the frames. Kept for its memory when it is empty.
    events: Vec<Event>,
    /// Whether the owner has said HELLO, or begun to.
    met: bool,
    /// Which process it said that it is.
    incarnation: Option<u64>,
    /// The last value was long, so the next one probably is.
    long: bool,
}

/// What a frame tells of a get or a purge.
pub(super) enum Event {
    Answer(Id, Result<Answer, PeerError>),
    /// The value is to be fetched over HTTP.
    Detour(Id),
    Loading(Id),
    Purged(Id, Result<Purged, PeerError>),
}

/// A value that is being read to where it stays.
struct Body {
    id: Id,
    prefix: Prefix,
    bytes: Vec<u8>,
    /// How much of it has not come.
    left: usize,
    /// Whether anybody waited for it when it began. What nobody waits for is read and dropped: the
    /// frames behind it are wanted, and it must not take memory meanwhile. Somebody who leaves
    /// later does not change this, and the value is dropped when it is whole.
    wanted: bool,
}

impl Inbox {
    /// Returns what begins with the bytes that came behind the agreement on frames.
    pub(super) fn new(early: &[u8]) -> Self {
        let (input, events) = (Input::new(early), Vec::new());
        Self { input, body: None, events, met: false, incarnation: None, long: false }
    }

    /// Returns what has been told since it was emptied last.
    pub(super) fn events(&mut self) -> &mut Vec<Event> {
        &mut self.events
    }

    /// Reads once. Returns how many bytes came; zero at the end of the stream.
    ///
    /// To be called when [`parse`](Self::parse) has taken every frame. It never reads zero bytes
    /// for want of room, which would look like the end of the stream: a body that has all its bytes
    /// is gone by then.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut (impl AsyncRead + Unpin),
    ) -> Poll<io::Result<usize>> {
        if let Some(body) = self.body.as_mut().filter(|body| body.wanted) {
            let read = poll_read_into(cx, io, &mut body.bytes, body.left);
            if let Poll::Ready(Ok(count)) = read {
                body.left -= count.min(body.left);
            }
            return read;
        }
        let window = if self.long { HEAD_WINDOW_BYTES } else { WINDOW_BYTES };
        self.input.poll_read(cx, io, window)
    }

    /// Takes every frame that is there.
    ///
    /// # Errors
    ///
    /// When the owner does not keep to the protocol. What came before that has been told.
    pub(super) fn parse(&mut self, shared: &Shared) -> Result<(), FrameError> {
        let max_bytes = shared.config().max_reply_bytes();
        loop {
            if !self.finish_body() {
                return Ok(());
            }
            match front(self.input.bytes(), max_bytes)? {
                Front::Short => return Ok(()),
                Front::Begun(header, so_far) => {
                    check_met(&mut self.met, header)?;
                    match begin_body(header, so_far, shared) {
                        Some(body) => {
                            self.input.take(usize::MAX);
                            self.body = Some(body);
                        }
                        None => return Ok(()),
                    }
                }
                Front::Whole(header, payload) => {
                    check_met(&mut self.met, header)?;
                    let frame = FromOwner::decode(header, payload)?;
                    self.long = payload.len() > LONG_BYTES;
                    let bytes = HEADER_BYTES + payload.len();
                    take(frame, &mut self.incarnation, shared, &mut self.events);
                    self.input.take(bytes);
                }
            }
        }
    }

    /// Returns whether the next frame can be looked at: no value is being read, or all of it is
    /// there and has been told.
    fn finish_body(&mut self) -> bool {
        let Some(body) = &mut self.body else { return true };
        if !body.wanted {
            let dropped = body.left.min(self.input.bytes().len());
            self.input.take(dropped);
            body.left -= dropped;
        }
        if body.left > 0 {
            return false;
        }
        if let Some(body) = self.body.take().filter(|body| body.wanted) {
            let answer = body.prefix.answer(body.bytes.into());
            self.events.push(Event::Answer(body.id, Ok(signed(answer, self.incarnation))));
        }
        true
    }
}

/// Notes a HELLO, and finds fault with whatever comes before the first.
///
/// By the header alone: whoever agreed to a link and then speaks something else is found out by its
/// first sixteen bytes. Read as a header they may promise a megabyte, which would be waited for.
fn check_met(met: &mut bool, header: Header) -> Result<(), FrameError> {
    *met |= header.kind == kind::HELLO;
    if *met { Ok(()) } else { Err(FrameError::NoHello { kind: header.kind }) }
}

/// Returns the place for a value whose frame has begun; `None` if it is better waited for whole.
///
/// The length was checked against what was agreed on, so what is allocated here is bounded by that,
/// and there is one body at a time.
fn begin_body(header: Header, so_far: &[u8], shared: &Shared) -> Option<Body> {
    let len = usize::try_from(header.len).ok()?;
    if header.kind != kind::VALUE || len <= DIRECT_BYTES || !is_readable(header) {
        return None;
    }
    let Value { prefix, bytes: begun } = Value::decode(header, so_far)?;
    let left = len - so_far.len();
    let wanted = shared.lock().slots().has(header.id);
    let mut bytes = Vec::new();
    if wanted {
        bytes.reserve_exact(begun.len() + left);
        bytes.extend_from_slice(begun);
    }
    Some(Body { id: header.id, prefix, bytes, left, wanted })
}

/// Adds what a frame tells of a get or a purge to the `events`; notes what it tells of the owner.
fn take(
    frame: FromOwner<'_>,
    incarnation: &mut Option<u64>,
    shared: &Shared,
    events: &mut Vec<Event>,
) {
    events.push(match frame {
        FromOwner::Value { id, value: Value { prefix, bytes } } => {
            let answer = prefix.answer(ByteView::copy_from_slice(bytes));
            Event::Answer(id, Ok(signed(answer, *incarnation)))
        }
        FromOwner::Refusal { id, refusal, text } if id.purge().is_some() => {
            Event::Purged(id, Err(refusal.error(text)))
        }
        FromOwner::Refusal { id, refusal: Refusal::OverHttp, .. } => Event::Detour(id),
        FromOwner::Refusal { id, refusal, text } => {
            Event::Answer(id, refusal.answer(text).map(|absent| signed(absent, *incarnation)))
        }
        FromOwner::Purged { id, purged } => {
            let unreadable = || unreadable("what it says to the purge");
            Event::Purged(id, purged.ok_or_else(unreadable))
        }
        FromOwner::Unreadable(id) => Event::Answer(id, Err(unreadable("the value"))),
        FromOwner::Loading(id) => Event::Loading(id),
        FromOwner::Hello(hello) => {
            *incarnation = Some(hello.incarnation);
            let refused = shared.lock().meet(hello, Instant::now(), shared.config());
            shared.met(hello);
            return events.extend(refused.into_iter().map(|(id, why)| match id.purge() {
                Some(_) => Event::Purged(id, Err(why)),
                None => Event::Answer(id, Err(why)),
            }));
        }
        FromOwner::GoAway => return shared.lock().part(),
        FromOwner::Pong | FromOwner::Unknown => return,
    });
}

/// Returns the error of what is of a later version of the protocol.
fn unreadable(what: &str) -> PeerError {
    let error = PeerError::new(PeerErrorKind::Malformed);
    error.with_source(format!("{what} is of a later version of the protocol"))
}

/// Returns the answer with the process that gave it.
fn signed(mut answer: Answer, incarnation: Option<u64>) -> Answer {
    answer.incarnation = incarnation;
    answer
}
