//! What a connection is at, and how long it has for that.
//!
//! hyper tells nobody. But it calls the service when a head is whole, and it reads from its socket
//! only when it wants a head: not while it waits for an answer or sends one. So a [`Stage`] is told
//! by the service that a request has come and that its answer is there, and by the socket that
//! hyper reads again, which means that the answer is sent.
//!
//! ```text
//!           bytes          head is whole         answer is there       answer is sent
//!  Silent ────────▶ Head ────────────────▶ Asked ───────────────▶ Answered ─────────▶ Idle
//!                    ▲                                                                 │
//!                    ╰────────────────────────────── bytes ────────────────────────────╯
//! ```
//!
//! Whoever sends half a head together with the request before it counts as idle until more comes,
//! because hyper has read that half already.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::Service;
use hyper::{Request, Response};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::config::Config;
use crate::http::caller::Caller;
use crate::http::places::Place;
use crate::http::service::{PeerResponse, PeerService};
use crate::http::switch::Switch;
use crate::link::owner::Activity;
use crate::wire::message::AnswerBody;
use carrotcache_peer::Handler;

/// What one connection is at. Its socket, its service and its task share it.
pub(crate) struct Stage {
    now: Mutex<Now>,
    /// Wakes the task when the connection is told to leave.
    told: Arc<Notify>,
    /// Until when a connection over which nothing has come yet need not leave.
    grace_until: Instant,
    head_timeout: Duration,
    idle_timeout: Duration,
}

struct Now {
    at: At,
    /// When the clock runs out that counts at this stage.
    until: Instant,
    place: Place,
}

/// The stages. The first two and the last wait for bytes of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Nothing has come over it yet.
    Silent,
    /// Some of a head has come.
    Head,
    /// The handler is asked.
    Asked,
    /// The answer is being sent.
    Answered,
    /// The answer is sent, and nothing has come since.
    Idle,
}

/// How long the first bytes may be on their way after the connection that they come over. Without
/// it a burst of new connections would send each other away before any was read from.
const GRACE: Duration = Duration::from_millis(250);

/// How long nothing is asked over a link before it may be told to leave.
const LINK_REST: Duration = Duration::from_secs(1);

impl Stage {
    /// Returns the stage of a connection that was just accepted.
    pub(crate) fn new(place: Place, config: &Config) -> Arc<Self> {
        let accepted = Instant::now();
        let told = place.told();
        let until = accepted + config.head_timeout;
        Arc::new(Self {
            now: Mutex::new(Now { at: At::Silent, until, place }),
            told,
            grace_until: accepted + GRACE,
            head_timeout: config.head_timeout,
            idle_timeout: config.idle_connection_timeout,
        })
    }

    /// Notes that hyper is about to read: if an answer was on its way, it is sent.
    pub(crate) fn reads(&self) {
        let mut now = self.lock();
        if now.at == At::Answered {
            now.at = At::Idle;
            now.until = Instant::now() + self.idle_timeout;
            now.place.rest();
        }
    }

    /// Notes that bytes have come.
    pub(crate) fn received(&self) {
        let mut now = self.lock();
        match now.at {
            // The first head has had its clock since the connection was accepted.
            At::Silent => {}
            At::Idle => now.until = Instant::now() + self.head_timeout,
            // More of the same head, or a body that nobody wants.
            At::Head | At::Asked | At::Answered => return,
        }
        now.at = At::Head;
        now.place.rise();
    }

    /// Notes that a request has come, whose peer waits until `deadline`.
    fn asked(&self, deadline: Instant) {
        let mut now = self.lock();
        now.at = At::Asked;
        now.until = deadline;
    }

    /// Notes that the answer is there.
    fn answered(&self) {
        self.lock().at = At::Answered;
    }

    /// Returns whether a request is being answered.
    pub(crate) fn is_exchanging(&self) -> bool {
        matches!(self.lock().at, At::Asked | At::Answered)
    }

    /// Returns when the clock of the present stage runs out: when the head should be whole, the
    /// answer sent, or the next request there.
    pub(crate) fn until(&self) -> Instant {
        self.lock().until
    }

