//! A hit allocates nothing: shown by an allocator that counts.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use carrotcache::{Answer, Handler, Mirroring};
use futures_util::FutureExt;

use crate::support::{Mesh, Source, group_of};

#[global_allocator]
static COUNTING: Counting = Counting;

/// The system's allocator, with a count for each thread: other tests run beside this one.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static HELD_BYTES: Cell<i64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator with the arguments as they came; the counters
// are constants-initialised cells without a destructor, so that touching them does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        HELD_BYTES.with(|held| held.set(held.get() + layout.size() as i64));
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD_BYTES.with(|held| held.set(held.get() - layout.size() as i64));
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Bytes that this thread has allocated and not freed.
pub(crate) fn held_bytes() -> i64 {
    HELD_BYTES.get()
}

fn allocations_of<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = ALLOCATIONS.get();
    let value = work();
    (value, ALLOCATIONS.get() - before)
}

#[tokio::test]
async fn a_hit_in_main_allocates_nothing() {
    let group = group_of(Source::default());
    group.get("Tom").await.unwrap();
    let (value, count) = allocations_of(|| group.get("Tom").now_or_never());
    assert_eq!(value.unwrap().unwrap(), "Tom!");
    assert_eq!(count, 0);
}

#[tokio::test]
async fn many_hits_allocate_one_list() {
    let group = group_of(Source::default());
    let keys: Vec<_> = (0..64).map(|key| key.to_string()).collect();
    group.get_many(&keys).await;
    let (values, count) = allocations_of(|| group.get_many(&keys).now_or_never());
    assert!(values.unwrap().iter().all(Result::is_ok));
    assert_eq!(count, 1, "that of the answers");
}

#[tokio::test]
async fn a_hit_in_hot_allocates_nothing() {
    let sources = vec![Source::default(), Source::default()];
    let mesh = Mesh::new(sources, |_, _| 1, |builder| builder.mirroring(Mirroring::Always));
    mesh.groups[0].get("Tom").await.unwrap();
    let (value, count) = allocations_of(|| mesh.groups[0].get("Tom").now_or_never());
    assert_eq!(value.unwrap().unwrap(), "Tom!");
    assert_eq!(count, 0);
}

#[tokio::test]
async fn what_is_at_hand_for_a_peer_allocates_nothing() {
    let sources = vec![Source::default(), Source::default()];
    let owner = |_: usize, key: &str| usize::from(key == "hot");
    let mesh = Mesh::new(sources, owner, |builder| builder.mirroring(Mirroring::Always));
    for key in ["main", "hot"] {
        mesh.groups[0].get(key).await.unwrap();
    }
    for (key, value) in [("main", Some("main!")), ("hot", Some("hot!")), ("absent", None)] {
        let (answer, count) = allocations_of(|| mesh.nodes[0].at_hand("numbers", key));
        assert_eq!((answer, count), (value.map(Answer::new), 0));
    }
}

#[tokio::test]
async fn the_counter_counts() {
    let group = group_of(Source::default());
    let (missed, count) = allocations_of(|| group.get("Tom").now_or_never());
    assert!(missed.is_none());
    assert!(count > 0, "a miss starts a flight, which allocates");
}
