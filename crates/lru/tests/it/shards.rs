//! What stays true of caches with several shards that share a bound, whatever is done to them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use carrotcache_lru::sync::{Budget, Cache};
use carrotcache_lru::{Cause, TryInsertError};
use proptest::prelude::*;

const MAX_WEIGHT: u64 = 100;

type Weighed = Cache<u8, (u64, u32), fn(&u8, &(u64, u32)) -> u64>;
type Departures = Arc<Mutex<Vec<(u8, (u64, u32), Cause)>>>;

#[derive(Clone, Copy, Debug)]
enum Op {
    Insert(u8, u64),
    TryInsert(u8, u64),
    /// If what it replaces, or nothing, weighs less than the last.
    TryInsertOver(u8, u64, u64),
    Get(u8),
    GetBelow(u8, u64),
    Remove(u8),
    RemoveBelow(u8, u64),
    PopLru,
    RetainBelow(u64),
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    let weight = prop_oneof![4 => 0..30_u64, 1 => 90..110_u64];
    let key = 0..40_u8;
    prop_oneof![
        8 => (key.clone(), weight.clone()).prop_map(|(key, weight)| Op::Insert(key, weight)),
        4 => (key.clone(), weight.clone()).prop_map(|(key, weight)| Op::TryInsert(key, weight)),
        4 => (key.clone(), weight, 0..30_u64)
            .prop_map(|(key, weight, below)| Op::TryInsertOver(key, weight, below)),
        8 => key.clone().prop_map(Op::Get),
        4 => (key.clone(), 0..30_u64).prop_map(|(key, below)| Op::GetBelow(key, below)),
        2 => key.clone().prop_map(Op::Remove),
        2 => (key, 0..30_u64).prop_map(|(key, below)| Op::RemoveBelow(key, below)),
        2 => Just(Op::PopLru),
        1 => (0..30_u64).prop_map(Op::RetainBelow),
        1 => Just(Op::Clear),
    ]
}

fn cache(budget: &Arc<Budget>, shards: usize) -> (Weighed, Departures) {
    let told = Departures::default();
    let log = told.clone();
    let listener = move |key: &u8, value: &(u64, u32), cause| {
        log.lock().expect("nobody panics with it").push((*key, *value, cause));
    };
    let weigh: fn(&u8, &(u64, u32)) -> u64 = |_, value| value.0;
    (Cache::builder(budget.clone(), weigh).shards(shards).on_evict(listener).build(), told)
}

proptest! {
    #[test]
    fn each_entry_is_found_until_it_is_told_to_have_left(
        ops in prop::collection::vec((any::<bool>(), op()), 0..300),
    ) {
        let budget = Budget::new(MAX_WEIGHT);
        let caches = [cache(&budget, 4), cache(&budget, 1)];
        let mut present = [HashMap::new(), HashMap::new()];
        for (number, (other, op)) in (0..).zip(ops) {
            let ((cache, told), present) =
                (&caches[usize::from(other)], &mut present[usize::from(other)]);
            let (inserted, result) = match op {
                Op::Insert(key, weight) => {
                    let result = cache.insert(key, (weight, number)).map_err(|_| ());
                    (Some((key, weight)), result)
                }
                Op::TryInsert(key, weight) => {
                    let result = cache.try_insert(key, (weight, number)).map_err(|_| ());
                    prop_assert!(told.lock().unwrap().iter().all(|left| left.2 == Cause::Replaced));
                    (Some((key, weight)), result)
                }
                Op::TryInsertOver(key, weight, below) => {
                    let mut seen = None;
                    let result = cache.try_insert_if(key, (weight, number), |old| {
                        seen = Some(old.copied());
                        old.is_none_or(|old| old.0 < below)
                    });
                    let old = present.get(&key).copied();
                    prop_assert_eq!(seen, (weight <= MAX_WEIGHT).then_some(old));
                    let is_refused = matches!(result, Err(TryInsertError::Refused { .. }));
                    prop_assert_eq!(
                        is_refused,
                        weight <= MAX_WEIGHT && old.is_some_and(|old| old.0 >= below),
                    );
                    (Some((key, weight)), result.map_err(|_| ()))
                }
                Op::Get(key) => (None, Ok(cache.get(&key))),
                Op::GetBelow(key, below) => {
                    let got = cache.get_if(&key, |value| value.0 < below);
                    prop_assert_eq!(got, present.get(&key).copied().filter(|value| value.0 < below));
                    (None, Ok(got))
                }
                Op::Remove(key) => (None, Ok(cache.remove(&key))),
                Op::RemoveBelow(key, below) => {
                    let removed = cache.remove_if(&key, |value| value.0 < below);
                    let old = present.get(&key).copied();
                    prop_assert_eq!(removed, old.filter(|value| value.0 < below));
                    (None, Ok(removed))
                }
                Op::PopLru => (None, Ok(cache.pop_lru().map(|(_, value)| value))),
                Op::RetainBelow(weight) => {
                    cache.retain(|_, value| value.0 < weight);
                    (None, Ok(None))
                }
                Op::Clear => {
                    cache.clear();
                    (None, Ok(None))
                }
            };
            for (key, value, cause) in told.lock().unwrap().drain(..) {
                prop_assert_eq!(present.remove(&key), Some(value));
                prop_assert!(cause != Cause::Replaced || result == Ok(Some(value)));
            }
            match (inserted, result) {
                (Some((key, weight)), Ok(_)) => {
                    prop_assert_eq!(present.insert(key, (weight, number)), None);
                }
                (Some((_, weight)), Err(())) if matches!(op, Op::Insert(..)) => {
                    let others = caches[usize::from(!other)].0.weight();
                    prop_assert!(weight + others > MAX_WEIGHT, "there was room");
                }
                _ => {}
            }
            prop_assert_eq!(cache.len(), present.len());
            prop_assert_eq!(cache.weight(), present.values().map(|value| value.0).sum::<u64>());
            prop_assert!(present.iter().all(|(key, value)| cache.peek(key) == Some(*value)));
            prop_assert_eq!(budget.used(), caches.iter().map(|(cache, _)| cache.weight()).sum::<u64>());
            prop_assert!(budget.used() <= MAX_WEIGHT);
        }
    }
}
