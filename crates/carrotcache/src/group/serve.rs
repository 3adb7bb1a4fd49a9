//! Requests that come from peers.

use carrotcache_peer::{Answer, PeerError, Reply, Request};

use super::Group;
use crate::cache::Place;

impl Group {
    /// Answers a peer if the value is cached; counts nothing if it is not, since then the transport
    /// comes to [`answer`](Self::answer).
    pub(crate) fn at_hand(&self, key: &str) -> Option<Answer> {
        self.check(key).ok()?;
        let entry = self.shared.cache.get_held(key)?;
        self.shared.counters.server_requests.add_one();
        Some(Answer::new(entry))
    }

    /// Answers a peer. It looks like [`get`](Self::get), but for one thing: it never forwards.
    pub(crate) fn answer(&self, request: Request) -> Reply {
        let Request { key, .. } = request;
        if let Err(error) = self.check(&key) {
            return Reply::ready(Err(error.into()));
        }
        self.shared.counters.server_requests.add_one();
        if let Some(entry) = self.shared.cache.get(&key) {
            return Reply::ready(Ok(Answer::new(entry)));
        }
        self.shared.counters.loads.add_one();
        let group = self.clone();
        Reply::pending(async move {
            let loaded = group.load(&key, Place::Main).await;
            loaded.map(Answer::new).map_err(PeerError::from)
        })
    }
}
