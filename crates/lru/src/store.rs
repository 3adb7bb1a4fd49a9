//! Entries in the order of their use, found by hash: what every cache of this crate is made of.
//!
//! A [`Store`] knows no bound and calls no user code but `Eq`: it is told hashes and weights. Its
//! slots are dense, numbered from 1 without a gap: an eviction that makes room for an insertion
//! hands its slot on, and any other removal moves the last entry into the hole. Entries and links
//! live in two vectors, because the links of a hundred thousand entries fit in a core's own cache
//! and their keys and values do not: moving an entry to the front touches three links and nothing
//! else.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use crate::index::{Index, MAX_SLOTS};

/// The slot of the sentinel, which closes the list to a ring: its `next` is the most recently used
/// entry, its `prev` the least.
const SENTINEL: u32 = 0;

/// Marks a weight that does not fit in a link and is kept in [`Store::heavy`].
const HEAVY: u32 = u32::MAX;

/// A slab of entries, linked in recency order and indexed by hash.
#[derive(Clone)]
pub(crate) struct Store<K, V> {
    /// The entry of slot `n` is at `n - 1`.
    entries: Vec<(K, V)>,
    /// The link of slot `n` is at `n`; the sentinel is at 0.
    links: Vec<Link>,
    index: Index,
    weight: u64,
    heavy: BTreeMap<u32, u64>,
}

/// What the store knows of an entry beside its key and value: 16 bytes.
#[derive(Clone, Copy)]
struct Link {
    prev: u32,
    next: u32,
    hash: u32,
    weight: u32,
}

