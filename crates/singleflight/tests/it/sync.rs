//! `sync::Group`: flights that threads share.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use carrotcache_singleflight::sync::Group;
use carrotcache_singleflight::{Error, Outcome};

/// How many callers share a flight here.
const CALLERS: usize = 10;

/// A key that tells when it is compared: that is, when a caller found it in the table and joins.
#[derive(Clone)]
struct Key {
    compared: Sender<()>,
}

impl PartialEq for Key {
    fn eq(&self, _: &Self) -> bool {
        self.compared.send(()).expect("the test listens");
        true
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// Waits until all callers but the leader have joined.
fn all_have_joined(compared: &Receiver<()>) {
    for _ in 1..CALLERS {
        compared.recv().expect("the keys are alive");
    }
}

/// Calls from one thread with `work`, which gets the other end of the key, and from nine more
/// threads with work that must not run. Returns what each got, the leader first.
fn share<V: Clone + Send + Sync>(
    work: impl FnOnce(Receiver<()>) -> Result<V, String> + Send,
) -> Vec<Outcome<V, String>> {
    let flights = Group::<Key, V, String>::new();
    let (compared, listen) = mpsc::channel();
    let (begun, has_begun) = mpsc::channel();
    let key = Key { compared };
    let outcomes = thread::scope(|scope| {
        let leader = scope.spawn(|| {
            flights.work_outcome(&key, || {
                begun.send(()).expect("the test waits");
                work(listen)
            })
        });
        has_begun.recv().expect("the work begins");
        let follow = || flights.work_outcome(&key, || panic!("this work must not run"));
        let followers: Vec<_> = (1..CALLERS).map(|_| scope.spawn(follow)).collect();
        let all = std::iter::once(leader).chain(followers);
        all.map(|caller| caller.join().expect("panics are errors")).collect()
    });
    assert_eq!(flights.in_flight(), 0);
    outcomes
}

#[test]
fn threads_share_one_run() {
    let outcomes = share(|compared| {
        all_have_joined(&compared);
        Ok(630)
    });
    assert!(outcomes.iter().all(|outcome| outcome.result == Ok(630) && outcome.shared));
}

#[test]
fn threads_share_an_error() {
    let outcomes: Vec<Outcome<u32, _>> = share(|compared| {
        all_have_joined(&compared);
        Err("no database".to_owned())
    });
    let failed = Err(Error::Failed("no database".to_owned()));
    assert!(outcomes.iter().all(|outcome| outcome.result == failed));
}

#[test]
fn a_panic_is_an_error_for_every_thread() {
    let outcomes: Vec<Outcome<u32, _>> = share(|compared| {
        all_have_joined(&compared);
        panic!("boom")
    });
    let panicked = Err(Error::Panicked("boom".into()));
    assert!(outcomes.iter().all(|outcome| outcome.result == panicked));
}

#[test]
fn the_last_to_take_the_value_moves_it() {
    static CLONES: AtomicUsize = AtomicUsize::new(0);
    struct Value;
    impl Clone for Value {
        fn clone(&self) -> Self {
            CLONES.fetch_add(1, Ordering::SeqCst);
            Self
        }
    }
    let flights = Group::<u32, Value, String>::new();
    let outcome = flights.work_outcome(&1, || Ok(Value));
    assert!(outcome.result.is_ok() && !outcome.shared);
    assert_eq!(CLONES.load(Ordering::SeqCst), 0);
    share(|compared| {
        all_have_joined(&compared);
        Ok(Value)
    });
    assert!(CLONES.load(Ordering::SeqCst) <= CALLERS);
}

#[test]
fn a_thread_that_asks_for_what_it_loads_gets_an_error() {
    let flights = Group::<String, u32, Error<String>>::new();
    let result = flights.work("Tom", || {
        assert_eq!(flights.work("Jack", || Ok(589)), Ok(589), "other keys may be asked for");
        // Through another key, too.
        flights.work("Jack", || flights.work("Tom", || Ok(1)).map_err(flatten)).map_err(flatten)
    });
    assert_eq!(result, Err(Error::Failed(Error::Reentrant)));
    assert_eq!(flights.in_flight(), 0);
    assert_eq!(flights.work("Tom", || Ok(630)), Ok(630));
}

fn flatten(error: Error<Error<String>>) -> Error<String> {
    match error {
        Error::Failed(inner) => inner,
        Error::Reentrant => Error::Reentrant,
        other => panic!("unexpected: {other}"),
    }
}

#[test]
fn forgetting_lets_the_next_thread_start_anew() {
    let flights = Group::<String, u32, String>::new();
    let old = flights.work("Tom", || {
        assert!(flights.forget("Tom"));
        assert_eq!(flights.work("Tom", || Ok(2)), Ok(2));
        Ok(1)
    });
    assert_eq!(old, Ok(1));
    assert!(!flights.forget("Tom"));
}

#[test]
fn a_storm_of_threads_leaves_nothing_behind() {
    let flights = Group::<u32, u32, String>::new();
    thread::scope(|scope| {
        for thread in 0..8_u32 {
            let flights = &flights;
            scope.spawn(move || {
                for call in 0..2_000_u32 {
                    let key = call % 3;
                    let result = flights.work(&key, || match (call + thread) % 5 {
                        0 => Err("sometimes".to_owned()),
                        _ => Ok(key),
                    });
                    assert!(
                        matches!(result, Ok(value) if value == key)
                            || matches!(result, Err(Error::Failed(_)))
                    );
                }
            });
        }
    });
    assert_eq!(flights.in_flight(), 0);
}
