//! Many seeds, on all cores.

use std::env;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::history::{Checked, Event};
use super::plan::{About, Breach};
use super::{Run, Trial};

/// How many seeds a usual run of the tests tries.
const SEEDS: u64 = 2_000;

/// Runs seeds until one of them fails, on all cores. Returns what was checked, or the first seed that
/// failed and why.
pub(super) fn run_all(
    seeds: Range<u64>,
    trial: impl Fn(u64) -> Trial + Sync,
) -> Result<Checked, (u64, String)> {
    let next = AtomicU64::new(seeds.start);
    let sum: Mutex<Result<Checked, (u64, String)>> = Mutex::new(Ok(Checked::default()));
    let work = || {
        while let seed = next.fetch_add(1, Ordering::Relaxed)
            && seed < seeds.end
        {
            let outcome = trial(seed).outcome();
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            match (&mut *sum, outcome) {
                (Ok(sum), Ok(checked)) => sum.add(checked),
                (Err((first, _)), Err(_)) if *first < seed => {}
                (_, Err(why)) => {
                    // Those that others have begun end all the same.
                    next.store(seeds.end, Ordering::Relaxed);
                    *sum = Err((seed, why));
                }
                (Err(_), Ok(_)) => {}
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    sum.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Returns a number from the environment.
fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn trial(seed: u64) -> Trial {
    Trial { seed, about: None, breach: Breach::NONE }
}

/// 2,000 seeds; CARROTCACHE_SEEDS says how many others, CARROTCACHE_SEED which one.
#[test]
fn seeds_show_nothing_that_may_not_happen() {
    if let Some(seed) = number("CARROTCACHE_SEED") {
        println!("{}", trial(seed).tell());
        let outcome = trial(seed).outcome();
        outcome.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        return;
    }
    let seeds = number("CARROTCACHE_SEEDS").unwrap_or(SEEDS);
    let checked = run_all(0..seeds, trial).unwrap_or_else(|(seed, why)| {
        panic!(
            "seed {seed}: {why}\n\nWith all that happened: CARROTCACHE_SEED={seed} \
             cargo test -p carrotcache --lib simulation::seeds -- --nocapture\n"
        )
    });
    println!("{seeds} seeds: {checked:?}");
    let enough = usize::try_from(seeds).expect("fewer than there are addresses");
    let is_much = checked.promised > 5 * enough
        && checked.complete + checked.incomplete > enough
        && checked.stand_ins > enough / 2;
    assert!(is_much, "too little was looked at: {checked:?}");
}

#[test]
fn a_seed_gives_the_same_history_each_time() {
    for seed in 0..100 {
        let [first, second] = [trial(seed).tell(), trial(seed).tell()];
        assert_eq!(first, second, "seed {seed}");
        assert!(first.lines().count() > 30, "seed {seed} has shown something");
    }
}

/// Whoever takes part in all removes need not be told of any. Being told costs a node more than it
/// need: a peer that is taken for a stranger is told to forget everything.
#[test]
fn nobody_is_told_of_what_nobody_has_missed() {
    for seed in 0..200 {
        let trial = Trial { about: Some(About::SlowLoads), ..trial(seed) };
        let Run { history, outcome, .. } = trial.run(false);
        let checked = outcome.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        assert_eq!((checked.incomplete, checked.failed), (0, 0), "seed {seed}");
        let is_tell = |event: &Event| matches!(event, Event::TellBegins { .. });
        let told = history.events.iter().find(|(_, event)| is_tell(event));
        assert!(told.is_none(), "seed {seed}: {told:?}");
    }
}
