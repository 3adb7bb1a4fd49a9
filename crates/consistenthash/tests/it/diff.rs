//! What moves between two rings, told range by range.

use carrotcache_consistenthash::{Move, Ring, RingError, Scheme};
use proptest::prelude::*;

fn rings() -> impl Strategy<Value = (Ring, Ring)> {
    let scheme = prop_oneof![
        Just(Scheme::Groupcache),
        Just(Scheme::MailgunV2),
        Just(Scheme::from_hash("crowded", |bytes| crc32fast::hash(bytes) % 61)),
    ];
    let nodes = || prop::sample::subsequence((0..12).collect::<Vec<u32>>(), 0..12);
    (scheme, nodes(), nodes(), 1..10_u32).prop_map(|(scheme, before, after, points)| {
        let build = |nodes: Vec<u32>| {
            let labels = nodes.iter().map(|i| format!("node-{i}"));
            let builder = Ring::builder().scheme(scheme.clone()).points_per_node(points);
            builder.nodes(labels).build().unwrap()
        };
        (build(before), build(after))
    })
}

proptest! {
    #[test]
    fn diff_names_exactly_the_keys_that_move((before, after) in rings()) {
        let moves = before.diff(&after).unwrap();
        for key in (0..500_u32).map(u32::to_be_bytes) {
            let position = before.position(key);
            let found: Vec<&Move<'_>> = moves.iter().filter(|m| m.contains(position)).collect();
            let (from, to) = (before.get(key), after.get(key));
            match found[..] {
                [] => prop_assert_eq!(from, to),
                [one] => {
                    prop_assert_ne!(from, to);
                    prop_assert_eq!((one.from, one.to), (from, to));
                }
                _ => prop_assert!(false, "ranges overlap: {:?}", found),
            }
        }
        for pair in moves.windows(2) {
            prop_assert!(pair[0].last < pair[1].first, "in order");
        }
    }

    #[test]
    fn node_that_joins_is_the_only_one_that_gains((before, _) in rings()) {
        prop_assume!(!before.is_empty());
        let after = before.with_node("new").unwrap();
        let moves = before.diff(&after).unwrap();
        prop_assert!(moves.iter().all(|m| m.to == Some("new")));
        let moved: f64 = moves.iter().map(Move::share).sum();
        let gained = after.shares().pop().unwrap().1;
        prop_assert!((moved - gained).abs() < 1e-9);

        let back = after.diff(&before).unwrap();
        prop_assert!(back.iter().all(|m| m.from == Some("new")), "and the only one that loses");
    }

    #[test]
    fn ring_does_not_differ_from_itself((ring, _) in rings()) {
        prop_assert!(ring.diff(&ring).unwrap().is_empty());
    }
}

#[test]
fn first_node_takes_everything_in_one_range() {
    let empty = Ring::new([""; 0]).unwrap();
    let one = empty.with_node("a").unwrap();
    let moves = empty.diff(&one).unwrap();
    assert_eq!(moves.len(), 1);
    assert_eq!((moves[0].first, moves[0].last), (0, u64::MAX));
    assert_eq!((moves[0].from, moves[0].to), (None, Some("a")));
    assert_eq!(moves[0].share(), 1.0);
}

#[test]
fn rings_of_different_schemes_are_not_compared() {
    let one = Ring::new(["a"]).unwrap();
    let other = Ring::builder().scheme(Scheme::Balanced).node("a").build().unwrap();
    let error = one.diff(&other).unwrap_err();
    assert!(matches!(error, RingError::DifferentSchemes { .. }));
    assert!(error.to_string().contains("\"groupcache\""), "{error}");
}
