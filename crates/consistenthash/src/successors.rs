//! The order in which nodes would own a key.

use std::fmt;
use std::iter::FusedIterator;

use crate::Ring;
use crate::table::Table;

/// How many nodes are remembered without allocating.
const INLINE: usize = 8;

/// The nodes in the order in which they would own a key; from [`Ring::successors`].
#[derive(Clone)]
pub struct Successors<'a> {
    ring: &'a Ring,
    owners: Owners<'a>,
}

impl<'a> Successors<'a> {
    pub(crate) fn new(ring: &'a Ring, position: u64) -> Self {
        Self { ring, owners: Owners::new(ring.table(), position) }
    }

    /// Returns the same nodes as indices in [`Ring::labels`].
    #[must_use]
    pub fn indices(self) -> impl FusedIterator<Item = usize> + Clone + 'a {
        self.owners
    }
}

impl<'a> Iterator for Successors<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.ring.label(self.owners.next()?)
    }
}

impl FusedIterator for Successors<'_> {}

impl fmt::Debug for Successors<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl Ring {
    /// Returns the nodes in the order in which they would own `key` if those before them left,
    /// its owner first, each once.
    ///
    /// Nothing is allocated for the first eight.
    ///
    /// ```
    /// # use carrotcache_consistenthash::Ring;
    /// let ring = Ring::new(["a", "b", "c", "d"])?;
    /// let replicas: Vec<&str> = ring.successors("key").take(3).collect();
    /// assert_eq!(ring.without_node(replicas[0])?.get("key"), Some(replicas[1]));
    /// # Ok::<(), carrotcache_consistenthash::RingError>(())
    /// ```
    #[must_use]
    pub fn successors(&self, key: impl AsRef<[u8]>) -> Successors<'_> {
        Successors::new(self, self.position(key))
    }
}

/// The owners of the points from some position on, each once.
#[derive(Clone)]
struct Owners<'a> {
    table: &'a Table,
    /// The point to look at next.
    at: usize,
    /// How many points have not been looked at.
    left: usize,
    seen: Seen,
}

impl<'a> Owners<'a> {
    fn new(table: &'a Table, position: u64) -> Self {
        Self { table, at: table.find(position), left: table.len(), seen: Seen::default() }
    }
}

impl Iterator for Owners<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        while self.left > 0 {
            self.left -= 1;
            let owner = self.table.point(self.at).owner;
            self.at = if self.at + 1 == self.table.len() { 0 } else { self.at + 1 };
            if self.seen.insert(owner) {
                return Some(owner.into());
            }
        }
        None
    }
}

impl FusedIterator for Owners<'_> {}

/// A set of nodes: a short list while there are few, then one bit for each node.
#[derive(Clone, Default)]
struct Seen {
    first: [u16; INLINE],
    len: usize,
    bits: Vec<u64>,
}

impl Seen {
    /// Returns whether `owner` is new.
    fn insert(&mut self, owner: u16) -> bool {
        if self.first[..self.len].contains(&owner) {
            return false;
        }
        if self.len < INLINE {
            self.first[self.len] = owner;
            self.len += 1;
            return true;
        }
        let (word, bit) = (usize::from(owner) / 64, 1 << (owner % 64));
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        let new = self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        new
    }
}
