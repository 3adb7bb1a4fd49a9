//! The table of costs: CPU of both processes, in microseconds a get.

use std::process::Command;

use anyhow::{Context, Result};

use crate::owner::{Owner, cpu_nanos};
use crate::peers::{Asker, Contender};

/// The columns, in order.
const CONTENDERS: [Contender; 4] =
    [Contender::Carrotcache, Contender::Http, Contender::Redis, Contender::Groupcache];

struct Workload {
    name: &'static str,
    value_bytes: usize,
    how: How,
    gets: usize,
    /// What is aimed at, as a ratio to Redis.
    aim: f64,
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    /// So many gets at a time, in a task each.
    AtATime(usize),
    /// One at a time, with both processes on one core.
    OnOneCore,
    /// So many keys at once, one batch after the other: GET_MANY and MGET.
    Batch(usize),
}

const WORKLOADS: [Workload; 8] = [
    workload("64 at a time, 100 B", 100, How::AtATime(64), 65_536, 0.7),
    workload("512 at a time, 100 B", 100, How::AtATime(512), 65_536, 0.7),
    workload("64 at a time, 1 KiB", 1 << 10, How::AtATime(64), 65_536, 0.7),
    workload("512 at a time, 1 KiB", 1 << 10, How::AtATime(512), 65_536, 0.7),
    workload("8 at a time, 100 B", 100, How::AtATime(8), 32_768, 0.8),
    workload("1 at a time, 100 B, on one core", 100, How::OnOneCore, 8_192, 1.0),
    workload("64 at a time, 64 KiB", 64 << 10, How::AtATime(64), 8_192, 0.75),
    workload("64 keys at once, 100 B, a key", 100, How::Batch(64), 65_536, 0.8),
];

const fn workload(
    name: &'static str,
    value_bytes: usize,
    how: How,
    gets: usize,
    aim: f64,
) -> Workload {
    Workload { name, value_bytes, how, gets, aim }
}

/// Measures all workloads, and prints the table.
pub(crate) async fn compare(rounds: usize) -> Result<()> {
    let names = CONTENDERS.map(Contender::name).join(" | ");
    println!("CPU of both processes, µs a get (medians of {rounds} rounds)\n");
    println!("| | {names} | ours, of Redis | aim |\n|---|{}---|---|", "---|".repeat(4));
    for (number, workload) in WORKLOADS.iter().enumerate() {
        if workload.how == How::OnOneCore {
            on_one_core(number, rounds)?;
        } else {
            row(number, rounds).await?;
        }
    }
    Ok(())
}

/// Prints a row from a process of its own, whose owners share its core.
fn on_one_core(number: usize, rounds: usize) -> Result<()> {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "0"]).arg(std::env::current_exe()?);
    let status = command.args(["row", &number.to_string(), &rounds.to_string()]).status();
    match status {
        Ok(status) if status.success() => {}
        _ => println!("| {} | needs `taskset` | | | | | |", WORKLOADS[number].name),
    }
    Ok(())
}

/// Measures one workload, and prints its row.
pub(crate) async fn row(number: usize, rounds: usize) -> Result<()> {
    let workload = WORKLOADS.get(number).context("a row")?;
    let costs = measure(workload, rounds).await?;
    let cell = |cost: &Option<f64>| cost.map_or("–".to_owned(), |cost| format!("{cost:.2}"));
    let cells: Vec<String> = costs.iter().map(cell).collect();
    let ratio = match (costs[0], costs[2]) {
        (Some(ours), Some(redis)) => format!("{:.2}", ours / redis),
        _ => "no `redis-server`".to_owned(),
    };
    println!("| {} | {} | {ratio} | ≤ {} |", workload.name, cells.join(" | "), workload.aim);
    Ok(())
}

struct Side {
    owner: Owner,
    asker: Asker,
    costs: Vec<f64>,
}

/// Returns the median cost of a get for each contender, in microseconds; `None` for those that cannot.
async fn measure(workload: &Workload, rounds: usize) -> Result<Vec<Option<f64>>> {
    let mut sides = Vec::new();
    for contender in CONTENDERS {
        let batched = matches!(workload.how, How::Batch(_));
        if batched && contender == Contender::Groupcache {
            sides.push(None);
            continue;
        }
        let Some(owner) = Owner::start(contender, workload.value_bytes).await? else {
            sides.push(None);
            continue;
        };
        let asker = owner.asker(contender, workload.value_bytes).await?;
        // Connections are opened and buffers grow before anything is measured.
        workload.run(&asker, workload.gets / 4).await?;
        sides.push(Some(Side { owner, asker, costs: Vec::new() }));
    }
    for _ in 0..rounds {
        for side in sides.iter_mut().flatten() {
            let before = side.owner.cpu_nanos()? + cpu_nanos("self")?;
            workload.run(&side.asker, workload.gets).await?;
            let spent = side.owner.cpu_nanos()? + cpu_nanos("self")? - before;
            side.costs.push(spent as f64 / 1e3 / workload.gets as f64);
        }
    }
    Ok(sides.into_iter().map(|side| side.map(|side| median(side.costs))).collect())
}

impl Workload {
    async fn run(&self, asker: &Asker, gets: usize) -> Result<()> {
        match self.how {
            How::AtATime(tasks) => asker.get_many(gets, tasks).await,
            How::OnOneCore => asker.get_many(gets, 1).await,
            How::Batch(keys) => asker.get_batches(gets, keys).await,
        }
    }
}

fn median(mut costs: Vec<f64>) -> f64 {
    costs.sort_by(f64::total_cmp);
    costs[costs.len() / 2]
}
