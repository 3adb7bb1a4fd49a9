//! What becomes of a request.
//!
//! Nothing here waits, or touches a socket. What the handler does at once is queued at once; what
//! it promises becomes a load. Every get of a frame that could be read is answered, once, unless
//! its asker cancels it: with a value, or with a refusal that says why there is none.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use carrotcache_peer::{Handler, Keys, PeerError, PeerErrorKind, Purged, Reply, Request};
use tokio::time::Instant;

use super::loads::{Answered, Loads, panicked};
use super::out::Out;
use super::purges::Purges;
use crate::config::Config;
use crate::link::frame::hello::{Hello, MIN_VALUE_BYTES};
use crate::link::frame::purge::{Purging, encode_purged};
use crate::link::frame::refusal::Refusal;
use crate::link::frame::request::{FromAsker, Get, GetMany};
use crate::link::frame::{FrameError, Header, Id, kind, len_u32};
use crate::wire::outcome::{Outcome, one_line};
use crate::wire::upgrade;

/// Hands requests to the handler, and queues what it answers.
pub(super) struct Desk<H> {
    handler: Arc<H>,
    config: Arc<Config>,
    /// The gets that have been told LOADING.
    loads: Loads,
    purges: Purges,
    /// Whether the asker may purge. One that may not has shown nobody who it is.
    pub(super) takes_purges: bool,
    /// The answers that are to be written.
    out: Out,
    /// Most requests are for the same group as the one before, and share its name: one that is not
    /// at hand costs a copy of its key, and none of this.
    group: Arc<str>,
    /// The ring that the asker was told of, by its fingerprint.
    ring: u64,
    /// Whether the asker has said HELLO.
    met: bool,
    /// Whether the asker has said GOAWAY.
    is_leaving: bool,
    /// The longest value that both sides take over the link, as far as is known: until the asker's
    /// HELLO, that is what every node takes. A longer one goes over HTTP then, once for each link.
    max_value_bytes: u32,
    /// When so much is queued, large values go over HTTP, where all connections share a bound.
    max_large_bytes: usize,
    /// When the last get or purge came.
    asked: Instant,
}

/// The longest time that an asker is believed to wait for a load over a link. It hears that there
/// is one, how many there may be is bounded, and they end with the connection.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

/// Why an asker may not purge, and what to do about it.
pub(crate) const NO_PURGES: &str = "from another machine it takes removes only with a secret or a \
     client's certificate: give one to all nodes, or say allow_purges_from_anyone where nobody else \
     can reach them";

/// How many times the bytes that stop the reading may be queued: by loads that end, and by the keys of
/// one frame. They are under way already, and it is better to be rid of them, but not at any price.
const QUEUED_TIMES: usize = 16;

impl<H: Handler> Desk<H> {
    /// Returns a desk with a HELLO to be written. It goes first, without waiting for the asker's.
    pub(super) fn new(handler: Arc<H>, config: Arc<Config>) -> Self {
        let (link, mut out) = (&config.link, Out::new());
        let hello = link.hello();
        out.small(|out| hello.encode(out));
        Self {
            handler,
            ring: hello.ring,
            loads: Loads::new(link.max_loads, "loads"),
            purges: Purges::new(),
            takes_purges: true,
            out,
            group: Arc::from(""),
            met: false,
            is_leaving: false,
            max_value_bytes: link.max_value_bytes.min(MIN_VALUE_BYTES),
            max_large_bytes: link.max_queued_bytes.saturating_mul(QUEUED_TIMES),
            asked: Instant::now(),
            config,
        }
    }

    /// Returns what is to be written.
    pub(super) fn out(&mut self) -> &mut Out {
        &mut self.out
    }

    /// Returns whether nothing is under way, and nothing waits to be written.
    pub(super) fn is_resting(&self) -> bool {
        self.loads.is_empty() && self.purges.is_empty() && self.out.queued() == 0
    }

    /// Returns when the last get or purge came.
    pub(super) fn asked(&self) -> Instant {
        self.asked
    }

    /// Returns whether the asker has said HELLO. Until then it has little time.
    pub(super) fn has_met(&self) -> bool {
        self.met
    }

    /// Returns whether the asker is leaving, and all that it asked is answered and written.
    pub(super) fn is_done(&self) -> bool {
        self.is_leaving && self.is_resting()
    }

    /// Queues the answers of loads and purges that have ended.
    ///
    /// These come whether the asker reads or not.
    pub(super) fn collect(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready((id, answered)) = self.loads.poll_next(cx) {
            self.answered(id, answered);
        }
        while let Poll::Ready((id, purged)) = self.purges.poll_next(cx) {
            self.purged(id, purged);
        }
    }

    /// Checks what is known of a frame by its header.
    ///
    /// # Errors
    ///
    /// When it comes before the first HELLO, and is none.
    pub(super) fn check(&self, header: Header) -> Result<(), FrameError> {
        if self.met || header.kind == kind::HELLO {
            return Ok(());
        }
        Err(FrameError::NoHello { kind: header.kind })
    }

