//! A clock of the day that jumps, by `libfaketime`, where that is installed.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::sleep;

use super::cluster::{Cluster, GROUP, Plan};
use super::figures::Figures;

/// Where Debian's package `libfaketime` puts it.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

const TIME_TO_LIVE: Duration = Duration::from_secs(4);

/// A day ahead, and two back, within the time to live of a value.
pub(super) async fn jumps() -> Result<Figures> {
    let mut figures = Figures::default();
    if !Path::new(LIBRARY).exists() {
        figures.tell("left out, without the package libfaketime", 0.0, "");
        return Ok(figures);
    }
    let folder = tempfile::tempdir()?;
    let hand = folder.path().join("clock");
    std::fs::write(&hand, "+0")?;
    let words = [
        "env".to_owned(),
        format!("LD_PRELOAD={LIBRARY}"),
        format!("FAKETIME_TIMESTAMP_FILE={}", hand.display()),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ];
    let options = [("--time-to-live", "4s")];
    let plan = Plan { nodes: 3, options: &options, proxied: false, listed: false };
    let cluster = Cluster::start_by(plan, &words).await?;
    let apis = cluster.apis(None);
    let key = "U+1F955";
    let get_everywhere = async || {
        for api in &apis {
            api.value(GROUP, key).await.context("the clock has jumped")?;
        }
        Cluster::queries(&apis).await
    };
    let before = Cluster::queries(&apis).await?;
    get_everywhere().await?;
    for offset in ["+1d", "-1d", "+0"] {
        std::fs::write(&hand, offset)?;
        sleep(Duration::from_millis(200)).await;
        get_everywhere().await?;
    }
    let in_time = get_everywhere().await? - before;
    figures.at_most("queries for a value within its time", in_time as f64, 1.0, "");
    sleep(TIME_TO_LIVE).await;
    std::fs::write(&hand, "-1d")?;
    let after = get_everywhere().await? - before - in_time;
    figures.at_most("queries more when that is over", after as f64, 1.0, "");
    figures.at_most("values that outlive it", if after == 0 { 1.0 } else { 0.0 }, 0.0, "");
    Ok(figures)
}
