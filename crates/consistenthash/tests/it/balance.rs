//! How evenly the schemes share keys out: the figures in the documentation.

use carrotcache_consistenthash::{Ring, Scheme};

const FAMILIES: [fn(u32) -> String; 3] = [
    |i| format!("http://127.0.0.1:{}", 8001 + i),
    |i| format!("http://cache-{i}.cache.default.svc:8080"),
    |i| format!("http://10.0.0.{}:8080", 1 + i),
];

#[test]
fn balanced_spreads_within_1_3_of_the_ideal() {
    for label in FAMILIES {
        for nodes in [10, 25, 100] {
            let deviation = deviation(Scheme::Balanced, 512, (0..nodes).map(label));
            let ratio = deviation / ideal(nodes, 512);
            assert!(ratio <= 1.3, "{nodes} nodes like {}: {ratio}", label(0));
        }
    }
}

/// Three nodes may be lucky or not; over many rings luck evens out.
#[test]
fn balanced_spreads_ideally_on_average() {
    for label in FAMILIES {
        for nodes in [3, 10] {
            let squares = (0..80).map(|first| {
                let labels = (first * nodes..(first + 1) * nodes).map(label);
                deviation(Scheme::Balanced, 512, labels).powi(2)
            });
            let root_mean_square = (squares.sum::<f64>() / 80.0).sqrt();
            let ratio = root_mean_square / ideal(nodes, 512);
            assert!((0.8..1.2).contains(&ratio), "{nodes} nodes like {}: {ratio}", label(0));
        }
    }
}

/// Why `balanced` exists. If this fails, the documentation is out of date.
#[test]
fn crc32_alone_is_several_times_off() {
    for label in FAMILIES {
        let deviation = deviation(Scheme::Groupcache, 512, (0..100).map(label));
        assert!(deviation > 3.0 * ideal(100, 512), "like {}: {deviation}", label(0));
    }
}

/// The relative standard deviation of the shares, were points placed at random.
fn ideal(nodes: u32, points: u32) -> f64 {
    let (nodes, points) = (f64::from(nodes), f64::from(points));
    ((nodes - 1.0) / (nodes * points + 1.0)).sqrt()
}

/// The relative standard deviation of the shares.
fn deviation(scheme: Scheme, points: u32, labels: impl Iterator<Item = String>) -> f64 {
    let builder = Ring::builder().scheme(scheme).points_per_node(points);
    let ring = builder.nodes(labels).build().unwrap();
    let mean = 1.0 / ring.len() as f64;
    let squares = ring.shares().into_iter().map(|(_, share)| (share / mean - 1.0).powi(2));
    (squares.sum::<f64>() * mean).sqrt()
}
