//! Who allocates: the caller that leads, and not those that follow.
#![allow(unsafe_code)] // A counting allocator is an `unsafe` trait by nature.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::convert::Infallible;
use std::future;

use carrotcache_singleflight::{Follower, Group, Role};

use crate::util::poll;

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

/// Returns what `work` returns, and how many allocations it makes on this thread.
fn counted<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATIONS.get();
    let result = work();
    (result, ALLOCATIONS.get() - before)
}

type Flights = Group<String, u32, Infallible>;

/// A key too long for any short-string trick.
const KEY: &str = "a key that would have to be allocated if anybody cloned it";

#[test]
fn joining_does_not_allocate() {
    let flights = Flights::new();
    let Role::Leader(leader) = flights.join(KEY) else { panic!("no flight was open") };
    let (follower, allocations) = counted(|| match flights.join(KEY) {
        Role::Follower(follower) => follower,
        Role::Leader(_) => panic!("a flight was open"),
    });
    assert_eq!(allocations, 0);
    leader.finish(Ok(630));
    drop(follower);
}

#[test]
fn waiting_allocates_for_many_at_once_and_taking_over_not_at_all() {
    let flights = Flights::new();
    let mut leader = Box::pin(flights.work(KEY, future::pending));
    assert!(poll(&mut leader).is_pending());
    let mut calls: Vec<_> = (0..8).map(|_| Box::pin(flights.work(KEY, future::pending))).collect();
    for (number, call) in calls.iter_mut().enumerate() {
        // The second to wait allocates for itself and six more.
        let expected = usize::from(number == 1 || number == 8);
        assert_eq!(counted(|| poll(call).is_pending()), (true, expected), "call {number}");
    }
    drop(leader);
    assert_eq!(counted(|| poll(&mut calls[0]).is_pending()), (true, 0));
}

#[test]
fn a_thousand_waiters_allocate_only_to_double_their_list() {
    let flights = Flights::new();
    let Role::Leader(leader) = flights.join(KEY) else { panic!("no flight was open") };
    let mut followers = Vec::with_capacity(1_000);
    let mut total = 0;
    for _ in 0..1_000 {
        let mut follower = Box::pin(flights.work(KEY, future::pending));
        total += counted(|| poll(&mut follower).is_pending()).1;
        followers.push(follower);
    }
    assert!(total <= 9, "none, seven, and eight doublings to a thousand, not {total}");
    let ((), allocations) = counted(|| leader.finish(Ok(630)));
    assert_eq!(allocations, 0, "ending does not allocate");
}

#[test]
fn a_call_that_nobody_joins_allocates_its_key_and_its_work() {
    let flights = Flights::new();
    let call = || poll(&mut Box::pin(flights.work(KEY, || async { Ok(630) })));
    assert!(call().is_ready());
    // And the box that `poll` needs.
    assert_eq!(counted(call).1, 3);
}

#[test]
fn a_follower_fits_a_cache_line() {
    assert!(size_of::<Follower<u32, Infallible>>() <= 64);
}
