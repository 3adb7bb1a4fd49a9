//! Requests that come from peers.

use std::sync::Arc;

use carrotcache_peer::{Answer, PeerError, Reply, Request};

use super::flights::{Fetched, Joined};
use super::many::MAX_BATCH;
use super::nesting::Nesting;
use super::purpose::Load;
use super::{Group, Shared};
use crate::cache::Place;
use crate::held::Held;

impl Group {
    /// Answers a peer if the value is cached; counts nothing if it is not, since then the transport
    /// comes to [`answer`](Self::answer).
    pub(crate) fn at_hand(&self, key: &str) -> Option<Answer> {
        self.check(key).ok()?;
        let found = self.shared.cache.get_held(key)?;
        self.shared.counters.server_requests.add_one();
        Some(self.answer_with(&self.use_found(key, found)))
    }

    /// Answers a peer. It looks like [`get`](Self::get), but for one thing: it never forwards.
    pub(crate) fn answer(&self, request: Request) -> Reply {
        if let Some(reply) = self.answer_now(&request) {
            return reply;
        }
        let load = load_for(Kind::of(&request));
        let (group, key) = (self.clone(), request.key);
        Reply::pending(async move {
            let loaded = group.load(&key, load, None).await;
            group.answer_fetched(&key, loaded)
        })
    }

    /// Answers requests that came together. What is not cached is loaded at once by the bulk loader, if
    /// there is one.
    pub(crate) fn answer_many(&self, requests: Vec<Request>) -> Vec<Reply> {
        if self.shared.loaders.bulk().is_none() {
            return requests.into_iter().map(|request| self.answer(request)).collect();
        }
        let replies = requests.iter().map(|request| self.answer_now(request));
        let mut replies: Vec<Option<Reply>> = replies.collect();
        // Those within loads of their askers must not wait for their turn, so they have a load apart. So
        // have those whose values are kept elsewhere.
        for kind in Kind::ALL {
            let load = load_for(kind);
            let missed: Vec<usize> = (0..requests.len())
                .filter(|&at| replies[at].is_none() && Kind::of(&requests[at]) == kind)
                .collect();
            for batch in missed.chunks(MAX_BATCH) {
                let keys = batch.iter().map(|&at| &requests[at].key);
                match self.join_loads(keys, &load) {
                    Ok(joined) => {
                        for (&at, joined) in batch.iter().zip(joined) {
                            let key = Arc::clone(&requests[at].key);
                            replies[at] = Some(self.answer_later(key, joined, load.clone()));
                        }
                    }
                    Err(error) => {
                        let error = || Reply::ready(Err(error.clone().into()));
                        batch.iter().for_each(|&at| replies[at] = Some(error()));
                    }
                }
            }
        }
        replies.into_iter().flatten().collect()
    }

    /// Answers with what is cached, or that there can be no such key. Otherwise notes a miss.
    fn answer_now(&self, request: &Request) -> Option<Reply> {
        let Request { key, .. } = request;
        if let Err(error) = self.check(key) {
            return Some(Reply::ready(Err(error.into())));
        }
        self.shared.counters.server_requests.add_one();
        if let Some(found) = self.shared.cache.get(key) {
            return Some(Reply::ready(Ok(self.answer_with(&self.use_found(key, found)))));
        }
        self.shared.counters.loads.add_one();
        if request.is_for_stand_in {
            let Shared { counters, peers, clock, .. } = &*self.shared;
            counters.served_as_stand_in.add_one();
            peers.owners_away.note(clock.now());
        }
        None
    }

    /// Answers with what a flight brings.
    fn answer_later(&self, key: Arc<str>, joined: Joined, load: Load) -> Reply {
        let group = self.clone();
        Reply::pending(async move {
            let loaded = group.end_of_load(&key, joined, load).await;
            group.answer_fetched(&key, loaded)
        })
    }

    fn answer_fetched(&self, key: &str, fetched: Fetched) -> Result<Answer, PeerError> {
        let held = self.or_stale(key, fetched)?;
        Ok(self.answer_with(&held))
    }

    /// Returns what a peer is told.
    pub(super) fn answer_with(&self, held: &Held) -> Answer {
        Answer::new(held.to_entry(self.shared.clock.now()))
    }
}

/// What tells the requests of peers apart.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind {
    is_nested: bool,
    is_for_stand_in: bool,
}

impl Kind {
    const ALL: [Self; 4] = [
        Self { is_nested: false, is_for_stand_in: false },
        Self { is_nested: true, is_for_stand_in: false },
        Self { is_nested: false, is_for_stand_in: true },
        Self { is_nested: true, is_for_stand_in: true },
    ];

    fn of(request: &Request) -> Self {
        let Request { is_nested, is_for_stand_in, .. } = *request;
        Self { is_nested, is_for_stand_in }
    }
}

/// A load on behalf of a peer. What is another node's to keep gives way first.
fn load_for(Kind { is_nested, is_for_stand_in }: Kind) -> Load {
    let place = if is_for_stand_in { Place::Hot } else { Place::Main };
    Load { place, within: Nesting::default(), is_nested, newer_than: None }
}
