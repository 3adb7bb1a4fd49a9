//! `Group::work`: callers that drive the work themselves.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use carrotcache_singleflight::{Error, Group, Outcome};

use crate::util::{Wakes, controlled, poll, poll_counted};

type Flights = Group<String, u32, String>;

/// The work of a caller that must follow and never lead.
async fn never_run() -> Result<u32, String> {
    panic!("this work must not run")
}

#[test]
fn handles_and_futures_cross_threads() {
    fn assert_send<T: Send>(value: T) -> T {
        value
    }
    let flights = assert_send(Flights::new());
    drop(assert_send(flights.work("Tom", || async { Ok(630) })));
}

#[test]
fn callers_of_one_key_share_one_run() {
    let flights = Flights::new();
    let (end, work) = controlled();
    let mut leader = Box::pin(flights.work_outcome("Tom", || work));
    assert!(poll(&mut leader).is_pending());
    let mut followers: Vec<_> =
        (0..9).map(|_| Box::pin(flights.work_outcome("Tom", never_run))).collect();
    for follower in &mut followers {
        assert!(poll(follower).is_pending());
    }
    assert_eq!(flights.in_flight(), 1);
    end.send(Ok(630)).unwrap();
    let expected = |outcome: Poll<Outcome<u32, String>>| match outcome {
        Poll::Ready(outcome) => assert!(outcome.result == Ok(630) && outcome.shared),
        Poll::Pending => panic!("a caller still waits"),
    };
    expected(poll(&mut leader));
    followers.iter_mut().for_each(|follower| expected(poll(follower)));
    assert_eq!(flights.in_flight(), 0);
}

#[test]
fn a_call_that_nobody_joined_is_not_shared() {
    let flights = Flights::new();
    let mut call = Box::pin(flights.work_outcome("Tom", || async { Ok(630) }));
    assert!(matches!(poll(&mut call), Poll::Ready(outcome) if !outcome.shared));
}

#[test]
fn keys_do_not_wait_for_each_other() {
    let flights = Flights::new();
    let (_end, work) = controlled();
    let mut tom = Box::pin(flights.work("Tom", || work));
    assert!(poll(&mut tom).is_pending());
    let mut jack = Box::pin(flights.work("Jack", || async { Ok(589) }));
    assert_eq!(poll(&mut jack), Poll::Ready(Ok(589)));
}

#[test]
fn keys_whose_hashes_collide_do_not_wait_for_each_other() {
    #[derive(Default)]
    struct Constant;
    impl Hasher for Constant {
        fn finish(&self) -> u64 {
            7
        }
        fn write(&mut self, _: &[u8]) {}
    }
    let flights: Group<u32, u32, String, BuildHasherDefault<Constant>> = Group::default();
    let (_end, work) = controlled();
    let mut open = Box::pin(flights.work(&0, || work));
    assert!(poll(&mut open).is_pending());
    for key in 1..10 {
        let mut call = Box::pin(flights.work(&key, || async move { Ok(key) }));
        assert_eq!(poll(&mut call), Poll::Ready(Ok(key)));
    }
    let mut same = Box::pin(flights.work(&0, never_run));
    assert!(poll(&mut same).is_pending());
}

#[test]
fn each_call_after_the_end_runs_anew() {
    let flights = Flights::new();
    for run in 0..3 {
        let mut call = Box::pin(flights.work("Tom", || async move { Ok(run) }));
        assert_eq!(poll(&mut call), Poll::Ready(Ok(run)));
    }
}

#[test]
fn an_error_is_shared_like_a_value() {
    let flights = Flights::new();
    let (end, work) = controlled();
    let mut leader = Box::pin(flights.work("Tom", || work));
    let mut follower = Box::pin(flights.work("Tom", never_run));
    assert!(poll(&mut leader).is_pending() && poll(&mut follower).is_pending());
    end.send(Err("no database".to_owned())).unwrap();
    let expected = Poll::Ready(Err(Error::Failed("no database".to_owned())));
    assert_eq!(poll(&mut leader), expected);
    assert_eq!(poll(&mut follower), expected);
}

#[test]
fn a_follower_takes_over_where_the_leader_left() {
    let flights = Flights::new();
    let starts = AtomicUsize::new(0);
    let (end, work) = controlled();
    let mut leader = Box::pin(flights.work("Tom", || {
        starts.fetch_add(1, Ordering::SeqCst);
        work
    }));
    let mut follower = Box::pin(flights.work("Tom", never_run));
    let wakes = Arc::new(Wakes::default());
    assert!(poll(&mut leader).is_pending());
    assert!(poll_counted(&mut follower, &wakes).is_pending());
    drop(leader);
    assert_eq!(wakes.count(), 1);
    assert!(poll_counted(&mut follower, &wakes).is_pending());
    assert_eq!(flights.in_flight(), 1);
    end.send(Ok(630)).unwrap();
    assert_eq!(wakes.count(), 2, "the work wakes whoever drives it now");
    assert_eq!(poll(&mut follower), Poll::Ready(Ok(630)));
    assert_eq!(starts.into_inner(), 1);
    assert_eq!(flights.in_flight(), 0);
}

