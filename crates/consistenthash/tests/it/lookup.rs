//! What a ring answers: owners, successors, shares, fingerprints, and errors.

use std::error::Error;

use carrotcache_consistenthash::{Placement, Ring, RingError, Scheme};
use std::sync::Arc;

/// A ring whose hash function is the number that the bytes spell, as in Go's own tests.
fn numbers(labels: &[&str], points: u32) -> Ring {
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().parse().unwrap();
    Ring::builder()
        .scheme(Scheme::from_hash("number", number))
        .points_per_node(points)
        .nodes(labels.iter().copied())
        .build()
        .unwrap()
}

#[test]
fn key_belongs_to_the_first_point_at_or_after_it() {
    let ring = numbers(&["6", "4", "2"], 3); // 2, 4, 6, 12, 14, 16, 22, 24, 26
    for (key, owner) in [("2", "2"), ("11", "2"), ("23", "4"), ("26", "6"), ("27", "2")] {
        assert_eq!(ring.get(key), Some(owner), "{key}");
    }
    let larger = ring.with_node("8").unwrap(); // 8, 18, 28
    assert_eq!(larger.get("27"), Some("8"));
    assert_eq!(larger.get("29"), Some("2"));
}

#[test]
fn tie_goes_to_the_label_added_last() {
    // Index 0 of "1" and index 0 of "01" both spell 1, as do the others by tens.
    assert_eq!(numbers(&["1", "01"], 1).get("1"), Some("01"));
    assert_eq!(numbers(&["01", "1"], 1).get("1"), Some("1"));
    assert_eq!(numbers(&["01"], 1).with_node("1").unwrap().get("1"), Some("1"));
}

#[test]
fn loser_of_a_tie_takes_over_when_the_winner_leaves() {
    let ring = numbers(&["5", "1", "01"], 1);
    assert_eq!(ring.successors("1").collect::<Vec<_>>(), ["01", "1", "5"]);
    assert_eq!(ring.without_node("01").unwrap().get("1"), Some("1"));
}

#[test]
fn successors_name_each_node_once_from_the_owner_on() {
    let labels: Vec<String> = (0..40).map(|i| format!("node-{i}")).collect();
    let ring = Ring::new(&labels).unwrap();
    for key in ["Tom", "Jack", "", "\u{1f955}"] {
        let successors = ring.successors(key);
        assert_eq!(successors.clone().next(), ring.get(key));
        let indices: Vec<usize> = successors.clone().indices().collect();
        assert_eq!(indices.first().copied(), ring.get_index(key));
        let mut names: Vec<&str> = successors.collect();
        assert_eq!(names, indices.iter().map(|&i| &*labels[i]).collect::<Vec<_>>());
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), labels.len());
    }
}

#[test]
fn empty_ring_owns_nothing() {
    let ring = Ring::new([""; 0]).unwrap();
    assert!(ring.is_empty());
    assert_eq!(ring.get("key"), None);
    assert_eq!(ring.get_index("key"), None);
    assert_eq!(ring.successors("key").next(), None);
    assert!(ring.shares().is_empty());
    assert_eq!(ring.with_node("a").unwrap().get("key"), Some("a"));
}

#[test]
fn single_node_owns_everything() {
    let ring = Ring::builder().points_per_node(1).node("only").build().unwrap();
    for key in 0..1000_u32 {
        assert_eq!(ring.get(key.to_be_bytes()), Some("only"));
    }
    assert_eq!(ring.shares(), [("only", 1.0)]);
}

#[test]
fn keys_may_be_any_bytes() {
    let ring = Ring::new(["a", "b", "c"]).unwrap();
    assert!(ring.get([0xff, 0x00, 0xfe]).is_some());
    assert_eq!(ring.get("Tom"), ring.get(b"Tom"));
    assert_eq!(ring.get(String::from("Tom")), ring.get(vec![b'T', b'o', b'm']));
}

