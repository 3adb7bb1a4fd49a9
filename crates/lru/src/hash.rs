//! From the hashes of hashers to the hashes of indexes and shards.
//!
//! Many hashers fill only some of their bits: the identity on integers is common. So every bit is
//! made to count in every other, in two rounds of a shift that brings high bits down and a
//! multiplication that carries low bits up, as the finalisers of `MurmurHash3` and `SplitMix64` do.

/// The hash by which an index files an entry.
#[inline]
pub(crate) fn index_hash(hash: u64) -> u32 {
    (round(round(hash)) >> 32) as u32
}

/// Which shard a hash belongs to, in 65,536ths of all.
#[inline]
pub(crate) fn shard_hash(hash: u64) -> u16 {
    (round(hash) >> 48) as u16
}

#[inline]
fn round(hash: u64) -> u64 {
    (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes as hashers leave them that do little: of integers, of addresses, of either half.
    fn sequences() -> impl Iterator<Item = Vec<u64>> {
        const COUNT: u64 = 16_384;
        let steps =
            [1, 3, 64, 18_418, 121_393, 1 << 20, 1 << 32, 1 << 34, 1 << 36, 1 << 48, 0x0001_0001];
        let pairs: [fn(u64) -> u64; 3] =
            [|at| at << 32 | at, |at| at << 32 | (at + 1), |at| at << 32 | (!at & 0xffff_ffff)];
        let strides =
            steps.into_iter().map(|step: u64| (0..COUNT).map(|at| at.wrapping_mul(step)).collect());
        strides.chain(pairs.into_iter().map(|pair| (0..COUNT).map(pair).collect()))
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
            let shards = crowding(64, &hashes, |hash| usize::from(shard_hash(hash)) >> 10);
            assert!(shards < 2.5, "step {step:#x}: {shards} times as many in a shard");
        }
    }

    #[test]
    fn keys_of_a_shard_are_spread_over_its_homes() {
        for hashes in sequences() {
            let of_first = |hash: &u64| shard_hash(*hash) >> 12 == 0;
            let hashes: Vec<_> = hashes.into_iter().filter(of_first).collect();
            let homes = crowding(16, &hashes, |hash| (index_hash(hash) >> 28) as usize);
            assert!(homes < 2.5, "{homes} times as many in a home");
        }
    }
}
