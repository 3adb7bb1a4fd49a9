//! What a cached value costs that is fetched from the peer that owns it, in each direction.
//!
//! Two processes a pair: the owner is a node as always, the asker is one that keeps nothing and asks
//! for one key after the other. The pairs take turns round by round, so that what else the machine
//! does falls on all of them.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::data::{Entry, Files};
use super::kind::Kind;
use super::programs::Programs;
use crate::node::Node;
use crate::node::addresses::{Addresses, Ports, on_free_addresses};
use crate::process::tied;

/// The group of the keys.
const GROUP: &str = "load";
/// How many keys there are; about half belong to the owner.
const KEYS: usize = 4_096;
/// The size of a value.
const VALUE_BYTES: usize = 100;
/// How many gets are under way at a time.
const AT_A_TIME: &str = "64";
/// Idle connections a host for the Go client that is set up for the purpose.
const IDLE_CONNS: &str = "128";

/// Who asks.
const ASKERS: [(&str, Kind, &[&str]); 3] = [
    ("Go, default transport", Kind::Go, &[]),
    ("Go, 128 idle connections", Kind::Go, &["--idle-conns", IDLE_CONNS]),
    ("Rust", Kind::Rust, &[]),
];

/// Measures every pair and prints a table.
///
/// # Errors
///
/// When a process does not start, or a get fails.
///
/// # Cancel safety
///
/// When the future is dropped the processes are killed.
pub(super) async fn run(programs: &Programs, gets: u32, rounds: u32) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let rows = (0..KEYS).map(row).collect::<Vec<_>>();
    let files = Files::write(folder.path(), &programs.import, &rows)?;
    let mut pairs = Vec::new();
    for (asker, kind, extra) in ASKERS {
        for owner in [Kind::Go, Kind::Rust] {
            let name = format!("{asker} ← {owner:?}");
            println!("starting {name}");
            let task = Task { kind, extra, owner, files: &files, programs, gets };
            let start = async |addresses: &Addresses| Pair::start(&name, &task, addresses).await;
            let mut pair = on_free_addresses(Ports::Usual, 2, start).await?;
            // Fills the owner's cache and opens the connections.
            pair.round().await?;
            pairs.push(pair);
        }
    }
    for round in 1..=rounds {
        println!("round {round} of {rounds}");
        for pair in &mut pairs {
            let cost = pair.round().await?;
            pair.costs.push(cost);
        }
    }
    print(&pairs, gets, rounds);
    stop(pairs, folder).await
}

fn row(number: usize) -> Entry {
    let value = vec![b'v'; VALUE_BYTES];
    Entry { group: GROUP, value, ..Entry::new(format!("key-{number}")) }
}

fn print(pairs: &[Pair], gets: u32, rounds: u32) {
    println!("\nmedian of {rounds} rounds of {gets} gets, {AT_A_TIME} at a time, {VALUE_BYTES} B");
    println!("| asker ← owner | CPU µs a get | of which asker | µs of time a get |");
    println!("|---|---|---|---|");
    for pair in pairs {
        let median = |of: fn(&Cost) -> f64| {
            let mut sorted: Vec<_> = pair.costs.iter().map(of).collect();
            sorted.sort_by(f64::total_cmp);
            sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
        };
        let both = median(|cost| cost.asker + cost.owner);
        let (asker, time) = (median(|cost| cost.asker), median(|cost| cost.time));
        println!("| {} | {both:.0} | {asker:.0} | {time:.0} |", pair.name);
    }
}

async fn stop(pairs: Vec<Pair>, folder: TempDir) -> Result<()> {
    for mut pair in pairs {
        pair.owner.stop().await?;
    }
    Ok(folder.close()?)
}

/// What a get cost in one round, in microseconds.
struct Cost {
    asker: f64,
    owner: f64,
    time: f64,
}

/// Who asks whom, and how often.
struct Task<'a> {
    kind: Kind,
    /// Further options of the asker.
    extra: &'a [&'a str],
    owner: Kind,
    files: &'a Files,
    programs: &'a Programs,
    gets: u32,
}

impl Task<'_> {
    /// Returns the command of the asker, which stands at the second place of the ring.
    fn asker(&self, addresses: &Addresses) -> Command {
        let mut command = match self.kind {
            Kind::Rust => Command::new(&self.programs.load),
            Kind::Go => {
                let mut command = Command::new(&self.programs.go);
                command.arg("--db").arg(&self.files.text).args(["--max-bytes", "0"]);
                command
            }
        };
        let urls = addresses.urls();
        command.args(["--addr", &urls[1], "--peers", &urls.join(","), "--load", AT_A_TIME]);
        let gets = self.gets.to_string();
        command.args(["--load-gets", &gets, "--load-group", GROUP]).args(self.extra);
        command
    }
}

/// An asker and the owner of what it asks for.
struct Pair {
    name: String,
    owner: Node,
    // Killed when dropped.
    asker: Child,
    go: ChildStdin,
    reports: Lines<BufReader<ChildStdout>>,
    costs: Vec<Cost>,
}

impl Pair {
    async fn start(name: &str, task: &Task<'_>, addresses: &Addresses) -> Result<Self> {
        let mut owner = task.programs.node(task.owner, addresses, 0, task.files)?;
        owner.start().await?;
        let command = tied::tie(task.asker(addresses));
        let mut command = tokio::process::Command::from(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut asker = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let go = asker.stdin.take().context("the asker has no standard input")?;
        let stdout = asker.stdout.take().context("the asker has no standard output")?;
        let mut reports = BufReader::new(stdout).lines();
        while !reports.next_line().await?.context("the asker ended")?.starts_with("ready") {}
        Ok(Self { name: name.to_owned(), owner, asker, go, reports, costs: Vec::new() })
    }

    /// Lets the asker make one round, and reads what it cost.
    async fn round(&mut self) -> Result<Cost> {
        let before = self.cpu_ticks()?;
        self.go.write_all(b"\n").await?;
        let report = self.reports.next_line().await?.context("the asker ended")?;
        let after = self.cpu_ticks()?;
        let numbers: Vec<f64> = report.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let &[gets, failed, nanos] = &*numbers else { anyhow::bail!("not a report: {report}") };
        ensure!(failed == 0.0, "{failed} of {gets} gets failed: {}", self.name);
        let micros = |from: u64, to: u64| (to - from) as f64 * MICROS_PER_TICK / gets;
        Ok(Cost {
            asker: micros(before.0, after.0),
            owner: micros(before.1, after.1),
            time: nanos / 1e3 / gets,
        })
    }

    fn cpu_ticks(&self) -> Result<(u64, u64)> {
        let ended = "a process has ended";
        Ok((ticks(self.asker.id().context(ended)?)?, ticks(self.owner.id().context(ended)?)?))
    }
}

/// Linux counts CPU time for user space in hundredths of a second, on every architecture.
const MICROS_PER_TICK: f64 = 10_000.0;

/// Returns the CPU time that a process has used.
fn ticks(process: u32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    of_stat(&stat).with_context(|| format!("cannot read the CPU time of process {process}"))
}

/// Reads utime and stime, the 14th and 15th field; the second is a name that may hold anything.
fn of_stat(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_any_name() {
        let stat = "12 (a ) b) S 1 2 3 4 5 6 7 8 9 10 700 55 0 0 20 0";
        assert_eq!(of_stat(stat), Some(755));
        assert_eq!(of_stat("12 (a"), None);
        assert!(ticks(std::process::id()).is_ok());
    }
}
