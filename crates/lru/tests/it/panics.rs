//! User code that panics, at every place where it is called, leaves the caches usable.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use carrotcache_lru::sync::{Budget, Cache};
use carrotcache_lru::{Count, LruCache};

thread_local! {
    /// How many more calls of user code go well.
    static FUSE: Cell<u32> = const { Cell::new(u32::MAX) };
}

fn user_code() {
    let left = FUSE.get();
    FUSE.set(left.wrapping_sub(1));
    assert!(left != 0, "the user's code panics");
}

/// A key or value all of whose code counts as the user's.
#[derive(Debug)]
struct Touchy(u32);

impl Hash for Touchy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        user_code();
        // Three hashes only, so that `eq` is called between different keys.
        (self.0 % 3).hash(state);
    }
}

impl PartialEq for Touchy {
    fn eq(&self, other: &Self) -> bool {
        user_code();
        self.0 == other.0
    }
}

impl Eq for Touchy {}

impl Clone for Touchy {
    fn clone(&self) -> Self {
        user_code();
        Self(self.0)
    }
}

impl Drop for Touchy {
    fn drop(&mut self) {
        // A second panic while the first unwinds would abort.
        if !std::thread::panicking() {
            user_code();
        }
    }
}

fn weigh(_: &Touchy, value: &Touchy) -> u64 {
    user_code();
    u64::from(value.0)
}

/// Runs `act` with the user's code panicking at its first call, at its second and so on, until it
/// is not called often enough to panic; after each panic, `check` must hold.
fn at_each_call<C>(make: impl Fn() -> C, act: impl Fn(&mut C), check: impl Fn(&mut C)) {
    for calls in 0.. {
        let mut cache = make();
        FUSE.set(calls);
        let result = catch_unwind(AssertUnwindSafe(|| act(&mut cache)));
        FUSE.set(u32::MAX);
        check(&mut cache);
        if result.is_ok() {
            assert!(calls > 0, "some user code is called");
            return;
        }
    }
}

type Touchies = LruCache<Touchy, Touchy, fn(&Touchy, &Touchy) -> u64>;

fn three() -> Touchies {
    let mut cache = Touchies::new(10, weigh);
    (1..=3).for_each(|key| drop(cache.insert(Touchy(key), Touchy(3))));
    cache
}

/// The cache is what its entries say, within its bound, and takes new ones.
fn is_consistent(cache: &mut Touchies) {
    let entries: Vec<_> = cache.iter().map(|(key, value)| (key.0, value.0)).collect();
    assert_eq!(entries.len(), cache.len());
    assert!(cache.weight() <= 10);
    for (key, value) in &entries {
        assert_eq!(cache.peek(&Touchy(*key)).map(|value| value.0), Some(*value));
    }
    let back: Vec<_> = cache.iter().rev().map(|(key, _)| key.0).collect();
    assert!(entries.iter().rev().map(|(key, _)| *key).eq(back));
    for key in 100..120 {
        assert_eq!(cache.insert(Touchy(key), Touchy(2)).ok(), Some(None));
    }
    assert!(cache.keys().map(|key| key.0).eq((115..120).rev()));
    assert_eq!((cache.len(), cache.weight()), (5, 10));
}

#[test]
fn panics_leave_the_cache_consistent() {
    at_each_call(three, |cache| drop(cache.insert(Touchy(4), Touchy(5))), is_consistent);
    at_each_call(three, |cache| drop(cache.insert(Touchy(2), Touchy(7))), is_consistent);
    at_each_call(three, |cache| drop(cache.insert(Touchy(2), Touchy(70))), is_consistent);
    at_each_call(three, |cache| assert!(cache.get(&Touchy(1)).is_some()), is_consistent);
    at_each_call(three, |cache| drop(cache.remove(&Touchy(2))), is_consistent);
    at_each_call(three, |cache| drop(cache.pop_lru()), is_consistent);
    let with_bound_again = |cache: &mut Touchies| {
        cache.set_max_weight(10);
        is_consistent(cache);
    };
    at_each_call(three, |cache| cache.set_max_weight(4), with_bound_again);
    at_each_call(three, |cache| cache.retain(|key, _| *key == Touchy(2)), is_consistent);
    at_each_call(three, LruCache::clear, is_consistent);
    at_each_call(three, |cache| drop(cache.clone()), is_consistent);
    at_each_call(
        three,
        |cache| {
            if let Some(mut value) = cache.get_mut(&Touchy(1)) {
                value.0 = 8;
            }
        },
        |cache| assert_eq!(cache.iter().count(), cache.len()),
    );
}

