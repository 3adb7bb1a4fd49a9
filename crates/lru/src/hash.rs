//! From the hashes of hashers to the hashes of indexes and shards.

/// The hash by which an index files an entry.
#[inline]
pub(crate) fn index_hash(hash: u64) -> u32 {
    (spread(hash) >> 32) as u32
}

/// The bits of a hash that choose a shard: others than those that the shard's index uses.
#[inline]
pub(crate) fn shard_hash(hash: u64) -> usize {
    (spread(hash) >> 16) as usize & 0xffff
}

/// Lets every bit of a hash count in the upper bits of the result.
///
/// The index takes homes from the high bits and tags from the low bits of its 32, and many hashers
/// fill only some of theirs: the identity on integers is common. The factor is 2^64 divided by the
/// golden ratio, which keeps successive numbers apart (Knuth, volume 3, section 6.4).
#[inline]
fn spread(hash: u64) -> u64 {
    (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
