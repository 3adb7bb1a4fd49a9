//! The ring against the naive ring that groupcache is: a sorted map from hash to label.

use std::collections::BTreeMap;

use carrotcache_consistenthash::{Ring, Scheme};
use proptest::prelude::*;

/// What groupcache keeps: a later label overwrites an earlier one at the same hash.
struct Naive {
    points: BTreeMap<u32, usize>,
    hash: fn(&[u8]) -> u32,
}

impl Naive {
    fn new(labels: &[(String, u32)], points: u32, hash: fn(&[u8]) -> u32) -> Self {
        let mut naive = Self { points: BTreeMap::new(), hash };
        for (node, (label, weight)) in labels.iter().enumerate() {
            for i in 0..points * weight {
                naive.points.insert(hash(format!("{i}{label}").as_bytes()), node);
            }
        }
        naive
    }

    fn get(&self, key: &[u8]) -> Option<usize> {
        let from = self.points.range((self.hash)(key)..).next();
        from.or_else(|| self.points.iter().next()).map(|(_, node)| *node)
    }

    fn shares(&self, nodes: usize) -> Vec<f64> {
        let mut shares = vec![0.0; nodes];
        let Some((last, _)) = self.points.iter().next_back() else { return shares };
        let mut begin = f64::from(*last) - 2_f64.powi(32);
        for (&end, &node) in &self.points {
            shares[node] += (f64::from(end) - begin) / 2_f64.powi(32);
            begin = f64::from(end);
        }
        shares
    }
}

/// Hash functions from well spread to hardly any values at all, at either end of the circle.
const HASHES: [fn(&[u8]) -> u32; 4] = [
    crc32fast::hash,
    |bytes| crc32fast::hash(bytes) % 97,
    |bytes| u32::MAX - crc32fast::hash(bytes) % 97,
    |bytes| crc32fast::hash(bytes) & 0xf000_000f,
];

fn labels() -> impl Strategy<Value = Vec<(String, u32)>> {
    prop::collection::btree_map("[a-c0-9:]{0,4}", 0..4_u32, 0..12)
        .prop_map(|labels| labels.into_iter().collect::<Vec<_>>())
        .prop_shuffle()
}

proptest! {
    #[test]
    fn ring_answers_as_the_naive_ring(
        labels in labels(), points in 1..40_u32, hash in prop::sample::select(&HASHES[..]),
        keys in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..200),
    ) {
        let naive = Naive::new(&labels, points, hash);
        let mut builder = Ring::builder().scheme(Scheme::from_hash("test", hash));
        for (label, weight) in &labels {
            builder = builder.weighted_node(label, *weight);
        }
        let ring = builder.points_per_node(points).build().unwrap();
        for key in &keys {
            prop_assert_eq!(ring.get_index(key), naive.get(key));
            prop_assert_eq!(ring.get(key), naive.get(key).map(|node| &*labels[node].0));
        }
        let shares = ring.shares().into_iter().map(|(_, share)| share);
        for (share, expected) in shares.zip(naive.shares(labels.len())) {
            prop_assert!((share - expected).abs() < 1e-9);
        }
    }

    #[test]
    fn order_of_labels_changes_nothing_but_ties(
        (labels, shuffled) in labels().prop_flat_map(|l| (Just(l.clone()), Just(l).prop_shuffle())),
    ) {
        let build = |labels: &[(String, u32)]| Ring::new(labels.iter().map(|l| &l.0)).unwrap();
        let (one, other) = (build(&labels), build(&shuffled));
        for key in (0..200_u32).map(u32::to_be_bytes) {
            let (mut ours, mut theirs) = (one.successors(key), other.successors(key));
            let (first, second) = (ours.next(), ours.next());
            let owner = theirs.next();
            // Two labels at one position: whichever came last wins, the other is next in line.
            let tied = first == theirs.next() && second == owner;
            prop_assert!(first == owner || tied);
        }
    }
}
