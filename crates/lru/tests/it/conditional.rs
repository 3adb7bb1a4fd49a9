//! Operations whose predicate has the last word, under the shard's lock.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use carrotcache_lru::sync::{Budget, Cache};
use carrotcache_lru::{Cause, Count, TryInsertError};

fn weigh(_: &u64, value: &u64) -> u64 {
    *value
}

/// A value that must not be cloned.
#[derive(Debug, PartialEq)]
struct Unclonable;

impl Clone for Unclonable {
    fn clone(&self) -> Self {
        panic!("a refused value was cloned");
    }
}

#[test]
fn a_refused_value_is_a_miss_and_not_cloned() {
    let cache = Cache::new(10, Count);
    cache.insert(1, Unclonable).unwrap();
    let hash = cache.hash(&1);
    assert_eq!(cache.get_if(&1, |_| false), None);
    assert_eq!(cache.get_hashed_if(hash, &1, |_| false), None);
    assert_eq!((cache.hits(), cache.misses()), (0, 2));
    assert_eq!(cache.hit_hashed_if(hash, &1, |_| false), None);
    assert_eq!(cache.peek_hashed_if(hash, &1, |_| false), None);
    assert_eq!((cache.hits(), cache.misses(), cache.len()), (0, 2, 1));
}

#[test]
fn a_wanted_value_counts_as_without_a_predicate() {
    let cache = Cache::new(10, Count);
    cache.insert(1, 630).unwrap();
    let (hash, is_it) = (cache.hash(&1), |value: &i32| *value == 630);
    assert_eq!(cache.peek_hashed_if(hash, &1, is_it), Some(630));
    assert_eq!(cache.hits(), 0);
    assert_eq!(cache.get_if(&1, is_it), Some(630));
    assert_eq!(cache.get_hashed_if(hash, &1, is_it), Some(630));
    assert_eq!(cache.hit_hashed_if(hash, &1, is_it), Some(630));
    assert_eq!((cache.hits(), cache.misses()), (3, 0));
}

#[test]
fn only_a_wanted_value_is_marked_as_used() {
    let first_to_go = |touch: fn(&Cache<u64, u64, Count>, u64)| {
        let cache = Cache::builder(Budget::new(2), Count).shards(1).build();
        cache.insert(1, 1).unwrap();
        cache.insert(2, 2).unwrap();
        touch(&cache, cache.hash(&1));
        cache.pop_lru().map(|(key, _)| key)
    };
    assert_eq!(first_to_go(|cache, _| assert!(cache.get_if(&1, |_| false).is_none())), Some(1));
    assert_eq!(first_to_go(|cache, _| assert!(cache.get_if(&1, |_| true).is_some())), Some(2));
    assert_eq!(
        first_to_go(|cache, hash| assert!(cache.hit_hashed_if(hash, &1, |_| false).is_none())),
        Some(1)
    );
    assert_eq!(
        first_to_go(|cache, hash| assert!(cache.hit_hashed_if(hash, &1, |_| true).is_some())),
        Some(2)
    );
    assert_eq!(
        first_to_go(|cache, hash| assert!(cache.peek_hashed_if(hash, &1, |_| true).is_some())),
        Some(1)
    );
}

#[test]
fn no_predicate_is_asked_where_there_is_no_entry() {
    let cache = Cache::<u64, u64, _>::new(10, Count);
    let asked = |_: &u64| panic!("there is no value");
    let hash = cache.hash(&1);
    assert_eq!((cache.get_if(&1, asked), cache.hit_hashed_if(hash, &1, asked)), (None, None));
    assert_eq!((cache.peek_hashed_if(hash, &1, asked), cache.remove_if(&1, asked)), (None, None));
    assert_eq!((cache.hits(), cache.misses()), (0, 1));
}

