//! What a node of a simulated cluster believes of the others, and how it asks them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carrotcache_peer::{
    Completion, Member, Owner, Peer, PeerErrorKind, Picker, Purge, Purged, Request,
};

use super::dice::Dice;
use super::history::Label;
use super::network::{End, Network};
use super::plan::{Owners, Plan};

/// What a node believes of another, and the directory says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listing {
    Absent,
    /// It may be asked for keys.
    Active,
    /// It is asked for none any more, and has to forget what is removed until it ends.
    Leaving,
}

/// What one process knows of all nodes, itself among them. It learns, and forgets, while it runs.
#[derive(Clone)]
pub(super) struct Known(Arc<Mutex<Vec<Listing>>>);

impl Known {
    pub(super) fn new(listings: Vec<Listing>) -> Self {
        Self(Arc::new(Mutex::new(listings)))
    }

    pub(super) fn of(&self, label: Label) -> Listing {
        self.lock()[label.0]
    }

    pub(super) fn set(&self, label: Label, listing: Listing) {
        self.lock()[label.0] = listing;
    }

    /// Returns the nodes that are active or leaving.
    pub(super) fn listed(&self) -> BTreeSet<Label> {
        self.that_are(|listing| listing != Listing::Absent)
    }

    fn active(&self) -> BTreeSet<Label> {
        self.that_are(|listing| listing == Listing::Active)
    }

    fn that_are(&self, wanted: impl Fn(Listing) -> bool) -> BTreeSet<Label> {
        let listings = self.lock();
        let labels = (0..listings.len()).map(Label);
        labels.filter(|label| wanted(listings[label.0])).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Listing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whom one process takes for dead, and does not ask. Others may think otherwise.
#[derive(Clone)]
pub(super) struct Ejected(Arc<Mutex<BTreeSet<Label>>>);

impl Ejected {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    pub(super) fn set(&self, label: Label, is_ejected: bool) {
        let mut ejected = self.lock();
        if is_ejected {
            ejected.insert(label)
        } else {
            ejected.remove(&label)
        };
    }

    fn has(&self, label: Label) -> bool {
        self.lock().contains(&label)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Label>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The peers of one process. It takes whom it knows for owners, and for former ones, as the plan says.
pub(super) struct Peers {
    own: End,
    known: Known,
    ejected: Ejected,
    dice: Dice,
    owners: Owners,
    has_looks: bool,
    forgets_leavers: bool,
    /// By label; the own one is there and never asked.
    peers: Vec<Arc<dyn Peer>>,
}

impl Peers {
    pub(super) fn new(
        network: &Arc<Network>,
        own: End,
        known: Known,
        ejected: Ejected,
        dice: Dice,
        plan: &Plan,
    ) -> Self {
        let Plan { owners, has_looks, .. } = *plan;
        let peer = |label| {
            let (name, network) = (Label(label).to_string(), Arc::clone(network));
            let ejected = ejected.clone();
            let remote = Remote { name, own, other: Label(label), has_looks, network, ejected };
            Arc::new(remote) as Arc<dyn Peer>
        };
        let peers = (0..plan.most_nodes).map(peer).collect();
        Self { own, known, ejected, dice, owners, has_looks, forgets_leavers: false, peers }
    }

    /// If it `forgets_leavers` it does what no transport may: a node that leaves is no peer of it at once.
    pub(super) fn with(self, forgets_leavers: bool) -> Self {
        Self { forgets_leavers, ..self }
    }

    fn owner_of(&self, label: Label) -> Owner {
        match label == self.own.label {
            true => Owner::Local,
            false => Owner::Remote(Arc::clone(&self.peers[label.0])),
        }
    }

    /// Returns the active nodes in the order in which they are asked for `key`. All that know the same
    /// nodes agree on it.
    fn order(&self, key: &str) -> Vec<Label> {
        let mut order = Vec::from_iter(self.known.active());
        order.sort_by_key(|label| rank(key, *label));
        order
    }
}

impl Picker for Peers {
    fn owner(&self, key: &str) -> Owner {
        let mut order = self.order(key);
        if self.owners == Owners::Fickle {
            // Whom it takes for itself, it may take for the owner.
            order.push(self.own.label);
            return self.owner_of(self.dice.pick(&order));
        }
        self.owner_of(order.first().copied().unwrap_or(self.own.label))
    }

    fn peers(&self) -> Vec<Arc<dyn Peer>> {
        let known = if self.forgets_leavers { self.known.active() } else { self.known.listed() };
        let others = known.into_iter().filter(|label| *label != self.own.label);
        others.map(|label| Arc::clone(&self.peers[label.0])).collect()
    }

    /// Any peer, active or leaving: whatever the ring was before, nothing stale may come of it.
    fn former_owner(&self, _key: &str) -> Option<Arc<dyn Peer>> {
        if !self.has_looks || self.dice.one_in(4) {
            return None;
        }
        let others = self.known.listed().into_iter().filter(|label| *label != self.own.label);
        let others = Vec::from_iter(others);
        (!others.is_empty()).then(|| Arc::clone(&self.peers[self.dice.pick(&others).0]))
    }

    fn next(&self, key: &str, failed: &str) -> Option<Owner> {
        let order = self.order(key);
        if self.owners == Owners::Fickle {
            return (!order.is_empty()).then(|| self.owner_of(self.dice.pick(&order)));
        }
        let at = order.iter().position(|label| label.to_string() == failed)?;
        let next = order[at + 1..].iter().find(|label| !self.ejected.has(**label));
        next.map(|label| self.owner_of(*label))
    }

    fn this_node(&self) -> Option<Member> {
        let End { label, process } = self.own;
        Some(Member { label: label.to_string().into(), incarnation: process.0 })
    }
}

/// Another node, as one process asks it.
struct Remote {
    name: String,
    own: End,
    other: Label,
    has_looks: bool,
    network: Arc<Network>,
    ejected: Ejected,
}

impl Peer for Remote {
    fn label(&self) -> &str {
        &self.name
    }

    fn ask(&self, request: Request, completion: Completion) {
        self.ask_many(vec![(request, completion)]);
    }

    fn ask_many(&self, requests: Vec<(Request, Completion)>) {
        if self.ejected.has(self.other) {
            let ejected = || Err(PeerErrorKind::Ejected.into());
            return requests.into_iter().for_each(|(_, completion)| completion.tell(ejected()));
        }
        let network = Arc::clone(&self.network);
        tokio::spawn(network.ask(self.own, self.other, requests));
    }

    fn look(&self, request: Request, completion: Completion) {
        if !self.has_looks {
            return completion.tell(Err(PeerErrorKind::NotCached.into()));
        }
        let network = Arc::clone(&self.network);
        tokio::spawn(network.look(self.own, self.other, request, completion));
    }

    fn purge(&self, purge: Purge, completion: Completion<Purged>) {
        let (network, own, other) = (Arc::clone(&self.network), self.own, self.other);
        tokio::spawn(async move {
            completion.tell(network.purge(own, other, purge).await);
        });
    }
}

/// Returns how far behind others a node stands for `key` (FNV-1a, which has no random seed).
fn rank(key: &str, label: Label) -> u64 {
    let bytes = key.bytes().chain(label.to_string().into_bytes());
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}