#[test]
fn ends_of_the_circle_are_covered() {
    struct Ends;
    impl Placement for Ends {
        fn name(&self) -> &str {
            "ends"
        }
        fn key_position(&self, key: &[u8]) -> u64 {
            u64::from_be_bytes(key.try_into().unwrap())
        }
        fn point_position(&self, _: u32, label: &str) -> u64 {
            u64::from_str_radix(label, 16).unwrap()
        }
    }
    let ring = |labels: &[&str]| {
        let scheme = Scheme::Custom(Arc::new(Ends));
        let nodes = labels.iter().copied();
        Ring::builder().scheme(scheme).points_per_node(1).nodes(nodes).build().unwrap()
    };
    let at = |ring: &Ring, position: u64| ring.get(position.to_be_bytes()).unwrap().to_owned();

    let wide = ring(&["0", "ffffffff00000007", "ffffffffffffffff"]);
    assert_eq!(at(&wide, 0), "0");
    assert_eq!(at(&wide, 1), "ffffffff00000007");
    assert_eq!(at(&wide, 0xffff_ffff_0000_0007), "ffffffff00000007");
    assert_eq!(at(&wide, 0xffff_ffff_0000_0008), "ffffffffffffffff");
    assert_eq!(at(&wide, u64::MAX), "ffffffffffffffff");

    let narrow = ring(&["1000000000", "ffffffff00000000"]);
    assert_eq!(at(&narrow, 0xffff_ffff_0000_0000), "ffffffff00000000");
    assert_eq!(at(&narrow, 0xffff_ffff_0000_0001), "1000000000", "comes round");
    assert_eq!(at(&narrow, u64::MAX), "1000000000", "comes round");
}

#[test]
fn crowded_positions_are_searched_to_the_end() {
    // All points within one bucket of the index, far more than one window of it.
    let labels: Vec<String> = (0..100).map(|i| format!("{}", 1000 + i)).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let ring = numbers(&labels, 1);
    for key in 1000..1100 {
        assert_eq!(ring.get(key.to_string()), Some(&*key.to_string()));
    }
    assert_eq!(ring.get("1100"), Some("1000"));
}

/// A ring places the points of CRC-32 all at once, by a short cut.
#[test]
fn points_lie_where_the_scheme_says() {
    struct OneByOne(Scheme);
    impl Placement for OneByOne {
        fn name(&self) -> &str {
            self.0.name()
        }
        fn key_position(&self, key: &[u8]) -> u64 {
            self.0.key_position(key)
        }
        fn point_position(&self, index: u32, label: &str) -> u64 {
            self.0.point_position(index, label)
        }
    }
    for scheme in [Scheme::Groupcache, Scheme::Balanced, Scheme::MailgunV2, Scheme::GroupcacheGoV3]
    {
        let labels = ["", "a", "b", "node", "http://127.0.0.1:8001", "http://127.0.0.1:8002"];
        let build = |scheme| {
            let builder = Ring::builder().scheme(scheme).points_per_node(120);
            builder.nodes(labels).weighted_node("twice", 2).build().unwrap().fingerprint()
        };
        let one_by_one = Scheme::Custom(Arc::new(OneByOne(scheme.clone())));
        assert_eq!(build(scheme), build(one_by_one));
    }
}

#[test]
fn weight_multiplies_the_share() {
    let ring = Ring::builder()
        .scheme(Scheme::Balanced)
        .weighted_node("none", 0)
        .node("one")
        .weighted_node("three", 3)
        .build()
        .unwrap();
    let shares = ring.shares();
    assert_eq!(shares[0], ("none", 0.0));
    assert!((shares[2].1 - 0.75).abs() < 0.05, "{shares:?}");
    assert_eq!(ring.successors("key").count(), 2, "a node without points owns nothing ever");
}

#[test]
fn shares_agree_with_counted_keys() {
    let ring = Ring::new(["http://a:1", "http://b:1", "http://c:1", "http://d:1"]).unwrap();
    let mut counts = [0_u32; 4];
    for key in 0..40_000 {
        // CRC-32 alone does not spread sequential keys, so they are stirred first.
        let key = u64::wrapping_mul(key, 0x9e37_79b9_7f4a_7c15);
        counts[ring.get_index(key.to_be_bytes()).unwrap()] += 1;
    }
    for ((label, share), count) in ring.shares().into_iter().zip(counts) {
        let counted = f64::from(count) / 40_000.0;
        assert!((share - counted).abs() < 0.02, "{label}: {share} against {counted}");
    }
}

