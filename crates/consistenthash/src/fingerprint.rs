//! A number by which two processes can tell whether their rings agree.

use crate::Ring;

impl Ring {
    /// Returns a number that is the same for two rings if they place every key alike, in any
    /// process and on any machine, and almost certainly differs if they do not.
    ///
    /// It depends on the scheme's name, the labels, and where their points lie. The order in which
    /// labels were given matters only where it decides a tie. It is no cryptographic hash: it
    /// guards against mistakes, not against malice. Costs a walk over all points, so keep it.
    ///
    /// ```
    /// # use carrotcache_consistenthash::Ring;
    /// let here = Ring::new(["a", "b", "c"])?;
    /// let there = Ring::new(["c", "b", "a"])?;
    /// assert_eq!(here.fingerprint(), there.fingerprint());
    /// assert_ne!(here.fingerprint(), there.without_node("c")?.fingerprint());
    /// # Ok::<(), carrotcache_consistenthash::RingError>(())
    /// ```
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let labels: Vec<u64> = self.labels().map(|label| hash(label.as_bytes())).collect();
        // A node may own nothing (weight 0, or every tie lost), and still belongs to the ring; so
        // all labels count, by a sum that forgets their order.
        let all = labels.iter().fold(0, |sum: u64, label| sum.wrapping_add(*label));
        let start = mix(hash(self.scheme().name().as_bytes()), all);
        self.table().visible().fold(start, |state, point| {
            mix(mix(state, point.position), labels[usize::from(point.owner)])
        })
    }
}

/// FNV-1a, then [`mix`] so that every bit counts.
fn hash(bytes: &[u8]) -> u64 {
    let fold = |state: u64, byte: &u8| (state ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    let state = bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold);
    mix(state, bytes.len() as u64)
}

/// Adds `value` to `state` and stirs (the finaliser of SplitMix64).
fn mix(state: u64, value: u64) -> u64 {
    let mut z = (state.rotate_left(5) ^ value).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