impl<K, V> Store<K, V> {
    pub(crate) fn new() -> Self {
        let sentinel = Link { prev: SENTINEL, next: SENTINEL, hash: 0, weight: 0 };
        Self {
            entries: Vec::new(),
            links: vec![sentinel],
            index: Index::default(),
            weight: 0,
            heavy: BTreeMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no further slot can be numbered.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= MAX_SLOTS
    }

    /// The sum of all weights.
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// Bytes on the heap, without what keys and values own.
    pub(crate) fn memory_usage(&self) -> usize {
        // A B-tree node is about two thirds full; it holds the pairs and little else.
        let heavy = self.heavy.len() * size_of::<(u32, u64)>() * 3 / 2;
        self.entries.capacity() * size_of::<(K, V)>()
            + self.links.capacity() * size_of::<Link>()
            + self.index.memory_usage()
            + heavy
    }

    /// The slot of the entry with this hash whose key `is_match` accepts.
    #[inline]
    pub(crate) fn find(&self, hash: u32, mut is_match: impl FnMut(&K) -> bool) -> Option<u32> {
        self.index.find(hash, |slot| {
            self.links[slot as usize].hash == hash && is_match(&self.entry(slot).0)
        })
    }

    /// The slot of the entry for `key`, which has this hash.
    #[inline]
    pub(crate) fn find_key<Q: ?Sized + Eq>(&self, hash: u32, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
    {
        self.find(hash, |candidate| candidate.borrow() == key)
    }

    pub(crate) fn entry(&self, slot: u32) -> &(K, V) {
        &self.entries[slot as usize - 1]
    }

    pub(crate) fn entry_mut(&mut self, slot: u32) -> &mut (K, V) {
        &mut self.entries[slot as usize - 1]
    }

    pub(crate) fn weight_of(&self, slot: u32) -> u64 {
        match self.links[slot as usize].weight {
            HEAVY => self.heavy[&slot],
            weight => u64::from(weight),
        }
    }

    /// The slot of the most recently used entry.
    pub(crate) fn front(&self) -> Option<u32> {
        Some(self.first()).filter(|&slot| slot != SENTINEL)
    }

    /// The slot of the least recently used entry.
    pub(crate) fn back(&self) -> Option<u32> {
        Some(self.last()).filter(|&slot| slot != SENTINEL)
    }

    /// As [`front`](Self::front), the sentinel's if the store is empty.
    pub(crate) fn first(&self) -> u32 {
        self.links[SENTINEL as usize].next
    }

    /// As [`back`](Self::back), the sentinel's if the store is empty.
    pub(crate) fn last(&self) -> u32 {
        self.links[SENTINEL as usize].prev
    }

    /// The slot of the next less recently used entry; the sentinel's after the last.
    pub(crate) fn next(&self, slot: u32) -> u32 {
        self.links[slot as usize].next
    }

    /// The slot of the next more recently used entry; the sentinel's before the first.
    pub(crate) fn prev(&self, slot: u32) -> u32 {
        self.links[slot as usize].prev
    }

    /// Makes the entry in `slot` the most recently used one.
    #[inline]
    pub(crate) fn promote(&mut self, slot: u32) {
        if self.links[SENTINEL as usize].next != slot {
            self.unlink(slot);
            self.link_front(slot);
        }
    }

    /// Gives the entry in `slot` another weight. The sum must fit in 64 bits.
    pub(crate) fn set_weight(&mut self, slot: u32, weight: u64) {
        self.weight = self.weight - self.weight_of(slot) + weight;
        self.store_weight(slot, weight);
    }

    /// Adds an entry that is not there yet, as the most recently used one. The store must not be
    /// full and the sum of the weights must fit in 64 bits.
    pub(crate) fn push_front(&mut self, hash: u32, key: K, value: V, weight: u64) -> u32 {
        reserve_one(&mut self.entries);
        reserve_one(&mut self.links);
        let link = Link { prev: SENTINEL, next: SENTINEL, hash, weight: 0 };
        self.entries.push((key, value));
        self.links.push(link);
        let slot = self.last_slot();
        self.enter(slot, weight);
        slot
    }

    /// Puts a new entry into the slot of the least recently used one, which is handed out.
    ///
    /// As [`push_front`](Self::push_front) otherwise. `None` hands nothing out: the store was empty.
    pub(crate) fn replace_back(
        &mut self,
        hash: u32,
        key: K,
        value: V,
        weight: u64,
    ) -> Option<(K, V)> {
        let Some(slot) = self.back() else {
            self.push_front(hash, key, value, weight);
            return None;
        };
        self.leave(slot);
        let old = std::mem::replace(self.entry_mut(slot), (key, value));
        self.links[slot as usize].hash = hash;
        self.enter(slot, weight);
        Some(old)
    }

    /// Takes an entry out. The entry in the last slot moves into its slot.
    pub(crate) fn remove(&mut self, slot: u32) -> (K, V) {
        self.leave(slot);
        let last = self.last_slot();
        if slot != last {
            self.renumber(last, slot);
        }
        self.links.swap_remove(slot as usize);
        self.entries.swap_remove(slot as usize - 1)
    }

    /// Takes the least recently used entry out.
    pub(crate) fn pop_back(&mut self) -> Option<(K, V)> {
        self.back().map(|slot| self.remove(slot))
    }

    /// Takes the most recently used entry out.
    pub(crate) fn pop_front(&mut self) -> Option<(K, V)> {
        self.front().map(|slot| self.remove(slot))
    }

    /// Takes the entries out for which `keep` is false, from front to back, and gives them to `gone`.
    pub(crate) fn retain(
        &mut self,
        mut keep: impl FnMut(&K, &V) -> bool,
        mut gone: impl FnMut((K, V)),
    ) {
        let mut at = SENTINEL;
        loop {
            let slot = self.next(at);
            if slot == SENTINEL {
                return;
            }
            let (key, value) = self.entry(slot);
            if keep(key, value) {
                at = slot;
                continue;
            }
            // The removal moves the entry of the last slot, perhaps the one that we stand on.
            let last = self.last_slot();
            let removed = self.remove(slot);
            if at == last {
                at = slot;
            }
            gone(removed);
        }
    }

    /// Files a slot whose entry and hash are in place.
    fn enter(&mut self, slot: u32, weight: u64) {
        let links = &self.links;
        self.index.insert(links[slot as usize].hash, slot, |other| links[other as usize].hash);
        self.weight += weight;
        self.store_weight(slot, weight);
        self.link_front(slot);
    }

    /// Undoes [`enter`](Self::enter).
    fn leave(&mut self, slot: u32) {
        self.index.remove(self.links[slot as usize].hash, slot);
        self.set_weight(slot, 0);
        self.unlink(slot);
    }

    fn store_weight(&mut self, slot: u32, weight: u64) {
        let link = &mut self.links[slot as usize];
        let was_heavy = link.weight == HEAVY;
        link.weight = u32::try_from(weight).unwrap_or(HEAVY);
        if link.weight == HEAVY {
            self.heavy.insert(slot, weight);
        } else if was_heavy {
            self.heavy.remove(&slot);
        }
    }

    /// Tells the index and the neighbours of the entry in slot `from` that it moves to slot `to`.
    fn renumber(&mut self, from: u32, to: u32) {
        let Link { prev, next, hash, weight } = self.links[from as usize];
        self.index.renumber(hash, from, to);
        self.links[prev as usize].next = to;
        self.links[next as usize].prev = to;
        if weight == HEAVY
            && let Some(weight) = self.heavy.remove(&from)
        {
            self.heavy.insert(to, weight);
        }
    }

    fn link_front(&mut self, slot: u32) {
        let first = self.links[SENTINEL as usize].next;
        self.links[SENTINEL as usize].next = slot;
        self.links[first as usize].prev = slot;
        let link = &mut self.links[slot as usize];
        link.prev = SENTINEL;
        link.next = first;
    }

    fn unlink(&mut self, slot: u32) {
        let Link { prev, next, .. } = self.links[slot as usize];
        self.links[prev as usize].next = next;
        self.links[next as usize].prev = prev;
    }

    /// The largest slot number, which is that of the entry a removal moves.
    #[expect(clippy::cast_possible_truncation, reason = "there are at most MAX_SLOTS entries")]
    fn last_slot(&self) -> u32 {
        self.entries.len() as u32
    }
}

/// Makes room for one more, growing by a 32nd at a time.
///
/// Doubling would leave up to half of the slab unused, at 72 bytes a slot for `String` and `Bytes`.
/// Allocators that remap large blocks, as those of glibc and musl do, grow them without a copy.
fn reserve_one<T>(items: &mut Vec<T>) {
    if items.len() == items.capacity() {
        items.reserve_exact((items.len() / 32).max(8));
    }
}
