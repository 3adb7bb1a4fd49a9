//! Requests that come from peers.

use carrotcache_peer::{Answer, PeerError, Reply, Request};

use super::Group;
use super::load::Load;
use super::nesting::Nesting;
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
        let Request { key, is_nested, .. } = request;
        if let Err(error) = self.check(&key) {
            return Reply::ready(Err(error.into()));
        }
        self.shared.counters.server_requests.add_one();
        if let Some(found) = self.shared.cache.get(&key) {
            return Reply::ready(Ok(self.answer_with(&self.use_found(&key, found))));
        }
        self.shared.counters.loads.add_one();
        let group = self.clone();
        let (place, within) = (Place::Main, Nesting::default());
        let load = Load { place, within, is_nested, newer_than: None };
        Reply::pending(async move {
            let loaded = group.load(&key, load, None).await;
            let held = group.or_stale(&key, loaded).map_err(PeerError::from)?;
            Ok(group.answer_with(&held))
        })
    }

    /// Returns what a peer is told.
    fn answer_with(&self, held: &Held) -> Answer {
        Answer::new(held.to_entry(self.shared.clock.now()))
    }
}
