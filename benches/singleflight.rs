//! Sharing one run of the work among its callers, beside what else does that.
//!
//! The work is ready at once, or after one signal: what is left is the cost of sharing. The caches
//! among the rivals keep what was loaded, so each call is followed by a removal that makes the
//! next one load again; the cell is used once.

use std::convert::Infallible;
use std::hint::black_box;
use std::pin::pin;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use carrotcache_singleflight::{Group, sync};
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, criterion_group, criterion_main};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;

criterion_group!(benches, uncontended, uncontended_in_threads, two_threads, storm);
criterion_main!(benches);

/// What is loaded. As cheap to clone as it can be, since all contenders clone it.
type Value = u64;

type Ours = Group<String, Value, Infallible>;
type AsyncSingleflight = async_singleflight::Group<String, Value, Infallible>;
type SingleflightAsync = singleflight_async::SingleFlight<String, Value>;
type Moka = moka::future::Cache<String, Value>;
type QuickCache = quick_cache::sync::Cache<String, Value>;

/// One contender: a table of flights, or a cache that loads.
trait Contender: Send + Sync + 'static {
    /// Its crate's name.
    const NAME: &'static str;

    fn new() -> Self;

    /// Runs `work` for `key`, or shares the run that is under way, and keeps nothing afterwards.
    fn call(
        &self,
        key: &str,
        work: impl Future<Output = Value> + Send + 'static,
    ) -> impl Future<Output = Value> + Send;
}

/// One call at a time on one thread: nobody to share with.
fn uncontended(c: &mut Criterion) {
    fn run<C: Contender>(group: &mut BenchmarkGroup<'_, WallTime>) {
        let (contender, keys) = (C::new(), keys(0));
        let mut next = keys.iter().cycle();
        group.bench_function(C::NAME, |b| {
            b.iter(|| {
                let key = next.next().expect("the keys go round");
                finish(contender.call(key, async { black_box(630) }))
            });
        });
    }
    let mut group = c.benchmark_group("singleflight-uncontended");
    run::<Ours>(&mut group);
    run::<AsyncSingleflight>(&mut group);
    run::<SingleflightAsync>(&mut group);
    run::<Moka>(&mut group);
    run::<QuickCache>(&mut group);
    group.finish();
}

/// The same for contenders that block.
fn uncontended_in_threads(c: &mut Criterion) {
    let keys = keys(0);
    let mut next = keys.iter().cycle();
    let mut next = || next.next().expect("the keys go round").as_str();
    let work = || black_box(630);
    let mut group = c.benchmark_group("singleflight-threads-uncontended");
    let ours = sync::Group::<String, Value, Infallible>::new();
    group.bench_function("carrotcache", |b| b.iter(|| ours.work(next(), || Ok(work()))));
    let moka = moka::sync::Cache::<String, Value>::new(1_000);
    group.bench_function("moka", |b| {
        b.iter(|| {
            let key = next();
            let value = moka.get_with_by_ref(key, work);
            moka.invalidate(key);
            value
        });
    });
    let quick = QuickCache::new(1_000);
    group.bench_function("quick_cache", |b| {
        b.iter(|| {
            let key = next();
            let value = quick.get_or_insert_with(key, || Ok::<_, Infallible>(work()));
            quick.remove(key);
            value
        });
    });
    group.finish();
}

/// Two threads at once, each with keys of its own: nothing to share but the table. Time per call.
fn two_threads(c: &mut Criterion) {
    fn run<C: Contender>(group: &mut BenchmarkGroup<'_, WallTime>) {
        let contender = C::new();
        group.bench_function(C::NAME, |b| {
            b.iter_custom(|calls| together(&contender, calls.div_ceil(2)));
        });
    }
    let mut group = c.benchmark_group("singleflight-two-threads");
    run::<Ours>(&mut group);
    run::<AsyncSingleflight>(&mut group);
    run::<SingleflightAsync>(&mut group);
    run::<Moka>(&mut group);
    run::<QuickCache>(&mut group);
    group.finish();
}

/// Returns how long it takes until both threads have made their calls.
fn together<C: Contender>(contender: &C, calls_each: u64) -> Duration {
    let start = Barrier::new(3);
    thread::scope(|scope| {
        let both = [0, 1].map(|thread| {
            let (start, keys) = (&start, keys(thread));
            scope.spawn(move || {
                start.wait();
                for (_, key) in (0..calls_each).zip(keys.iter().cycle()) {
                    finish(contender.call(key, async { black_box(630) }));
                }
            })
        });
        start.wait();
        let start = Instant::now();
        for thread in both {
            thread.join().expect("no call panics");
        }
        start.elapsed()
    })
}

