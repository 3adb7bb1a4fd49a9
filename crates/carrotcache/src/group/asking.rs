//! Callers that want what owners are asked for.

use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use carrotcache_peer::{Completion, Owner, Peer, Request};

use super::Group;
use super::flights::{Fetched, Leader, Led, Where};
use super::nesting::Nesting;
use crate::quietly::quietly;

impl Group {
    /// Waits for the FORWARD flight of `key`, and starts it if there is none.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the flight goes on, and its value is mirrored if it is to be.
    pub(super) async fn forward(
        &self,
        key: &str,
        owner: &Arc<dyn Peer>,
        within: &Nesting,
    ) -> Fetched {
        let (is_nested, started) = (within.is_within(&self.shared), Started::default());
        let start = |leader: Leader, key: Arc<str>, at: Where<'_>| {
            if is_nested {
                started.note(&key);
            }
            self.start_forward(leader, key, at, owner, within.clone(), None);
        };
        let flight = self.shared.forwards.join(key, start);
        match is_nested {
            true => self.urge_owner(&[key], owner, &started, flight).await,
            false => flight.await,
        }
    }

    /// Waits for the FORWARD flights of `keys`, and starts those that there are not: the owner is asked
    /// for them at once. Returns what they bring in the order of the keys.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the flights go on, and their values are mirrored if they are to be.
    pub(super) async fn forward_many(
        &self,
        keys: &[Arc<str>],
        owner: &Arc<dyn Peer>,
        within: &Nesting,
    ) -> Vec<Fetched> {
        let (is_nested, started) = (within.is_within(&self.shared), Started::default());
        let start = |led: Vec<Led>, at: Where<'_>| {
            if is_nested {
                led.iter().for_each(|led| started.note(&led.key));
            }
            self.start_forwards(led, at, owner, within);
        };
        let flights = self.shared.forwards.join_many(keys, start);
        match is_nested {
            true => self.urge_owner(keys, owner, &started, flights).await,
            false => flights.await,
        }
    }

    /// Waits for `flights`, those of `keys`, on behalf of a load.
    ///
    /// The owner's load may wait for its turn, and for permits of loads that wait for this one. So may
    /// the load here, if the owner cannot be asked. Flights that somebody else has started were asked
    /// for by one who may wait: the owner is asked for those once more.
    ///
    /// # Cancel safety
    ///
    /// As that of `flights`.
    async fn urge_owner<F, K>(
        &self,
        keys: &[K],
        owner: &Arc<dyn Peer>,
        started: &Started,
        flights: F,
    ) -> F::Output
    where
        F: Future,
        K: AsRef<str>,
    {
        let keys = keys.iter().map(AsRef::as_ref);
        let urgent: Vec<_> = keys.map(|key| (key, self.shared.limits.urgent(key))).collect();
        let (mut flights, mut is_first) = (pin!(flights), true);
        poll_fn(|cx| {
            let fetched = flights.as_mut().poll(cx);
            if std::mem::take(&mut is_first) && fetched.is_pending() {
                let firsts = urgent.iter().filter(|(_, urgent)| urgent.is_first);
                let joined = firsts.map(|(key, _)| *key).filter(|key| !started.has(key));
                self.ask_again(joined, owner);
            }
            fetched
        })
        .await
    }

    /// Asks an owner for keys that it has been asked for, this time on behalf of a load. If it cannot be
    /// asked, then who stands in for it has perhaps been asked already, and is asked again too.
    fn ask_again<'a>(&self, keys: impl Iterator<Item = &'a str>, owner: &Arc<dyn Peer>) {
        let Ok(home) = self.shared.peers.runtime.home() else { return };
        let _entered = (!home.is_here()).then(|| home.handle().enter());
        let deadline = self.forward_deadline();
        let question = |key| {
            let request = self.request_for(Arc::from(key), deadline, true);
            let again = Again { group: self.clone(), request: request.clone() };
            let (owner, home) = (Arc::clone(owner), Arc::clone(&home));
            // The answer comes by the flight.
            let completion = Completion::new(move |answer| {
                if answer.is_err_and(|error| !error.is_verdict()) {
                    // In a task, as a flight goes on.
                    home.handle().spawn(async move { again.ask_stand_in(&*owner) });
                }
            });
            (request, completion)
        };
        let questions: Vec<_> = keys.map(question).collect();
        if !questions.is_empty() {
            quietly(|| owner.ask_many(questions));
        }
    }
}

/// What an owner was asked once more.
struct Again {
    group: Group,
    request: Request,
}

impl Again {
    fn ask_stand_in(self, owner: &dyn Peer) {
        let Self { group, request } = self;
        quietly(|| {
            if let Some(Owner::Remote(peer)) = group.next_after(&request.key, owner) {
                peer.ask(request.with_stand_in(true), Completion::new(drop));
            }
        });
    }
}

/// The keys whose flights a caller within a load has started itself.
#[derive(Default)]
struct Started(Mutex<HashSet<Arc<str>>>);

impl Started {
    fn note(&self, key: &Arc<str>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(key));
    }

    fn has(&self, key: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }
}
