//! Databases that are slow, or locked.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::time::sleep;

use super::cluster::{Cluster, GROUP, Plan};
use super::figures::Figures;
use super::load::{Fresh, ask};

/// A query takes six seconds, which is longer than a peer may be silent.
pub(super) async fn slow() -> Result<Figures> {
    let plan = Plan { nodes: 3, options: &[("--slow-db", "6s")], proxied: false, listed: false };
    let (cluster, mut fresh) = (Cluster::start(plan).await?, Fresh::new());
    let apis = cluster.apis(None);
    let rows = fresh.take(30, 3);
    let start = Instant::now();
    let samples = ask(&apis, &rows, 90).await;
    let mut figures = Figures::default();
    figures.errors(&samples, 0.0);
    figures.at_most("queries a key", Cluster::queries(&apis).await? as f64 / 30.0, 1.0, "");
    figures.at_most("until all are answered", start.elapsed().as_secs_f64(), 8.0, " s");
    Ok(figures)
}

/// Nothing can be read for four seconds, in which 2,000 keys are wanted that nobody has.
pub(super) async fn locked() -> Result<Figures> {
    let plan = Plan { nodes: 3, options: &[("--max-loads", "8")], proxied: false, listed: false };
    let (cluster, mut fresh) = (Cluster::start(plan).await?, Fresh::new());
    cluster.meet().await?;
    let apis = cluster.apis(None);
    // These are cached where they are asked for, or at their owners.
    let cached = fresh.take(300, 3);
    ask(&apis, &cached, 900).await;
    // As many are wanted at once then as later, and are there.
    let others: Vec<_> = cached.iter().cycle().take(2_000).cloned().collect();
    let (quiet, _) = tokio::join!(ask(&apis, &cached, 300), ask(&apis, &others, 2_000));
    let options = SqliteConnectOptions::new().filename(cluster.database());
    let mut lock = SqliteConnection::connect_with(&options).await.context("SQLite")?;
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut lock).await.context("it cannot be locked")?;
    let cold = fresh.take(2_000, 1);
    let unlocking = async {
        sleep(Duration::from_secs(4)).await;
        sqlx::query("ROLLBACK").execute(&mut lock).await.context("it cannot be unlocked")
    };
    let (cold, during, unlocked) =
        tokio::join!(ask(&apis, &cold, 2_000), ask(&apis, &cached, 300), unlocking);
    unlocked?;
    let mut figures = Figures::default();
    figures.errors(&cold, 1.0);
    figures.at_most("cached keys that failed", during.errors() as f64, 0.0, "");
    figures.tell("p99 of cached keys before", quiet.percentile(99), " ms");
    let of_quiet = |ratio: f64| ratio / quiet.percentile(99);
    // Each of the 2,000 is a connection of its own, since none is answered. To open them takes a second.
    let (all, opening) = (of_quiet(during.percentile(99)), Duration::from_millis(1_200));
    figures.tell("p99 of cached keys while 2,000 connect, of before", all, " ×");
    let waiting = of_quiet(during.after(opening).percentile(99));
    figures.at_most("p99 of cached keys while they wait, of before", waiting, 2.0, " ×");
    let (key, _) = fresh.take(1, 1).remove(0);
    cluster.api(0).value(GROUP, &key).await.context("it does not recover")?;
    Ok(figures)
}
