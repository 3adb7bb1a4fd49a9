//! Entries in the order of their use, found by hash: what every cache of this crate is made of.
//!
//! A [`Store`] knows no bound and calls no user code but `Eq`: it is told hashes and weights. Its
//! slots are dense, numbered from 0 without a gap: an eviction that makes room for an insertion
//! hands its slot on, and any other removal moves the last entry into the hole. So there is no list
//! of free slots, and no slot is ever without an entry.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use crate::index::{Index, MAX_SLOTS};

/// No slot: what comes before the first entry and after the last.
const NIL: u32 = u32::MAX;

/// The bit of [`Node::weight`] that says that the entry is [marked](Store::mark).
const MARK: u32 = 1 << 31;

/// Stands for a weight that does not fit in a node and is kept in [`Store::heavy`].
const HEAVY: u32 = MARK - 1;

/// A slab of entries, linked in recency order and indexed by hash.
#[derive(Clone)]
pub(crate) struct Store<K, V> {
    nodes: Vec<Node<K, V>>,
    /// The slot of the most recently used entry.
    head: u32,
    /// The slot of the least recently used entry.
    tail: u32,
    /// Finds slots by hash.
    index: Index,
    /// The sum of all weights.
    weight: u64,
    /// The weights, by slot, that do not fit in a node: [`HEAVY`] and above.
    heavy: BTreeMap<u32, u64>,
}

/// An entry and the 16 bytes that the store knows of it, which come first: a hit reads them and
/// then the key, most often from the same cache line.
#[derive(Clone)]
#[repr(C)]
struct Node<K, V> {
    prev: u32,
    next: u32,
    hash: u32,
    /// The weight or [`HEAVY`], and above it [`MARK`].
    weight: u32,
    entry: (K, V),
}

