//! The ring beside the rings that a user would take instead.
//!
//! Scenarios are named `ring-WHAT-NODESxPOINTS`. All rivals hold as many points a node as ours.
//! `crc32fast-alone` is no ring but the hash of the key alone: no ring of this placement can be
//! faster.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};

use carrotcache_consistenthash::Ring;
use criterion::{Bencher, Criterion, criterion_group, criterion_main};
use pingora_ketama::{Bucket, Continuum, Version};

/// Nodes and points per node.
const SIZES: [(u16, u32); 4] = [(3, 50), (100, 50), (1000, 50), (100, 512)];

/// The size at which building and changing are measured.
const LARGE: (u16, u32) = (1000, 50);

criterion_group!(benches, get, successors, build, with_node);
criterion_main!(benches);

/// Who owns a key.
fn get(c: &mut Criterion) {
    let keys = keys();
    for (nodes, points) in SIZES {
        let ring = ours(nodes, points);
        let hashring = hashring(nodes, points);
        let ketama = ketama(nodes, points);
        let chr = consistent_hash_ring(nodes, points);
        let mut group = c.benchmark_group(format!("ring-get-{nodes}x{points}"));
        group.bench_function("carrotcache", |b| each(b, &keys, |key| ring.get(key)));
        group.bench_function("crc32fast-alone", |b| {
            each(b, &keys, |key| crc32fast::hash(key.as_bytes()));
        });
        group.bench_function("hashring", |b| each(b, &keys, |key| hashring.get(&key)));
        group.bench_function("pingora-ketama", |b| {
            each(b, &keys, |key| ketama.node(key.as_bytes()));
        });
        group.bench_function("consistent_hash_ring", |b| {
            each(b, &keys, |key| chr.try_get(key));
        });
        group.finish();
    }
}

/// The owner of a key and the next two nodes, which `pingora-ketama` yields with repetitions.
fn successors(c: &mut Criterion) {
    let keys = keys();
    let (nodes, points) = (100, 50);
    let ring = ours(nodes, points);
    let chr = consistent_hash_ring(nodes, points);
    let mut group = c.benchmark_group(format!("ring-successors3-{nodes}x{points}"));
    group.bench_function("carrotcache", |b| {
        each(b, &keys, |key| ring.successors(key).take(3).for_each(|node| _ = black_box(node)));
    });
    group.bench_function("consistent_hash_ring", |b| {
        each(b, &keys, |key| chr.replicas(key).take(3).for_each(|node| _ = black_box(node)));
    });
    group.finish();
}

/// A ring from nothing.
fn build(c: &mut Criterion) {
    let (nodes, points) = LARGE;
    let mut group = c.benchmark_group(format!("ring-build-{nodes}x{points}"));
    group.bench_function("carrotcache", |b| b.iter(|| ours(nodes, points)));
    group.bench_function("hashring", |b| b.iter(|| hashring(nodes, points)));
    group.bench_function("pingora-ketama", |b| b.iter(|| ketama(nodes, points)));
    group.bench_function("consistent_hash_ring", |b| {
        b.iter(|| consistent_hash_ring(nodes, points));
    });
    group.finish();
}

/// One node more. `pingora-ketama` has to build anew; the others change in place, on a copy.
fn with_node(c: &mut Criterion) {
    let (nodes, points) = LARGE;
    let ring = ours(nodes, points);
    let hashring = hashring(nodes, points);
    let chr = consistent_hash_ring(nodes, points);
    let mut group = c.benchmark_group(format!("ring-with-node-{nodes}x{points}"));
    group.bench_function("carrotcache", |b| b.iter(|| ring.with_node(label(nodes))));
    group.bench_function("hashring", |b| {
        b.iter(|| {
            let mut ring = hashring.clone();
            ring.batch_add((0..points).map(|point| (nodes, point)).collect());
            ring
        });
    });
    group.bench_function("pingora-ketama", |b| b.iter(|| ketama(nodes + 1, points)));
    group.bench_function("consistent_hash_ring", |b| {
        b.iter(|| {
            let mut ring = chr.clone();
            ring.insert(nodes);
            ring
        });
    });
    group.finish();
}

fn ours(nodes: u16, points: u32) -> Ring {
    let labels = (0..nodes).map(label);
    let ring = Ring::builder().points_per_node(points).nodes(labels).build();
    ring.expect("the labels differ")
}

/// `hashring` knows no points, so each is a node of its own.
fn hashring(nodes: u16, points: u32) -> hashring::HashRing<(u16, u32)> {
    let mut ring = hashring::HashRing::new();
    let of_node = |node| (0..points).map(move |point| (node, point));
    ring.batch_add((0..nodes).flat_map(of_node).collect());
    ring
}

fn ketama(nodes: u16, points: u32) -> Continuum {
    let buckets: Vec<Bucket> = (0..nodes).map(|node| Bucket::new(address(node), 1)).collect();
    Continuum::new_with_version(&buckets, Version::V2 { point_multiple: points })
}

fn consistent_hash_ring(nodes: u16, points: u32) -> consistent_hash_ring::Ring<u16> {
    let builder = consistent_hash_ring::RingBuilder::default();
    builder.vnodes(points as usize).nodes_iter(0..nodes).build()
}

fn label(node: u16) -> String {
    format!("http://{}", address(node))
}

fn address(node: u16) -> SocketAddr {
    let [high, low] = node.to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(10, 0, high, low), 8080))
}

/// 4,096 keys, far apart from each other.
fn keys() -> Vec<String> {
    (0..4096_u64).map(|i| format!("user:{:012}", i * 2_654_435_761 % 1_000_000)).collect()
}

/// Measures `get` for one key after the other, round and round.
fn each<R>(b: &mut Bencher<'_>, keys: &[String], mut get: impl FnMut(&str) -> R) {
    let mut keys = keys.iter().cycle();
    b.iter(|| keys.next().map(|key| get(key)));
}
