//! What peers have missed, and must be told before they are asked.
//!
//! A node that took part in a remove remembers who did not. It tells each of them before it believes
//! anything that one says; until then it does without. So a value that was removed does not come
//! back from a node that did not hear of it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carrotcache_peer::{Keys, Member, Peer};

use crate::clock::Clock;

/// What each peer has missed.
pub(crate) struct Debts {
    /// Whether this process has ever purged anything. Until then nobody can have missed anything.
    has_purged: AtomicBool,
    inner: Mutex<Inner>,
    clock: Arc<Clock>,
}

#[derive(Default)]
struct Inner {
    /// The groups of which this process has purged anything: what a stranger has missed.
    purged: HashSet<Arc<str>>,
    peers: HashMap<Arc<str>, Debtor>,
    /// Counts what is owed: what was owed again while the peer was told stays owed.
    stamp: u64,
}

/// A peer, by its label.
struct Debtor {
    /// The process that it was when it was last met; `None` if it never was.
    incarnation: Option<u64>,
    owed: HashMap<Arc<str>, Owed>,
    /// When it was found that it cannot be told. It is owed nothing then, until it turns out that it can.
    plain_since: Option<u64>,
    /// Whether it was ever among the peers. One that was not is owed all keys or none, or strangers
    /// could have this node remember much.
    is_known: bool,
    /// When it was last among them, or met for the first time.
    listed: u64,
    /// Before that moment it is not tried again, since it could not be told.
    again: u64,
    pause: u64,
}

/// What a peer has missed of one group.
enum Owed {
    These(HashMap<Arc<str>, u64>),
    All(u64),
}

/// How a peer is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has missed nothing. The process that it is, if that is known.
    Even(Option<u64>),
    /// It has to be told first.
    Owed,
    /// It has to be told first, and could not be of late.
    Unreached,
}

/// One message of what a peer has missed, and the stamps of what is in it.
pub(crate) struct Bill {
    pub(crate) group: Arc<str>,
    pub(crate) keys: Keys,
    stamps: Vec<u64>,
    /// The peers that have not missed it.
    pub(crate) told: Vec<Member>,
}

/// How many keys of a group a peer is owed one by one. Beyond that it is owed all.
const MAX_KEYS: usize = 1_024;
/// How many peers are remembered. Whoever is not is a stranger, who has missed everything.
const MAX_PEERS: usize = 1_024;
/// How long a peer that cannot be told is not tried again, in milliseconds.
const PLAIN_FOR: u64 = 10_000;
/// How long a peer that has left is remembered, in milliseconds.
const REMEMBERED: u64 = 60 * 60 * 1_000;
/// How long a peer that could not be told is left alone, in milliseconds: twice as long each time.
const FIRST_PAUSE: u64 = 250;
const LONGEST_PAUSE: u64 = 10_000;

impl Debts {
    /// Returns a node's debts: none.
    pub(crate) fn new(clock: Arc<Clock>) -> Self {
        Self { has_purged: AtomicBool::new(false), inner: Mutex::default(), clock }
    }

    /// Notes who the peers are at present.
    pub(crate) fn list(&self, peers: &[Arc<dyn Peer>]) {
        let now = self.clock.now();
        let mut inner = self.lock();
        for peer in peers {
            inner.meet(peer.label(), now);
            if let Some(peer) = inner.peers.get_mut(peer.label()) {
                (peer.is_known, peer.listed) = (true, now);
            }
        }
        inner.forget_old(now);
    }

    /// Notes that this process has purged something of a group.
    pub(crate) fn purged(&self, group: &Arc<str>) {
        let mut inner = self.lock();
        if !inner.purged.contains(group) {
            inner.purged.insert(Arc::clone(group));
        }
        drop(inner);
        self.has_purged.store(true, Ordering::Release);
    }

    /// Owes keys to every peer, listed or not, that is not among those who `took_part` as the process
    /// that it is known to be.
    pub(crate) fn owe(&self, group: &Arc<str>, keys: &Keys, took_part: &[Member]) {
        let mut inner = self.lock();
        inner.stamp += 1;
        let stamp = inner.stamp;
        for (label, peer) in &mut inner.peers {
            let part = took_part.iter().find(|member| *member.label == **label);
            match (part, peer.incarnation) {
                (Some(part), Some(known)) if part.incarnation == known => {}
                // It was never met, and now it has been.
                (Some(part), None) => peer.incarnation = Some(part.incarnation),
                _ => peer.owe(group, keys, stamp),
            }
        }
    }

