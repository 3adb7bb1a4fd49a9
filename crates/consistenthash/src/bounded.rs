//! Owners that are not overloaded.

use crate::Ring;

impl Ring {
    /// Returns the first successor of `key` that has room for one more, or `None` if the ring
    /// has no points.
    ///
    /// A ring shares out keys, not load: one popular key, or an uneven ring, can overload one node
    /// while others are idle. Here a node has room while its load is below `factor` times its part
    /// of the whole load, so none ever gets more than that, and a key moves on only while its
    /// owner is full. A `factor` of 1.25 is a good start; close to 1 evens out more and moves more
    /// keys, and anything below 1 counts as 1. (Mirrokni, Thorup, Zadimoghaddam: "Consistent
    /// Hashing with Bounded Loads", 2016.)
    ///
    /// `load_of` tells a node's load in any unit in which `key` will add one, such as requests
    /// under way. It is asked about each node once, and about some of them again.
    ///
    /// ```
    /// # use carrotcache_consistenthash::Ring;
    /// let ring = Ring::new(["a", "b", "c"])?;
    /// let owner = ring.get("key").expect("the ring has nodes");
    ///
    /// assert_eq!(ring.get_bounded("key", |_| 7, 1.25), Some(owner));
    /// let busy = |node: &str| if node == owner { 20 } else { 1 };
    /// assert_eq!(ring.get_bounded("key", busy, 1.25), ring.successors("key").nth(1));
    /// # Ok::<(), carrotcache_consistenthash::RingError>(())
    /// ```
    #[must_use]
    pub fn get_bounded(
        &self,
        key: impl AsRef<[u8]>,
        load_of: impl Fn(&str) -> u64,
        factor: f64,
    ) -> Option<&str> {
        let load_of = |index| self.label(index).map_or(0, &load_of);
        self.label(self.get_bounded_index(key, load_of, factor)?)
    }

    /// Returns what [`get_bounded`](Self::get_bounded) returns, and asks for the loads, by index in
    /// [`labels`](Self::labels).
    #[must_use]
    pub fn get_bounded_index(
        &self,
        key: impl AsRef<[u8]>,
        load_of: impl Fn(usize) -> u64,
        factor: f64,
    ) -> Option<usize> {
        // A node without weight gets nothing, so what it still carries is no part of the whole.
        let weighted = || (0..self.len()).filter(|&index| self.nodes().weight(index) > 0);
        let load: u64 = weighted().map(&load_of).fold(1, u64::saturating_add);
        let weight: u64 = weighted().map(|index| u64::from(self.nodes().weight(index))).sum();
        let per_weight = factor.max(1.0) * load as f64 / weight as f64;
        let has_room = |&index: &usize| {
            (load_of(index) as f64) < (per_weight * f64::from(self.nodes().weight(index))).ceil()
        };
        // The capacities sum up to more than the loads, so somebody has room, unless rounding
        // loads beyond 2⁵³ hides it. Then the owner takes the key.
        self.successors(&key).indices().find(has_room).or_else(|| self.get_index(key))
    }
}
