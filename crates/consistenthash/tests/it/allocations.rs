//! What a ring allocates, and how much it keeps.
#![allow(unsafe_code)] // A counting allocator is an `unsafe` trait by nature.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use carrotcache_consistenthash::{Ring, Scheme};

/// The system's allocator, which counts what each thread asks of it.
struct Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<isize> = const { Cell::new(0) };
}

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call is handed to the system's allocator as it is. Counting touches only
// constant-initialised thread-locals of types without a destructor, which never allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        LIVE_BYTES.set(LIVE_BYTES.get() + layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of `alloc`, which is the same here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE_BYTES.set(LIVE_BYTES.get() - layout.size().cast_signed());
        // SAFETY: `at` came from `alloc` above, and so from `System`, with this layout.
        unsafe { System.dealloc(at, layout) }
    }
}

#[test]
fn looking_up_never_allocates() {
    let ring = Ring::new((0..100).map(|i| format!("node-{i}"))).unwrap();
    let before = CALLS.get();
    for i in 0..100_u32 {
        let key = i.to_be_bytes();
        black_box(ring.get(key));
        black_box(ring.get_bounded(key, |_| 1, 1.25));
        black_box(ring.successors(key).take(3).count());
        black_box(ring.successors(key).take(8).last());
        black_box(ring.clone());
    }
    assert_eq!(CALLS.get() - before, 0);
}

#[test]
fn a_point_of_a_32_bit_hash_takes_at_most_10_bytes() {
    for (nodes, points) in [(100, 50), (1000, 50), (100, 512), (700, 60)] {
        let per_point = bytes_per_point(Scheme::Groupcache, nodes, points);
        assert!(per_point <= 10.0, "{nodes} x {points}: {per_point}");
    }
}

/// All points of the new node come before all others, where there is nothing to copy.
#[test]
fn changed_ring_takes_no_more_than_one_built_anew() {
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().parse().unwrap();
    let builder = Ring::builder().scheme(Scheme::from_hash("number", number));
    let base = builder.clone().node("900000").build().unwrap();
    let kept = |ring: &dyn Fn() -> Ring| {
        let before = LIVE_BYTES.get();
        let ring = ring();
        let kept = LIVE_BYTES.get() - before;
        drop(ring);
        kept
    };
    let anew = kept(&|| builder.clone().nodes(["900000", "1"]).build().unwrap());
    let changed = kept(&|| base.with_node("1").unwrap());
    assert!(changed <= anew, "{changed} bytes against {anew}");
}

#[test]
fn a_point_of_a_64_bit_hash_takes_at_most_14_bytes() {
    let per_point = bytes_per_point(Scheme::MailgunV2, 100, 50);
    assert!(per_point <= 14.0, "{per_point}");
}

/// What another point costs: the difference between a ring and one without points.
fn bytes_per_point(scheme: Scheme, nodes: u32, points: u32) -> f64 {
    let labels: Vec<String> = (0..nodes).map(|i| format!("http://10.0.0.{i}:8080")).collect();
    let kept = |weight| {
        let before = LIVE_BYTES.get();
        let mut builder = Ring::builder().scheme(scheme.clone()).points_per_node(points);
        for label in &labels {
            builder = builder.weighted_node(label, weight);
        }
        let ring = builder.build().unwrap();
        let kept = LIVE_BYTES.get() - before;
        drop(ring);
        kept
    };
    (kept(1) - kept(0)) as f64 / f64::from(nodes * points)
}
