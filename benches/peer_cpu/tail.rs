//! The table of waits: what a small value takes alone, and beside large ones from the same owner.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

use crate::owner::Owner;
use crate::peers::{Asker, Contender, KEYS};

const CONTENDERS: [Contender; 3] = [Contender::Carrotcache, Contender::Http, Contender::Redis];
const SMALL_BYTES: usize = 100;
/// How many gets of small values are under way, and how many of large ones.
const SMALL_AT_A_TIME: usize = 8;
const LARGE_AT_A_TIME: usize = 64;
const GETS: usize = 4_096;

/// Measures alone and beside, in rounds that take turns, and prints the table.
pub(crate) async fn compare(rounds: usize) -> Result<()> {
    println!(
        "\nWait for 100 B, {SMALL_AT_A_TIME} at a time, µs: alone, and while {LARGE_AT_A_TIME}"
    );
    println!("gets of 64 KiB are under way to the same owner (medians of {rounds} rounds)\n");
    println!(
        "| | alone, p50 | p99 | beside, p50 | p99 | p99, of alone |\n|---|---|---|---|---|---|"
    );
    for contender in CONTENDERS {
        let Some(owner) = Owner::start(contender, SMALL_BYTES).await? else {
            println!("| {} | no `redis-server` | | | | |", contender.name());
            continue;
        };
        let small = owner.asker(contender, SMALL_BYTES).await?;
        let large = small.for_large().await?;
        let mut waits: [Vec<f64>; 4] = Default::default();
        for _ in 0..rounds {
            let alone = waits_of(&small).await?;
            let beside = beside(&small, &large).await?;
            for (all, wait) in waits.iter_mut().zip([alone, beside].concat()) {
                all.push(wait);
            }
        }
        let [alone_p50, alone_p99, p50, p99] = waits.map(median);
        let ratio = p99 / alone_p99;
        let name = contender.name();
        println!("| {name} | {alone_p50:.0} | {alone_p99:.0} | {p50:.0} | {p99:.0} | {ratio:.1} |");
    }
    Ok(())
}

/// Returns the median and the 99th percentile of the waits, in microseconds, while large values are
/// asked for without a pause.
async fn beside(small: &Asker, large: &Asker) -> Result<[f64; 2]> {
    let mut asking = JoinSet::new();
    for task in 0..LARGE_AT_A_TIME {
        let large = large.clone();
        asking.spawn(async move {
            let keys_each = KEYS / LARGE_AT_A_TIME;
            for index in (0..keys_each).cycle() {
                if large.get(task * keys_each + index).await.is_err() {
                    return;
                }
            }
        });
    }
    // Until all of them have begun.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let waits = waits_of(small).await;
    anyhow::ensure!(asking.try_join_next().is_none(), "a large value could not be had");
    asking.shutdown().await;
    waits
}

/// Returns the median and the 99th percentile of the waits for small values, in microseconds.
async fn waits_of(small: &Asker) -> Result<[f64; 2]> {
    let mut getting = JoinSet::new();
    for task in 0..SMALL_AT_A_TIME {
        let small = small.clone();
        getting.spawn(async move {
            let keys_each = KEYS / SMALL_AT_A_TIME;
            let mut waits = Vec::with_capacity(GETS / SMALL_AT_A_TIME);
            for index in 0..GETS / SMALL_AT_A_TIME {
                let begin = Instant::now();
                small.get(task * keys_each + index % keys_each).await?;
                waits.push(begin.elapsed());
            }
            anyhow::Ok(waits)
        });
    }
    let mut waits = Vec::with_capacity(GETS);
    while let Some(got) = getting.join_next().await {
        waits.extend(got??);
    }
    waits.sort_unstable();
    let micros = |percent: usize| waits[waits.len() * percent / 100].as_secs_f64() * 1e6;
    Ok([micros(50), micros(99)])
}

fn median(mut waits: Vec<f64>) -> f64 {
    waits.sort_by(f64::total_cmp);
    waits[waits.len() / 2]
}
