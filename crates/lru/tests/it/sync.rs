//! The cache for many threads.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use carrotcache_lru::sync::{Budget, Cache};
use carrotcache_lru::{Cause, Count, TryInsertError};

fn weigh(_: &u64, value: &u64) -> u64 {
    *value
}

#[test]
fn any_entry_that_fits_the_bound_fits_the_cache() {
    let cache = Cache::builder(Budget::new(100), weigh).shards(16).build();
    for key in 0..1_000 {
        cache.insert(key, key % 7).unwrap();
        assert!(cache.budget().used() <= 100);
    }
    cache.insert(2_000, 100).unwrap();
    assert_eq!(cache.get(&2_000), Some(100));
    assert_eq!((cache.weight(), cache.budget().used()), (100, 100));
}

#[test]
fn replacing_reserves_only_the_difference() {
    let cache = Cache::new(10, weigh);
    cache.insert(1, 5).unwrap();
    cache.insert(2, 5).unwrap();
    assert_eq!(cache.insert(1, 5).unwrap(), Some(5));
    assert_eq!(cache.try_insert(1, 4).unwrap(), Some(5));
    assert_eq!(cache.try_insert(2, 6).unwrap(), Some(5));
    assert_eq!((cache.len(), cache.weight(), cache.budget().used()), (2, 10, 10));
    assert_eq!(cache.insert(1, 10).unwrap(), Some(4));
    assert_eq!((cache.len(), cache.weight(), cache.budget().used()), (1, 10, 10));
    assert_eq!(cache.evictions(), 1);
}

#[test]
fn try_insert_evicts_nothing() {
    let cache = Cache::new(10, weigh);
    cache.try_insert(1, 6).unwrap();
    let error = cache.try_insert(2, 6).unwrap_err();
    assert!(matches!(error, TryInsertError::NoRoom { key: 2, value: 6, .. }));
    let error = cache.try_insert(2, 11).unwrap_err();
    assert!(matches!(error, TryInsertError::Oversized(_)));
    assert_eq!(error.into_entry(), (2, 11));
    assert_eq!((cache.get(&1), cache.len(), cache.evictions()), (Some(6), 1, 0));
    assert_eq!(cache.pop_lru(), Some((1, 6)));
    cache.try_insert(2, 6).unwrap();
}

#[test]
fn caches_share_a_budget_and_give_it_back() {
    let budget = Budget::new(10);
    let main = Cache::with_budget(budget.clone(), weigh);
    let hot = Cache::with_budget(budget.clone(), weigh);
    main.insert(1, 7).unwrap();
    assert!(hot.insert(1, 4).is_err());
    assert_eq!((hot.len(), budget.used()), (0, 7));
    hot.insert(1, 3).unwrap();
    assert_eq!(budget.used(), 10);
    drop(main);
    assert_eq!(budget.used(), 3);
    hot.insert(2, 4).unwrap();
    hot.retain(|key, _| *key == 2);
    assert_eq!(budget.used(), 4);
    hot.clear();
    assert_eq!((budget.used(), hot.is_empty()), (0, true));
}

#[test]
fn clones_of_a_hasher_share_hashes() {
    let hasher = carrotcache_lru::DefaultHashBuilder::default();
    let cache = || Cache::builder(Budget::new(10), weigh).hasher(hasher.clone()).shards(4).build();
    let (main, hot) = (cache(), cache());
    let hash = main.hash(&1);
    assert_eq!(hash, hot.hash(&1));
    hot.insert_hashed(hash, 1, 5).unwrap();
    assert_eq!(main.get_hashed(hash, &1), None);
    assert_eq!(hot.get_hashed(hash, &1), Some(5));
    assert_eq!(hot.peek_hashed(hash, &1), hot.peek(&1));
    assert_eq!(hot.remove_hashed(hash, &1), Some((1, 5)));
    assert!(!hot.contains_key(&1));
}

/// Whoever looks twice counts once, wherever the entry is found.
#[test]
fn only_a_hit_counts_where_the_caller_asks_again() {
    let cache = Cache::builder(Budget::new(10), weigh).shards(4).build();
    cache.insert(1, 5).unwrap();
    for key in [1, 2] {
        let hash = cache.hash(&key);
        let found = cache.hit_hashed(hash, &key).or_else(|| cache.get_hashed(hash, &key));
        assert_eq!(found.is_some(), key == 1);
    }
    assert_eq!((cache.hits(), cache.misses()), (1, 1));
}