/// Many tasks wait for one run. Time from the first call to the last answer.
fn storm(c: &mut Criterion) {
    fn run<C: Contender>(
        group: &mut BenchmarkGroup<'_, WallTime>,
        runtime: &Runtime,
        callers: usize,
    ) {
        group.bench_function(C::NAME, |b| {
            let new = || Arc::new(C::new());
            b.to_async(runtime).iter_batched(
                new,
                |contender| storm_of(contender, callers),
                BatchSize::SmallInput,
            );
        });
    }
    let runtime = Builder::new_current_thread().build().expect("a runtime without drivers");
    for callers in [1_000, 10_000] {
        let mut group = c.benchmark_group(format!("singleflight-storm-{callers}"));
        run::<Ours>(&mut group, &runtime, callers);
        run::<AsyncSingleflight>(&mut group, &runtime, callers);
        run::<SingleflightAsync>(&mut group, &runtime, callers);
        run::<Moka>(&mut group, &runtime, callers);
        run::<QuickCache>(&mut group, &runtime, callers);
        run::<OnceCell<Value>>(&mut group, &runtime, callers);
        group.finish();
    }
}

/// Lets all callers call before the work of the first may end. Returns the contender, to be
/// dropped off the clock.
async fn storm_of<C: Contender>(contender: Arc<C>, callers: usize) -> Arc<C> {
    let gate = Arc::new(Semaphore::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (contender, gate) = (Arc::clone(&contender), Arc::clone(&gate));
        tasks.spawn(async move {
            let work = async move {
                gate.acquire_owned().await.expect("the gate is not closed").forget();
                630
            };
            contender.call("user:000000000123", work).await
        });
    }
    tokio::task::yield_now().await; // All have called when it is this task's turn again.
    gate.add_permits(callers);
    while let Some(answer) = tasks.join_next().await {
        black_box(answer.expect("no call panics"));
    }
    contender
}

/// Returns keys that no other thread has.
fn keys(thread: usize) -> Vec<String> {
    (0..64).map(|key| format!("user:{thread:06}{key:06}")).collect()
}

/// Polls a future until it ends, without the cost of a runtime.
fn finish<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            // Another thread has a lock: it needs the processor more than we do.
            Poll::Pending => thread::yield_now(),
        }
    }
}

impl Contender for Ours {
    const NAME: &'static str = "carrotcache";

    fn new() -> Self {
        Self::default()
    }

    async fn call(&self, key: &str, work: impl Future<Output = Value> + Send + 'static) -> Value {
        let result = self.work(key, || async { Ok(work.await) }).await;
        result.expect("the work does not fail")
    }
}

impl Contender for AsyncSingleflight {
    const NAME: &'static str = "async_singleflight";

    fn new() -> Self {
        Self::default()
    }

    async fn call(&self, key: &str, work: impl Future<Output = Value> + Send + 'static) -> Value {
        let result = self.work(key, async { Ok(work.await) }).await;
        result.expect("the work does not fail")
    }
}

impl Contender for SingleflightAsync {
    const NAME: &'static str = "singleflight-async";

    fn new() -> Self {
        Self::default()
    }

    async fn call(&self, key: &str, work: impl Future<Output = Value> + Send + 'static) -> Value {
        self.work(key.to_owned(), || work).await
    }
}

impl Contender for Moka {
    const NAME: &'static str = "moka";

    fn new() -> Self {
        Self::new(1_000)
    }

    async fn call(&self, key: &str, work: impl Future<Output = Value> + Send + 'static) -> Value {
        let value = self.get_with_by_ref(key, work).await;
        self.invalidate(key).await;
        value
    }
}

impl Contender for QuickCache {
    const NAME: &'static str = "quick_cache";

    fn new() -> Self {
        Self::new(1_000)
    }

    async fn call(&self, key: &str, work: impl Future<Output = Value> + Send + 'static) -> Value {
        let result = self.get_or_insert_async(key, async { Ok::<_, Infallible>(work.await) }).await;
        self.remove(key);
        result.expect("the work does not fail")
    }
}

/// No table at all: what the waiting alone costs, in the storm.
impl Contender for OnceCell<Value> {
    const NAME: &'static str = "tokio";

    fn new() -> Self {
        Self::new()
    }

    async fn call(&self, _key: &str, work: impl Future<Output = Value> + Send + 'static) -> Value {
        *self.get_or_init(|| work).await
    }
}