    /// Returns whether this process has ever purged anything, so that somebody may have missed it.
    pub(crate) fn can_be_any(&self) -> bool {
        self.has_purged.load(Ordering::Acquire)
    }

    /// Returns how a peer is to be asked.
    pub(crate) fn standing(&self, label: &str) -> Standing {
        if !self.can_be_any() {
            return Standing::Even(None);
        }
        let now = self.clock.now();
        let mut inner = self.lock();
        inner.meet(label, now);
        match inner.peers.get(label) {
            Some(peer) if now < peer.again && !peer.owed.is_empty() => Standing::Unreached,
            Some(peer) if !peer.owed.is_empty() => Standing::Owed,
            peer => Standing::Even(peer.and_then(|peer| peer.incarnation)),
        }
    }

    /// Notes which process has answered a get. Returns whether it has missed anything: a new one has
    /// missed all that this process ever purged, and so has one that may have learned to forget.
    pub(crate) fn met(&self, label: &str, incarnation: u64) -> bool {
        let now = self.clock.now();
        // It may have answered over HTTP, so one that cannot be told is not tried again each time.
        self.can_be_any()
            && self.lock().introduce(label, incarnation, now, |plain_since| {
                now.saturating_sub(plain_since) >= PLAIN_FOR
            })
    }

    /// Notes which process purges something here, or has done so when it was told to. It is no stranger
    /// to that, even if it is the first purge of this process, and it can be told.
    pub(crate) fn introduce(&self, label: &str, incarnation: u64) {
        self.lock().introduce(label, incarnation, self.clock.now(), |_| true);
    }

    /// Returns what a peer has missed, in messages of at most `max_keys`. Each names those of the
    /// `listed` peers that have not missed it.
    pub(crate) fn bills(
        &self,
        label: &str,
        listed: &[Arc<dyn Peer>],
        max_keys: usize,
    ) -> Vec<Bill> {
        let inner = self.lock();
        let Some(peer) = inner.peers.get(label) else { return Vec::new() };
        let mut bills = Vec::new();
        for (group, owed) in &peer.owed {
            let told = inner.even(group, listed, label);
            let bill =
                |keys, stamps| Bill { group: Arc::clone(group), keys, stamps, told: told.clone() };
            match owed {
                Owed::All(stamp) => bills.push(bill(Keys::All, vec![*stamp])),
                Owed::These(keys) => {
                    let keys: Vec<_> = keys.iter().collect();
                    bills.extend(keys.chunks(max_keys).map(|keys| {
                        let these = keys.iter().map(|(key, _)| Arc::clone(key)).collect();
                        bill(Keys::These(these), keys.iter().map(|(_, stamp)| **stamp).collect())
                    }));
                }
            }
        }
        bills
    }

    /// Notes that a peer was told.
    pub(crate) fn settle(&self, label: &str, bill: &Bill) {
        let mut inner = self.lock();
        if let Some(peer) = inner.peers.get_mut(label) {
            peer.settle(bill);
        }
    }

    /// Notes that a peer cannot be told: it is asked all the same. Should it turn out later that it can,
    /// it has missed everything.
    pub(crate) fn waive(&self, label: &str) {
        let now = self.clock.now();
        if let Some(peer) = self.lock().peers.get_mut(label) {
            peer.owed.clear();
            peer.plain_since = Some(now);
        }
    }

