//! Those who connect, and do not behave.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::cluster::{Cluster, Plan};
use super::figures::Figures;
use super::load::{Fresh, ask};
use crate::process::usage::Usage;

/// How long a connection may be held that brings nothing.
const LIMIT: Duration = Duration::from_secs(60);

/// Many half requests, readers that read nothing, and idle connections, on both ports of a node.
pub(super) async fn rude() -> Result<Figures> {
    let plan = Plan { nodes: 2, options: &[], proxied: false, listed: false };
    let (cluster, mut fresh) = (Cluster::start(plan).await?, Fresh::new());
    cluster.meet().await?;
    let (apis, id) = (cluster.apis(None), cluster.nodes[0].id().context("it runs")?);
    let quiet = ask(&apis, &fresh.take(1_500, 1), 500).await;
    let before = Usage::of(id)?;
    let api = cluster.nodes[0].api().address().to_owned();
    let peers = cluster.nodes[0].url().trim_start_matches("http://").to_owned();
    let start = Instant::now();
    let mut held = Vec::new();
    for at in 0..900 {
        let address = if at % 2 == 0 { &peers } else { &api };
        let mut stream = TcpStream::connect(address).await?;
        let begun: &[u8] = match at % 3 {
            0 => b"GET /stats HTTP/1.1\r\nhost: ",
            1 => b"",
            _ => b"GET /stats HTTP/1.1\r\nhost: x\r\n\r\n",
        };
        stream.write_all(begun).await?;
        held.push(stream);
    }
    let during = ask(&apis, &fresh.take(1_500, 1), 500).await;
    let peak = Usage::of(id)?;
    for mut stream in held {
        // Whatever is answered, the end comes.
        let end =
            async { while stream.read(&mut [0; 4_096]).await.is_ok_and(|count| count > 0) {} };
        tokio::time::timeout(LIMIT, end).await.context("a connection is held for ever")?;
    }
    let closed = start.elapsed().as_secs_f64();
    while Usage::of(id)?.descriptors > before.descriptors + 8 && start.elapsed() < LIMIT {
        sleep(Duration::from_millis(100)).await;
    }
    let mut figures = Figures::default();
    figures.errors(&during, 0.0);
    figures.tell("p99 before", quiet.percentile(99), " ms");
    figures.at_most(
        "p99 during, of before",
        during.percentile(99) / quiet.percentile(99),
        3.0,
        " ×",
    );
    let more = peak.resident_bytes.saturating_sub(before.resident_bytes) as f64 / (1 << 20) as f64;
    figures.at_most("more memory", more, 64.0, " MiB");
    figures.at_most("until all are closed", closed, LIMIT.as_secs_f64(), " s");
    let left = Usage::of(id)?.descriptors.saturating_sub(before.descriptors);
    figures.at_most("descriptors that stay open", left as f64, 8.0, "");
    Ok(figures)
}
