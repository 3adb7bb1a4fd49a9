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

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes as hashers leave them that do little: of integers, of addresses, of either half.
    fn sequences() -> impl Iterator<Item = Vec<u64>> {
        const COUNT: u64 = 16_384;
        let steps = [1, 3, 8, 64, 4096, 1 << 20, 1 << 32, 1 << 48, 0x0001_0001, 0x9e37_79b9];
        steps.into_iter().map(|step: u64| (0..COUNT).map(|at| at.wrapping_mul(step)).collect())
    }

    /// The most that fall to one of `parts`, in times of an even share.
    fn crowding(parts: usize, hashes: &[u64], part_of: impl Fn(u64) -> usize) -> f64 {
        let mut counts = vec![0_u32; parts];
        hashes.iter().for_each(|&hash| counts[part_of(hash)] += 1);
        let most = counts.into_iter().max().unwrap_or(0);
        f64::from(most) * parts as f64 / hashes.len() as f64
    }

    #[test]
    fn homes_tags_and_shards_of_poor_hashes_are_spread() {
        for hashes in sequences() {
            let step = hashes[1];
            let homes = crowding(256, &hashes, |hash| (index_hash(hash) >> 24) as usize);
            assert!(homes < 2.5, "step {step:#x}: {homes} times as many in a home");
            let tags = crowding(256, &hashes, |hash| (index_hash(hash) & 0xff) as usize);
            assert!(tags < 2.5, "step {step:#x}: {tags} times as many with a tag");
            let shards = crowding(64, &hashes, |hash| usize::from(shard_hash(hash)) % 64);
            assert!(shards < 2.5, "step {step:#x}: {shards} times as many in a shard");
        }
    }

    #[test]
    fn keys_of_a_shard_are_spread_over_its_homes() {
        for hashes in sequences() {
            let of_first = |hash: &u64| shard_hash(*hash).is_multiple_of(16);
            let hashes: Vec<_> = hashes.into_iter().filter(of_first).collect();
            let homes = crowding(16, &hashes, |hash| (index_hash(hash) >> 28) as usize);
            assert!(homes < 2.5, "{homes} times as many in a home");
        }
    }
}
