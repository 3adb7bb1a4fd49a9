//! Callers of one key on several runtimes: what moves with the work, and what stays behind.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use carrotcache_singleflight::{Error, Follower, Group, Role};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::util::{Wakes, controlled, poll_counted};

type Flights = Group<String, u32, String>;

const HOUR: Duration = Duration::from_secs(3_600);

/// A runtime whose clock stands still while something is to do, and jumps to the next timer else.
fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime needs little")
}

/// Polls a future once on a runtime, which is not driven after that.
fn poll_on<F: Future + Unpin>(runtime: &Runtime, mut future: F) -> Poll<F::Output> {
    runtime.block_on(poll_fn(|context| Poll::Ready(Pin::new(&mut future).poll(context))))
}

/// The work of a caller that must follow and never lead.
async fn never_run() -> Result<u32, String> {
    panic!("this work must not run")
}

/// Follows the flight of "Tom", or opens one whose work runs in a task on `runtime`.
fn follow(
    flights: &Flights,
    runtime: &Handle,
    work: impl Future<Output = Result<u32, String>> + Send + 'static,
) -> Follower<u32, String> {
    match flights.join("Tom") {
        Role::Follower(follower) => follower,
        Role::Leader(leader) => {
            let follower = leader.follow();
            runtime.spawn(leader.run(work));
            follower
        }
    }
}

#[test]
fn work_in_a_task_of_one_runtime_serves_callers_of_all() {
    let flights = Flights::new();
    let (loads, here, elsewhere) = (runtime(), runtime(), runtime());
    let on_loads = loads.handle().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || loads.block_on(stopped));

        // Whoever opens the flight may leave, and its runtime may end.
        let (end, told) = controlled();
        let opener = follow(&flights, &on_loads, async {
            let result = told.await;
            sleep(HOUR).await;
            result
        });
        assert!(poll_on(&elsewhere, opener).is_pending());
        drop(elsewhere);

        let first = follow(&flights, &on_loads, never_run());
        let second = follow(&flights, &on_loads, never_run());
        end.send(Ok(630)).unwrap();
        let (first, second) = here.block_on(async { tokio::join!(first, second) });
        assert_eq!((first.result, second.result), (Ok(630), Ok(630)));
        stop.send(()).unwrap();
    });
}

#[test]
fn a_task_whose_runtime_is_shut_down_abandons_callers_of_all() {
    let flights = Flights::new();
    let (loads, here) = (runtime(), runtime());
    let follower = follow(&flights, loads.handle(), std::future::pending());
    drop(loads);
    assert_eq!(here.block_on(follower).result, Err(Error::Abandoned));
    assert_eq!(flights.in_flight(), 0);
}

#[test]
fn a_follower_on_another_runtime_takes_over_when_that_of_the_driver_is_shut_down() {
    let flights = Flights::new();
    let (first, other) = (runtime(), runtime());
    let (end, work) = controlled();
    let driving = flights.clone();
    first.spawn(async move { driving.work("Tom", || work).await });
    first.block_on(tokio::task::yield_now());
    assert_eq!(flights.in_flight(), 1);

    let wakes = Arc::new(Wakes::default());
    let mut follower = Box::pin(flights.work("Tom", never_run));
    assert!(poll_counted(&mut follower, &wakes).is_pending());
    drop(first);
    assert_eq!(wakes.count(), 1, "there is work to take over");
    end.send(Ok(630)).unwrap();
    assert_eq!(other.block_on(follower), Ok(630));
}

#[test]
fn timers_of_a_runtime_that_is_not_driven_do_not_wake_who_took_the_work_over() {
    let flights = Flights::new();
    let (first, other) = (runtime(), runtime());
    let work = || async {
        sleep(HOUR).await;
        Ok(630)
    };
    let mut driver = Box::pin(flights.work("Tom", work));
    assert!(poll_on(&first, &mut driver).is_pending());
    let mut follower = Box::pin(flights.work("Tom", never_run));
    assert!(poll_on(&other, &mut follower).is_pending());
    drop(driver);
    // The other clock jumps over the hour: nothing else is to do there.
    assert!(other.block_on(async { timeout(24 * HOUR, &mut follower).await }).is_err());
    first.block_on(async { sleep(HOUR).await });
    assert_eq!(other.block_on(follower), Ok(630));
}

#[test]
fn timers_of_a_runtime_that_was_shut_down_fail_the_work() {
    let flights = Flights::new();
    let (first, other) = (runtime(), runtime());
    let driving = flights.clone();
    first.spawn(async move {
        let work = || async {
            sleep(HOUR).await;
            Ok(630)
        };
        driving.work("Tom", work).await
    });
    first.block_on(tokio::task::yield_now());
    let mut follower = Box::pin(flights.work("Tom", never_run));
    assert!(poll_counted(&mut follower, &Arc::default()).is_pending());
    drop(first);
    // tokio's timers panic when they are polled after their runtime.
    assert!(matches!(other.block_on(follower), Err(Error::Panicked(_))));
    assert_eq!(flights.in_flight(), 0);
}
