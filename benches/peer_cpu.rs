//! What a value from the peer that owns it costs: CPU time of both processes, in microseconds a get.
//!
//! `cargo bench -p benches --bench peer_cpu` prints a table. Each owner is a child process of its
//! own. The contenders take turns, round by round, so that what else the machine does hits all of
//! them; the table shows medians. `-- --rounds N` sets the number of rounds. Linux only: the time is
//! read from `/proc`.

mod peers;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use peers::{Asker, Contender};
use tokio::net::TcpListener;

/// What is measured: size of the values, gets at a time, gets in a round.
const WORKLOADS: [Workload; 3] = [
    Workload { name: "64 at a time, 100 B", value_bytes: 100, at_a_time: 64, gets: 32_768 },
    Workload { name: "1 at a time, 100 B", value_bytes: 100, at_a_time: 1, gets: 8_192 },
    Workload { name: "64 at a time, 64 KiB", value_bytes: 64 << 10, at_a_time: 64, gets: 8_192 },
];

struct Workload {
    name: &'static str,
    value_bytes: usize,
    at_a_time: usize,
    gets: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare(5).await,
        ["--rounds", rounds] => compare(rounds.parse().context("--rounds takes a number")?).await,
        ["own", name, value_bytes] => own(name, value_bytes.parse()?).await,
        _ => bail!("the only option is --rounds N"),
    }
}

/// Measures all workloads, and prints the table.
async fn compare(rounds: usize) -> Result<()> {
    let names = Contender::ALL.map(Contender::name).join(" | ");
    println!("CPU of both processes, µs a get (medians of {rounds} rounds)\n");
    println!("| | {names} | ratio |\n|---|{}---|", "---|".repeat(Contender::ALL.len()));
    for workload in &WORKLOADS {
        let costs = measure(workload, rounds).await?;
        let row: Vec<String> = costs.iter().map(|cost| format!("{cost:.1}")).collect();
        let ratio = costs[0] / costs[costs.len() - 1];
        println!("| {} | {} | {ratio:.2} |", workload.name, row.join(" | "));
    }
    Ok(())
}

/// Returns the median cost of a get for each contender, in microseconds.
async fn measure(workload: &Workload, rounds: usize) -> Result<Vec<f64>> {
    let mut sides = Vec::new();
    for contender in Contender::ALL {
        let owner = Owner::start(contender, workload.value_bytes)?;
        let asker = Asker::new(contender, owner.address).await?;
        // Connections are opened and buffers grow before anything is measured.
        asker.get_many(workload.gets / 4, workload.at_a_time).await?;
        sides.push((owner, asker, Vec::new()));
    }
    for _ in 0..rounds {
        for (owner, asker, costs) in &mut sides {
            let before = owner.cpu_nanos()? + cpu_nanos("self")?;
            asker.get_many(workload.gets, workload.at_a_time).await?;
            let spent = owner.cpu_nanos()? + cpu_nanos("self")? - before;
            costs.push(spent as f64 / 1e3 / workload.gets as f64);
        }
    }
    Ok(sides.into_iter().map(|(_, _, costs)| median(costs)).collect())
}

fn median(mut costs: Vec<f64>) -> f64 {
    costs.sort_by(f64::total_cmp);
    costs[costs.len() / 2]
}

/// A child process that owns the values. It ends with this.
struct Owner {
    process: Child,
    address: SocketAddr,
}

impl Owner {
    fn start(contender: Contender, value_bytes: usize) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["own", contender.name(), &value_bytes.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("a pipe")?).read_line(&mut line)?;
        let address = line.trim().parse().context("the owner tells its address")?;
        Ok(Self { process, address })
    }

    fn cpu_nanos(&self) -> Result<u64> {
        cpu_nanos(&self.process.id().to_string())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // A child that cannot be killed has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs as an owner, in a child process.
async fn own(name: &str, value_bytes: usize) -> Result<()> {
    let contender = Contender::ALL.into_iter().find(|contender| contender.name() == name);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    peers::own(contender.context("a contender")?, listener, value_bytes).await
}

/// Returns the CPU time that the threads of a process have used, in nanoseconds.
fn cpu_nanos(process: &str) -> Result<u64> {
    let mut nanos = 0;
    for thread in PathBuf::from(format!("/proc/{process}/task")).read_dir()? {
        let stat = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        nanos += stat.split(' ').next().context("a number")?.parse::<u64>()?;
    }
    Ok(nanos)
}
