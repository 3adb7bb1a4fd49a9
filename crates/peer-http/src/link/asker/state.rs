//! What the callers and the task of a link share, under one lock.
//!
//! A caller finds a slot, appends its frame to `out`, and wakes the task. Frame and slot are one
//! step: no other get can come between the two, so an id is never on the wire without its waiter in
//! place.

use std::sync::MutexGuard;
use std::task::Waker;
use std::time::Duration;

use carrotcache_peer::{Completion, PeerError, Purged, Request};
use tokio::time::Instant;

use super::looks::{self, Looks};
use super::purges::{self, PurgeWaiter, Purges, UnsentPurge};
use super::slots::Slots;
use super::waiter::{Unsent, Waiter, Why, is_about, millis_left};
use crate::link::config::LinkConfig;
use crate::link::end::End;
use crate::link::frame::hello::{Hello, MIN_REQUEST_BYTES};
use crate::link::frame::request::{
    Get, GetKind, MANY_KEY_BYTES, ManyWriter, encode_get, get_bytes,
};
use crate::link::frame::{Header, Id, kind, len_usize};

/// Gets under way, and the bytes that are to be written for them.
pub(super) struct State {
    slots: Slots,
    purges: Purges,
    /// Whole frames that wait to be written. No get is added when they are more than
    /// [`max_unsent_bytes`](LinkConfig::max_unsent_bytes).
    out: Vec<u8>,
    /// No get or purge expires before this. The one that it stood for may be over: then the timer fires once
    /// for nothing, which is cheaper than to look for the next at each answer.
    expires: Option<Instant>,
    /// Since when there have been gets or purges under way without a pause. An owner that is asked nothing is
    /// not silent, it rests.
    busy_since: Instant,
    /// Since when gets have run out of time and none was answered, and when the last one did. With little
    /// time each, and pauses in between, they would never add up to a silence.
    in_vain: Option<(Instant, Instant)>,
    /// The task was woken and will look at `out`: it need not be woken again.
    ///
    /// Set under the lock by the first caller who has something to write, cleared under the lock by
    /// the task when it finds `out` empty, or the socket full. So no wake is lost, and of many
    /// callers one pays for it.
    scheduled: bool,
    /// What wakes the task. Taken by whoever uses it, and left anew at each rest.
    task: Option<Waker>,
    /// What the owner has said of itself, last.
    hello: Option<Hello>,
    /// The looks that are to be sent when it has, if it takes any.
    looks: Looks,
    standing: Standing,
}

/// After a longer pause what is asked has nothing to do with what was asked in vain before.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Whether gets may be sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Open,
    /// The handle was dropped. The link ends with its last get.
    Unneeded,
    /// The owner said GOAWAY. The link ends with its last get.
    Goodbye,
    /// The link has ended.
    Over,
}

/// What the task has to do before it may sleep.
pub(super) enum Rest {
    /// A caller has left something to write since the last write.
    Write,
    /// Leave: nothing is under way, and nothing will be.
    End(End),
    /// Nothing, until something happens or it is one of these times.
    Sleep(Times),
}

/// What the clock goes by.
#[derive(Clone, Copy)]
pub(super) struct Times {
    /// When the next get or purge expires, or earlier.
    pub(super) expires: Option<Instant>,
    /// Since when something has been under way; `None` if nothing is.
    pub(super) busy_since: Option<Instant>,
}

/// What callers do.
impl State {
    /// Returns the state of a new link, with a HELLO to be written.
    ///
    /// The `first` get takes the first slot, and no frame is written for it.
    pub(super) fn new(config: &LinkConfig, first: Option<Waiter>) -> Self {
        let now = Instant::now();
        let mut state = Self {
            slots: Slots::new(config.max_in_flight),
            purges: Purges::default(),
            out: Vec::new(),
            expires: None,
            busy_since: now,
            in_vain: None,
            scheduled: false,
            task: None,
            hello: None,
            looks: Looks::default(),
            standing: Standing::Open,
        };
        config.hello().encode(&mut state.out);
        if let Some(first) = first {
            state.put(first, now);
        }
        state
    }

