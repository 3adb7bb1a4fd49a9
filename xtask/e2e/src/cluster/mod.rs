//! `cargo xtask cluster`: real processes that share a cache over a real database, before your eyes.
//!
//! Each act makes claims and checks them against the nodes' own counters; a claim that does not hold
//! makes the task fail. `nodes` are the processes, `counts` is what they have counted and `table`
//! shows it, `acts` and `changes` are the play.

mod acts;
mod changes;
mod counts;
mod nodes;
mod table;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use self::acts::Play;
use self::nodes::Cluster;
use crate::node;
use crate::process::interrupt::{asked_to_end, unless_interrupted};
use crate::programs::build_examples;
use crate::report::Report;
use crate::workload::Names;

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
    let Play { cluster, mut report, .. } = unless_interrupted(play(&program, args)).await?;
    if args.stay {
        invite(&cluster, &mut report);
        asked_to_end().await?;
    }
    report.part("The end");
    let ended = node::stop_all(cluster.nodes).await.map(|()| "");
    report.check("Asked to end, each node finished its work and exited with 0", ended);
    report.finish()
}

/// Starts the cluster and performs the acts; returns what is left on the stage.
async fn play(program: &Path, args: &Args) -> Result<Play> {
    let mut report = Report::default();
    report.part("A cluster over one database");
    let cluster = Cluster::start(program, usize::from(args.nodes), args.slow_db).await?;
    acts::introduce(&cluster, args.slow_db, &report);

    let mut play = Play { cluster, names: Names::new(), report };
    play.one_query_for_many().await?;
    play.zipf(args.requests).await?;
    play.a_row_is_updated().await?;
    play.a_node_dies_and_comes_back(args.requests).await?;
    play.the_database_is_protected().await?;
    Ok(play)
}

/// Prints commands by which a reader can go on alone.
fn invite(cluster: &Cluster, report: &mut Report) {
    report.part("Your turn");
    let apis = cluster.apis();
    let [first, last] = [apis.first(), apis.last()].map(|api| api.map_or("", |api| api.address()));
    report.note(&format!("curl '{first}/api?key=Tom'"));
    report.note(&format!("curl -G --data-urlencode 'key=U+1F955' '{last}/api?group=unicode'"));
    report.note(&format!("curl -i '{first}/api?key=Nobody'"));
    report.note(&format!("curl '{last}/api?key=Tom&key=Jack&key=Nobody'"));
    report.note(&format!("curl -i -X PUT -d 700 '{first}/api?key=Tom'"));
    report.note(&format!("curl -i -X DELETE '{last}/api?key=Jack'"));
    report.note(&format!("curl -s '{first}/stats'"));
    report.note("The cluster stays up until Ctrl-C.");
}
