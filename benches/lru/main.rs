//! The caches beside those that a user would take instead.
//!
//! Keys of 16 bytes, values of 100, a million keys, bounds in bytes of keys and values. An operation
//! is a get, and on a miss an insert; in `lru-evict` it is an insert of a key that was never there.
//! In the scenarios of two threads the time is that of an operation over both.

#![expect(clippy::cast_possible_truncation, reason = "the numbers of a benchmark are small")]

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};

use shared::Shared;
use single::Contender;
use workload::{ENTRY, KEYS, VALUE};

mod shared;
mod single;
mod workload;

/// The bound under which all keys fit, and that under which a tenth do.
const ALL: u64 = KEYS as u64 * ENTRY;
const TENTH: u64 = ALL / 10;

criterion_group!(benches, one_thread, evictions, two_threads);
criterion_main!(benches);

fn one_thread(c: &mut Criterion) {
    let keys = workload::keys();
    let steep = workload::zipf(0.99);
    let flat = workload::zipf(0.3);
    let resident = workload::uniform(10_000);
    let scenarios = [
        ("lru-zipf99-tenth-fits", &steep, TENTH),
        ("lru-zipf99-all-fit", &steep, ALL),
        ("lru-zipf30-tenth-fits", &flat, TENTH),
        ("lru-10000-resident", &resident, ALL),
    ];
    for (name, requests, max_bytes) in scenarios {
        let mut group = c.benchmark_group(name);
        one::<single::Ours>(&mut group, "carrotcache", &keys, requests, max_bytes);
        one::<single::Lru>(&mut group, "lru", &keys, requests, max_bytes);
        one::<single::Hashlink>(&mut group, "hashlink", &keys, requests, max_bytes);
        one::<single::Schnellru>(&mut group, "schnellru", &keys, requests, max_bytes);
        one::<single::Clru>(&mut group, "clru", &keys, requests, max_bytes);
        one::<single::QuickCache>(&mut group, "quick_cache", &keys, requests, max_bytes);
        group.finish();
    }
}

/// One operation after the other, over the requests and round again.
fn one<C: Contender>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    keys: &[String],
    requests: &[usize],
    max_bytes: u64,
) {
    let mut cache = C::new(max_bytes);
    let mut ask = |request: usize| {
        let key = &keys[request];
        if !cache.get(key) {
            cache.insert(key.clone(), Bytes::copy_from_slice(&[7; VALUE]));
        }
    };
    requests.iter().for_each(|&request| ask(request));
    let mut round = requests.iter().cycle();
    group.bench_function(name, |b| b.iter(|| round.next().map(|&request| ask(request))));
}

fn evictions(c: &mut Criterion) {
    let mut group = c.benchmark_group("lru-evict");
    evict::<single::Ours>(&mut group, "carrotcache");
    evict::<single::Lru>(&mut group, "lru");
    evict::<single::Hashlink>(&mut group, "hashlink");
    evict::<single::Schnellru>(&mut group, "schnellru");
    evict::<single::Clru>(&mut group, "clru");
    evict::<single::QuickCache>(&mut group, "quick_cache");
    group.finish();
}

fn evict<C: Contender>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str) {
    let mut cache = C::new(TENTH);
    let mut insert = |number| {
        cache.insert(workload::key(number), Bytes::copy_from_slice(&[7; VALUE]));
    };
    (0..KEYS / 5).for_each(&mut insert);
    let mut numbers = KEYS / 5..;
    group.bench_function(name, |b| b.iter(|| numbers.next().map(&mut insert)));
}

fn two_threads(c: &mut Criterion) {
    let keys = workload::keys();
    let steep = workload::zipf(0.99);
    let resident = workload::uniform(10_000);
    let scenarios = [
        ("lru-2-threads-zipf99-tenth-fits", &steep, TENTH),
        ("lru-2-threads-10000-resident", &resident, ALL),
    ];
    for (name, requests, max_bytes) in scenarios {
        let mut group = c.benchmark_group(name);
        two::<shared::Ours>(&mut group, "carrotcache", &keys, requests, max_bytes);
        two::<shared::QuickCache>(&mut group, "quick_cache", &keys, requests, max_bytes);
        two::<shared::Moka>(&mut group, "moka", &keys, requests, max_bytes);
        two::<shared::Foyer>(&mut group, "foyer", &keys, requests, max_bytes);
        group.finish();
    }
}

/// Half of the operations on each of two threads, which start apart in the requests.
fn two<C: Shared>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    keys: &[String],
    requests: &[usize],
    max_bytes: u64,
) {
    let cache = C::new(max_bytes);
    let ask = |request: usize| {
        let key = &keys[request];
        if !black_box(cache.get(key)) {
            cache.insert(key.clone(), Bytes::copy_from_slice(&[7; VALUE]));
        }
    };
    requests.iter().for_each(|&request| ask(request));
    let done = AtomicUsize::new(0);
    let half = |count: u64| {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let start = done.fetch_add(count, Ordering::Relaxed) % requests.len();
        requests.iter().cycle().skip(start).take(count).for_each(|&request| ask(request));
    };
    let run = |count: u64| -> Duration {
        let begin = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| half(count / 2));
            half(count - count / 2);
        });
        begin.elapsed()
    };
    group.bench_function(name, |b| b.iter_custom(run));
}
