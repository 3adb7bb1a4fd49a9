//! `cargo xtask rows`: three real nodes over one SQLite file, whose rows change under load.
//!
//! Rows are updated, committed and then removed through random nodes, while every node is asked and,
//! now and then, one is killed, stopped, or cut off from its peers for a while. No get may return less than what the removes
//! before it promised. `node` is the process under test, `wire` how it is spoken to, `truth` what was
//! promised, `clients` those who ask and update, and `trouble` what happens to the nodes.

mod clients;
pub mod node;
mod table;
mod trouble;
mod truth;
mod wire;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::clients::{Asker, Load, Updater};
use self::table::ROWS;
use self::trouble::{Process, Troubles, troubled};
use self::truth::Truth;
use crate::process::interrupt::unless_interrupted;
use crate::process::ports;
use crate::report::Report;
use crate::seeds;

/// How many nodes there are.
const NODES: usize = 3;
/// How many ask each node at once.
const ASKERS: usize = 4;
/// How many update rows at once: two of them may meet at one row.
const UPDATERS: usize = 3;

/// Update and remove rows of real nodes that are killed and stopped, and see that nothing stale is read
#[derive(clap::Args)]
pub struct Args {
    /// How long to go on
    #[arg(long, default_value_t = 60, value_name = "N", value_parser = clap::value_parser!(u64).range(5..=86_400))]
    seconds: u64,

    /// What decides who does what; the timing is the machine's [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Have the nodes say that they removed rows, and not do it, to see that it is noticed
    #[arg(long)]
    broken: bool,
}

/// Runs the nodes and reports what was read.
///
/// # Errors
///
/// When a get returns an older value than was promised, which ends it at once; when a node cannot be
/// started, or a check has failed.
///
/// # Cancel safety
///
/// When the future is dropped, the nodes are killed.
pub async fn run(args: &Args) -> Result<()> {
    let seed = args.seed.unwrap_or_else(seeds::any);
    let checked = unless_interrupted(check(args, seed)).await;
    checked.with_context(|| format!("rows that change, with --seed {seed}"))
}

async fn check(args: &Args, seed: u64) -> Result<()> {
    let mut report = Report::default();
    report.part(&format!("Rows that change, for {} s, with --seed {seed}", args.seconds));
    let folder = tempfile::tempdir()?;
    let mut nodes = start(&folder, args.broken).await?;
    let (truth, load, troubles) = (Truth::default(), Load::default(), Troubles::default());
    let mut clients = clients(&nodes, &truth, &load, seed);
    tokio::select! {
        Some(ended) = clients.join_next() => ended??,
        ended = troubled(&mut nodes, &troubles, &truth, seeds::rng(seed, 0)) => ended?,
        () = sleep(Duration::from_secs(args.seconds)) => {}
    }
    clients.shutdown().await;
    tell(&mut report, args.seconds, &load, &troubles);
    report.finish()
}

/// Has everybody ask and update, until one of them finds what should not be.
fn clients(nodes: &[Process], truth: &Truth, load: &Load, seed: u64) -> JoinSet<Result<()>> {
    let addresses: Vec<_> = nodes.iter().map(|node| node.control().to_owned()).collect();
    let labels: Vec<_> = nodes.iter().map(|node| node.url().to_owned()).collect();
    let mut clients = JoinSet::new();
    let mut rngs = (1..).map(|who| seeds::rng(seed, who));
    for (node, address) in addresses.iter().enumerate() {
        let mut asker = || {
            let rng = rngs.next().expect("there is always another");
            Asker { node, address: address.clone(), truth: truth.clone(), load: load.clone(), rng }
        };
        (0..ASKERS).for_each(|_| drop(clients.spawn(asker().run())));
        clients.spawn(asker().run_steadily());
    }
    for rng in rngs.take(UPDATERS) {
        let (addresses, labels) = (addresses.clone(), labels.clone());
        let (truth, load) = (truth.clone(), load.clone());
        clients.spawn(Updater { addresses, labels, truth, load, rng }.run());
    }
    clients
}

/// Starts the nodes, and waits until all answer.
async fn start(folder: &TempDir, broken: bool) -> Result<Vec<Process>> {
    // Below the ports that the system gives to those who connect: while a node is down, nobody is to
    // get its port. Runs side by side begin their search in different places.
    let first = 10_000 + u16::try_from(std::process::id() % 2_000)? * 10;
    let ports = ports::free_from(first, 2 * NODES)?;
    let database = folder.path().join("rows.db");
    node::create(&database, ROWS).await?;
    let (own, control) = ports.split_at(NODES);
    let mut nodes = Vec::new();
    for (at, &control) in control.iter().enumerate() {
        nodes.push(Process::start(own, at, control, &database, broken)?);
    }
    for node in &mut nodes {
        node.ready().await?;
    }
    Ok(nodes)
}

fn tell(report: &mut Report, seconds: u64, load: &Load, troubles: &Troubles) {
    let counts = load.counts();
    report.note(&format!(
        "Of {} gets, {} failed and {} returned what was older and might be.",
        counts.gets, counts.failed_gets, counts.allowed
    ));
    report.note(&format!(
        "Of {} removes, {} reached all, {} did not, and {} promised nothing.",
        counts.ok + counts.incomplete + counts.unsettled,
        counts.ok,
        counts.incomplete,
        counts.unsettled
    ));
    let [kills, stops, deaf] = troubles.counts();
    report.note(&format!(
        "A node was killed {kills} times, stopped {stops} times, and let no peer in {deaf} times."
    ));
    if let Some(failure) = &counts.failure {
        report.note(&format!("The first get that failed: {failure}"));
    }
    report.claim("No get returned less than was promised.", true);
    report.check("There were enough gets", enough(counts.gets, seconds * 500));
    report.check("Removes reached all", enough(counts.ok, seconds * 5));
    report.check("Removes did not reach all", enough(counts.incomplete, seconds / 5));
    report.check("Nodes were killed and stopped", enough(kills.min(stops), seconds.div_ceil(20)));
    // In a short run no node may have been deaf.
    let allowed = enough(counts.allowed, seconds / 30);
    report.check("What was older was read where it might be", allowed);
    let rare = counts.failed_gets * 100 <= counts.gets;
    report.claim("At most one get of a hundred failed.", rare);
}

fn enough(found: u64, wanted: u64) -> Result<u64> {
    ensure!(found >= wanted, "{found}, at least {wanted} were expected");
    Ok(found)
}