    /// Takes a get and writes its frame.
    ///
    /// # Errors
    ///
    /// The get is given back if it cannot be sent; nothing has changed then.
    pub(super) fn get(
        &mut self,
        waiter: Waiter,
        now: Instant,
        config: &LinkConfig,
    ) -> Result<Id, Unsent> {
        if let Some(why) = self.refusal(&waiter.request, config) {
            return Err(Unsent { waiter, why });
        }
        if waiter.is_look {
            return self.look(waiter, now);
        }
        let Request { group, key, deadline, .. } = &waiter.request;
        let millis_left = millis_left(Instant::from_std(*deadline), now);
        let get = Get { millis_left, group, key, kind: GetKind::of(&waiter.request) };
        if !encode_get(&mut self.out, self.slots.next_id(), get) {
            return Err(Unsent { waiter, why: Why::TooLong });
        }
        Ok(self.put(waiter, now))
    }

    /// Takes a look and writes its frame; before the owner's HELLO it is kept until that comes.
    ///
    /// # Errors
    ///
    /// The look is given back if the owner takes none; nothing has changed then.
    fn look(&mut self, waiter: Waiter, now: Instant) -> Result<Id, Unsent> {
        let Some(hello) = self.hello else {
            let id = self.put(waiter, now);
            self.looks.keep(id);
            return Ok(id);
        };
        if !hello.takes_looks {
            return Err(Unsent { waiter, why: Why::NoLooks });
        }
        match looks::write(&mut self.out, self.slots.next_id(), &waiter.request, now) {
            true => Ok(self.put(waiter, now)),
            false => Err(Unsent { waiter, why: Why::TooLong }),
        }
    }

    /// Takes many gets and writes their frames. Returns those that were not taken.
    ///
    /// Those of one group, deadline and kind that follow each other share frames. Each is a get of its
    /// own from there on: it has its slot, is answered and expires by itself.
    pub(super) fn get_many(
        &mut self,
        waiters: Vec<Waiter>,
        now: Instant,
        config: &LinkConfig,
    ) -> Vec<Unsent> {
        let max_bytes = self.max_request_bytes();
        let mut unsent = Vec::new();
        let mut open: Option<(ManyWriter, Request)> = None;
        for mut waiter in waiters {
            if waiter.is_look {
                unsent.extend(self.get(waiter, now, config).err());
                continue;
            }
            waiter.is_batched = true;
            if let Some(why) = self.refusal(&waiter.request, config) {
                unsent.push(Unsent { waiter, why });
                continue;
            }
            let Request { group, key, deadline, .. } = &waiter.request;
            let kind = GetKind::of(&waiter.request);
            let is_other = |(frame, first): &mut (ManyWriter, Request)| {
                first.group != *group
                    || !is_about(first.deadline, *deadline)
                    || GetKind::of(first) != kind
                    || frame.is_full_for(&self.out, key, max_bytes)
            };
            if let Some((frame, _)) = open.take_if(is_other) {
                frame.finish(&mut self.out);
            }
            if open.is_none() {
                let millis_left = millis_left(Instant::from_std(*deadline), now);
                let frame = ManyWriter::begin(&mut self.out, group, millis_left, kind);
                open = frame.map(|frame| (frame, waiter.request.clone()));
            }
            let id = self.slots.next_id();
            if open.as_mut().is_some_and(|(frame, ..)| frame.push(&mut self.out, id, key)) {
                self.put(waiter, now);
            } else {
                unsent.push(Unsent { waiter, why: Why::TooLong });
            }
        }
        if let Some((frame, ..)) = open {
            frame.finish(&mut self.out);
        }
        unsent
    }

    /// Takes a purge and writes its frame; before the owner's HELLO it is kept until that comes, and while
    /// the owner has as many as it takes, until one of them has ended. An entry that is too long for the
    /// link is left out.
    ///
    /// # Errors
    ///
    /// The purge is given back if it cannot be sent; nothing has changed then.
    pub(super) fn purge(
        &mut self,
        waiter: PurgeWaiter,
        now: Instant,
        config: &LinkConfig,
    ) -> Result<(), UnsentPurge> {
        if self.standing != Standing::Open {
            return Err(UnsentPurge::Over(waiter));
        }
        let is_full = self.out.len() > config.max_unsent_bytes;
        if let Some(error) = self.purges.refusal(is_full) {
            return Err(UnsentPurge::Refused(waiter, error));
        }
        let (hello, id) = (self.hello.filter(|_| self.purges.may_send()), self.purges.next_id());
        if let Some(Err(error)) =
            hello.map(|hello| purges::write(&mut self.out, id, &waiter.purge, hello, now, config))
        {
            return Err(UnsentPurge::Refused(waiter, error));
        }
        self.begin(Instant::from_std(waiter.purge.deadline), now);
        self.purges.put(waiter, hello.is_some());
        Ok(())
    }

