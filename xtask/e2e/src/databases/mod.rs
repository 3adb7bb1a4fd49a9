//! `cargo xtask databases`: the loader of the example `node` over real servers.
//!
//! It starts a MariaDB and a PostgreSQL of its own, in temporary folders and on free loopback ports,
//! runs the tests that need them, lets a running node lose each of them and find it again, and stops
//! them. It installs nothing and touches no server that runs already.

mod checks;
mod mariadb;
mod postgres;
mod server;
mod suite;
mod unprivileged;

use anyhow::Result;

use crate::process::interrupt::{asked_to_end, unless_interrupted};
use crate::programs::build_examples;
use crate::report::Report;
use mariadb::MariaDb;
use postgres::Postgres;
use server::{Product, Server};

/// Test the loader of the example `node` over private MariaDB and PostgreSQL servers
#[derive(clap::Args)]
pub struct Args {
    /// Keep the servers up until Ctrl-C instead, and print their URLs
    #[arg(long)]
    stay: bool,
}

/// Starts the servers, checks, prints what was checked, and stops them.
///
/// # Errors
///
/// When a server is not installed or does not start, or a check fails.
///
/// # Cancel safety
///
/// When the future is dropped the servers are killed and their folders removed.
pub async fn run(args: &Args) -> Result<()> {
    let (mariadb, postgres) = (MariaDb::find()?, Postgres::find()?);
    let mut report = Report::default();
    report.part("The servers");
    let (mut mariadb, mut postgres) = unless_interrupted(async {
        Ok((start(mariadb, &report).await?, start(postgres, &report).await?))
    })
    .await?;
    if args.stay {
        report.note("Ctrl-C ends them.");
        asked_to_end().await?;
        return stop(mariadb, postgres).await;
    }
    unless_interrupted(check(&mut mariadb, &mut postgres, &mut report)).await?;
    stop(mariadb, postgres).await?;
    report.finish()
}

async fn start<P: Product>(product: P, report: &Report) -> Result<Server<P>> {
    report.note(&format!("{} is set up and started", product.name()));
    let server = Server::start(product).await?;
    report.note(&format!("{} answers at {}", server.name(), server.url()));
    Ok(server)
}

async fn stop(mariadb: Server<MariaDb>, postgres: Server<Postgres>) -> Result<()> {
    mariadb.stop().await?;
    postgres.stop().await
}

async fn check(
    mariadb: &mut Server<MariaDb>,
    postgres: &mut Server<Postgres>,
    report: &mut Report,
) -> Result<()> {
    let urls =
        [("CARROTCACHE_TEST_MYSQL", mariadb.url()), ("CARROTCACHE_TEST_POSTGRES", postgres.url())];
    suite::run(urls, report).await?;
    let [program] = build_examples(["node"], false)?;
    checks::check(&program, mariadb, report).await?;
    checks::check(&program, postgres, report).await
}