#[test]
fn entry_of_a_shard_that_was_not_used_goes_first() {
    let cache = Cache::builder(Budget::new(2), Count).shards(1).build();
    cache.insert(1, 1).unwrap();
    cache.insert(2, 2).unwrap();
    assert_eq!(cache.get(&1), Some(1));
    assert_eq!(cache.peek(&2), Some(2));
    cache.insert(3, 3).unwrap();
    assert_eq!((cache.get(&1), cache.get(&2)), (Some(1), None));
}

#[test]
fn listener_is_told_of_each_departure_once_and_may_use_the_cache() {
    type Shared = Cache<u64, u64, fn(&u64, &u64) -> u64>;
    let cache: Arc<Mutex<Option<Arc<Shared>>>> = Arc::default();
    let told = Arc::new(Mutex::new(Vec::new()));
    let (inside, log) = (cache.clone(), told.clone());
    let listener = move |key: &u64, value: &u64, cause| {
        let cache = inside.lock().unwrap().clone().unwrap();
        assert!(cache.budget().used() <= 10 && cache.len() <= 10);
        log.lock().unwrap().push((*key, *value, cause));
    };
    let weigher: fn(&u64, &u64) -> u64 = weigh;
    let built = Cache::builder(Budget::new(10), weigher).shards(2).on_evict(listener).build();
    let built = Arc::new(built);
    *cache.lock().unwrap() = Some(built.clone());
    built.insert(1, 4).unwrap();
    built.insert(1, 5).unwrap();
    built.insert(2, 10).unwrap();
    built.remove(&2).unwrap();
    built.insert(3, 1).unwrap();
    built.pop_lru().unwrap();
    built.insert(4, 1).unwrap();
    built.retain(|_, _| false);
    built.insert(5, 1).unwrap();
    built.clear();
    *cache.lock().unwrap() = None;
    let expected = [
        (1, 4, Cause::Replaced),
        (1, 5, Cause::Capacity),
        (2, 10, Cause::Removed),
        (3, 1, Cause::Removed),
        (4, 1, Cause::Removed),
        (5, 1, Cause::Cleared),
    ];
    assert_eq!(*told.lock().unwrap(), expected);
}

/// A value that counts, in a sum shared by all, what is alive.
struct Alive(u64, Arc<AtomicU64>);

impl Alive {
    fn new(weight: u64, sum: &Arc<AtomicU64>) -> Arc<Self> {
        sum.fetch_add(weight, Ordering::SeqCst);
        Arc::new(Self(weight, sum.clone()))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0, Ordering::SeqCst);
    }
}

#[test]
fn bound_is_never_exceeded_while_threads_insert_and_remove() {
    const MAX: u64 = 500;
    let budget = Budget::new(MAX);
    let weigher = |_: &u64, value: &Arc<Alive>| value.0;
    let cache = || Cache::builder(budget.clone(), weigher).shards(4).build();
    let caches = [cache(), cache()];
    let (alive, done) = (Arc::new(AtomicU64::new(0)), AtomicBool::new(false));
    thread::scope(|scope| {
        let (caches, alive, done, budget) = (&caches, &alive, &done, &budget);
        let worker = |seed: u64| {
            move || {
                let mut random = seed;
                for _ in 0..20_000 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let (key, weight) = ((random >> 33) % 300, (random >> 45) % 90);
                    let cache = &caches[(random >> 60) as usize % 2];
                    match (random >> 55) % 8 {
                        0 => drop(cache.remove(&key)),
                        1 => drop(cache.pop_lru()),
                        2 => drop(cache.try_insert(key, Alive::new(weight, alive))),
                        _ => drop(cache.insert(key, Alive::new(weight, alive))),
                    }
                }
            }
        };
        let workers: Vec<_> = (1..=3).map(|seed| scope.spawn(worker(seed))).collect();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert!(budget.used() <= MAX);
                assert!(caches.iter().all(|cache| cache.weight() <= MAX));
            }
        });
        // Told before the unwrap, or a worker that panics would leave the observer running.
        let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok));
    });
    assert_eq!(budget.used(), caches.iter().map(Cache::weight).sum::<u64>());
    assert_eq!(budget.used(), alive.load(Ordering::SeqCst), "every value is in a cache or dropped");
}