#[test]
fn panicking_listener_leaves_the_cache_consistent() {
    let mut cache = LruCache::by_count(2).on_evict(|key: &u32, _: &(), _| assert_ne!(*key, 1));
    cache.insert(1, ()).unwrap();
    cache.insert(2, ()).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| cache.insert(3, ()))).is_err());
    assert!(cache.keys().eq(&[3, 2]), "the new entry had taken the place of the old one");
    cache.insert(4, ()).unwrap();
    assert!(cache.keys().eq(&[4, 3]));
}

#[test]
fn panics_under_a_shards_lock_leave_the_shared_cache_usable() {
    let make = || {
        let cache = Cache::new(5, Count);
        (1..=5).for_each(|key| drop(cache.insert(Touchy(key), Touchy(key))));
        cache
    };
    let check = |cache: &mut Cache<Touchy, Touchy, Count>| {
        let entries = cache.len() as u64;
        assert_eq!((cache.weight(), cache.budget().used()), (entries, entries));
        (10..30).for_each(|key| drop(cache.insert(Touchy(key), Touchy(key)).unwrap()));
        assert_eq!((cache.len(), cache.budget().used()), (5, 5));
        assert_eq!(cache.get(&Touchy(29)).map(|value| value.0), Some(29));
    };
    at_each_call(make, |cache| drop(cache.get(&Touchy(4))), check);
    at_each_call(make, |cache| drop(cache.insert(Touchy(4), Touchy(0))), check);
    at_each_call(make, |cache| drop(cache.insert(Touchy(9), Touchy(0))), check);
    at_each_call(make, |cache| drop(cache.remove(&Touchy(4))), check);
    at_each_call(make, |cache| drop(cache.get_if(&Touchy(4), |_| says(true))), check);
    at_each_call(make, |cache| drop(cache.remove_if(&Touchy(4), |_| says(true))), check);
    let replace = |_: Option<&Touchy>| says(true);
    at_each_call(make, |c| drop(c.try_insert_if(Touchy(4), Touchy(0), replace)), check);
    at_each_call(make, |cache| cache.retain(|key, _| *key == Touchy(2)), check);
    at_each_call(make, |cache| cache.clear(), check);
}

/// What a predicate says, unless it panics.
fn says(answer: bool) -> bool {
    user_code();
    answer
}

#[test]
fn panics_in_a_predicate_leave_the_cache_as_it_was() {
    let make = || {
        let cache = Cache::builder(Budget::new(5), Count).shards(1).build();
        (1..=4).for_each(|key| drop(cache.insert(Touchy(key), Touchy(key))));
        cache
    };
    let unchanged = |cache: &mut Cache<Touchy, Touchy, Count>| {
        assert_eq!((cache.len(), cache.weight(), cache.budget().used()), (4, 4, 4));
        assert_eq!((cache.hits(), cache.evictions()), (0, 0));
        // In their order and without a mark: the next to go is the first that came.
        for expected in 1..=4 {
            let popped = cache.pop_lru().map(|(key, value)| (key.0, value.0));
            assert_eq!(popped, Some((expected, expected)));
        }
        assert_eq!((cache.weight(), cache.budget().used()), (0, 0));
    };
    let key = || Touchy(2);
    at_each_call(make, |cache| drop(cache.get_if(&key(), |_| says(false))), unchanged);
    at_each_call(make, |cache| drop(cache.remove_if(&key(), |_| says(false))), unchanged);
    at_each_call(make, |c| drop(c.try_insert_if(key(), Touchy(9), |_| says(false))), unchanged);
    at_each_call(make, |c| drop(c.try_insert_if(Touchy(9), key(), |_| says(false))), unchanged);
}