#[test]
fn fingerprint_tells_rings_apart() {
    let base = Ring::new(["a", "b", "c"]).unwrap();
    let same = Ring::new(["b", "c", "a"]).unwrap();
    assert_eq!(base.fingerprint(), same.fingerprint());

    let build = |points, scheme, weight| {
        let builder = Ring::builder().points_per_node(points).scheme(scheme).nodes(["a", "b"]);
        builder.weighted_node("c", weight).build().unwrap().fingerprint()
    };
    assert_eq!(build(50, Scheme::Groupcache, 1), base.fingerprint());
    let others = [
        build(51, Scheme::Groupcache, 1),
        build(50, Scheme::Balanced, 1),
        build(50, Scheme::Groupcache, 2),
        build(50, Scheme::Groupcache, 0),
        Ring::new(["a", "b"]).unwrap().fingerprint(),
        Ring::new(["a", "b", "d"]).unwrap().fingerprint(),
    ];
    for other in others {
        assert_ne!(other, base.fingerprint());
    }
}

#[test]
fn fingerprint_changes_with_the_winner_of_a_tie() {
    let one = numbers(&["1", "01"], 1);
    assert_ne!(one.fingerprint(), numbers(&["01", "1"], 1).fingerprint());
    assert_eq!(
        one.fingerprint(),
        numbers(&["01"], 1)
            .with_node("1")
            .unwrap()
            .without_node("01")
            .unwrap()
            .with_node("01")
            .unwrap()
            .fingerprint()
    );
}

#[test]
fn fingerprint_is_the_same_in_every_process() {
    // Written down once; a change breaks rolling upgrades.
    assert_eq!(Ring::new(["a", "b", "c"]).unwrap().fingerprint(), 6_204_715_492_844_798_926);
}

#[test]
fn labels_keep_their_order_and_indices() {
    let ring = Ring::new(["z", "a", "m"]).unwrap();
    assert_eq!(ring.labels().collect::<Vec<_>>(), ["z", "a", "m"]);
    assert_eq!(ring.label(1), Some("a"));
    assert_eq!(ring.label(3), None);
    assert_eq!(ring.get("Tom"), ring.label(ring.get_index("Tom").unwrap()));
}

#[test]
fn errors_say_what_was_wrong() {
    let error = Ring::new(["a", "b", "a"]).unwrap_err();
    assert_eq!(error, RingError::DuplicateLabel { label: "a".into() });
    assert_eq!(
        error.to_string(),
        r#"label "a" is given twice; each node needs a label of its own"#
    );
    assert!(error.source().is_none());

    let ring = Ring::new(["a"]).unwrap();
    assert_eq!(ring.with_node("a").unwrap_err(), RingError::DuplicateLabel { label: "a".into() });
    assert_eq!(ring.without_node("b").unwrap_err().to_string(), r#"label "b" is not on the ring"#);

    let error = Ring::builder().points_per_node(0).build().unwrap_err();
    assert_eq!(error, RingError::NoPoints);
    assert_eq!(error.to_string(), "a node needs at least 1 point");

    let error = Ring::builder().weighted_node("a", u32::MAX).build().unwrap_err();
    assert!(matches!(error, RingError::TooManyPoints { points, max } if points > max));
    assert!(ring.with_weighted_node("b", u32::MAX).is_err());

    let many = (0..70_000).map(|i| i.to_string());
    let error = Ring::builder().points_per_node(1).nodes(many).build().unwrap_err();
    assert_eq!(error.to_string(), "70000 nodes are more than a ring holds (65535)");
}

#[test]
fn rings_can_be_shared_between_threads_and_printed() {
    fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    let ring = Ring::new(["a"]).unwrap();
    shared(&ring);
    assert!(format!("{ring:?}").contains("groupcache"));
    assert_eq!(format!("{:?}", ring.successors("key")), r#"["a"]"#);
}
