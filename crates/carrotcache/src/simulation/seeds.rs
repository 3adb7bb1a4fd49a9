//! Many seeds, on all cores.

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::history::Checked;
use super::{Run, run, run_caught};

/// How many seeds a usual run of the tests tries.
const SEEDS: u64 = 2_000;

/// Returns a number from the environment.
fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Runs seeds until one of them fails, on all cores. Returns what was checked, or the first seed that
/// failed and why.
fn run_all(seeds: std::ops::Range<u64>) -> Result<Checked, (u64, String)> {
    let next = AtomicU64::new(seeds.start);
    let sum = Mutex::new(Checked::default());
    let failed: Mutex<Option<(u64, String)>> = Mutex::new(None);
    let work = || {
        while let seed = next.fetch_add(1, Ordering::Relaxed)
            && seed < seeds.end
        {
            match run_caught(seed) {
                Ok(checked) => sum.lock().unwrap_or_else(PoisonError::into_inner).add(checked),
                Err(why) => {
                    next.store(seeds.end, Ordering::Relaxed);
                    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    if failed.as_ref().is_none_or(|(first, _)| seed < *first) {
                        *failed = Some((seed, why));
                    }
                }
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.map_or_else(|| Ok(sum.into_inner().unwrap_or_else(PoisonError::into_inner)), Err)
}

/// Says how a seed went, all that happened and the command that repeats it.
fn tell(seed: u64) -> String {
    let Run { plan, history, outcome } = run(seed, true);
    let outcome = outcome.map_or_else(|why| why, |checked| format!("all is well: {checked:?}"));
    format!(
        "{history}\n{plan:?}\n{outcome}\n\nseed {seed}; to run it again alone: \
         CARROTCACHE_SEED={seed} cargo test -p carrotcache --lib simulation::seeds -- --nocapture"
    )
}

/// 2,000 seeds; CARROTCACHE_SEEDS says how many others, CARROTCACHE_SEED which one.
#[test]
fn seeds_show_nothing_that_may_not_happen() {
    if let Some(seed) = number("CARROTCACHE_SEED") {
        println!("{}", tell(seed));
        return run_caught(seed).map(drop).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
    let seeds = number("CARROTCACHE_SEEDS").unwrap_or(SEEDS);
    let checked = run_all(0..seeds).unwrap_or_else(|(seed, why)| panic!("{why}\n{}", tell(seed)));
    println!("{seeds} seeds: {checked:?}");
    let enough = usize::try_from(seeds).expect("fewer than there are addresses");
    assert!(checked.gets > 10 * enough, "too little was looked at: {checked:?}");
}

#[test]
fn a_seed_gives_the_same_history_each_time() {
    for seed in 0..50 {
        let [first, second] = [run(seed, true), run(seed, true)];
        assert_eq!(first.history.to_string(), second.history.to_string(), "seed {seed}");
        assert!(first.history.events.len() > 20, "seed {seed} has shown something");
    }
}
