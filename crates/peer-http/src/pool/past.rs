//! What a pool still knows of the peers before the present ones.
//!
//! For a while after a change two things matter. Whoever owned a key before may have its value, and a
//! peer that was taken off the list goes on for a moment: it has to hear what is removed until it ends.

use std::sync::Arc;
use std::time::Duration;

use carrotcache_consistenthash::Ring;
use tokio::time::Instant;

use super::member::Member;

/// The rings and the peers before the present ones.
#[derive(Default)]
pub(super) struct Past {
    /// The last one first.
    rings: Vec<Former>,
    leaving: Vec<Leaving>,
    /// How often the ring has changed.
    changes: u64,
}

/// A ring, and who is behind each of its labels, in its order; `None` is this node.
#[derive(Clone)]
pub(super) struct Set {
    pub(super) ring: Ring,
    pub(super) nodes: Vec<Option<Arc<Member>>>,
}

/// A set that was.
struct Former {
    set: Set,
    until: Instant,
}

/// A peer that was taken off the list.
struct Leaving {
    member: Arc<Member>,
    until: Instant,
}

/// How many rings are remembered. A rolling restart changes the ring twice for each node, and a node
/// that is back looks at who had its keys meanwhile, whatever has changed since.
const MAX_RINGS: usize = 8;
/// How many peers that leave are remembered.
const MAX_LEAVING: usize = 1_024;

impl Past {
    /// Returns the past of the `new` set, which replaces at `now` the `old` one that this is the past of.
    /// It is remembered for as long as `lasts`. And returns all that were known, to be dropped without a
    /// lock: links end with those that are not any more.
    pub(super) fn after(
        self,
        old: Set,
        new: &Set,
        lasts: Duration,
        now: Instant,
    ) -> (Self, Vec<Arc<Member>>) {
        let known = old.peers().chain(self.leaving_at_all()).cloned().collect();
        if lasts.is_zero() {
            return (Self::default(), known);
        }
        let Self { mut rings, leaving, mut changes } = self;
        let until = now + lasts;
        let left = old.peers().map(|member| Leaving { member: Arc::clone(member), until });
        let is_gone =
            |leaving: &Leaving| !new.peers().any(|member| Arc::ptr_eq(member, &leaving.member));
        let leaving = left.chain(leaving).filter(is_gone).take(MAX_LEAVING).collect();
        if old.ring.fingerprint() != new.ring.fingerprint() {
            // A node that had no peers has just started, or has just been told of them.
            let has_started = old.peers().next().is_none();
            let former = if has_started { new.without_this_node() } else { Some(old) };
            rings.splice(0..0, former.map(|set| Former { set, until }));
            rings.truncate(MAX_RINGS);
            changes += 1;
        }
        let mut past = Self { rings, leaving, changes };
        past.forget_old(now);
        (past, known)
    }

    /// Returns who owned `key` last that is not this node, if that is remembered and may still answer.
    ///
    /// A ring is forgotten no later than the peers that have left since.
    pub(super) fn owner(&self, key: &str, now: Instant) -> Option<&Arc<Member>> {
        let rings = self.rings.iter().filter(|former| now < former.until);
        rings.filter_map(|former| former.set.owner(key)).find(|member| !member.has_ended())
    }

    /// Returns how often the ring has changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Returns the peers that leave, and have not ended as far as is known.
    pub(super) fn leaving(&self, now: Instant) -> impl Iterator<Item = &Arc<Member>> {
        let are_there =
            move |leaving: &&Leaving| now < leaving.until && !leaving.member.has_ended();
        self.leaving.iter().filter(are_there).map(|leaving| &leaving.member)
    }

    /// Returns the peers that leave, or have left.
    pub(super) fn leaving_at_all(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.leaving.iter().map(|leaving| &leaving.member)
    }

    /// Returns whether there is something to be forgotten.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.rings.iter().any(|former| former.until <= now)
            || self.leaving.iter().any(|leaving| leaving.until <= now)
    }

    /// Forgets what was too long ago, and returns it, to be dropped without a lock: links end with it.
    pub(super) fn forget_old(&mut self, now: Instant) -> Self {
        let rings = self.rings.extract_if(.., |former| former.until <= now).collect();
        let leaving = self.leaving.extract_if(.., |leaving| leaving.until <= now).collect();
        Self { rings, leaving, changes: self.changes }
    }
}

impl Set {
    /// Returns the peers in it.
    fn peers(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.nodes.iter().flatten()
    }

    /// Returns the set as it would be without this node, which the others had until it came; `None` if
    /// there are no others.
    fn without_this_node(&self) -> Option<Self> {
        let own = self.nodes.iter().position(Option::is_none)?;
        let ring = self.ring.without_node(self.ring.label(own)?).ok()?;
        let mut nodes = self.nodes.clone();
        nodes.remove(own);
        (!nodes.is_empty()).then_some(Self { ring, nodes })
    }

    /// Returns who owns `key`, if that is not this node.
    fn owner(&self, key: &str) -> Option<&Arc<Member>> {
        self.nodes.get(self.ring.get_index(key)?)?.as_ref()
    }
}