    /// Returns why a get cannot be sent, if it cannot.
    fn refusal(&self, request: &Request, config: &LinkConfig) -> Option<Why> {
        let bytes = get_bytes(&request.group, &request.key).saturating_add(MANY_KEY_BYTES);
        if self.standing != Standing::Open {
            Some(Why::Over)
        } else if bytes > self.max_request_bytes() {
            Some(Why::TooLong)
        } else if self.slots.is_full() || self.out.len() > config.max_unsent_bytes {
            Some(Why::Full)
        } else {
            None
        }
    }

    /// Returns the longest payload of a request that the owner takes, as far as is known. Before
    /// its HELLO that is what every node takes: gets need not wait for it.
    fn max_request_bytes(&self) -> usize {
        let bytes = self.hello.map_or(MIN_REQUEST_BYTES, |hello| hello.max_request_bytes);
        len_usize(bytes)
    }

    /// Something is under way from now on that expires then. The timer will know of it.
    fn begin(&mut self, expires: Instant, now: Instant) {
        if !self.is_busy() {
            self.busy_since = now;
            self.in_vain.take_if(|(_, last)| now > *last + LONGEST_PAUSE);
        }
        self.expires = Some(self.expires.map_or(expires, |earlier| earlier.min(expires)));
    }

    fn is_busy(&self) -> bool {
        self.slots.in_flight() > 0 || !self.purges.is_empty()
    }

    /// Gives a get a slot.
    fn put(&mut self, waiter: Waiter, now: Instant) -> Id {
        let expires = Instant::from_std(waiter.request.answer_by(now.into_std()));
        self.begin(expires, now);
        self.slots.put(waiter, expires)
    }

    /// Wakes the task, unless it was woken already. Lets go of the lock first: a task that another
    /// thread runs at once would only find it taken.
    pub(super) fn wake(mut state: MutexGuard<'_, Self>) {
        if state.scheduled {
            return;
        }
        state.scheduled = true;
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.slots.in_flight()
    }

    pub(super) fn hello(&self) -> Option<Hello> {
        self.hello
    }

    /// Sends no more gets, and says so to the owner. Those under way are answered.
    pub(super) fn leave(&mut self) {
        if self.standing == Standing::Open {
            self.standing = Standing::Unneeded;
            self.write(Header::bare(kind::GOAWAY, Id::default()));
        }
    }
}

/// What the task of the link does.
impl State {
    /// Appends a frame without a payload to what is to be written. Wakes nobody.
    pub(super) fn write(&mut self, header: Header) {
        self.out.extend_from_slice(&header.encode());
    }

    /// The task will look at `out` soon: until it sleeps, nobody need wake it.
    pub(super) fn expect_task(&mut self) {
        self.scheduled = true;
    }

    /// Exchanges what is to be written for an empty buffer. Returns whether there was anything.
    ///
    /// The two buffers take turns, so a busy link allocates none.
    pub(super) fn swap_out(&mut self, empty: &mut Vec<u8>) -> bool {
        std::mem::swap(&mut self.out, empty);
        !empty.is_empty()
    }

    /// Notes what the owner says of itself, and writes the purges and looks that had to wait for that.
    /// Returns those that it does not take. A later HELLO replaces an earlier one: a ring may change.
    pub(super) fn meet(
        &mut self,
        hello: Hello,
        now: Instant,
        config: &LinkConfig,
    ) -> Vec<(Id, PeerError)> {
        self.hello = Some(hello);
        self.send_waiting(now, config)
    }

    /// Writes the purges that had to wait, as many as the owner takes now. Returns those that it does not
    /// take at all.
    pub(super) fn send_waiting(
        &mut self,
        now: Instant,
        config: &LinkConfig,
    ) -> Vec<(Id, PeerError)> {
        let Some(hello) = self.hello else { return Vec::new() };
        let mut refused = Vec::new();
        for (id, purge) in self.purges.unsent() {
            let written = purges::write(&mut self.out, id, &purge, hello, now, config);
            refused.extend(written.err().map(|error| (id, error)));
        }
        refused.extend(self.looks.send(&mut self.out, &self.slots, hello, now));
        refused
    }

