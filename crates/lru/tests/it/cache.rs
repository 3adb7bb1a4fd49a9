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
