//! Code of others that the crate calls: wakers, and the clone and drop of keys and values. Whatever
//! it does, no lock is held meanwhile and nobody else is hurt.
#![allow(unsafe_code)] // `RawWaker` is the only way to a waker whose clone does something.

use std::cell::Cell;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};

use carrotcache_singleflight::{Follower, Group, Leader, Role};

use crate::util::{Wakes, poll, poll_counted};

fn lead<K, V, E>(flights: &Group<K, V, E>, key: &K) -> Leader<K, V, E>
where
    K: std::hash::Hash + Eq + Clone,
{
    match flights.join(key) {
        Role::Leader(leader) => leader,
        Role::Follower(_) => panic!("a flight was open"),
    }
}

thread_local! {
    /// Ended by the next clone of a waker from `ending_waker`.
    static LEADER: Cell<Option<Leader<u32, u32, Infallible>>> = const { Cell::new(None) };
}

/// Returns a waker whose clone ends the flight of `LEADER`.
fn ending_waker() -> Waker {
    const VTABLE: RawWakerVTable = RawWakerVTable::new(clone, |_| {}, |_| {}, |_| {});
    fn clone(_: *const ()) -> RawWaker {
        if let Some(leader) = LEADER.take() {
            leader.finish(Ok(630));
        }
        RawWaker::new(std::ptr::null(), &VTABLE)
    }
    // SAFETY: the functions of the table ignore the pointer, and have no state that threads share.
    unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &VTABLE)) }
}

#[test]
fn a_flight_that_ends_while_a_follower_begins_to_wait_is_seen() {
    let flights = Group::<u32, u32, Infallible>::new();
    let leader = lead(&flights, &1);
    let mut follower = Box::pin(leader.follow());
    LEADER.set(Some(leader));
    let waker = ending_waker();
    let polled = follower.as_mut().poll(&mut Context::from_waker(&waker));
    // Had it gone to sleep here, nobody would wake it.
    assert!(matches!(polled, Poll::Ready(outcome) if outcome.result == Ok(630)));
}

#[test]
fn a_waker_that_panics_leaves_nobody_asleep() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            resume_unwind(Box::new("a waker that panics"));
        }
    }
    let flights = Group::<u32, u32, Infallible>::new();
    let leader = lead(&flights, &1);
    let (mut first, mut second) = (Box::pin(leader.follow()), Box::pin(leader.follow()));
    let wakes = Arc::new(Wakes::default());
    let panics = Waker::from(Arc::new(Panics));
    assert!(first.as_mut().poll(&mut Context::from_waker(&panics)).is_pending());
    assert!(poll_counted(&mut second, &wakes).is_pending());
    leader.finish(Ok(630));
    assert_eq!(wakes.count(), 1);
}

#[test]
fn a_waker_may_call_the_group_when_it_is_dropped() {
    struct Calls(Group<u32, u32, Infallible>);
    impl Wake for Calls {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Calls {
        fn drop(&mut self) {
            assert_eq!(self.0.in_flight(), 1);
            assert!(matches!(self.0.join(&1), Role::Follower(_)));
        }
    }
    let flights = Group::new();
    let leader = lead(&flights, &1);
    let mut follower = Box::pin(leader.follow());
    let calls = Waker::from(Arc::new(Calls(Group::clone(&flights))));
    assert!(follower.as_mut().poll(&mut Context::from_waker(&calls)).is_pending());
    drop(calls);
    // Replaced by another waker, and so dropped.
    assert!(poll(&mut follower).is_pending());
    leader.finish(Ok(630));
}

/// A value that misbehaves when it is cloned.
#[derive(Debug)]
struct Fragile;

impl Clone for Fragile {
    fn clone(&self) -> Self {
        resume_unwind(Box::new("a clone that panics"));
    }
}

#[test]
fn a_clone_that_panics_hurts_only_the_caller_that_asked_for_it() {
    let flights = Group::<u32, Fragile, Infallible>::new();
    let leader = lead(&flights, &1);
    let mut first = Box::pin(leader.follow());
    let mut second = Box::pin(leader.follow());
    leader.finish(Ok(Fragile));
    assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut first).is_ready())).is_err());
    // The last one takes the value itself, which needs no clone.
    assert!(poll(&mut second).is_ready());
    assert_eq!(flights.in_flight(), 0);
}

/// A key whose copies panic when they are dropped.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    panics: bool,
}

impl Clone for Key {
    fn clone(&self) -> Self {
        Self { panics: true }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        if self.panics {
            resume_unwind(Box::new("a key whose drop panics"));
        }
    }
}

#[test]
fn a_key_whose_drop_panics_keeps_nobody_waiting() {
    let flights = Group::<Key, u32, Infallible>::new();
    let leader = lead(&flights, &Key { panics: false });
    let follower: Follower<u32, Infallible> = leader.follow();
    assert!(catch_unwind(AssertUnwindSafe(|| leader.finish(Ok(630)))).is_err());
    let polled = poll(&mut Box::pin(follower));
    assert!(matches!(polled, Poll::Ready(outcome) if outcome.result == Ok(630)));
    assert_eq!(flights.in_flight(), 0);
}

#[test]
fn a_key_may_call_its_own_group_when_it_is_cloned() {
    struct Asks(Group<Asks, u32, Infallible>);
    impl PartialEq for Asks {
        fn eq(&self, _: &Self) -> bool {
            true
        }
    }
    impl Eq for Asks {}
    impl std::hash::Hash for Asks {
        fn hash<H: std::hash::Hasher>(&self, _: &mut H) {
            assert_eq!(self.0.in_flight(), 0);
        }
    }
    impl Clone for Asks {
        fn clone(&self) -> Self {
            assert_eq!(self.0.in_flight(), 0);
            Self(self.0.clone())
        }
    }
    impl Drop for Asks {
        fn drop(&mut self) {
            assert_eq!(self.0.in_flight(), 0);
        }
    }
    let flights = Group::new();
    let key = Asks(flights.clone());
    let mut call = Box::pin(flights.work(&key, || async { Ok(630) }));
    assert_eq!(poll(&mut call), Poll::Ready(Ok(630)));
}
