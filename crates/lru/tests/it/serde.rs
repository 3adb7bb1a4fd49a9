//! Caches through serde.

use carrotcache_lru::LruCache;
use serde::de::DeserializeSeed;

#[test]
fn order_survives_and_what_no_longer_fits_is_left_out() {
    let mut saved = LruCache::by_count(4);
    saved.extend([(1, "a"), (2, "b"), (3, "c"), (4, "d")]);
    saved.get(&1);
    let json = serde_json::to_string(&saved).unwrap();
    assert_eq!(json, r#"[[1,"a"],[4,"d"],[3,"c"],[2,"b"]]"#);

    let mut restored = LruCache::<i32, String>::by_count(3);
    let mut read = serde_json::Deserializer::from_str(&json);
    (&mut restored).deserialize(&mut read).unwrap();
    assert!(restored.keys().eq(&[1, 4, 3]));
}
