//! Databases that are slow, or locked.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::time::sleep;

use super::cluster::{Cluster, GROUP, Plan};
use super::figures::Figures;
use super::load::{Fresh, Row, Samples, ask};

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

/// How often the database is locked. A machine that others use is slow for a moment now and then.
const ROUNDS: usize = 3;

/// Nothing can be read for four seconds, in which 2,000 keys are wanted that nobody has.
pub(super) async fn locked() -> Result<Figures> {
    let options = [("--max-loads", "8")];
    let plan = Plan { nodes: 3, options: &options, proxied: false, listed: false };
    let (cluster, mut fresh) = (Cluster::start(plan).await?, Fresh::new());
    cluster.meet().await?;
    let apis = cluster.apis(None);
    // These are cached where they are asked for, or at their owners.
    let cached = fresh.take(500, 3);
    ask(&apis, &cached, 900).await;
    let (mut figures, mut all, mut waiting) = (Figures::default(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // As many are wanted at once then as later, and are there.
        let others: Vec<_> = cached.iter().cycle().take(2_000).cloned().collect();
        let (quiet, _) = tokio::join!(ask(&apis, &cached, 500), ask(&apis, &others, 2_000));
        let (cold, during) = while_locked(&cluster, &fresh.take(2_000, 1), &cached).await?;
        figures.errors(&cold, 1.0);
        figures.at_most("cached keys that failed", during.errors() as f64, 0.0, "");
        let quiet = quiet.percentile(99);
        all.push(during.percentile(99) / quiet);
        // Each of the 2,000 is a connection of its own, since none is answered. To open them takes a
        // second.
        waiting.push(during.after(Duration::from_millis(1_500)).percentile(99) / quiet);
    }
    figures.tell("p99 of cached keys while 2,000 connect, of before", median(all), " ×");
    figures.at_most("p99 of cached keys while they wait, of before", median(waiting), 2.0, " ×");
    let (key, _) = fresh.take(1, 1).remove(0);
    cluster.api(0).value(GROUP, &key).await.context("it does not recover")?;
    Ok(figures)
}

/// Locks the database for four seconds, and asks for what is not cached and what is. Returns what came
/// of either.
async fn while_locked(
    cluster: &Cluster,
    cold: &[Row],
    cached: &[Row],
) -> Result<(Samples, Samples)> {
    let apis = cluster.apis(None);
    let options = SqliteConnectOptions::new().filename(cluster.database());
    let mut lock = SqliteConnection::connect_with(&options).await.context("SQLite")?;
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut lock).await.context("it cannot be locked")?;
    let unlocking = async {
        sleep(Duration::from_secs(4)).await;
        sqlx::query("ROLLBACK").execute(&mut lock).await.context("it cannot be unlocked")
    };
    let (cold, cached, unlocked) =
        tokio::join!(ask(&apis, cold, 2_000), ask(&apis, cached, 500), unlocking);
    unlocked?;
    Ok((cold, cached))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
