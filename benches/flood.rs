//! What a flood of misses does to gets of cached keys.
//!
//! `cargo bench -p benches --bench flood` prints a table: the wait for a cached value while nothing
//! else happens, and while 20,000 gets a second ask for keys that nobody has, which is ten times what
//! the database of eight connections can answer. Quiet and flood take turns; the table shows medians.
//! The waits are those of the get alone, and of a get with the turn that its task waits for before.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use carrotcache::{GetError, Group, Node};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

const ROUNDS: usize = 5;
/// For how long each round measures, quiet and under the flood.
const ROUND: Duration = Duration::from_secs(2);
const CACHED: usize = 10_000;
const READERS: usize = 4;
/// What the database can do at once, and how long each query takes.
const MAX_LOADS: usize = 8;
const QUERY: Duration = Duration::from_millis(4);
const MISSES_A_MILLISECOND: u64 = 20;

fn main() -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(compare())
}

async fn compare() -> Result<()> {
    let group = Node::new().group("bench").max_loads(MAX_LOADS).loader(query).build()?;
    let keys: Arc<[String]> = (0..CACHED).map(|key| format!("user:{key:012}")).collect();
    for key in &*keys {
        group.get(key).await?;
    }
    let flood = Arc::new(Flood::default());
    let (mut quiet, mut flooded) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        quiet.push(waits(&group, &keys).await?);
        let flooding = tokio::spawn(Arc::clone(&flood).run(group.clone()));
        flooded.push(waits(&group, &keys).await?);
        flooding.abort();
        ensure!(flooding.await.is_err_and(|end| end.is_cancelled()), "the flood ended by itself");
    }
    print(&quiet, &flooded);
    println!("\nThe flood: {}", flood.counted()?);
    Ok(())
}

/// A cached key is there at once, another after a query.
async fn query(key: String) -> Result<Option<String>, Infallible> {
    if !key.starts_with("user:") {
        tokio::time::sleep(QUERY).await;
        return Ok(None);
    }
    Ok(Some("x".repeat(100)))
}

/// Gets of keys that are not there, and what became of them.
#[derive(Default)]
struct Flood {
    asked: AtomicU64,
    not_found: AtomicU64,
    refused: AtomicU64,
}

impl Flood {
    /// Asks at an even rate, whatever the answers, and never ends.
    async fn run(self: Arc<Self>, group: Group) {
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        // Dropped with this future, and what was asked for with it.
        let mut asking = JoinSet::new();
        loop {
            ticks.tick().await;
            for _ in 0..MISSES_A_MILLISECOND {
                let key = format!("absent:{}", self.asked.fetch_add(1, Ordering::Relaxed));
                let (flood, group) = (Arc::clone(&self), group.clone());
                asking.spawn(async move {
                    let counter = match group.get(&key).await {
                        Err(GetError::NotFound { .. }) => &flood.not_found,
                        _ => &flood.refused,
                    };
                    counter.fetch_add(1, Ordering::Relaxed);
                });
            }
            while asking.try_join_next().is_some() {}
        }
    }

    fn counted(&self) -> Result<String> {
        let [asked, not_found, refused] = [&self.asked, &self.not_found, &self.refused]
            .map(|count| count.load(Ordering::Relaxed));
        ensure!(refused > 0, "all {asked} misses were loaded: it was no flood");
        Ok(format!("{asked} gets, {not_found} loaded in vain, {refused} refused, others left."))
    }
}

/// Waits in nanoseconds, sorted: of the get alone, and with the turn before it.
struct Waits {
    get: Vec<u64>,
    with_turn: Vec<u64>,
}

async fn waits(group: &Group, keys: &Arc<[String]>) -> Result<Waits> {
    let mut readers = JoinSet::new();
    for reader in 0..READERS {
        readers.spawn(read(group.clone(), Arc::clone(keys), reader * CACHED / READERS));
    }
    let (mut get, mut with_turn) = (Vec::new(), Vec::new());
    while let Some(read) = readers.join_next().await {
        for (waited, with) in read?? {
            get.push(waited);
            with_turn.push(with);
        }
    }
    get.sort_unstable();
    with_turn.sort_unstable();
    Ok(Waits { get, with_turn })
}

/// Gets cached keys, a thousand a second and each in a turn of its own, as requests come.
async fn read(group: Group, keys: Arc<[String]>, from: usize) -> Result<Vec<(u64, u64)>> {
    let begin = Instant::now();
    let mut waits = Vec::new();
    for key in keys.iter().cycle().skip(from) {
        let turn = Instant::now();
        tokio::task::yield_now().await;
        let start = Instant::now();
        group.get(key).await?;
        waits.push((nanos(start)?, nanos(turn)?));
        if begin.elapsed() > ROUND {
            break;
        }
        if waits.len().is_multiple_of(16) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    Ok(waits)
}

fn nanos(since: Instant) -> Result<u64> {
    u64::try_from(since.elapsed().as_nanos()).context("a wait of centuries")
}

fn print(quiet: &[Waits], flooded: &[Waits]) {
    println!("Wait for a cached value, ns (medians of {ROUNDS} rounds)\n");
    println!("| | quiet | in the flood | ratio |\n|---|---|---|---|");
    for (name, per_mille) in [("p50", 500), ("p99", 990), ("p99.9", 999)] {
        let row = |what: &str, of: fn(&Waits) -> &[u64]| {
            let [quiet, flooded] =
                [quiet, flooded].map(|rounds| median(rounds.iter().map(of), per_mille));
            let ratio = flooded as f64 / quiet as f64;
            println!("| {what}, {name} | {quiet} | {flooded} | {ratio:.2} |");
        };
        row("the get", |waits| &waits.get);
        row("with its turn", |waits| &waits.with_turn);
    }
}

/// Returns the median over the rounds of what so many of a thousand waits are not longer than.
fn median<'a>(rounds: impl Iterator<Item = &'a [u64]>, per_mille: usize) -> u64 {
    let mut waits: Vec<u64> = rounds.map(|waits| waits[waits.len() * per_mille / 1_000]).collect();
    waits.sort_unstable();
    waits[waits.len() / 2]
}
