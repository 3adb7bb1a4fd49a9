//! From the hashes of hashers to the hashes of indexes and shards.

/// The hash by which an index files an entry: every bit of the hash counts in it.
///
/// The index takes homes from the high bits and tags from the low ones, and many hashers fill only
/// some of theirs: the identity on integers is common. Both halves of the factor are 2^32 divided by
/// the golden ratio, which keeps successive numbers apart (Knuth, volume 3, section 6.4): what the
/// low bits of the hash say stands in the lower half of the product, and what the high bits say in
/// the upper one.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "32 bits of either half are what is wanted")]
pub(crate) fn index_hash(hash: u64) -> u32 {
    let product = u128::from(hash) * 0x9e37_79b9_9e37_79b9;
    product as u32 ^ (product >> 64) as u32
}

/// Which shard a hash belongs to, as 16 bits that have nothing to do with its [`index_hash`].
#[inline]
pub(crate) fn shard_hash(hash: u64) -> u16 {
    // A factor that does well in linear congruential generators (Steele and Vigna, 2021).
    (hash.wrapping_mul(0xd134_2543_de82_ef95) >> 48) as u16
}