#[test]
fn work_that_nobody_waits_for_is_dropped_and_the_key_is_free() {
    let flights = Flights::new();
    let (end, work) = controlled();
    let mut leader = Box::pin(flights.work("Tom", || work));
    let mut follower = Box::pin(flights.work("Tom", never_run));
    assert!(poll(&mut leader).is_pending() && poll(&mut follower).is_pending());
    drop(leader);
    assert!(!end.is_closed());
    drop(follower);
    assert!(end.is_closed());
    assert_eq!(flights.in_flight(), 0);
    let mut again = Box::pin(flights.work("Tom", || async { Ok(1) }));
    assert_eq!(poll(&mut again), Poll::Ready(Ok(1)));
}

#[test]
fn a_panic_is_an_error_for_every_caller() {
    let flights = Flights::new();
    let (end, told) = controlled::<()>();
    let mut leader = Box::pin(flights.work("Tom", || async {
        told.await;
        panic!("no row for {}", "Tom")
    }));
    let mut follower = Box::pin(flights.work("Tom", never_run));
    assert!(poll(&mut leader).is_pending() && poll(&mut follower).is_pending());
    end.send(()).unwrap();
    let expected = Poll::Ready(Err(Error::Panicked("no row for Tom".into())));
    assert_eq!(poll(&mut leader), expected);
    assert_eq!(poll(&mut follower), expected);
    assert_eq!(flights.in_flight(), 0);
}

#[test]
fn a_panic_before_the_first_poll_is_an_error_too() {
    let flights = Flights::new();
    let mut call = Box::pin(flights.work("Tom", || -> std::future::Ready<_> { panic!("boom") }));
    assert_eq!(poll(&mut call), Poll::Ready(Err(Error::Panicked("boom".into()))));
    assert_eq!(flights.in_flight(), 0);
}

#[test]
fn forgetting_lets_the_next_caller_start_anew() {
    let flights = Flights::new();
    let (end, work) = controlled();
    let mut old = Box::pin(flights.work("Tom", || work));
    assert!(poll(&mut old).is_pending());
    assert!(flights.forget("Tom"));
    assert!(!flights.forget("Tom"));
    let (end_new, work) = controlled();
    let mut new = Box::pin(flights.work("Tom", || work));
    assert!(poll(&mut new).is_pending());
    end.send(Ok(1)).unwrap();
    assert_eq!(poll(&mut old), Poll::Ready(Ok(1)));
    assert_eq!(flights.in_flight(), 1, "the old flight must not take the new one's key away");
    end_new.send(Ok(2)).unwrap();
    assert_eq!(poll(&mut new), Poll::Ready(Ok(2)));
}

#[test]
fn the_work_may_ask_for_other_keys() {
    let flights = Flights::new();
    let inner = flights.clone();
    let mut call = Box::pin(flights.work("Tom", || async move {
        inner.work("Jack", || async { Ok(589) }).await.map_err(|error| error.to_string())
    }));
    assert_eq!(poll(&mut call), Poll::Ready(Ok(589)));
}

#[test]
fn work_that_waits_for_its_own_key_gets_an_error() {
    let flights = Flights::new();
    let inner = flights.clone();
    let mut call = Box::pin(flights.work("Tom", || async move {
        let through = inner.clone();
        let other = inner.work("Jack", || async move {
            let own = through.work("Tom", never_run).await;
            assert_eq!(own, Err(Error::Reentrant));
            Ok(589)
        });
        other.await.map_err(|error| error.to_string())
    }));
    assert_eq!(poll(&mut call), Poll::Ready(Ok(589)));
    assert_eq!(flights.in_flight(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_with_callers_that_give_up_leaves_nothing_behind() {
    let flights = Group::<u32, u32, String>::new();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..2_000_u32 {
        let flights = flights.clone();
        callers.spawn(async move {
            let key = caller % 7;
            let call = flights.work(&key, || async move {
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
                Ok(key)
            });
            if caller % 3 == 0 {
                // Gives up after one poll, whether it leads or not.
                tokio::select! { biased; _ = call => {}, () = std::future::ready(()) => {} }
            } else {
                assert_eq!(call.await, Ok(key));
            }
        });
    }
    callers.join_all().await;
    assert_eq!(flights.in_flight(), 0);
}

/// One thread abandons flights while the other joins them: between the last caller's leave and
/// the removal of the key, nobody may come to wait for work that is gone.
#[test]
fn nobody_joins_a_flight_that_is_being_abandoned() {
    const CALLS: u32 = 50_000;
    let flights = Group::<u32, u32, String>::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..CALLS {
                let mut call = Box::pin(flights.work(&7, std::future::pending));
                let _ = poll(&mut call);
            }
        });
        scope.spawn(|| {
            for _ in 0..CALLS {
                // Whoever joins takes the pending work over, once its driver has left.
                let mut call = Box::pin(flights.work(&7, std::future::pending));
                assert_eq!(poll(&mut call), Poll::Pending, "a caller was abandoned");
                assert_eq!(poll(&mut call), Poll::Pending, "a caller was abandoned");
            }
        });
    });
    assert_eq!(flights.in_flight(), 0);
}
