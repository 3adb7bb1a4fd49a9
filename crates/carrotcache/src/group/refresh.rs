//! Loads whose callers have an answer already.
//!
//! An entry that is about to expire, or is stale, is returned as it is, and a flight is started that
//! fetches a new one. It never waits for its turn: when there is none, the next caller tries. When it
//! fails, it is not tried again for a while (`backoff`), and the old entry does not last longer for it.

use std::sync::Arc;

use carrotcache_peer::Owner;

use super::Group;
use super::flights::Where;
use super::load::LoadFlight;
use super::nesting::Nesting;
use super::purpose::Load;
use crate::cache::{Found, Place};
use crate::held::Age;

impl Group {
    /// Starts a flight that fetches a new entry for what was found, unless one is under way.
    ///
    /// Nobody waits for it: an error of any kind only means that the entry stays as it is.
    #[cold]
    pub(super) fn refresh(&self, key: &str, found: &Found) {
        let shared = &self.shared;
        // An entry that is still fresh is refreshed by its owner alone: the others ask that.
        if found.age == Age::Due && !found.is_own {
            return;
        }
        if !shared.refreshes.may_try(key) {
            return;
        }
        let begin = |key: &Arc<str>| {
            shared.counters.refreshes.add_one();
            Some(shared.refreshes.begin(key, found.held.expires()))
        };
        match shared.peers.picker.owner(key) {
            Owner::Local => {
                let Some(permit) = self.try_permit() else { return };
                let newer_than = Some(found.held.expires());
                let (place, within) = (Place::Main, Nesting::default());
                let load = Load { place, within, is_nested: false, newer_than };
                shared.loads.start(key, |leader, key: Arc<str>, at: Where<'_>| {
                    let refresh = begin(&key);
                    let (group, permit) = (self.clone(), Some(permit));
                    // In a task at once: whoever has the answer already is not to run the loader.
                    let apart = Where { is_here: false, ..at };
                    LoadFlight { group, key, load, permit, refresh }.start(leader, apart);
                });
            }
            Owner::Remote(owner) => {
                shared.forwards.start(key, |leader, key: Arc<str>, at: Where<'_>| {
                    let refresh = begin(&key);
                    self.start_forward(leader, key, at, &owner, Nesting::default(), refresh);
                });
            }
        }
    }
}
