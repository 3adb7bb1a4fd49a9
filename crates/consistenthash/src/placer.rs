//! The points of many nodes, quicker than one by one.

use std::collections::HashMap;

use crate::Scheme;
use crate::scheme::{crc32_of_point, finalise, widen};

/// Places one node after the other and works out only once what they have in common.
///
/// CRC-32 is affine: `crc(a ++ b)` is `crc(b)` xor something that depends on `a` and on the
/// *length* of `b` only. For all labels of one length the index therefore contributes the same,
/// and a point costs an xor instead of a hash. (This is also why such labels share keys unevenly:
/// each has the same pattern of points, moved by an xor.)
pub(crate) struct Placer<'a> {
    scheme: &'a Scheme,
    /// What each index contributes, by the length of the label.
    contributions: HashMap<usize, Vec<u32>>,
}

impl<'a> Placer<'a> {
    pub(crate) fn new(scheme: &'a Scheme) -> Self {
        Self { scheme, contributions: HashMap::new() }
    }

    /// Calls `put` with the positions of the first `count` points of the node `label`, which are
    /// those of [`Scheme::point_position`].
    pub(crate) fn place(&mut self, label: &str, count: u32, put: impl FnMut(u64)) {
        let scheme = self.scheme;
        match scheme {
            Scheme::Groupcache => self.crc32(label, count).map(widen).for_each(put),
            Scheme::Balanced => self.crc32(label, count).map(finalise).map(widen).for_each(put),
            _ => (0..count).map(|index| scheme.point_position(index, label)).for_each(put),
        }
    }

    /// Returns `crc32(index ++ label)` for each index below `count`.
    fn crc32(&mut self, label: &str, count: u32) -> impl Iterator<Item = u32> {
        let own = crc32fast::hash(label.as_bytes());
        let contributions = self.contributions.entry(label.len()).or_default();
        for index in (0..count).skip(contributions.len()) {
            contributions.push(crc32_of_point(index, label) ^ own);
        }
        contributions[..count as usize].iter().map(move |contribution| contribution ^ own)
    }
}
