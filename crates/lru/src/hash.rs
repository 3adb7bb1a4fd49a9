//! From the hashes of hashers to the hashes of indexes and shards.

/// The hash by which an index files an entry.
#[inline]
pub(crate) fn index_hash(hash: u64) -> u32 {
    (spread(hash) >> 32) as u32
}

/// The bits of a hash that choose a shard: others than those that the shard's index uses.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
pub(crate) fn shard_hash(hash: u64) -> u32 {
    spread(hash) as u32
}

/// Lets every bit of a hash count in each half of the result.
///
/// The index takes homes from the high bits and tags from the low bits of its 32, and many hashers
/// fill only some of theirs: the identity on integers is common. Multiplying to 128 bits and
/// folding the halves is how wyhash and foldhash mix.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "both halves of the product are wanted")]
fn spread(hash: u64) -> u64 {
    const ODD: u128 = 0x9e37_79b9_7f4a_7c15;
    let product = u128::from(hash ^ 0x2545_f491_4f6c_dd1d) * ODD;
    product as u64 ^ (product >> 64) as u64
}