    /// Does what a frame says that came at `now`.
    ///
    /// # Errors
    ///
    /// When the asker does not keep to the protocol.
    pub(super) fn take(
        &mut self,
        header: Header,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), FrameError> {
        self.tell_ring();
        match FromAsker::decode(header, payload)? {
            FromAsker::Hello(hello) => self.meet(hello),
            FromAsker::Get { id, get } => self.get(id, get, now),
            FromAsker::GetMany(many) => self.get_many(&many, now)?,
            FromAsker::Look { id, get } => self.look(id, get, now),
            FromAsker::Purge { id, purge: Ok(purging) } => {
                self.purge(id, *purging, payload.len(), now);
            }
            FromAsker::Purge { id, purge: Err(why) } => self.refuse(id, why),
            FromAsker::Unreadable(id) => {
                self.refuse(id, "the request is of a later version of the protocol");
            }
            FromAsker::Cancel(id) => {
                self.loads.cancel(id);
                self.out.cancel(id);
            }
            FromAsker::Ping(id) => self.out.bare(kind::PONG, id),
            FromAsker::GoAway => self.is_leaving = true,
            FromAsker::Unknown => {}
        }
        Ok(())
    }

    /// Says HELLO again if the ring has changed, so that the asker can tell whether it has the same one.
    fn tell_ring(&mut self) {
        let link = &self.config.link;
        if link.ring.load(Ordering::Relaxed) != self.ring {
            let hello = link.hello();
            self.ring = hello.ring;
            self.out.small(|out| hello.encode(out));
        }
    }

    /// Notes what the asker takes.
    fn meet(&mut self, hello: Hello) {
        self.met = true;
        self.max_value_bytes = self.config.link.max_value_bytes.min(hello.max_value_bytes);
    }

    /// Answers a get, now or by a load.
    fn get(&mut self, id: Id, get: Get<'_>, now: Instant) {
        if let Some(request) = self.at_hand(id, get, now) {
            self.ask(id, request);
        }
    }

    /// Answers many gets. Those that are not at hand are asked for together, so that the handler may
    /// load them by one query.
    fn get_many(&mut self, many: &GetMany<'_>, now: Instant) -> Result<(), FrameError> {
        let (mut ids, mut requests) = (Vec::new(), Vec::new());
        for get in many.gets() {
            let (id, get) = get?;
            if let Some(request) = self.at_hand(id, get, now) {
                ids.push(id);
                requests.push(request);
            }
        }
        self.ask_many(&ids, requests);
        Ok(())
    }

    /// Answers a get if that can be done without a request, and returns that if not.
    ///
    /// The names are looked at before the handler sees them: they are from the network. What the
    /// asker says of its time is believed up to [`LONGEST_WAIT`].
    fn at_hand(&mut self, id: Id, get: Get<'_>, now: Instant) -> Option<Request> {
        if let Some(reason) = self.config.refuse(get.group, get.key) {
            self.refuse(id, &reason);
            return None;
        }
        self.asked = now;
        // Most are answered here, of names that nobody had to copy.
        let at_hand = guarded(|| self.handler.at_hand(get.group, get.key));
        if let Some(answered) = at_hand.transpose() {
            self.answered(id, answered);
            return None;
        }
        if *self.group != *get.group {
            self.group = Arc::from(get.group);
        }
        let time_left = match get.millis_left {
            0 => self.config.max_time_left,
            millis => Duration::from_millis(millis.into()).min(LONGEST_WAIT),
        };
        let deadline = now + time_left;
        let request = Request::new(Arc::clone(&self.group), get.key, deadline.into_std());
        Some(get.kind.mark(request))
    }

    /// Answers a look, now: a task would cost more than what it asks for is worth.
    fn look(&mut self, id: Id, get: Get<'_>, now: Instant) {
        if let Some(reason) = self.config.refuse(get.group, get.key) {
            return self.refuse(id, &reason);
        }
        self.asked = now;
        match guarded(|| self.handler.look(get.group, get.key)) {
            Ok(Some(answer)) => self.answered(id, Ok(answer)),
            Ok(None) => self.out.refusal(id, Refusal::NotCached, ""),
            Err(panicked) => self.failed(id, &panicked),
        }
    }

    /// Answers the get that asked for the link, which may want nothing else.
    pub(super) fn first(&mut self, request: Request) {
        if upgrade::is_bare(&request.group, &request.key) {
            let refusal = Refusal::Outcome(Outcome::NoSuchGroup);
            return self.out.refusal(Id::FIRST, refusal, "here is the link");
        }
        self.ask(Id::FIRST, request);
    }

    /// Asks the handler, and queues its answer, or that it is loading.
    fn ask(&mut self, id: Id, request: Request) {
        let deadline = Instant::from_std(request.deadline);
        let reply = guarded(|| self.handler.answer(request));
        self.replied(id, reply.unwrap_or_else(|panicked| Reply::ready(Err(panicked))), deadline);
    }

