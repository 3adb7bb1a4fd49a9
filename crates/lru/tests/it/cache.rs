//! The cache for one thread, beyond what the model shows.

use carrotcache_lru::LruCache;

#[test]
fn oversized_entry_is_handed_back_and_disturbs_nothing() {
    let mut cache =
        LruCache::new(10, |key: &String, value: &Vec<u8>| (key.len() + value.len()) as u64);
    cache.insert("a".to_owned(), vec![1]).unwrap();
    cache.insert("b".to_owned(), vec![2]).unwrap();
    let error = cache.insert("a".to_owned(), vec![0; 10]).unwrap_err();
    assert_eq!(error.to_string(), "an entry of weight 11 does not fit the bound of 10");
    assert_eq!((error.key, error.value.len()), ("a".to_owned(), 10));
    assert_eq!(cache.peek("a"), Some(&vec![1]));
    assert_eq!((cache.len(), cache.weight()), (2, 4));
}

#[test]
fn bound_of_zero_holds_nothing_and_works() {
    let mut cache = LruCache::by_count(0);
    assert!(cache.insert(1, 1).is_err());
    assert_eq!(cache.get(&1), None);
    assert_eq!(cache.pop_lru(), None);
    assert_eq!(cache.peek_lru(), None);
}

#[test]
fn replacing_within_the_bound_evicts_nothing() {
    let mut cache = LruCache::new(10, |_: &u32, value: &u64| *value);
    cache.insert(1, 5).unwrap();
    cache.insert(2, 5).unwrap();
    assert_eq!(cache.insert(1, 5).unwrap(), Some(5));
    assert_eq!(cache.insert(1, 3).unwrap(), Some(5));
    assert_eq!((cache.len(), cache.weight()), (2, 8));
}

#[test]
fn huge_weights_are_added_up_without_overflow() {
    let mut cache = LruCache::new(u64::MAX, |_: &u32, value: &u64| *value);
    cache.insert(1, u64::MAX).unwrap();
    cache.insert(2, u64::MAX - 1).unwrap();
    assert_eq!((cache.len(), cache.weight()), (1, u64::MAX - 1));
    cache.insert(3, 1).unwrap();
    assert_eq!((cache.len(), cache.weight()), (2, u64::MAX));
    cache.insert(4, 0).unwrap();
    assert_eq!((cache.len(), cache.weight()), (3, u64::MAX));
}

#[test]
fn many_entries_are_found_again() {
    let mut cache = LruCache::by_count(100_000);
    for key in 0..150_000_u64 {
        cache.insert(key, key).unwrap();
    }
    assert_eq!(cache.len(), 100_000);
    assert!((0..50_000).all(|key| cache.peek(&key).is_none()));
    assert!((50_000..150_000).all(|key| cache.peek(&key) == Some(&key)));
}

#[test]
fn guard_shows_its_entry_and_weighs_it_when_it_goes() {
    let mut cache = LruCache::new(10, |_: &u32, value: &u64| *value);
    cache.extend([(1, 3), (2, 3), (3, 3)]);
    {
        let mut guard = cache.get_mut(&1).unwrap();
        assert_eq!((*guard.key(), *guard, format!("{guard:?}").as_str()), (1, 3, "3"));
        *guard = 6;
    }
    assert!(cache.iter().eq([(&1, &6), (&3, &3)]), "2 made room");
    *cache.get_mut(&1).unwrap() = 11;
    assert!(cache.iter().eq([(&3, &3)]), "only what outgrew the bound has left");
    assert_eq!(cache.weight(), 3);
    assert!(cache.get_mut(&1).is_none());
}

#[test]
fn leaked_guard_leaves_the_old_weight() {
    let mut cache = LruCache::new(10, |_: &u32, value: &u64| *value);
    cache.insert(1, 3).unwrap();
    let mut guard = cache.get_mut(&1).unwrap();
    *guard = 100;
    std::mem::forget(guard);
    assert_eq!(cache.weight(), 3);
    assert_eq!(cache.remove(&1), Some(100));
    assert_eq!(cache.weight(), 0);
}

#[test]
fn weigher_that_changes_its_mind_confuses_nothing() {
    let factor = std::cell::Cell::new(1);
    let mut cache = LruCache::new(100, |_: &u32, value: &u64| *value * factor.get());
    cache.extend([(1, 10), (2, 10), (3, 10)]);
    factor.set(5);
    cache.remove(&1);
    assert_eq!(cache.weight(), 20);
    cache.insert(2, 10).unwrap();
    assert_eq!(cache.weight(), 60);
    cache.clear();
    assert_eq!(cache.weight(), 0);
}

#[test]
fn hashed_variants_do_what_the_others_do() {
    let mut cache = LruCache::by_count(2);
    let hash = cache.hash("a");
    assert_eq!(cache.insert_hashed(hash, "a".to_owned(), 1), Ok(None));
    assert_eq!(cache.peek_hashed(hash, "a"), Some(&1));
    *cache.get_mut_hashed(hash, "a").unwrap() += 1;
    assert_eq!(cache.get_hashed(hash, "a").copied(), Some(2));
    assert_eq!(cache.entry_hashed(hash, "a".to_owned()).or_insert(9), Ok(&2));
    assert_eq!(cache.remove_hashed(hash, "a"), Some(("a".to_owned(), 2)));
    assert_eq!(cache.remove_hashed(hash, "a"), None);
}

#[test]
fn replaced_entry_keeps_its_key_and_moves_to_the_front() {
    let mut cache = LruCache::by_count(3);
    let first: std::rc::Rc<str> = "a".into();
    cache.insert(first.clone(), 1).unwrap();
    cache.insert("b".into(), 2).unwrap();
    cache.insert("a".into(), 3).unwrap();
    let (key, value) = cache.iter().next().unwrap();
    assert!(std::rc::Rc::ptr_eq(key, &first));
    assert_eq!(*value, 3);
}
