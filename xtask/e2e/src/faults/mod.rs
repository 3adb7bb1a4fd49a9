//! `cargo xtask faults`: real nodes to which the faults of real clusters happen, and what that costs.
//!
//! Each scenario starts nodes of its own, does something to them, and compares figures with limits. `proxy`
//! is a bad network, `cluster` the nodes behind it, `load` who asks them, `figures` what is compared;
//! `owners` is about nodes that cannot be asked, `database` about a slow one, `clients` about those who
//! connect and do not behave, `clocks` about the clock of the day.

mod clients;
mod clocks;
mod cluster;
mod database;
mod figures;
mod load;
mod owners;
mod proxy;

use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use anyhow::{Result, bail};

use self::figures::Figures;
use crate::process::interrupt::unless_interrupted;
use crate::report::Report;

/// Have faults happen to real nodes, and see what they cost
#[derive(clap::Args)]
pub struct Args {
    /// Run only the scenarios whose name contains one of these (default: all)
    names: Vec<String>,

    /// Print the names of the scenarios, and run none
    #[arg(long)]
    list: bool,

    /// Write the table to benches/results/faults.md
    #[arg(long)]
    write: bool,
}

type Running = Pin<Box<dyn Future<Output = Result<Figures>>>>;

/// What happens, and what is measured then.
struct Scenario {
    name: &'static str,
    run: fn() -> Running,
}

const SCENARIOS: &[Scenario] = &[
    Scenario { name: "owner-killed", run: || Box::pin(owners::killed()) },
    Scenario { name: "owner-stopped", run: || Box::pin(owners::stopped()) },
    Scenario { name: "owner-stalled", run: || Box::pin(owners::stalled()) },
    Scenario { name: "owner-silent", run: || Box::pin(owners::silent()) },
    Scenario { name: "bad-network", run: || Box::pin(owners::bad_network()) },
    Scenario { name: "bounces", run: || Box::pin(owners::bounces()) },
    Scenario { name: "rolling-restart", run: || Box::pin(owners::rolling()) },
    Scenario { name: "split", run: || Box::pin(owners::split()) },
    Scenario { name: "slow-database", run: || Box::pin(database::slow()) },
    Scenario { name: "locked-database", run: || Box::pin(database::locked()) },
    Scenario { name: "clock-jumps", run: || Box::pin(clocks::jumps()) },
    Scenario { name: "rude-clients", run: || Box::pin(clients::rude()) },
];

/// Runs the scenarios one after the other, and prints a table of what they cost.
///
/// # Errors
///
/// When a figure is beyond its limit, a scenario cannot be run, or none has such a name.
///
/// # Cancel safety
///
/// When the future is dropped, the nodes are killed.
pub async fn run(args: &Args) -> Result<()> {
    let is_wanted = |scenario: &&Scenario| {
        args.names.is_empty() || args.names.iter().any(|name| scenario.name.contains(&**name))
    };
    let wanted: Vec<_> = SCENARIOS.iter().filter(is_wanted).collect();
    if wanted.is_empty() {
        bail!("no scenario has such a name: see `cargo xtask faults --list`");
    }
    if args.list {
        wanted.iter().for_each(|scenario| println!("{}", scenario.name));
        return Ok(());
    }
    unless_interrupted(run_all(&wanted, args.write)).await
}

async fn run_all(scenarios: &[&Scenario], write: bool) -> Result<()> {
    let (mut report, mut table) = (Report::default(), figures::Table::default());
    for scenario in scenarios {
        report.part(scenario.name);
        let start = Instant::now();
        let figures = (scenario.run)().await?;
        figures.report(&mut report);
        report.note(&format!("in {:.0} s", start.elapsed().as_secs_f64()));
        table.add(scenario.name, &figures);
    }
    if write {
        table.write()?;
    }
    report.finish()
}
