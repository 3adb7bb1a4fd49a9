//! Entries, and what else is built on one lookup.

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher};

use carrotcache_lru::{DefaultHashBuilder, Entry, LruCache};

fn weigh(_: &u32, value: &u64) -> u64 {
    *value
}

/// Counts how many hashes are computed.
struct Counting(DefaultHashBuilder, Cell<u32>);

impl BuildHasher for Counting {
    type Hasher = <DefaultHashBuilder as BuildHasher>::Hasher;

    fn build_hasher(&self) -> Self::Hasher {
        self.1.set(self.1.get() + 1);
        self.0.build_hasher()
    }
}

#[test]
fn entry_hashes_once_whatever_is_done_with_it() {
    let hasher = Counting(DefaultHashBuilder::default(), Cell::new(0));
    let mut cache = Counted::with_hasher(10, weigh, hasher);
    type Counted = LruCache<u32, u64, fn(&u32, &u64) -> u64, Counting>;
    let mut hashes = |act: &mut dyn FnMut(&mut Counted)| {
        cache.hasher().1.set(0);
        act(&mut cache);
        cache.hasher().1.get()
    };
    assert_eq!(hashes(&mut |cache| assert_eq!(*cache.get_or_insert_with(1, |_| 4).unwrap(), 4)), 1);
    assert_eq!(hashes(&mut |cache| assert_eq!(cache.insert(2, 6), Ok(None))), 1);
    assert_eq!(hashes(&mut |cache| assert_eq!(cache.insert(3, 9), Ok(None))), 1, "evicts two");
    let replace = &mut |cache: &mut Counted| match cache.entry(3) {
        Entry::Occupied(there) => assert_eq!(there.insert(8), Ok(9)),
        Entry::Vacant(_) => unreachable!("3 is there"),
    };
    assert_eq!(hashes(replace), 1);
    assert_eq!(hashes(&mut |cache| cache.extend((4..5_000).map(|key| (key, 0)))), 4_996, "grows");
    assert_eq!(hashes(&mut |cache| assert!(cache.pop_lru().is_some())), 0);
}

#[test]
fn occupied_entry_reads_replaces_and_removes() {
    let mut cache = LruCache::new(10, weigh);
    cache.insert(1, 4).unwrap();
    cache.insert(2, 4).unwrap();
    let Entry::Occupied(there) = cache.entry(1) else { unreachable!("1 is there") };
    assert_eq!((there.key(), there.value()), (&1, &4));
    assert_eq!(there.insert(11), Err(11), "heavier than the bound");
    assert_eq!(cache.peek(&1), Some(&4));
    assert!(cache.keys().eq(&[1, 2]), "looking it up has used it");
    let Entry::Occupied(there) = cache.entry(1) else { unreachable!("1 is there") };
    *there.into_mut() = 7;
    assert_eq!((cache.len(), cache.weight()), (1, 7));
    let Entry::Occupied(there) = cache.entry(1) else { unreachable!("1 is there") };
    assert_eq!(there.remove_entry(), (1, 7));
    assert!(cache.is_empty());
}

#[test]
fn vacant_entry_is_filled_or_left() {
    let mut cache = LruCache::new(10, weigh);
    let Entry::Vacant(vacant) = cache.entry(1) else { unreachable!("nothing is there") };
    assert_eq!(vacant.into_key(), 1);
    assert!(cache.is_empty());
    assert_eq!(cache.entry(1).or_insert(3).unwrap(), &3);
    assert_eq!(cache.entry(1).or_insert(4).unwrap(), &3);
    assert_eq!(cache.entry(2).or_insert(11).unwrap_err().value, 11);
    assert_eq!((cache.len(), cache.weight()), (1, 3));
}

#[test]
fn failed_making_changes_nothing() {
    let mut cache = LruCache::new(10, weigh);
    assert_eq!(cache.try_get_or_insert_with(1, |_| Err("no")).unwrap_err(), "no");
    assert!(cache.is_empty());
    assert_eq!(*cache.try_get_or_insert_with(1, |_| Ok::<_, ()>(5)).unwrap().unwrap(), 5);
    assert_eq!(*cache.try_get_or_insert_with(1, |_| Err(())).unwrap().unwrap(), 5);
}

#[test]
fn iterators_meet_in_the_middle_and_know_their_length() {
    let mut cache = LruCache::by_count(5);
    cache.extend((0..7).map(|key| (key, key * 10)));
    let mut iter = cache.iter();
    assert_eq!((iter.len(), iter.next(), iter.next_back()), (5, Some((&6, &60)), Some((&2, &20))));
    assert!(iter.clone().map(|(key, _)| *key).eq([5, 4, 3]));
    assert!(iter.rev().map(|(_, value)| *value).eq([30, 40, 50]));
    assert!(cache.values().rev().copied().eq([20, 30, 40, 50, 60]));
    assert_eq!(format!("{cache:?}"), "{6: 60, 5: 50, 4: 40, 3: 30, 2: 20}");
    let copy = cache.clone();
    let mut owned = cache.into_iter();
    assert_eq!((owned.next(), owned.next_back(), owned.len()), (Some((6, 60)), Some((2, 20)), 3));
    assert!(owned.eq([(5, 50), (4, 40), (3, 30)]));
    assert_eq!(copy.len(), 5, "a clone is on its own");
}

/// The identity: integers as hashes, which leave the upper half empty.
#[derive(Clone, Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only integers are hashed");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[test]
fn hashes_that_fill_few_bits_are_spread() {
    let hasher = std::hash::BuildHasherDefault::<Identity>::default();
    for shift in [0, 20, 40] {
        let mut cache = LruCache::with_hasher(u64::MAX, |_: &u64, _: &()| 1, hasher.clone());
        // Quadratic if they collided: this would take minutes.
        cache.extend((0..100_000_u64).map(|key| (key << shift, ())));
        assert!((0..100_000_u64).all(|key| cache.contains_key(&(key << shift))));
    }
}
