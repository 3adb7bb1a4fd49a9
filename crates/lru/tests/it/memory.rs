//! What the cache has on the heap, by an allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use carrotcache_lru::LruCache;

struct Counting;

thread_local! {
    // By thread, so that tests that run beside do not count.
    static HELD: Cell<usize> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: everything is passed on to the system's allocator as it came.
#[expect(unsafe_code, reason = "an allocator cannot be written without")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.set(HELD.get().wrapping_add(layout.size()));
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.set(HELD.get().wrapping_sub(layout.size()));
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

type Strings = LruCache<String, Box<[u8]>, fn(&String, &Box<[u8]>) -> u64>;

fn strings(max_weight: u64) -> Strings {
    LruCache::new(max_weight, |key, value| (key.len() + value.len()) as u64)
}

fn insert(cache: &mut Strings, number: u64) {
    let old = cache.insert(format!("user:{number:011}"), vec![7; 100].into_boxed_slice());
    assert!(matches!(old, Ok(None)));
}

#[test]
fn entry_takes_at_most_24_bytes_beyond_its_headers() {
    const MOST: usize = size_of::<String>() + size_of::<Box<[u8]>>() + 24;
    let mut text = HELD.get();
    let mut cache = strings(u64::MAX);
    for entries in 1..=150_000 {
        insert(&mut cache, entries as u64);
        text += cache.iter().map(|(key, value)| key.capacity() + value.len()).next().unwrap_or(0);
        let held = HELD.get() - text;
        assert!(entries < 5_000 || held <= entries * MOST, "{held} bytes with {entries} entries");
        assert!(cache.memory_usage().abs_diff(held) * 20 <= held, "memory_usage is within 5 %");
    }
}

#[test]
fn heap_stays_flat_under_churn() {
    // At whatever load the index's table is with so many entries.
    for fit in [5_000_u64, 6_100, 7_300, 8_900] {
        let mut cache = strings(fit * 116);
        (0..2 * fit).for_each(|number| insert(&mut cache, number));
        let (warm, own) = (HELD.get(), cache.memory_usage());
        (2 * fit..40 * fit).for_each(|number| insert(&mut cache, number));
        assert!(HELD.get().abs_diff(warm) * 100 <= warm, "within 1 %: {warm}, {}", HELD.get());
        assert_eq!(cache.memory_usage(), own);
    }
}

#[test]
#[ignore = "ten million operations: run with --release"]
fn heap_stays_flat_over_ten_million_operations() {
    let mut cache = strings(150_000 * 116);
    (0..300_000).for_each(|number| insert(&mut cache, number));
    let warm = HELD.get();
    (300_000..10_300_000).for_each(|number| insert(&mut cache, number));
    assert!(HELD.get().abs_diff(warm) * 100 <= warm, "within 1 %: {warm}, {}", HELD.get());
}

#[test]
fn warm_cache_allocates_nothing() {
    let mut cache = LruCache::by_count(1_000);
    cache.extend((0..2_000_u64).map(|key| (key, key)));
    let before = ALLOCATIONS.get();
    for key in 2_000..10_000 {
        cache.insert(key, key).unwrap();
        cache.get(&(key - 500)).unwrap();
        cache.remove(&(key - 700));
        *cache.get_mut(&(key - 300)).unwrap() += 1;
    }
    assert_eq!(ALLOCATIONS.get(), before);
}
