//! A changed ring moves only the keys it must.

use carrotcache_consistenthash::{Ring, Scheme};
use proptest::prelude::*;

fn keys() -> impl Iterator<Item = String> {
    (0..500).map(|i| format!("key:{i}"))
}

fn schemes() -> impl Strategy<Value = Scheme> {
    let crowded = |bytes: &[u8]| crc32fast::hash(bytes) % 61;
    prop_oneof![
        Just(Scheme::Groupcache),
        Just(Scheme::Balanced),
        Just(Scheme::from_hash("crowded", crowded)),
    ]
}

proptest! {
    #[test]
    fn node_that_joins_takes_keys_for_itself_only(
        scheme in schemes(), nodes in 0..20_usize, points in 1..20_u32,
    ) {
        let labels = (0..nodes).map(|i| format!("node-{i}"));
        let ring = Ring::builder().scheme(scheme).points_per_node(points).nodes(labels);
        let before = ring.clone().build().unwrap();
        let after = before.with_node("new").unwrap();
        for key in keys() {
            let owner = after.get(&key);
            prop_assert!(owner == before.get(&key) || owner == Some("new"));
        }
        let built = ring.node("new").build().unwrap();
        prop_assert_eq!(after.fingerprint(), built.fingerprint());
    }

    #[test]
    fn node_that_leaves_gives_up_its_own_keys_only(
        scheme in schemes(), nodes in 1..20_usize, points in 1..20_u32, gone in any::<prop::sample::Index>(),
    ) {
        let mut labels: Vec<String> = (0..nodes).map(|i| format!("node-{i}")).collect();
        let builder = || Ring::builder().scheme(scheme.clone()).points_per_node(points);
        let before = builder().nodes(&labels).build().unwrap();
        let gone = labels.remove(gone.index(nodes));
        let after = before.without_node(&gone).unwrap();
        for key in keys() {
            let expected = before.successors(&key).find(|label| *label != gone);
            prop_assert_eq!(after.get(&key), expected);
        }
        let built = builder().nodes(&labels).build().unwrap();
        prop_assert_eq!(after.fingerprint(), built.fingerprint());
        prop_assert_eq!(after.labels().collect::<Vec<_>>(), labels);
    }
}
