//! What a `Group` adds to the cache inside it: a hit beside the bare `LruCache` behind one mutex, a miss
//! whose loader does nothing beside moka's `get_with`, and a remove beside moka's `invalidate`.
#![allow(missing_docs)]

use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use carrotcache::byteview::ByteView;
use carrotcache::lru::{Count, LruCache};
use carrotcache::{Group, GroupBuilder, Node};
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use tokio::runtime::Runtime;

const KEYS: usize = 10_000;
const VALUE: &[u8] = &[7; 100];
/// Longer than the benchmark.
const HOUR: Duration = Duration::from_secs(60 * 60);

fn keys() -> Vec<String> {
    (0..KEYS).map(|i| format!("user:{i:012}")).collect()
}

fn group(runtime: &Runtime, keys: &[String]) -> Group {
    filled(runtime, keys, Node::new().group("bench"))
}

fn filled(runtime: &Runtime, keys: &[String], group: GroupBuilder) -> Group {
    let loader = |_: String| async { Ok::<_, std::io::Error>(Some(VALUE)) };
    let group = group.loader(loader).build().expect("the settings are fine");
    for key in keys {
        runtime.block_on(group.get(key)).expect("the loader does not fail");
    }
    group
}

fn bare(keys: &[String]) -> Mutex<LruCache<String, ByteView, Count>> {
    let mut cache = LruCache::by_count(KEYS as u64);
    for key in keys {
        cache.insert(key.clone(), ByteView::copy_from_slice(VALUE)).expect("it fits");
    }
    Mutex::new(cache)
}

type Moka = moka::future::Cache<String, ByteView>;
type MokaBuilder = moka::future::CacheBuilder<String, ByteView, Moka>;

fn moka(runtime: &Runtime, keys: &[String], set: impl Fn(MokaBuilder) -> MokaBuilder) -> Moka {
    let moka = set(Moka::builder().max_capacity(KEYS as u64 * 2)).build();
    for key in keys {
        runtime.block_on(moka.insert(key.clone(), ByteView::copy_from_slice(VALUE)));
    }
    moka
}

fn hit(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let keys = keys();
    let (group, bare) = (group(&runtime, &keys), bare(&keys));
    let expiring = filled(&runtime, &keys, Node::new().group("expiring").time_to_live(HOUR));
    let moka = moka(&runtime, &keys, |moka| moka);
    let expiring_moka = self::moka(&runtime, &keys, |moka| moka.time_to_live(HOUR));
    let mut scenario = criterion.benchmark_group("group/hit");
    // A stride that is coprime to their number visits all keys in a scattered order.
    let mut at = 0;
    let mut next = move || {
        at = (at + 7_919) % KEYS;
        at
    };
    scenario.bench_function("carrotcache", |bencher| {
        bencher.iter(|| black_box(group.get(&keys[next()]).now_or_never()));
    });
    scenario.bench_function("carrotcache, with a time to live", |bencher| {
        bencher.iter(|| black_box(expiring.get(&keys[next()]).now_or_never()));
    });
    scenario.bench_function("mutex-lru-cache", |bencher| {
        bencher.iter(|| {
            let mut cache = bare.lock().expect("nothing panics under it");
            black_box(cache.get(keys[next()].as_str()).cloned())
        });
    });
    scenario.bench_function("moka", |bencher| {
        bencher.iter(|| black_box(moka.get(keys[next()].as_str()).now_or_never()));
    });
    scenario.bench_function("moka, with a time to live", |bencher| {
        bencher.iter(|| black_box(expiring_moka.get(keys[next()].as_str()).now_or_never()));
    });
    scenario.finish();
}

/// Removes keys of a node without peers, each of which was cached again before.
fn remove(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let keys = keys();
    let group = group(&runtime, &keys);
    let moka = moka(&runtime, &keys, |moka| moka);
    let mut scenario = criterion.benchmark_group("group/remove");
    let mut at = 0;
    let mut next = move || {
        at = (at + 7_919) % KEYS;
        at
    };
    scenario.bench_function("carrotcache", |bencher| {
        let refill = || {
            let key = &keys[next()];
            runtime.block_on(group.get(key)).expect("the loader does not fail");
            key
        };
        let remove = |key: &String| group.remove(key).now_or_never();
        bencher.iter_batched(refill, remove, BatchSize::SmallInput);
    });
    scenario.bench_function("moka", |bencher| {
        let refill = || {
            let key = &keys[next()];
            runtime.block_on(moka.insert(key.clone(), ByteView::copy_from_slice(VALUE)));
            key
        };
        let invalidate = |key: &String| moka.invalidate(key).now_or_never();
        bencher.iter_batched(refill, invalidate, BatchSize::SmallInput);
    });
    scenario.finish();
}

/// Where a caller may be when it misses: in a task of a worker thread, as in a server, or in the
/// future that a thread outside of the runtime blocks on.
#[derive(Clone, Copy)]
enum Caller {
    Worker,
    Outside,
}

impl Caller {
    /// Times `rounds` of what `work` returns, one after the other.
    fn time<F>(
        self,
        runtime: &Runtime,
        rounds: u64,
        mut work: impl FnMut() -> F + Send + 'static,
    ) -> Duration
    where
        F: Future<Output = ()> + Send,
    {
        let rounds = async move {
            let start = Instant::now();
            for _ in 0..rounds {
                work().await;
            }
            start.elapsed()
        };
        match self {
            Self::Worker => runtime.block_on(runtime.spawn(rounds)).expect("nothing panics"),
            Self::Outside => runtime.block_on(rounds),
        }
    }
}

fn miss(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    for (name, caller) in [("worker", Caller::Worker), ("outside", Caller::Outside)] {
        let mut scenario = criterion.benchmark_group(format!("group/miss-{name}"));
        for max_bytes in [64_u64 << 20, 0] {
            let loader = |_: String| async { Ok::<_, std::io::Error>(Some(VALUE)) };
            let node = Node::builder().runtime(runtime.handle().clone()).build();
            let group = node.group("bench").max_bytes(max_bytes).loader(loader).build();
            let group = group.expect("the name is fine");
            scenario.bench_function(BenchmarkId::new("carrotcache", max_bytes), |bencher| {
                bencher.iter_custom(|rounds| {
                    let group = group.clone();
                    let get = move || {
                        let group = group.clone();
                        async move { drop(black_box(group.get(&fresh_key()).await)) }
                    };
                    caller.time(&runtime, rounds, get)
                });
            });
        }
        // As many entries as fit into our 64 MiB, and none.
        for (max_bytes, entries) in [(64_u64 << 20, 250_000), (0, 0)] {
            let moka = moka::future::Cache::<String, ByteView>::new(entries);
            scenario.bench_function(BenchmarkId::new("moka", max_bytes), |bencher| {
                bencher.iter_custom(|rounds| {
                    let moka = moka.clone();
                    let get = move || {
                        let moka = moka.clone();
                        let value = async { VALUE.into() };
                        async move { drop(black_box(moka.get_with(fresh_key(), value).await)) }
                    };
                    caller.time(&runtime, rounds, get)
                });
            });
        }
        scenario.finish();
    }
}

/// Returns a key that was never asked for.
fn fresh_key() -> String {
    static FRESH: AtomicU64 = AtomicU64::new(0);
    format!("user:{:012}", FRESH.fetch_add(1, Ordering::Relaxed))
}

criterion_group!(benches, hit, miss, remove);
criterion_main!(benches);