    /// Sends no more gets, since the owner wants none. Those under way are answered.
    pub(super) fn part(&mut self) {
        if self.standing == Standing::Open {
            self.standing = Standing::Goodbye;
        }
    }

    /// Notes that the owner has said something of what it was asked.
    pub(super) fn answered(&mut self) {
        self.in_vain = None;
    }

    /// Returns the slots, for the answers that have come.
    pub(super) fn slots(&mut self) -> &mut Slots {
        &mut self.slots
    }

    /// Returns the purges, for the answers that have come.
    pub(super) fn purges(&mut self) -> &mut Purges {
        &mut self.purges
    }

    /// Returns what the clock goes by. An idle link has nothing to wait for.
    pub(super) fn times(&self) -> Times {
        let busy = self.is_busy();
        Times {
            expires: self.expires.filter(|_| busy),
            busy_since: busy.then_some(self.in_vain.map_or(self.busy_since, |(since, _)| since)),
        }
    }

    /// Returns what is to be done before the task may sleep. If there is nothing, `waker` is what
    /// wakes it.
    ///
    /// `blocked` says that the socket takes nothing now, and wakes the task when it does.
    pub(super) fn rest(&mut self, waker: &Waker, blocked: bool) -> Rest {
        if !self.out.is_empty() && !blocked {
            return Rest::Write;
        }
        // What could not be written is no reason to stay: a peer that reads nothing would hold the task.
        if let Some(end) = self.farewell() {
            return Rest::End(end);
        }
        self.scheduled = false;
        if !self.task.as_ref().is_some_and(|task| task.will_wake(waker)) {
            self.task = Some(waker.clone());
        }
        Rest::Sleep(self.times())
    }

    /// Returns why the link may end, if nothing is under way and one side wants it no more.
    fn farewell(&self) -> Option<End> {
        match self.standing {
            _ if self.is_busy() => None,
            Standing::Unneeded => Some(End::Unneeded),
            Standing::Goodbye => Some(End::Goodbye),
            Standing::Open | Standing::Over => None,
        }
    }

    /// Returns why the link ends when the owner has closed the connection. It may have been faster
    /// than this side, when both had said goodbye.
    pub(super) fn closed(&self) -> End {
        self.farewell().unwrap_or(End::Closed)
    }

    /// Takes out what has no more time, and writes of the gets that nobody waits for them.
    ///
    /// Their slots are free at once. An answer that is on its way finds another generation there,
    /// and is dropped. Of purges nothing is written: what they ask for is to be done all the same.
    pub(super) fn expire(&mut self, now: Instant, expired: &mut Expired) {
        if self.expires.is_none_or(|expires| expires > now) {
            return;
        }
        let get = self.slots.expire(now, &mut expired.gets);
        let purge = self.purges.expire(now, &mut expired.purges);
        self.expires = get.into_iter().chain(purge).min();
        if !expired.gets.is_empty() || !expired.purges.is_empty() {
            let (since, _) = self.in_vain.unwrap_or((self.busy_since, now));
            self.in_vain = Some((since, now));
        }
        for (id, _) in &expired.gets {
            self.write(Header::bare(kind::CANCEL, *id));
        }
    }

    /// Ends the link: takes out all that is under way. Whatever is asked from here on is given back.
    pub(super) fn end(&mut self) -> Unanswered {
        let is_first = self.standing != Standing::Over;
        self.standing = Standing::Over;
        self.task = None;
        let has_met = self.hello.is_some();
        Unanswered { gets: self.slots.drain(), purges: self.purges.drain(), has_met, is_first }
    }
}

/// What has no more time.
#[derive(Default)]
pub(super) struct Expired {
    pub(super) gets: Vec<(Id, Waiter)>,
    pub(super) purges: Vec<Completion<Purged>>,
}

/// What was under way when a link ended.
pub(super) struct Unanswered {
    pub(super) gets: Vec<Waiter>,
    /// Each with whether the peer has spoken over an earlier link.
    pub(super) purges: Vec<(Completion<Purged>, bool)>,
    /// Whether the owner has ever said HELLO.
    pub(super) has_met: bool,
    /// Whether it had not ended before.
    pub(super) is_first: bool,
}
