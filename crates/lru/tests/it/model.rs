//! Every operation against a `VecDeque` that does the same the slow way.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::rc::Rc;

use carrotcache_lru::{Cause, DefaultHashBuilder, LruCache};
use proptest::prelude::*;

type Departure = (u16, u64, Cause);

/// Values are their own weights, so that replacing and mutating them changes weights.
fn weigh(_: &u16, value: &u64) -> u64 {
    *value
}

/// The most recently used entry is at the front.
#[derive(Default)]
struct Model {
    entries: VecDeque<(u16, u64)>,
    max_weight: u64,
    departed: Vec<Departure>,
}

impl Model {
    fn weight(&self) -> u64 {
        self.entries.iter().map(|(_, value)| value).sum()
    }

    fn take(&mut self, key: u16) -> Option<(u16, u64)> {
        let at = self.entries.iter().position(|entry| entry.0 == key)?;
        self.entries.remove(at)
    }

    fn get(&mut self, key: u16) -> Option<u64> {
        let entry = self.take(key)?;
        self.entries.push_front(entry);
        Some(entry.1)
    }

    fn evict_down_to(&mut self, weight: u64) {
        while self.weight() > weight
            && let Some((key, value)) = self.entries.pop_back()
        {
            self.departed.push((key, value, Cause::Capacity));
        }
    }

    fn insert(&mut self, key: u16, value: u64) -> Result<Option<u64>, ()> {
        if value > self.max_weight {
            return Err(());
        }
        let old = self.take(key);
        self.evict_down_to(self.max_weight - value);
        self.entries.push_front((key, value));
        self.departed.extend(old.map(|(key, value)| (key, value, Cause::Replaced)));
        Ok(old.map(|(_, value)| value))
    }

    fn set(&mut self, key: u16, value: u64) -> bool {
        let Some(_) = self.take(key) else { return false };
        if value > self.max_weight {
            self.departed.push((key, value, Cause::Capacity));
        } else {
            self.evict_down_to(self.max_weight - value);
            self.entries.push_front((key, value));
        }
        true
    }

    fn remove(&mut self, key: u16, cause: Cause) -> Option<(u16, u64)> {
        let entry = self.take(key)?;
        self.departed.push((entry.0, entry.1, cause));
        Some(entry)
    }

    fn pop_lru(&mut self) -> Option<(u16, u64)> {
        let key = self.entries.back()?.0;
        self.remove(key, Cause::Removed)
    }

    fn retain(&mut self, keep: impl Fn(u16) -> bool, cause: Cause) {
        for (key, _) in self.entries.clone() {
            if !keep(key) {
                self.remove(key, cause);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u16, u64),
    Get(u16),
    Peek(u16),
    Set(u16, u64),
    Remove(u16),
    PopLru,
    Retain(u16),
    SetMaxWeight(u64),
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    let key = || 0..80_u16;
    let value =
        || prop_oneof![8 => 0..12_u64, 1 => 0..200_u64, 1 => (1_u64 << 32) - 2..(1 << 32) + 2];
    prop_oneof![
        12 => (key(), value()).prop_map(|(key, value)| Op::Insert(key, value)),
        6 => key().prop_map(Op::Get),
        2 => key().prop_map(Op::Peek),
        3 => (key(), value()).prop_map(|(key, value)| Op::Set(key, value)),
        4 => key().prop_map(Op::Remove),
        2 => Just(Op::PopLru),
        1 => (2..9_u16).prop_map(Op::Retain),
        1 => prop_oneof![0..400_u64, Just(3 << 32)].prop_map(Op::SetMaxWeight),
        1 => Just(Op::Clear),
    ]
}

fn run<S: BuildHasher>(ops: Vec<Op>, hash_builder: S) {
    let departed = Rc::new(RefCell::new(Vec::new()));
    let log = departed.clone();
    let listener =
        move |key: &u16, value: &u64, cause| log.borrow_mut().push((*key, *value, cause));
    let mut cache = LruCache::with_hasher(300, weigh, hash_builder).on_evict(listener);
    let mut model = Model { max_weight: 300, ..Model::default() };
    for op in ops {
        match op {
            Op::Insert(key, value) => {
                let result = cache.insert(key, value).map_err(|_| ());
                assert_eq!(result, model.insert(key, value));
            }
            Op::Get(key) => assert_eq!(cache.get(&key).copied(), model.get(key)),
            Op::Peek(key) => {
                let there = model.entries.iter().find(|entry| entry.0 == key);
                assert_eq!(cache.peek(&key), there.map(|(_, value)| value));
                assert_eq!(cache.contains_key(&key), there.is_some());
            }
            Op::Set(key, value) => {
                let guard = cache.get_mut(&key);
                assert_eq!(guard.map(|mut old| *old = value).is_some(), model.set(key, value));
            }
            Op::Remove(key) => {
                assert_eq!(cache.remove_entry(&key), model.remove(key, Cause::Removed));
            }
            Op::PopLru => {
                assert_eq!(cache.peek_lru(), model.entries.back().map(|(key, value)| (key, value)));
                assert_eq!(cache.pop_lru(), model.pop_lru());
            }
            Op::Retain(n) => {
                cache.retain(|key, _| key % n != 0);
                model.retain(|key| key % n != 0, Cause::Removed);
            }
            Op::SetMaxWeight(max_weight) => {
                cache.set_max_weight(max_weight);
                model.max_weight = max_weight;
                model.evict_down_to(max_weight);
            }
            Op::Clear => {
                cache.clear();
                model.retain(|_| false, Cause::Cleared);
            }
        }
        let entries = || model.entries.iter().map(|(key, value)| (key, value));
        assert!(cache.iter().eq(entries()), "{cache:?} is not {:?}", model.entries);
        assert!(cache.iter().rev().eq(entries().rev()));
        assert_eq!((cache.len(), cache.weight()), (model.entries.len(), model.weight()));
        assert_eq!(departed.take(), std::mem::take(&mut model.departed));
    }
}

/// Hashes everything to one of four values.
#[derive(Default)]
struct Colliding(u64);

impl Hasher for Colliding {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = u64::from(bytes.first().map_or(0, |byte| byte % 4));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

proptest! {
    #[test]
    fn cache_does_what_the_model_does(ops in prop::collection::vec(op(), 0..400)) {
        run(ops, DefaultHashBuilder::default());
    }

    #[test]
    fn colliding_hashes_change_nothing(ops in prop::collection::vec(op(), 0..400)) {
        run(ops, BuildHasherDefault::<Colliding>::default());
    }
}