#[test]
fn many_are_got_at_once_in_the_order_asked_for() {
    let cache = Cache::builder(Budget::new(100), Count).shards(8).build();
    (0..50_u64).for_each(|key| assert_eq!(cache.insert(key, key * 10), Ok(None)));
    let keys = [49, 3, 200, 3, 17];
    assert_eq!(cache.get_many(&keys), [Some(490), Some(30), None, Some(30), Some(170)]);
    assert_eq!(cache.get_many(&[]), []);
    let all: Vec<u64> = (0..50).rev().collect();
    assert!(cache.get_many(&all).into_iter().eq((0..50).rev().map(|key| Some(key * 10))));
}

#[test]
fn getting_many_uses_what_it_gets() {
    let cache = Cache::builder(Budget::new(3), Count).shards(1).build();
    (1..=3_u64).for_each(|key| assert_eq!(cache.insert(key, key), Ok(None)));
    assert_eq!(cache.get_many(&[1, 2]), [Some(1), Some(2)]);
    cache.insert(4, 4).unwrap();
    assert!(!cache.contains_key(&3));
}

#[test]
fn pop_lru_empties_every_shard_in_turn() {
    let cache = Cache::builder(Budget::new(1_000), Count).shards(8).build();
    (0..500_u64).for_each(|key| assert_eq!(cache.insert(key, key), Ok(None)));
    let mut popped: Vec<u64> = std::iter::from_fn(|| cache.pop_lru()).map(|(key, _)| key).collect();
    popped.sort_unstable();
    assert!(popped.into_iter().eq(0..500));
    assert_eq!((cache.budget().used(), cache.evictions()), (0, 0));
}

#[test]
fn weightless_entries_take_nothing_of_the_budget() {
    let cache = Cache::builder(Budget::new(0), weigh).shards(2).build();
    (0..100).for_each(|key| assert_eq!(cache.insert(key, 0), Ok(None)));
    assert_eq!((cache.len(), cache.budget().used()), (100, 0));
    assert!(cache.insert(0, 1).is_err());
    assert_eq!(cache.get(&0), Some(0), "a refused entry disturbs nothing");
}

/// A shard the slow way: key, weight and mark, what came in last at the front.
#[derive(Default)]
struct Model(VecDeque<(u64, u64, bool)>);

impl Model {
    fn position(&self, key: u64) -> Option<usize> {
        self.0.iter().position(|entry| entry.0 == key)
    }

    fn remove(&mut self, key: u64) -> Option<u64> {
        let at = self.position(key)?;
        self.0.remove(at).map(|(_, weight, _)| weight)
    }

    fn get(&mut self, key: u64) -> Option<u64> {
        let at = self.position(key)?;
        self.0[at].2 = true;
        Some(self.0[at].1)
    }

    fn pop(&mut self) -> Option<(u64, u64)> {
        for _ in 0..64 {
            if self.0.back().is_some_and(|entry| entry.2) {
                self.0.rotate_right(1);
                self.0[0].2 = false;
            }
        }
        self.0.pop_back().map(|(key, weight, _)| (key, weight))
    }

    fn insert(&mut self, key: u64, weight: u64, max_weight: u64) -> Option<u64> {
        let old = self.remove(key);
        while self.0.iter().map(|entry| entry.1).sum::<u64>() + weight > max_weight {
            self.pop();
        }
        self.0.push_front((key, weight, false));
        old
    }
}

