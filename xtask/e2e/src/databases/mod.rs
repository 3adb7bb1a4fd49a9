//! `cargo xtask databases`: the loader of the example `node` over real servers.
//!
//! It starts a MariaDB and a PostgreSQL of its own, in temporary folders and on free loopback ports,
//! runs the tests that need them, lets a running node lose each of them and find it again, and stops
//! them. It installs nothing and touches no server that runs already.

mod mariadb;
mod node;
mod postgres;
mod server;
mod suite;
mod unprivileged;

use anyhow::Result;

use crate::checks::Checks;
use crate::process::interrupt::{asked_to_end, unless_interrupted};
use crate::programs::build_examples;
use mariadb::MariaDb;
use postgres::Postgres;
use server::Server;

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
    let start = async { Ok((Server::start(mariadb).await?, Server::start(postgres).await?)) };
    let (mut mariadb, mut postgres) = unless_interrupted(start).await?;
    println!("started {} and {}", mariadb.url(), postgres.url());
    if args.stay {
        println!("Ctrl-C ends them");
        asked_to_end().await?;
        return stop(mariadb, postgres).await;
    }
    let mut checks = Checks::default();
    unless_interrupted(check(&mut mariadb, &mut postgres, &mut checks)).await?;
    stop(mariadb, postgres).await?;
    checks.finish()
}

async fn stop(mariadb: Server<MariaDb>, postgres: Server<Postgres>) -> Result<()> {
    mariadb.stop().await?;
    postgres.stop().await
}

async fn check(
    mariadb: &mut Server<MariaDb>,
    postgres: &mut Server<Postgres>,
    checks: &mut Checks,
) -> Result<()> {
    let urls =
        [("CARROTCACHE_TEST_MYSQL", mariadb.url()), ("CARROTCACHE_TEST_POSTGRES", postgres.url())];
    suite::run(urls, checks)?;
    let [program] = build_examples(["node"], false)?;
    node::check(&program, mariadb, checks).await?;
    node::check(&program, postgres, checks).await
}