impl<K, V> Store<K, V> {
    /// A store that has allocated nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            head: NIL,
            tail: NIL,
            index: Index::default(),
            weight: 0,
            heavy: BTreeMap::new(),
        }
    }

    /// The number of entries, which is also the number of slots.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether no further slot can be numbered.
    pub(crate) fn is_full(&self) -> bool {
        self.nodes.len() >= MAX_SLOTS
    }

    /// The sum of all weights.
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// Bytes on the heap, without what keys and values own.
    pub(crate) fn memory_usage(&self) -> usize {
        // A B-tree node is about two thirds full; it holds the pairs and little else.
        let heavy = self.heavy.len() * size_of::<(u32, u64)>() * 3 / 2;
        self.nodes.capacity() * size_of::<Node<K, V>>() + self.index.memory_usage() + heavy
    }

    /// The slot of the entry for `key`, which has this hash.
    #[inline]
    pub(crate) fn find_key<Q: ?Sized + Eq>(&self, hash: u32, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
    {
        let nodes = self.nodes.as_slice();
        self.index.find(hash, move |slot| {
            let node = &nodes[slot as usize];
            node.hash == hash && node.entry.0.borrow() == key
        })
    }

    /// The key and the value in `slot`.
    pub(crate) fn entry(&self, slot: u32) -> &(K, V) {
        &self.node(slot).entry
    }

    /// As [`entry`](Self::entry), to change the value; keys stay as they are.
    pub(crate) fn entry_mut(&mut self, slot: u32) -> &mut (K, V) {
        &mut self.node_mut(slot).entry
    }

    /// The weight that the entry in `slot` came with.
    pub(crate) fn weight_of(&self, slot: u32) -> u64 {
        match self.node(slot).weight & !MARK {
            HEAVY => self.heavy[&slot],
            weight => u64::from(weight),
        }
    }

    /// The slot of the most recently used entry.
    pub(crate) fn front(&self) -> Option<u32> {
        Some(self.head).filter(|&slot| slot != NIL)
    }

    /// The slot of the least recently used entry.
    pub(crate) fn back(&self) -> Option<u32> {
        Some(self.tail).filter(|&slot| slot != NIL)
    }

    /// As [`front`](Self::front), but no slot at all if the store is empty.
    pub(crate) fn first(&self) -> u32 {
        self.head
    }

    /// As [`back`](Self::back), but no slot at all if the store is empty.
    pub(crate) fn last(&self) -> u32 {
        self.tail
    }

    /// The slot of the next less recently used entry, or no slot at all after the last.
    pub(crate) fn next(&self, slot: u32) -> u32 {
        self.node(slot).next
    }

    /// The slot of the next more recently used entry, or no slot at all before the first.
    pub(crate) fn prev(&self, slot: u32) -> u32 {
        self.node(slot).prev
    }

    /// Makes the entry in `slot` the most recently used one.
    #[inline]
    pub(crate) fn promote(&mut self, slot: u32) {
        let head = self.head;
        if head == slot {
            return;
        }
        // As `unlink` and `link_front` do, but in one, because every hit does it: an entry that is
        // not the first has one before it, and the list is not empty without it.
        let nodes = self.nodes.as_mut_slice();
        let node = &mut nodes[slot as usize];
        let (prev, next) = (node.prev, node.next);
        (node.prev, node.next) = (NIL, head);
        nodes[prev as usize].next = next;
        if next == NIL {
            self.tail = prev;
        } else {
            nodes[next as usize].prev = prev;
        }
        nodes[head as usize].prev = slot;
        self.head = slot;
    }

    /// Notes that the entry in `slot` was used, for [`spare_marked`](Self::spare_marked), and leaves
    /// the order as it is. Using an entry that is marked already writes nothing.
    #[inline]
    pub(crate) fn mark(&mut self, slot: u32) {
        let weight = &mut self.node_mut(slot).weight;
        if *weight & MARK == 0 {
            *weight |= MARK;
        }
    }

    /// Makes the least recently used entries, as long as they are marked, the most recently used
    /// ones, without their marks, but not so many that a caller would notice. Returns the slot of the
    /// one that is then the least recently used.
    pub(crate) fn spare_marked(&mut self) -> Option<u32> {
        const MOST: usize = 64;
        for _ in 0..MOST {
            let slot = self.back()?;
            let weight = &mut self.node_mut(slot).weight;
            if *weight & MARK == 0 {
                break;
            }
            *weight &= !MARK;
            self.promote(slot);
        }
        self.back()
    }

    /// Gives the entry in `slot` another weight. The sum must fit in 64 bits.
    pub(crate) fn set_weight(&mut self, slot: u32, weight: u64) {
        self.weight = self.weight - self.weight_of(slot) + weight;
        self.store_weight(slot, weight);
    }

    /// Adds an entry that is not there yet, as the most recently used one. The store must not be
    /// full and the sum of the weights must fit in 64 bits.
    pub(crate) fn push_front(&mut self, hash: u32, key: K, value: V, weight: u64) -> u32 {
        if self.nodes.len() == self.nodes.capacity() {
            self.reserve();
        }
        self.nodes.push(Node { prev: NIL, next: NIL, hash, weight: 0, entry: (key, value) });
        let slot = self.last_slot();
        self.enter(slot, weight);
        slot
    }

    /// Puts a new entry into the slot of the least recently used one, which is handed out.
    ///
    /// As [`push_front`](Self::push_front) otherwise. `None` hands nothing out: the store was empty.
    #[inline]
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
        self.node_mut(slot).hash = hash;
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
        self.nodes.swap_remove(slot as usize).entry
    }

    /// Takes the least recently used entry out.
    pub(crate) fn pop_back(&mut self) -> Option<(K, V)> {
        self.back().map(|slot| self.remove(slot))
    }

    /// Takes the most recently used entry out.
    pub(crate) fn pop_front(&mut self) -> Option<(K, V)> {
        self.front().map(|slot| self.remove(slot))
    }

    /// Takes the entries out for which `keep` is false, from front to back, and gives them to `gone`
    /// with their weights.
    pub(crate) fn retain(
        &mut self,
        mut keep: impl FnMut(&K, &V) -> bool,
        mut gone: impl FnMut((K, V), u64),
    ) {
        let mut at = self.head;
        while at != NIL {
            let Node { next, entry: (key, value), .. } = self.node(at);
            let next = *next;
            if keep(key, value) {
                at = next;
                continue;
            }
            // The removal moves the entry of the last slot, perhaps the one that comes next.
            let last = self.last_slot();
            let weight = self.weight_of(at);
            let removed = self.remove(at);
            at = if next == last { at } else { next };
            gone(removed, weight);
        }
    }

    /// Files a slot whose entry and hash are in place.
    fn enter(&mut self, slot: u32, weight: u64) {
        let nodes = &self.nodes;
        self.index.insert(nodes[slot as usize].hash, slot, |other| nodes[other as usize].hash);
        self.weight += weight;
        self.store_weight(slot, weight);
        self.link_front(slot);
    }

    /// Undoes [`enter`](Self::enter).
    fn leave(&mut self, slot: u32) {
        self.index.remove(self.node(slot).hash, slot);
        self.set_weight(slot, 0);
        self.unlink(slot);
    }

    /// Writes the weight of an entry down, without adding it to the sum.
    fn store_weight(&mut self, slot: u32, weight: u64) {
        let node = &mut self.nodes[slot as usize];
        let was_heavy = node.weight & !MARK == HEAVY;
        // The mark goes with the old weight: a new one comes with a use.
        node.weight = u32::try_from(weight).map_or(HEAVY, |weight| weight.min(HEAVY));
        if node.weight == HEAVY {
            self.heavy.insert(slot, weight);
        } else if was_heavy {
            self.heavy.remove(&slot);
        }
    }

    /// Tells the index and the neighbours of the entry in slot `from` that it moves to slot `to`.
    fn renumber(&mut self, from: u32, to: u32) {
        let &Node { prev, next, hash, weight, .. } = self.node(from);
        self.index.renumber(hash, from, to);
        *self.next_of(prev) = to;
        *self.prev_of(next) = to;
        if weight & !MARK == HEAVY
            && let Some(weight) = self.heavy.remove(&from)
        {
            self.heavy.insert(to, weight);
        }
    }

    /// Puts an entry that is in no list before the first.
    fn link_front(&mut self, slot: u32) {
        let second = std::mem::replace(&mut self.head, slot);
        *self.prev_of(second) = slot;
        let node = self.node_mut(slot);
        node.prev = NIL;
        node.next = second;
    }

    /// Lets the neighbours of an entry pass it by.
    fn unlink(&mut self, slot: u32) {
        let &Node { prev, next, .. } = self.node(slot);
        *self.next_of(prev) = next;
        *self.prev_of(next) = prev;
    }

    /// Where it is written what comes after `slot`.
    fn next_of(&mut self, slot: u32) -> &mut u32 {
        if slot == NIL { &mut self.head } else { &mut self.node_mut(slot).next }
    }

    /// Where it is written what comes before `slot`.
    fn prev_of(&mut self, slot: u32) -> &mut u32 {
        if slot == NIL { &mut self.tail } else { &mut self.node_mut(slot).prev }
    }

    fn node(&self, slot: u32) -> &Node<K, V> {
        &self.nodes[slot as usize]
    }

    fn node_mut(&mut self, slot: u32) -> &mut Node<K, V> {
        &mut self.nodes[slot as usize]
    }

    /// Makes room for more nodes, a 128th of those there are.
    ///
    /// Doubling would leave up to half of the slab unused, at 72 bytes a slot for `String` and
    /// `Bytes`. Allocators that remap large blocks, as those of glibc and musl do, grow them
    /// without a copy.
    #[cold]
    fn reserve(&mut self) {
        self.nodes.reserve_exact((self.nodes.len() / 128).max(8));
    }

    /// The largest slot number, which is that of the entry a removal moves.
    #[expect(clippy::cast_possible_truncation, reason = "there are at most MAX_SLOTS entries")]
    fn last_slot(&self) -> u32 {
        self.nodes.len() as u32 - 1
    }
}