    /// Asks the handler for the gets of one frame, which have one time, and queues what it answers. A
    /// panic is an error of each of them, and so is an answer that is missing.
    fn ask_many(&mut self, ids: &[Id], requests: Vec<Request>) {
        let Some(deadline) = requests.first().map(|first| Instant::from_std(first.deadline)) else {
            return;
        };
        let (replies, error) = match guarded(|| self.handler.answer_many(requests)) {
            Ok(replies) => (replies, missing()),
            Err(panicked) => (Vec::new(), panicked),
        };
        let mut replies = replies.into_iter();
        for id in ids {
            let reply = replies.next().unwrap_or_else(|| Reply::ready(Err(error.clone())));
            self.replied(*id, reply, deadline);
        }
    }

    /// Queues the answer to a get, or that it is loading.
    fn replied(&mut self, id: Id, reply: Reply, deadline: Instant) {
        match reply {
            Reply::Ready(answered) => self.answered(id, answered),
            Reply::Pending(answer) => match self.loads.start(id, answer, deadline) {
                Ok(()) => self.out.bare(kind::LOADING, id),
                Err(error) => self.answered(id, Err(error)),
            },
        }
    }

    /// Queues what the handler has answered.
    fn answered(&mut self, id: Id, answered: Answered) {
        match answered {
            Ok(answer) => {
                // Far over the bound only small values are queued, so that what one asker makes this
                // node hold stays bounded, whatever it asks for at once.
                let max_bytes = match self.out.queued() > self.max_large_bytes {
                    true => self.max_value_bytes.min(MIN_VALUE_BYTES),
                    false => self.max_value_bytes,
                };
                let max_bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX);
                self.out.answer(id, answer, max_bytes);
            }
            Err(error) => self.failed(id, &error),
        }
    }

    /// Has the handler forget what a purge says, whose payload has so many bytes. Queues what it says to
    /// that, now or when it does.
    ///
    /// What is not as it should be is refused before the handler hears of it. The asker is believed as far
    /// as over HTTP about its time: it hears nothing before the answer.
    fn purge(&mut self, id: Id, purging: Purging, bytes: usize, now: Instant) {
        if !self.takes_purges {
            return self.failed(id, &stranger());
        }
        if let Some(reason) = self.refuse_purge(&purging) {
            return self.refuse(id, &reason);
        }
        if let Some(error) = self.purges.refusal(id, bytes) {
            return self.failed(id, &error);
        }
        self.asked = now;
        let time_left = match purging.millis_left {
            0 => self.config.max_time_left,
            millis => Duration::from_millis(millis.into()).min(self.config.max_time_left),
        };
        let deadline = now + time_left;
        let reply = guarded(|| self.handler.purge(purging.until(deadline.into_std())));
        match reply.unwrap_or_else(|panicked| Reply::ready(Err(panicked))) {
            Reply::Ready(purged) => self.purged(id, purged),
            Reply::Pending(answer) => {
                if let Err(error) = self.purges.start(id, bytes, answer, deadline) {
                    self.failed(id, &error);
                }
            }
        }
    }

    /// Returns why a purge is not taken, if it is not. One key that is not as it should be is enough: a
    /// node that sends it is not to be trusted with the others.
    fn refuse_purge(&self, purging: &Purging) -> Option<String> {
        let value_bytes = purging.value().map_or(0, |value| value.len());
        if len_u32(value_bytes) > self.config.link.max_value_bytes {
            return Some(format!("value of {value_bytes} bytes is too large for a link"));
        }
        let keys = match &purging.keys {
            Keys::All => &[][..],
            Keys::These(keys) => &keys[..],
        };
        let refuse_key = || keys.iter().find_map(|key| self.config.refuse_key(key));
        self.config.refuse_group(&purging.group).or_else(refuse_key)
    }

    /// Queues what the handler says to a purge.
    fn purged(&mut self, id: Id, purged: Answered<Purged>) {
        match purged {
            Ok(purged) => self.out.small(|out| encode_purged(out, id, purged)),
            Err(error) => self.failed(id, &error),
        }
    }

    /// Queues that a request makes no sense.
    fn refuse(&mut self, id: Id, why: &str) {
        self.out.refusal(id, Refusal::Outcome(Outcome::Invalid), why);
    }

    /// Queues an error. Its causes are told, as one line: the kind has a number of its own.
    fn failed(&mut self, id: Id, error: &PeerError) {
        let refusal = Refusal::Outcome(Outcome::of(error.kind));
        let causes = error.causes();
        let text = if causes.is_empty() { error.to_string() } else { causes };
        self.out.refusal(id, refusal, &one_line(&text));
    }
}

/// Returns the error of a purge by one who may not, which says what to do about it.
fn stranger() -> PeerError {
    PeerError::new(PeerErrorKind::Unauthorized).with_source(NO_PURGES)
}

/// Calls the handler. A panic is an error of the get that it was called for: on this task it would
/// end those of everybody else.
fn guarded<T>(handler: impl FnOnce() -> T) -> Result<T, PeerError> {
    catch_unwind(AssertUnwindSafe(handler)).map_err(panicked)
}

/// Returns the error of a get that a handler passed over.
fn missing() -> PeerError {
    PeerError::new(PeerErrorKind::Failed).with_source("the handler gave no answer")
}