#[test]
fn used_entries_of_a_shard_get_a_second_chance() {
    const MAX_WEIGHT: u64 = 200;
    let cache = Cache::builder(Budget::new(MAX_WEIGHT), weigh).shards(1).build();
    let mut model = Model::default();
    let mut random = 7_u64;
    for _ in 0..20_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (key, weight) = ((random >> 33) % 100, (random >> 45) % 20);
        match (random >> 55) % 8 {
            0 => assert_eq!(cache.remove(&key), model.remove(key)),
            1 => assert_eq!(cache.pop_lru(), model.pop()),
            2 => assert_eq!(cache.get(&key), model.get(key)),
            3 => assert_eq!(cache.hit_hashed(cache.hash(&key), &key), model.get(key)),
            4 => assert_eq!(cache.get_many([&key]), [model.get(key)]),
            5 => assert_eq!(cache.get_if(&key, |_| false), None),
            _ => assert_eq!(cache.insert(key, weight), Ok(model.insert(key, weight, MAX_WEIGHT))),
        }
        assert_eq!(cache.len(), model.0.len());
        assert!(model.0.iter().all(|&(key, weight, _)| cache.peek(&key) == Some(weight)));
    }
}

#[test]
fn replacing_spares_what_is_used_and_the_replaced() {
    let cache = Cache::builder(Budget::new(4), weigh).shards(1).build();
    (1..=4).for_each(|key| assert_eq!(cache.insert(key, 1), Ok(None)));
    assert_eq!(cache.get(&1), Some(1));
    assert_eq!(cache.insert(4, 2), Ok(Some(1)));
    assert_eq!((cache.peek(&1), cache.peek(&2), cache.peek(&3)), (Some(1), None, Some(1)));
    // All but the replaced one are used, so all are spared, and it is at the end for a moment.
    assert_eq!(cache.get_many([&1, &3]), [Some(1), Some(1)]);
    assert_eq!(cache.insert(4, 3), Ok(Some(2)));
    assert_eq!((cache.peek(&4), cache.len()), (Some(3), 2));
}

#[test]
fn no_entry_that_fits_is_refused_while_others_leave() {
    const MAX_WEIGHT: u64 = 100;
    let cache = Cache::builder(Budget::new(MAX_WEIGHT), weigh).shards(4).build();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for key in (0..50).cycle().take_while(|_| !done.load(Ordering::Relaxed)) {
                    let _ = cache.insert(key, 30);
                    cache.pop_lru();
                    cache.remove(&key);
                }
            });
        }
        let refused = (0..200_000).filter(|_| cache.insert(1_000, MAX_WEIGHT).is_err()).count();
        done.store(true, Ordering::Relaxed);
        assert_eq!(refused, 0);
    });
}

#[test]
fn marks_stay_with_weights_of_any_size() {
    const HUGE: u64 = 1 << 40;
    let cache = Cache::builder(Budget::new(3 * HUGE), weigh).shards(1).build();
    for (key, weight) in [(1, HUGE), (2, u64::from(u32::MAX >> 1)), (3, 1 << 31)] {
        cache.insert(key, weight).unwrap();
        assert_eq!(cache.get(&key), Some(weight));
    }
    assert_eq!(cache.weight(), HUGE + (1 << 32) - 1);
    // All are marked, so all are spared, and the first to come in is the first to go.
    assert_eq!(cache.pop_lru(), Some((1, HUGE)));
    assert_eq!(cache.get(&2), Some((1 << 31) - 1));
    assert_eq!(cache.pop_lru(), Some((3, 1 << 31)));
    assert_eq!((cache.weight(), cache.budget().used()), ((1 << 31) - 1, (1 << 31) - 1));
}

#[test]
fn large_entries_find_room_while_threads_fill_the_cache() {
    let cache = Cache::builder(Budget::new(100), weigh).shards(16).build();
    thread::scope(|scope| {
        for start in [0, 1_000_000] {
            let cache = &cache;
            scope.spawn(move || {
                for key in start..start + 2_000 {
                    // Every tenth needs the whole budget, which is spread over all shards.
                    let weight = if key % 10 == 0 { 100 } else { key % 7 };
                    cache.insert(key, weight).unwrap();
                    assert!(cache.budget().used() <= 100);
                }
            });
        }
    });
    assert_eq!(cache.weight(), cache.budget().used());
}

#[test]
fn debug_tells_what_is_in_use() {
    let cache = Cache::builder(Budget::new(10), weigh).shards(2).build();
    cache.insert(1, 4).unwrap();
    let text = format!("{cache:?}");
    assert!(text.starts_with("Cache { len: 1, weight: 4, shards: 2, budget: Budget"), "{text}");
    assert!(cache.memory_usage() > 0);
}
