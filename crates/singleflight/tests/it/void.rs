//! Flights whose key was forgotten, and what those who run them see of it.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::thread;

use carrotcache_singleflight::{Group, Leader, Role, sync};

use crate::util::poll;

type Flights = Group<String, u64, Infallible>;

fn lead(flights: &Flights, key: &str) -> Leader<String, u64, Infallible> {
    match flights.join(key) {
        Role::Leader(leader) => leader,
        Role::Follower(_) => panic!("a flight was open"),
    }
}

#[test]
fn a_forgotten_flight_is_void_and_others_are_not() {
    let flights = Flights::new();
    let (tom, jack) = (lead(&flights, "Tom"), lead(&flights, "Jack"));
    let watch = tom.watch();
    assert!(!tom.is_void() && !watch.is_void());
    assert!(flights.forget("Tom"));
    assert!(tom.is_void() && watch.is_void());
    assert!(!jack.is_void());
    let next = lead(&flights, "Tom");
    assert!(!next.is_void() && tom.is_void());
    assert!(flights.forget("Tom"), "the next flight is one of its own");
    assert!(!flights.forget("Tom"));
}

#[test]
fn forget_all_makes_every_open_flight_void() {
    let flights = Flights::new();
    let leaders: Vec<_> = (0..200).map(|key| lead(&flights, &key.to_string())).collect();
    lead(&flights, "ended").finish(Ok(1));
    assert_eq!(flights.forget_all(), 200);
    assert!(leaders.iter().all(Leader::is_void));
    assert_eq!((flights.in_flight(), flights.forget_all()), (0, 0));
    let next: Vec<_> = (0..200).map(|key| lead(&flights, &key.to_string())).collect();
    assert!(!next.iter().any(Leader::is_void));
    drop(leaders);
    assert_eq!(flights.in_flight(), 200, "the old leaders leave the new flights alone");
}

#[test]
fn those_who_wait_for_a_void_flight_get_its_result() {
    let flights = Flights::new();
    let leader = lead(&flights, "Tom");
    let mut follower = Box::pin(leader.follow());
    assert!(poll(&mut follower).is_pending());
    flights.forget_all();
    leader.finish(Ok(630));
    assert!(matches!(poll(&mut follower), Poll::Ready(outcome) if outcome.result == Ok(630)));
}

#[test]
fn forgetting_what_has_ended_makes_nothing_void() {
    let flights = Flights::new();
    let leader = lead(&flights, "Tom");
    let watch = leader.watch();
    leader.finish(Ok(630));
    assert!(!flights.forget("Tom"));
    assert!(!watch.is_void());
}

#[test]
fn a_watch_outlives_its_flight_and_says_nothing_of_the_next() {
    let flights = Flights::new();
    let call = || poll(&mut Box::pin(flights.work("Tom", || async { Ok(630) })));
    assert!(call().is_ready(), "leaves a flight to be used again");
    let leader = lead(&flights, "Tom");
    let watch = leader.watch();
    leader.finish(Ok(630));
    assert!(call().is_ready());
    let next = lead(&flights, "Tom");
    let _follower = next.follow();
    flights.forget("Tom");
    assert!(next.is_void() && next.is_awaited());
    assert!(!watch.is_void() && !watch.is_awaited());
}

#[test]
fn a_threads_watch_outlives_its_flight_and_says_nothing_of_the_next() {
    let flights = sync::Group::<String, u64, Infallible>::new();
    let watched = |forgets: bool| {
        let mut kept = None;
        let result = flights.work_watched("Tom", |watch| {
            kept = Some(watch.clone());
            assert!(!watch.is_void() && !watch.is_awaited());
            assert_eq!(forgets, forgets && flights.forget("Tom"));
            assert_eq!(watch.is_void(), forgets);
            Ok(630)
        });
        assert_eq!(result, Ok(630));
        kept.expect("the work ran")
    };
    // Each flight could be used again by the next call, if nobody watched it any more.
    let watches = [false, true, false, true].map(|forgets| (forgets, watched(forgets)));
    for (forgotten, watch) in watches {
        assert_eq!(watch.is_void(), forgotten);
    }
}

#[test]
fn a_leader_is_awaited_as_long_as_somebody_waits() {
    let flights = Flights::new();
    let leader = lead(&flights, "Tom");
    let watch = leader.watch();
    assert!(!leader.is_awaited() && !watch.is_awaited(), "the leader does not count");
    let own = leader.follow();
    let Role::Follower(other) = flights.join("Tom") else { panic!("a second flight") };
    drop(own);
    assert!(leader.is_awaited() && watch.is_awaited());
    drop(other);
    assert!(!leader.is_awaited() && !watch.is_awaited());
    let late = flights.join("Tom");
    assert!(leader.is_awaited());
    leader.finish(Ok(630));
    assert!(!watch.is_awaited(), "all have got what they waited for");
    drop(late);
}

/// A key whose drop panics when it is told to.
#[derive(PartialEq, Eq, Hash)]
struct Bomb(u64);

static ARMED: AtomicBool = AtomicBool::new(false);

impl Drop for Bomb {
    fn drop(&mut self) {
        if ARMED.load(Ordering::SeqCst) && !thread::panicking() {
            panic!("the drop of a key");
        }
    }
}

#[test]
fn a_key_whose_drop_panics_keeps_no_flight_from_being_made_void() {
    let flights: Group<Bomb, u64, Infallible> = Group::new();
    let leaders: Vec<_> = (0..100)
        .map(|key| match flights.join_with(&Bomb(key), || Bomb(key)) {
            Role::Leader(leader) => leader,
            Role::Follower(_) => panic!("a flight was open"),
        })
        .collect();
    ARMED.store(true, Ordering::SeqCst);
    assert!(catch_unwind(AssertUnwindSafe(|| flights.forget_all())).is_err());
    ARMED.store(false, Ordering::SeqCst);
    assert!(leaders.iter().all(Leader::is_void));
    assert_eq!(flights.in_flight(), 0);
}

/// The use of it all: whoever updates a row forgets its flight and then cleans the cache, and loads
/// ask under the lock of the cache. Nothing that was read before the update is found after it.
#[test]
fn what_was_read_before_an_update_is_never_kept_after_it() {
    const UPDATES: u64 = 20_000;
    let mut wrong = 0;
    let flights = Flights::new();
    let (row, cache) = (AtomicU64::new(0), Mutex::new(None));
    let (stale, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let load = |leader: Leader<String, u64, Infallible>| {
        let read = row.load(Ordering::SeqCst);
        // Most loads are overtaken by an update, which is what this is about.
        let overtaken = (0..20).any(|_| {
            thread::yield_now();
            row.load(Ordering::SeqCst) != read
        });
        stale.fetch_add(u64::from(overtaken), Ordering::SeqCst);
        let mut cache = cache.lock().unwrap();
        if !leader.is_void() {
            *cache = Some(read);
        }
        drop(cache);
        leader.finish(Ok(read));
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    if let Role::Leader(leader) = flights.join("Tom") {
                        load(leader);
                    }
                }
            });
        }
        for update in 1..=UPDATES {
            row.store(update, Ordering::SeqCst);
            if update % 2 == 0 {
                flights.forget("Tom");
            } else {
                flights.forget_all();
            }
            *cache.lock().unwrap() = None;
            thread::yield_now();
            let kept = *cache.lock().unwrap();
            wrong += u64::from(kept.is_some_and(|read| read < update));
        }
        over.store(true, Ordering::SeqCst);
    });
    assert_eq!(wrong, 0, "old rows were kept");
    assert!(stale.into_inner() > 0, "no load was overtaken");
}
