//! `cargo xtask cluster`: real processes that share a cache over a real database, before your eyes.
//!
//! Each act makes claims and checks them against the nodes' own counters; a claim that does not hold
//! makes the task fail. `nodes` starts, kills and stops the processes, `ask` talks to them,
//! `workload` draws keys and asks for them, `acts` is the play, `report` is how it looks.

mod acts;
mod ask;
mod nodes;
mod report;
mod workload;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use self::acts::Play;
use self::ask::Asker;
use self::nodes::Cluster;
use self::report::Report;
use self::workload::Names;
use crate::process::interrupt::{asked_to_end, unless_interrupted};
use crate::programs::build_examples;

/// Start a cluster of `node` processes over one database, and show what it does
#[derive(clap::Args)]
pub struct Args {
    /// How many nodes to start
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=32))]
    nodes: u16,

    /// How many requests to make of the Zipf workload
    #[arg(long, default_value_t = 20_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: u64,

    /// How much longer the database takes for a query
    #[arg(long, default_value = "5ms", value_name = "TIME", value_parser = humantime::parse_duration)]
    slow_db: Duration,

    /// Build the nodes with optimisations, which takes some minutes the first time
    #[arg(long)]
    release: bool,

    /// Keep the cluster up until Ctrl-C, and print commands to try
    #[arg(long)]
    stay: bool,
}

/// How long a node may take to finish what it has in flight: more than its own limit.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// Starts the cluster, shows what it does, and ends it.
///
/// # Errors
///
/// When the cluster cannot be started, or a claim that was shown does not hold.
///
/// # Cancel safety
///
/// When the future is dropped, the nodes are killed.
pub async fn run(args: &Args) -> Result<()> {
    let [program] = build_examples(["node"], args.release)?;
    let start = Instant::now();
    let Play { cluster, mut report, .. } = unless_interrupted(play(&program, args)).await?;
    if args.stay {
        report.commands_to_try(cluster.apis());
        asked_to_end().await?;
    }
    end(cluster, &mut report).await;
    report.verdict(start.elapsed());
    ensure!(report.failed() == 0, "{} claims did not hold", report.failed());
    Ok(())
}

/// Starts the cluster and performs the acts; returns what is left on the stage.
async fn play(program: &Path, args: &Args) -> Result<Play> {
    let mut report = Report::default();
    report.act("A cluster over one database");
    let cluster = Cluster::start(program, usize::from(args.nodes), args.slow_db).await?;
    acts::introduce(&cluster, args.slow_db, &report);

    let mut play = Play { cluster, asker: Asker::new()?, names: Names::new(), report };
    play.one_query_for_many().await?;
    play.zipf(args.requests).await?;
    play.a_node_dies_and_comes_back(args.requests).await?;
    Ok(play)
}

async fn end(cluster: Cluster, report: &mut Report) {
    report.act("The end");
    let ended = cluster.stop(STOP_LIMIT).await;
    report.claim(ended.is_ok(), "Asked to end, each node finished its work and exited with 0");
    if let Err(error) = ended {
        report.note(&format!("{error:#}"));
    }
}
