//! `LruCache` does what the crate `lru` does, for any sequence of operations.
//!
//! `cargo xtask fuzz lru` runs it, under AddressSanitizer.

#![no_main]

use arbitrary::Arbitrary;
use carrotcache_lru::LruCache;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Op {
    Insert(u8, u16),
    Get(u8),
    GetMut(u8, u16),
    Peek(u8),
    Remove(u8),
    PopLru,
    Retain(u8),
    Resize(u8),
    Clear,
}

fuzz_target!(|ops: Vec<Op>| {
    let mut ours = LruCache::by_count(16);
    let mut theirs = lru::LruCache::unbounded();
    let mut fit = 16;
    for op in ops {
        match op {
            Op::Insert(key, value) => {
                let result = ours.insert(key, value);
                assert_eq!(result.is_ok(), fit > 0);
                if let Ok(old) = result {
                    assert_eq!(old, theirs.put(key, value));
                }
            }
            Op::Get(key) => assert_eq!(ours.get(&key), theirs.get(&key)),
            Op::GetMut(key, value) => {
                let there = ours.get_mut(&key).map(|mut old| *old = value);
                assert_eq!(there, theirs.get_mut(&key).map(|old| *old = value));
            }
            Op::Peek(key) => assert_eq!(ours.peek(&key), theirs.peek(&key)),
            Op::Remove(key) => assert_eq!(ours.remove(&key), theirs.pop(&key)),
            Op::PopLru => assert_eq!(ours.pop_lru(), theirs.pop_lru()),
            Op::Retain(n) => {
                let keep = |key: u8| key.is_multiple_of(n.max(1));
                ours.retain(|key, _| keep(*key));
                let gone: Vec<u8> =
                    theirs.iter().map(|(key, _)| *key).filter(|key| !keep(*key)).collect();
                for key in gone {
                    theirs.pop(&key);
                }
            }
            Op::Resize(entries) => {
                fit = usize::from(entries);
                ours.set_max_weight(u64::from(entries));
            }
            Op::Clear => {
                ours.clear();
                theirs.clear();
            }
        }
        while theirs.len() > fit {
            theirs.pop_lru();
        }
        assert!(ours.iter().eq(theirs.iter()));
    }
});
