//! Bounded loads: nobody gets more than its part, and a key moves no farther than it must.

use carrotcache_consistenthash::{Ring, Scheme};
use proptest::prelude::*;

fn ring(weights: &[u32]) -> Ring {
    let builder = Ring::builder().scheme(Scheme::Balanced).points_per_node(20);
    let nodes = (0..).zip(weights);
    let add = |builder: carrotcache_consistenthash::RingBuilder, (i, weight): (u32, &u32)| {
        builder.weighted_node(format!("node-{i}"), *weight)
    };
    nodes.fold(builder, add).build().unwrap()
}

/// The most that each node may carry once there are `keys` keys.
fn capacity(weights: &[u32], node: usize, keys: u64, factor: f64) -> f64 {
    let all: u32 = weights.iter().sum();
    (factor * keys as f64 * f64::from(weights[node]) / f64::from(all)).ceil()
}

proptest! {
    #[test]
    fn no_node_is_ever_overloaded(
        weights in prop::collection::vec(0..4_u32, 1..12),
        factor in prop_oneof![Just(1.0), 1.0..3.0_f64],
        popular in 0..100_u32,
    ) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let ring = ring(&weights);
        let mut loads = vec![0_u64; weights.len()];
        for (placed, i) in (1..).zip(0..300_u32) {
            // Some keys again and again: that is what a plain ring cannot level out.
            let key = (i % (popular + 1)).to_be_bytes();
            let node = ring.get_bounded_index(key, |index| loads[index], factor).unwrap();
            loads[node] += 1;
            prop_assert!(loads[node] as f64 <= capacity(&weights, node, placed, factor));
        }
    }

    #[test]
    fn chosen_node_is_the_first_successor_with_room(
        loads in prop::collection::vec(0..50_u64, 1..20), key in any::<u64>(), factor in 0.5..2.0_f64,
    ) {
        let weights = vec![1; loads.len()];
        let ring = ring(&weights);
        let chosen = ring.get_bounded_index(key.to_be_bytes(), |index| loads[index], factor).unwrap();
        let whole = loads.iter().sum::<u64>() + 1;
        let room = |node: usize| (loads[node] as f64) < capacity(&weights, node, whole, factor.max(1.0));
        let expected = ring.successors(key.to_be_bytes()).indices().find(|node| room(*node));
        prop_assert_eq!(Some(chosen), expected);
        let by_label = |label: &str| loads[ring.labels().position(|other| other == label).unwrap()];
        let label = ring.get_bounded(key.to_be_bytes(), by_label, factor);
        prop_assert_eq!(label, ring.label(chosen));
    }
}

#[test]
fn idle_nodes_leave_every_key_with_its_owner() {
    let ring = ring(&[1, 1, 1, 1]);
    for key in 0..100_u32 {
        let key = key.to_be_bytes();
        assert_eq!(ring.get_bounded(key, |_| 0, 1.25), ring.get(key));
    }
}

#[test]
fn strange_factors_and_loads_still_find_a_node() {
    let ring = ring(&[1, 2, 0]);
    for factor in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0] {
        for load in [0, 1, u64::MAX] {
            assert!(ring.get_bounded("key", |_| load, factor).is_some(), "{factor} {load}");
        }
    }
    let empty = Ring::new([""; 0]).unwrap();
    assert_eq!(empty.get_bounded("key", |_| 0, 1.25), None);
}