#[test]
fn an_insertion_that_is_refused_changes_nothing_and_hands_the_entry_back() {
    let cache = Cache::new(10, weigh);
    cache.insert(1, 6).unwrap();
    let refused = cache.try_insert_if(1, 7, |old| old == Some(&5)).unwrap_err();
    assert!(matches!(refused, TryInsertError::Refused { key: 1, value: 7, .. }));
    assert_eq!(refused.to_string(), "the entry was refused by the caller's predicate");
    assert_eq!(refused.into_entry(), (1, 7));
    assert!(cache.try_insert_if(2, 1, |old| old.is_some()).is_err());
    assert_eq!((cache.peek(&1), cache.len(), cache.budget().used()), (Some(6), 1, 6));
    let hash = cache.hash(&1);
    assert_eq!(cache.try_insert_hashed_if(hash, 1, 7, |old| old == Some(&6)), Ok(Some(6)));
    assert_eq!((cache.peek(&1), cache.budget().used()), (Some(7), 7));
}

#[test]
fn the_budget_has_its_say_too() {
    let cache = Cache::new(10, weigh);
    cache.insert(1, 6).unwrap();
    let no_room = cache.try_insert_if(2, 5, |_| true).unwrap_err();
    assert!(matches!(no_room, TryInsertError::NoRoom { key: 2, value: 5, .. }));
    let oversized = cache.try_insert_if(1, 11, |_| panic!("it cannot come in anyway"));
    assert!(matches!(oversized, Err(TryInsertError::Oversized(_))));
    assert_eq!((cache.peek(&1), cache.budget().used()), (Some(6), 6));
}

#[test]
fn the_listener_is_told_of_what_left_and_not_of_what_was_refused() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let listener = move |key: &u64, value: &u64, cause| {
        log.lock().unwrap().push((*key, *value, cause));
    };
    let cache = Cache::builder(Budget::new(10), Count).on_evict(listener).build();
    cache.insert(1, 10).unwrap();
    assert!(cache.try_insert_if(1, 20, |_| false).is_err());
    assert_eq!(cache.remove_if(&1, |_| false), None);
    assert_eq!(cache.try_insert_if(1, 20, |_| true), Ok(Some(10)));
    let hash = cache.hash(&1);
    assert_eq!(cache.remove_hashed_if(hash, &1, |value| *value == 20), Some((1, 20)));
    assert_eq!(*told.lock().unwrap(), [(1, 10, Cause::Replaced), (1, 20, Cause::Removed)]);
    assert_eq!((cache.len(), cache.budget().used()), (0, 0));
}

/// A removal that comes while an insertion makes up its mind waits, and then finds the entry.
#[test]
fn nobody_comes_between_the_predicate_and_the_insertion() {
    let cache = Cache::builder(Budget::new(10), Count).shards(1).build();
    let (arrived, has_arrived) = mpsc::channel();
    thread::scope(|scope| {
        let cache = &cache;
        let remover = scope.spawn(move || {
            has_arrived.recv().unwrap();
            cache.remove(&1)
        });
        let inserted = cache.try_insert_if(1, 630, |_| {
            arrived.send(()).unwrap();
            // Time for the remover to go wrong; it need not use it.
            (0..100).for_each(|_| thread::yield_now());
            true
        });
        assert_eq!(inserted, Ok(None));
        assert_eq!(remover.join().unwrap(), Some(630));
    });
    assert!(cache.is_empty());
}

/// Whoever first makes the predicate say no and then removes the key finds nothing there from then
/// on, whatever insertions are under way.
#[test]
fn nothing_comes_in_after_a_removal_that_the_predicate_knows_of() {
    const ROUNDS: u64 = 20_000;
    let cache = Cache::builder(Budget::new(100), Count).shards(1).build();
    // The round in which insertions are welcome.
    let (round, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let (mut stayed, mut removed) = (0, 0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let begun = round.load(Ordering::Acquire);
                    // Refused where it comes too late.
                    let _ = cache.try_insert_if(7, begun, |_| {
                        let is_welcome = round.load(Ordering::Acquire) == begun;
                        thread::yield_now();
                        is_welcome
                    });
                }
            });
        }
        for next in 1..=ROUNDS {
            round.store(next, Ordering::Release);
            removed += u64::from(cache.remove(&7).is_some());
            thread::yield_now();
            // What is there now came in under the new round.
            stayed += u64::from(cache.peek(&7).is_some_and(|begun| begun < next));
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(stayed, 0, "values came in after their removal");
    assert!(removed > 0, "no insertion was fast enough to be removed");
}
