//! `cargo xtask interop`: nodes of Go's groupcache and ours on one ring, as real processes.
//!
//! It builds the Go program of `interop/go` with the toolchain that it finds, starts mixed rings on
//! the loopback interface, and checks what a team relies on whose services are written in both
//! languages: all agree on every owner, every key that Go can carry gets its value, and either kind
//! goes on while a node of the other is gone.

mod bench;
mod checks;
mod client;
mod data;
mod kind;
mod links;
mod mixed;
mod programs;
mod secret;

use anyhow::Result;

use crate::node;
use crate::process::interrupt::unless_interrupted;
use crate::report::Report;
use kind::Kind;
use mixed::Mixed;
use programs::Programs;

/// Check that nodes of Go's groupcache and ours can share a ring
#[derive(clap::Args)]
pub struct Args {
    /// Measure instead what a value from a peer costs, in each direction
    #[arg(long)]
    bench: bool,

    /// How many gets make a round of the measurement
    #[arg(long, default_value_t = 20_000, value_name = "N", requires = "bench")]
    gets: u32,

    /// How many rounds to measure
    #[arg(long, default_value_t = 5, value_name = "N", requires = "bench")]
    rounds: u32,
}

/// Builds both kinds of node, checks mixed rings and a client of the link, and prints what was checked; or measures.
///
/// # Errors
///
/// When Go is missing, a node does not start, or a check fails.
///
/// # Cancel safety
///
/// When the future is dropped the nodes are killed.
pub async fn run(args: &Args) -> Result<()> {
    let programs = Programs::build(args.bench)?;
    if args.bench {
        unless_interrupted(bench::run(&programs, args.gets, args.rounds)).await
    } else {
        unless_interrupted(check(&programs)).await
    }
}

async fn check(programs: &Programs) -> Result<()> {
    let mut report = Report::default();
    check_ring(&[Kind::Rust, Kind::Rust, Kind::Go], programs, &mut report).await?;
    check_ring(&[Kind::Rust, Kind::Go, Kind::Go], programs, &mut report).await?;
    check_ring(&[Kind::Rust, Kind::Rust, Kind::Go, Kind::Go], programs, &mut report).await?;
    client::check(programs, &mut report).await?;
    secret::check(programs, &mut report).await?;
    report.finish()
}

/// Checks a ring, of which the node that is the only one of its kind dies, or else the first.
async fn check_ring(kinds: &[Kind], programs: &Programs, report: &mut Report) -> Result<()> {
    let of = |kind| kinds.iter().filter(|&&it| it == kind).count();
    report.part(&format!("A ring of {} Rust + {} Go", of(Kind::Rust), of(Kind::Go)));
    let mut mixed = Mixed::start(kinds, programs).await?;
    check_all_up(&mixed, report).await;

    let lone = kinds.iter().position(|&kind| of(kind) == 1).unwrap_or(0);
    let dead = kinds[lone];
    let killed = checks::others_go_on(&mut mixed, lone).await;
    report.check(&format!("{dead:?} is killed, the others go on"), killed);
    let back = checks::keys_return(&mut mixed, lone).await;
    report.check(&format!("{dead:?} is back, the others return its keys"), back);
    if dead == Kind::Rust && of(dead) > 1 {
        let linked = links::ours_link_again(&mixed, lone).await;
        report.check("and ask it over links again", linked);
    }
    let stopped = node::stop_all(mixed.nodes).await.map(|()| format!("{} nodes", kinds.len()));
    report.check("each node ends with 0 on SIGTERM", stopped);
    Ok(())
}

/// Makes the checks of a ring in which every node runs.
async fn check_all_up(mixed: &Mixed, report: &mut Report) {
    let mut check = |check, found: Result<String>| report.check(check, found);
    check("any node has any key's value", checks::values_are_right(mixed).await);
    check("each key is loaded once, by its owner", checks::everyone_agrees_on_owners(mixed).await);
    check("Go asks Rust for every kind of key", checks::go_asks_rust_for_every_kind(mixed));
    check("no peer errors on either side", checks::nobody_erred(mixed).await);
    let linked = links::ours_link_and_go_is_plain(mixed).await;
    check("ours ask each other over links, and Go over HTTP", linked);
    check("8 MiB cross in both directions", checks::large_values_cross(mixed).await);
    check(
        "a key that is no UTF-8 stays in Go",
        checks::keys_that_are_no_text_stay_in_go(mixed).await,
    );
}