    /// Ends when the connection has to make place for another.
    ///
    /// # Cancel safety
    ///
    /// Dropping it may forget that the connection was told. It is meant to be polled to the end, or
    /// until the connection ends.
    pub(crate) async fn sent_away(&self) {
        loop {
            self.told.notified().await;
            if self.lock().at == At::Silent {
                sleep_until(self.grace_until).await;
            }
            // A request may have come meanwhile; then another connection was told.
            if self.lock().place.is_leaving() {
                return;
            }
        }
    }

    /// Ends when the connection, which has become a link, has to make place for another: it was told
    /// so, and has rested for a while.
    ///
    /// # Cancel safety
    ///
    /// As that of [`sent_away`](Self::sent_away).
    pub(crate) async fn link_sent_away(&self, activity: &Activity) {
        loop {
            self.lock().place.rest();
            self.told.notified().await;
            if !self.lock().place.is_leaving() {
                continue;
            }
            if activity.resting_since().is_some_and(|since| since.elapsed() >= LINK_REST) {
                return;
            }
            // Another has to go. This one is not told again before it could have rested.
            self.lock().place.rise();
            sleep_until(Instant::now() + LINK_REST).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The service of one connection, which tells its stage what it is asked and what it answers.
pub(crate) struct Staged<H> {
    service: PeerService<H>,
    stage: Arc<Stage>,
    /// What becomes of the connection when it is to become a link.
    switch: Arc<Mutex<Option<Switch<H>>>>,
    caller: Caller,
}

/// A response of a [`Staged`].
pub(crate) struct StagedResponse {
    response: PeerResponse,
    stage: Arc<Stage>,
}

impl<H: Handler> Staged<H> {
    /// Returns what answers `caller` as `service` does, and leaves in `switch` what becomes of the connection
    /// when it is to become a link.
    pub(crate) fn new(
        service: PeerService<H>,
        stage: Arc<Stage>,
        switch: Arc<Mutex<Option<Switch<H>>>>,
        caller: Caller,
    ) -> Self {
        Self { service, stage, switch, caller }
    }
}

impl<H: Handler> Service<Request<Incoming>> for Staged<H> {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = StagedResponse;

    fn call(&self, request: Request<Incoming>) -> StagedResponse {
        let (response, switch) = self.service.respond(request, self.caller);
        if switch.is_some() {
            *self.switch.lock().unwrap_or_else(PoisonError::into_inner) = switch;
        }
        self.stage.asked(response.deadline());
        StagedResponse { response, stage: Arc::clone(&self.stage) }
    }
}

impl Future for StagedResponse {
    type Output = <PeerResponse as Future>::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = Pin::new(&mut self.response).poll(cx);
        if response.is_ready() {
            self.stage.answered();
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::time::timeout;

    use super::*;
    use crate::http::places::Places;

    /// Longer than anything here takes by itself.
    const LONG: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn silent_connection_leaves_after_a_moment() {
        let places = Places::new(1);
        let accepted = Instant::now();
        let stage = Stage::new(places.take().await, &Config::default());
        let mut comes = pin!(places.take());
        tokio::select! {
            () = stage.sent_away() => assert_eq!(Instant::now(), accepted + GRACE),
            _ = comes.as_mut() => unreachable!("the place is taken"),
        }
        drop(stage);
        comes.await;
    }

    #[tokio::test(start_paused = true)]
    async fn connection_whose_first_bytes_take_a_moment_stays() {
        let places = Places::new(1);
        let stage = Stage::new(places.take().await, &Config::default());
        let bytes_come = async {
            sleep_until(Instant::now() + Duration::from_millis(100)).await;
            stage.received();
            sleep_until(Instant::now() + LONG).await;
        };
        tokio::select! {
            () = bytes_come => {}
            () = stage.sent_away() => unreachable!("it is not silent any more"),
            _ = places.take() => unreachable!("the place is taken"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connection_stays_if_it_was_asked_something_before_it_could_leave() {
        let places = Places::new(1);
        let stage = Stage::new(places.take().await, &Config::default());
        // It is told, and has not noticed.
        assert!(timeout(LONG, places.take()).await.is_err());
        stage.received();
        stage.asked(Instant::now());
        stage.answered();
        stage.reads();
        assert!(timeout(LONG, stage.sent_away()).await.is_err(), "nobody waits any more");
        // Whoever comes then makes it leave, and at once.
        let told = Instant::now();
        tokio::select! {
            () = stage.sent_away() => assert_eq!(Instant::now(), told),
            _ = places.take() => unreachable!("the place is taken"),
        }
    }
}
