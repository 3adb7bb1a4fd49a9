//! What a cache says it weighs: an account of its own part of a budget that others share.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use carrotcache_lru::sync::{Budget, Cache};

/// What is waited for comes at once; a test that waits this long has failed.
const SOON: Duration = Duration::from_secs(10);

/// A key that waits when it is compared, if it has a gate.
struct Slow {
    number: u64,
    gate: Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>,
}

impl PartialEq for Slow {
    fn eq(&self, other: &Self) -> bool {
        for (arrived, go_on) in self.gate.iter().chain(&other.gate) {
            arrived.send(()).expect("the test waits for it");
            go_on.recv().expect("the test sends it");
        }
        self.number == other.number
    }
}

impl Eq for Slow {}

impl Hash for Slow {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

#[test]
fn weight_waits_for_no_lock() {
    let cache = Cache::builder(Budget::new(10), |_: &Slow, (): &()| 7).shards(1).build();
    assert!(cache.insert(Slow { number: 1, gate: None }, ()).is_ok());
    let (arrived, has_arrived) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let slow = Slow { number: 1, gate: Some((arrived, may_go_on)) };
    thread::scope(|scope| {
        let cache = &cache;
        let getter = scope.spawn(move || cache.get(&slow));
        has_arrived.recv().unwrap();
        // The getter compares keys, and the only shard is locked as long as it does.
        let (tell, told) = mpsc::channel();
        scope.spawn(move || tell.send(cache.weight()));
        let weight = told.recv_timeout(SOON);
        // Before anything is asserted, or a failure would wait for the getter for ever.
        go_on.send(()).unwrap();
        assert_eq!(weight, Ok(7), "told while the shard was locked");
        assert_eq!(getter.join().unwrap(), Some(()));
    });
}

#[test]
fn weight_follows_each_operation() {
    let budget = Budget::new(100);
    let other = Cache::with_budget(budget.clone(), weigh);
    let cache = Cache::builder(budget.clone(), weigh).shards(4).build();
    let weighs = |expected| {
        assert_eq!((cache.weight(), budget.used()), (expected, expected + other.weight()));
    };
    other.insert(Key(0), 20).unwrap();
    cache.insert(Key(1), 30).unwrap();
    weighs(30);
    cache.insert(Key(1), 10).unwrap();
    weighs(10);
    cache.try_insert(Key(1), 40).unwrap();
    weighs(40);
    cache.try_insert(Key(2), 50).unwrap_err();
    weighs(40);
    cache.insert(Key(3), 101).unwrap_err();
    weighs(40);
    cache.insert(Key(2), 70).unwrap();
    weighs(70);
    cache.remove(&Key(2)).unwrap();
    weighs(0);
    cache.insert(Key(4), 5).unwrap();
    cache.insert(Key(5), 6).unwrap();
    weighs(11);
    cache.retain(|key, _| key.0 == 5);
    weighs(6);
    cache.pop_lru().unwrap();
    weighs(0);
    cache.insert(Key(6), 7).unwrap();
    cache.clear();
    weighs(0);
    // No room is left even with this cache empty, which it then is.
    cache.insert(Key(7), 8).unwrap();
    cache.insert(Key(8), 81).unwrap_err();
    weighs(0);
    drop(other);
    assert_eq!(budget.used(), 0);
}

/// A key that panics at every hundredth comparison on a thread.
struct Key(u64);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        thread_local! {
            static COMPARISONS: Cell<u64> = const { Cell::new(0) };
        }
        COMPARISONS.set(COMPARISONS.get() + 1);
        if COMPARISONS.get().is_multiple_of(100) {
            panic_quietly();
        }
        self.0 == other.0
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// A weigher that panics at some values.
fn weigh(_: &Key, value: &u64) -> u64 {
    if *value == 89 {
        panic_quietly();
    }
    *value
}

/// As a panic of the user's code, without what the hook prints: there are thousands.
fn panic_quietly() {
    resume_unwind(Box::new("the user's code panics"));
}

const MAX_WEIGHT: u64 = 500;

type Values = Cache<Key, u64, fn(&Key, &u64) -> u64>;

/// A cache with a listener that panics at some values.
fn panicking_cache(budget: &Arc<Budget>, shards: usize) -> Values {
    let listener = |_: &Key, value: &u64, _| {
        if value % 11 == 3 {
            panic_quietly();
        }
    };
    let weigher: fn(&Key, &u64) -> u64 = weigh;
    Cache::builder(budget.clone(), weigher).shards(shards).on_evict(listener).build()
}

/// What the entries of a cache weigh, counted one by one.
fn counted(cache: &Values) -> u64 {
    let mut sum = 0;
    cache.retain(|_, value| {
        sum += value;
        true
    });
    sum
}

/// Does something that a cache may be asked for, by chance, and returns whether that was refused.
fn act(cache: &Values, random: u64) -> bool {
    let (key, weight) = (Key((random >> 33) % 100), (random >> 45) % 90);
    match (random >> 53) % 64 {
        0 => cache.clear(),
        1 => cache.retain(|key, _| {
            if key.0 == 42 {
                panic_quietly();
            }
            key.0 % 2 == 0
        }),
        2..10 => drop(cache.remove(&key)),
        10..18 => drop(cache.pop_lru()),
        18..20 => return cache.insert(key, MAX_WEIGHT + 1).is_err(),
        20..22 => return cache.insert(key, MAX_WEIGHT).is_err(),
        22..31 => return cache.try_insert(key, weight).is_err(),
        31..40 => return cache.try_insert_if(key, weight, |old| verdict(weight, old)).is_err(),
        40..44 => drop(cache.remove_if(&key, |old| verdict(weight, Some(old)))),
        _ => return cache.insert(key, weight).is_err(),
    }
    false
}

/// What a predicate says of a value, which panics at some.
fn verdict(weight: u64, old: Option<&u64>) -> bool {
    if weight.is_multiple_of(10) {
        panic_quietly();
    }
    old.is_none_or(|old| *old < weight)
}

#[test]
fn accounts_are_exact_after_any_race_and_panic() {
    let budget = Budget::new(MAX_WEIGHT);
    let caches = [panicking_cache(&budget, 1), panicking_cache(&budget, 4)];
    let (panicked, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers = [1, 2, 3].map(|seed: u64| {
            let (caches, panicked, refused) = (&caches, &panicked, &refused);
            scope.spawn(move || {
                let mut random = seed;
                for _ in 0..20_000 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let cache = &caches[(random >> 62) as usize % 2];
                    match catch_unwind(AssertUnwindSafe(|| act(cache, random))) {
                        Ok(is_refused) => refused.fetch_add(is_refused.into(), Ordering::Relaxed),
                        Err(_) => panicked.fetch_add(1, Ordering::Relaxed),
                    };
                }
            })
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert!(caches.iter().all(|cache| cache.weight() <= MAX_WEIGHT));
                // With the only shard of the first cache locked, its entries stay as they are.
                let mut seen = 0;
                caches[0].retain(|_, value| {
                    seen += value;
                    assert!(seen <= caches[0].weight(), "no entry is without a reservation");
                    true
                });
            }
        });
        // Told before the assertion, or a worker that panics would leave the observer running.
        let results = workers.map(thread::ScopedJoinHandle::join);
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok));
    });
    assert!(panicked.into_inner() > 1_000 && refused.into_inner() > 1_000);
    assert!(caches.iter().all(|cache| cache.evictions() > 1_000));

    assert_eq!(caches.each_ref().map(Cache::weight), caches.each_ref().map(counted));
    assert_eq!(budget.used(), caches[0].weight() + caches[1].weight());
    let [first, second] = caches;
    drop(first);
    assert_eq!(budget.used(), second.weight());
    drop(second);
    assert_eq!(budget.used(), 0);
}
