//! What a pool still knows of the peers before the present ones.
//!
//! For a while after a change two things matter. Whoever owned a key before may have its value, and a
//! peer that was taken off the list goes on for a moment: it has to hear what is removed until it ends.

use std::sync::Arc;
use std::time::Duration;

use carrotcache_consistenthash::Ring;
use tokio::time::Instant;

use super::Members;
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

/// A ring that was, and who is behind each of its labels; `None` is this node.
struct Former {
    ring: Ring,
    nodes: Vec<Option<Arc<Member>>>,
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
    /// Returns the past of `new` members, which replace the `old` ones at `now`, and of whom this node is
    /// one. It is remembered for as long as `lasts`. And returns what is forgotten, to be dropped without
    /// a lock.
    pub(super) fn of(
        new: &Members,
        old: Members,
        lasts: Duration,
        now: Instant,
    ) -> (Self, Vec<Arc<Member>>) {
        let members = old.peers().chain(old.past.leaving_at_all()).cloned().collect();
        if lasts.is_zero() {
            return (Self::default(), members);
        }
        let Members { ring, nodes, past: Self { mut rings, leaving, mut changes }, .. } = old;
        let until = now + lasts;
        let left =
            nodes.iter().flatten().map(|member| Leaving { member: Arc::clone(member), until });
        let is_gone =
            |leaving: &Leaving| !new.peers().any(|member| Arc::ptr_eq(member, &leaving.member));
        let leaving = left.chain(leaving).filter(is_gone).take(MAX_LEAVING).collect();
        if ring.fingerprint() != new.ring.fingerprint() {
            let former = match nodes.iter().flatten().next() {
                Some(_a_peer) => Some(Former { ring, nodes, until }),
                // It has just started, or been told of its peers.
                None => Former::without_this_node(new, until),
            };
            rings.splice(0..0, former);
            rings.truncate(MAX_RINGS);
            changes += 1;
        }
        let mut past = Self { rings, leaving, changes };
        past.forget_old(now);
        (past, members)
    }

    /// Returns who owned `key` last that is not this node, if that is remembered and may still answer.
    ///
    /// A ring is forgotten no later than the peers that have left since.
    pub(super) fn owner(&self, key: &str, now: Instant) -> Option<&Arc<Member>> {
        let rings = self.rings.iter().filter(|former| now < former.until);
        let owners = rings
            .filter_map(|Former { ring, nodes, .. }| nodes.get(ring.get_index(key)?)?.as_ref());
        owners.into_iter().find(|member| !member.has_ended())
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

impl Former {
    /// Returns the ring as it would be without this node, which the others had until it came; `None` if
    /// there are no others.
    fn without_this_node(members: &Members, until: Instant) -> Option<Self> {
        let own = members.nodes.iter().position(Option::is_none)?;
        let ring = members.ring.without_node(members.ring.label(own)?).ok()?;
        let mut nodes = members.nodes.clone();
        nodes.remove(own);
        (!nodes.is_empty()).then_some(Self { ring, nodes, until })
    }
}
