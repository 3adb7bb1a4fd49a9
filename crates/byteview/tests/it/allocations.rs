//! No surprise allocations: what the table in the crate's documentation says, counted.
#![allow(unsafe_code)] // A counting allocator is an `unsafe` trait by nature.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use carrotcache_byteview::ByteView;

/// The system's allocator, which counts what each thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call is handed to the system's allocator as it is. Counting touches only a
// constant-initialised thread-local of a type without a destructor, which never allocates.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`, which is the same here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `alloc` above, and so from `System`, with this layout.
        unsafe { System.dealloc(at, layout) }
    }
}

/// Returns how many allocations `work` makes on this thread.
fn allocations<T>(work: impl FnOnce() -> T) -> usize {
    let before = ALLOCATIONS.get();
    black_box(work());
    ALLOCATIONS.get() - before
}

#[test]
fn a_copied_view_allocates_once_in_its_life() {
    assert_eq!(allocations(|| ByteView::copy_from_slice(&[7; 100])), 1);
    assert_eq!(allocations(|| ByteView::copy_from_slice(b"")), 0);
    let view = ByteView::copy_from_slice(&[7; 100]);
    assert_eq!(allocations(|| view.clone()), 0);
    assert_eq!(allocations(|| view.slice(10..20)), 0);
    assert_eq!(allocations(|| view.compact()), 0);
    assert_eq!(allocations(|| view.slice(10..20).compact()), 1);
    assert_eq!(allocations(|| view.clone().into_bytes()), 1);
}

#[test]
fn a_static_view_never_allocates() {
    let view = ByteView::from("carrot");
    assert_eq!(allocations(|| ByteView::from(view.slice(1..).compact().into_bytes())), 0);
}

#[test]
fn taking_over_an_owner_allocates_at_most_a_count() {
    let vec = vec![7; 100];
    assert_eq!(allocations(move || ByteView::from(vec)), 0);
    let arc: Arc<[u8]> = Arc::from([7; 100]);
    assert_eq!(allocations(move || ByteView::from(arc)), 0);
    let bytes = Bytes::from(vec![7; 100]);
    assert_eq!(allocations(move || ByteView::from(bytes)), 0);
    let mut roomy = Vec::with_capacity(200);
    roomy.extend_from_slice(&[7; 100]);
    assert_eq!(allocations(move || ByteView::from(roomy)), 1);
}

#[test]
fn a_view_of_a_vector_allocates_its_count_with_the_first_clone() {
    let view = ByteView::from(vec![7; 100]);
    assert_eq!(allocations(|| view.clone()), 1);
    assert_eq!(allocations(|| view.clone()), 0);
}

#[test]
fn comparing_showing_and_reading_allocate_nothing() {
    let view = ByteView::copy_from_slice(b"carrot");
    assert_eq!(allocations(|| view == "carrot" && view < b"carrots"), 0);
    assert_eq!(allocations(|| view.as_str().map(str::len)), 0);
}
