//! `Group::join`: callers that run the work in a task of their own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use carrotcache_singleflight::{Error, Follower, Group, Leader, Role};

use crate::util::{Wakes, controlled, poll, poll_counted};

type Flights = Group<String, u32, String>;

fn lead(flights: &Flights) -> Leader<String, u32, String> {
    match flights.join("Tom") {
        Role::Leader(leader) => leader,
        Role::Follower(_) => panic!("a flight was open"),
    }
}

fn follow(flights: &Flights) -> Follower<u32, String> {
    match flights.join("Tom") {
        Role::Follower(follower) => follower,
        Role::Leader(_) => panic!("no flight was open"),
    }
}

/// Returns what `follower` has got; it must have ended.
fn result(follower: Follower<u32, String>) -> Result<u32, Error<String>> {
    match poll(&mut Box::pin(follower)) {
        Poll::Ready(outcome) => outcome.result,
        Poll::Pending => panic!("the flight has not ended"),
    }
}

#[test]
fn the_first_leads_and_all_others_follow() {
    let flights = Flights::new();
    let leader = lead(&flights);
    assert!(!leader.is_shared());
    let own = leader.follow();
    assert!(!own.is_shared(), "the leader's own follower is the caller that opened the flight");
    let other = follow(&flights);
    assert!(leader.is_shared() && own.is_shared());
    leader.finish(Ok(630));
    assert_eq!((result(own), result(other)), (Ok(630), Ok(630)));
    assert_eq!(flights.in_flight(), 0);
}

#[test]
fn the_key_is_free_before_a_waiter_is_woken() {
    struct Look(Flights);
    impl std::task::Wake for Look {
        fn wake(self: Arc<Self>) {
            assert_eq!(self.0.in_flight(), 0);
            self.0.join("the waker ran").finish_leader();
        }
    }
    trait FinishLeader {
        fn finish_leader(self);
    }
    impl FinishLeader for Role<String, u32, String> {
        fn finish_leader(self) {
            match self {
                Role::Leader(leader) => std::mem::forget(leader),
                Role::Follower(_) => panic!("the waker ran twice"),
            }
        }
    }
    let flights = Flights::new();
    let leader = lead(&flights);
    let mut own = Box::pin(leader.follow());
    let waker = Arc::new(Look(flights.clone())).into();
    assert!(own.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    leader.finish(Ok(630));
    assert_eq!(flights.in_flight(), 1, "the waker was called and found the table open");
}

#[test]
fn a_leader_that_is_dropped_abandons_its_followers() {
    let flights = Flights::new();
    let leader = lead(&flights);
    let follower = follow(&flights);
    drop(leader);
    assert_eq!(result(follower), Err(Error::Abandoned));
    assert_eq!(flights.in_flight(), 0);
}

#[test]
fn a_leader_that_a_panic_drops_is_as_any_other_that_is_dropped() {
    let flights = Flights::new();
    let leader = lead(&flights);
    let follower = follow(&flights);
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _leader = leader;
        panic!("boom");
    }));
    assert!(unwound.is_err());
    // The thread's panic need not be the work's: a runtime that is dropped by it drops all tasks.
    assert_eq!(result(follower), Err(Error::Abandoned));
}

/// A panic may carry a payload whose own drop panics.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the payload's drop");
    }
}

#[test]
fn a_panic_whose_payload_panics_when_it_is_dropped_is_still_an_error() {
    let flights = Flights::new();
    let leader = lead(&flights);
    let follower = follow(&flights);
    let mut run = Box::pin(leader.run(async { std::panic::panic_any(Bomb) }));
    assert!(poll(&mut run).is_ready());
    assert!(matches!(result(follower), Err(Error::Panicked(_))));
}

#[test]
fn work_goes_on_when_every_follower_has_left() {
    let flights = Flights::new();
    let leader = lead(&flights);
    drop((leader.follow(), follow(&flights)));
    assert_eq!(flights.in_flight(), 1);
    let late = follow(&flights);
    leader.finish(Ok(630));
    assert_eq!(result(late), Ok(630));
}

#[test]
fn every_waker_is_called_once_and_only_the_last_one() {
    let flights = Flights::new();
    let leader = lead(&flights);
    let wakes: Vec<_> = (0..5).map(|_| Arc::new(Wakes::default())).collect();
    let stale = Arc::new(Wakes::default());
    let mut followers: Vec<_> = (0..5).map(|_| Box::pin(follow(&flights))).collect();
    for (follower, wakes) in followers.iter_mut().zip(&wakes) {
        assert!(poll_counted(follower, &stale).is_pending());
        assert!(poll_counted(follower, wakes).is_pending());
    }
    drop(followers.remove(2));
    leader.finish(Ok(630));
    let counts: Vec<_> = wakes.iter().map(|wakes| wakes.count()).collect();
    assert_eq!(counts, [1, 1, 0, 1, 1]);
    assert_eq!(stale.count(), 0);
}

#[test]
fn a_thousand_waiters_are_woken_once_each_and_then_done() {
    let flights = Flights::new();
    let leader = lead(&flights);
    let wakes = Arc::new(Wakes::default());
    let mut followers: Vec<_> = (0..1_000).map(|_| Box::pin(follow(&flights))).collect();
    for follower in &mut followers {
        assert!(poll_counted(follower, &wakes).is_pending());
    }
    leader.finish(Ok(630));
    assert_eq!(wakes.count(), 1_000);
    for follower in &mut followers {
        assert!(poll_counted(follower, &wakes).is_ready());
    }
    assert_eq!(wakes.count(), 1_000, "nobody has to wait for another's turn");
}

#[tokio::test]
async fn a_task_runs_the_work_and_a_panic_in_it_is_caught() {
    let flights = Flights::new();
    let (end, told) = controlled::<()>();
    let leader = lead(&flights);
    let follower = leader.follow();
    let task = tokio::spawn(leader.run(async {
        told.await;
        panic!("boom")
    }));
    end.send(()).unwrap();
    assert_eq!(follower.await.result, Err(Error::Panicked("boom".into())));
    assert!(task.await.is_ok());
}

#[tokio::test]
async fn a_task_that_is_aborted_abandons_its_followers() {
    let flights = Flights::new();
    let leader = lead(&flights);
    let follower = leader.follow();
    let task = tokio::spawn(leader.run(std::future::pending()));
    task.abort();
    assert_eq!(follower.await.result, Err(Error::Abandoned));
}

#[tokio::test]
async fn a_task_that_asks_for_its_own_key_gets_an_error() {
    let flights = Flights::new();
    let leader = lead(&flights);
    let follower = leader.follow();
    let own = flights.clone();
    tokio::spawn(leader.run(async move {
        let outcome = follow(&own).await;
        assert_eq!(outcome.result, Err(Error::Reentrant));
        Err("a loader in a circle".to_owned())
    }));
    let failed = Error::Failed("a loader in a circle".to_owned());
    assert_eq!(follower.await.result, Err(failed));
}

#[test]
fn a_joined_follower_can_take_over_work_that_callers_drove() {
    let flights = Flights::new();
    let (end, work) = controlled();
    let mut caller = Box::pin(flights.work("Tom", || work));
    assert!(poll(&mut caller).is_pending());
    let mut follower = Box::pin(follow(&flights));
    drop(caller);
    assert!(poll(&mut follower).is_pending());
    end.send(Ok(630)).unwrap();
    assert!(matches!(poll(&mut follower), Poll::Ready(outcome) if outcome.result == Ok(630)));
}
