//! What is charged is what the process grows by.

use bytes::Bytes;
use carrotcache::{ENTRY_OVERHEAD_BYTES, Node};

use crate::allocations::held_bytes;
use crate::support::Source;

/// Fills a group to its bound with values of `size` bytes; how many bytes were charged and how many
/// are held.
async fn fill(max_bytes: u64, size: usize) -> (u64, i64) {
    let loader = move |_: String| async move { Ok::<_, std::io::Error>(Some(vec![7; size])) };
    let before = held_bytes();
    let group = Node::new().group("filled").max_bytes(max_bytes).loader(loader).build().unwrap();
    let mut key = 0;
    while group.stats().main.evictions < 1_000 {
        group.get(&format!("user:{key:012}")).await.unwrap();
        key += 1;
    }
    (group.stats().bytes, held_bytes() - before)
}

#[tokio::test]
async fn max_bytes_is_what_the_process_grows_by() {
    for size in [0, 100, 1_000, 10_000] {
        let (charged, held) = fill(4 << 20, size).await;
        let ratio = held as f64 / charged as f64;
        assert!(
            (0.6..=1.02).contains(&ratio),
            "{size}: held {held}, charged {charged}: {ratio:.3}"
        );
    }
}

#[tokio::test]
async fn a_slice_of_something_large_does_not_keep_it_alive() {
    let loader = |key: String| async move {
        let page = Bytes::from(vec![7; 1 << 20]);
        drop(key);
        Ok::<_, std::io::Error>(Some(page.slice(..10)))
    };
    let group = Node::new().group("sliced").loader(loader).build().unwrap();
    let before = held_bytes();
    for i in 0..50 {
        assert_eq!(group.get(&format!("key-{i}")).await.unwrap().len(), 10);
    }
    assert!(held_bytes() - before < 1 << 20, "50 pages of 1 MiB were kept for 500 bytes");
}

#[tokio::test]
async fn an_oversize_value_is_returned_and_flushes_nothing() {
    let loader = |key: String| async move {
        let size = if key == "huge" { 100_000 } else { 100 };
        Ok::<_, std::io::Error>(Some(vec![7; size]))
    };
    let group = Node::new().group("mixed").max_bytes(50_000).loader(loader).build().unwrap();
    for i in 0..10 {
        group.get(&format!("small-{i}")).await.unwrap();
    }
    let before = group.stats();
    assert_eq!(group.get("huge").await.unwrap().len(), 100_000);
    let after = group.stats();
    assert_eq!((after.main.items, after.bytes), (before.main.items, before.bytes));
    assert_eq!((after.oversized, after.main.evictions), (1, 0));
}

#[tokio::test]
async fn a_value_that_just_fits_is_kept() {
    let source = Source::default();
    // Key `Tom`, value `Tom!`.
    let exact = 3 + 4 + ENTRY_OVERHEAD_BYTES;
    for (max_bytes, kept) in [(exact, 1), (exact - 1, 0)] {
        let node = Node::new();
        let group = node.group("g").max_bytes(max_bytes).loader(source.clone()).build().unwrap();
        group.get("Tom").await.unwrap();
        assert_eq!(group.stats().main.items, kept);
    }
}