    /// Notes that a peer could not be told.
    pub(crate) fn failed(&self, label: &str) {
        let now = self.clock.now();
        if let Some(peer) = self.lock().peers.get_mut(label) {
            peer.pause = (peer.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            peer.again = now.saturating_add(peer.pause);
        }
    }

    /// Returns whether anybody has missed anything.
    pub(crate) fn are_any(&self) -> bool {
        self.can_be_any() && self.lock().peers.values().any(|peer| !peer.owed.is_empty())
    }

    /// Returns how many keys of a group peers have missed, all keys counted as one.
    pub(crate) fn of_group(&self, group: &str) -> u64 {
        let inner = self.lock();
        let owed = inner.peers.values().filter_map(|peer| peer.owed.get(group));
        owed.map(|owed| match owed {
            Owed::These(keys) => keys.len() as u64,
            Owed::All(_) => 1,
        })
        .sum()
    }

    /// Nothing panics while the lock is held.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Remembers a peer from now on. A stranger has missed all that was purged before.
    fn meet(&mut self, label: &str, now: u64) {
        if !self.peers.contains_key(label) {
            self.make_room();
            self.peers.insert(Arc::from(label), Debtor::new(now));
            self.owe_everything(label);
        }
    }

    /// Notes which process a peer is. `can_be_told` says so of one that could not be, by since when.
    /// Returns whether it has missed anything.
    fn introduce(
        &mut self,
        label: &str,
        incarnation: u64,
        now: u64,
        can_be_told: impl Fn(u64) -> bool,
    ) -> bool {
        self.meet(label, now);
        let Some(peer) = self.peers.get_mut(label) else { return false };
        let known = peer.incarnation.replace(incarnation);
        let was_plain = peer.plain_since.take_if(|since| can_be_told(*since)).is_some();
        let is_plain = peer.plain_since.is_some();
        if !is_plain && (was_plain || known.is_some_and(|known| known != incarnation)) {
            self.owe_everything(label);
        }
        self.peers.get(label).is_some_and(|peer| !peer.owed.is_empty())
    }

    fn owe_everything(&mut self, label: &str) {
        self.stamp += 1;
        let Self { purged, peers, stamp } = self;
        if let Some(peer) = peers.get_mut(label) {
            for group in &*purged {
                peer.owed.insert(Arc::clone(group), Owed::All(*stamp));
            }
        }
    }

    /// Returns the listed peers but `label` that have missed nothing of a group, as far as is known.
    fn even(&self, group: &str, listed: &[Arc<dyn Peer>], label: &str) -> Vec<Member> {
        let others = listed.iter().filter(|peer| peer.label() != label);
        others
            .filter_map(|peer| {
                let (label, known) = self.peers.get_key_value(peer.label())?;
                let incarnation = known.incarnation?;
                let is_even = known.plain_since.is_none() && !known.owed.contains_key(group);
                is_even.then(|| Member { label: Arc::clone(label), incarnation })
            })
            .collect()
    }

    /// Forgets those that left long ago. They are strangers when they come back.
    fn forget_old(&mut self, now: u64) {
        self.peers.retain(|_, peer| now.saturating_sub(peer.listed) < REMEMBERED);
    }

    fn make_room(&mut self) {
        if self.peers.len() < MAX_PEERS {
            return;
        }
        let oldest = self.peers.iter().min_by_key(|(_, peer)| peer.listed);
        if let Some(oldest) = oldest.map(|(label, _)| Arc::clone(label)) {
            self.peers.remove(&oldest);
        }
    }
}

impl Debtor {
    fn new(now: u64) -> Self {
        Self {
            incarnation: None,
            owed: HashMap::new(),
            plain_since: None,
            is_known: false,
            listed: now,
            again: 0,
            pause: 0,
        }
    }

    fn owe(&mut self, group: &Arc<str>, keys: &Keys, stamp: u64) {
        if self.plain_since.is_some() {
            return;
        }
        let keys = if self.is_known { keys } else { &Keys::All };
        let owed = self.owed.entry(Arc::clone(group));
        let owed = owed.or_insert_with(|| Owed::These(HashMap::new()));
        if let (Owed::These(known), Keys::These(keys)) = (&mut *owed, keys) {
            known.extend(keys.iter().map(|key| (Arc::clone(key), stamp)));
            if known.len() <= MAX_KEYS {
                return;
            }
        }
        *owed = Owed::All(stamp);
    }

    fn settle(&mut self, bill: &Bill) {
        let Some(owed) = self.owed.get_mut(&bill.group) else { return };
        let is_settled = match (&mut *owed, &bill.keys) {
            (Owed::All(stamp), Keys::All) => bill.stamps.contains(stamp),
            (Owed::These(known), Keys::These(keys)) => {
                for (key, stamp) in keys.iter().zip(&bill.stamps) {
                    if known.get(key) == Some(stamp) {
                        known.remove(key);
                    }
                }
                known.is_empty()
            }
            // More was missed meanwhile.
            _ => false,
        };
        if is_settled {
            self.owed.remove(&bill.group);
            (self.again, self.pause) = (0, 0);
        }
    }
}
