//! A node of Go's groupcache and a pool of ours that know each other by a secret.

use std::convert::Infallible;
use std::future::pending;

use anyhow::{Context, Result, ensure};
use carrotcache::{Group, HttpPool, Node as CacheNode};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::data::{self, Entry, Files, GROUP};
use super::kind::Kind;
use super::programs::Programs;
use crate::node::addresses::{Addresses, Ports, on_free_addresses};
use crate::node::{self, Node};
use crate::report::Report;

/// What the nodes share.
const SECRET: &str = "the-secret-of-this-ring-0123456789";
/// As long, and another.
const WRONG: &str = "the-secret-of-that-ring-0123456789";
/// How many keys are asked for, about half of which each node owns.
const KEYS: usize = 100;
/// What our node loads. The Go node reads others from its file.
const OURS: &str = "from the node in Rust";

/// Checks both directions with the secret, and without it.
///
/// # Errors
///
/// When a node does not start.
///
/// # Cancel safety
///
/// When the future is dropped the nodes are killed.
pub(super) async fn check(programs: &Programs, report: &mut Report) -> Result<()> {
    report.part("A node in Go and one in Rust that share a secret");
    let mut pair = Pair::start(programs, SECRET).await?;
    report.check("ours asks Go with the secret", told(pair.ours_asks().await));
    report.check("Go asks ours with the secret", told(pair.go_asks().await));
    pair.stop().await?;

    pair = Pair::start(programs, WRONG).await?;
    report.claim("Go lets in nobody with another secret", pair.ours_asks().await? == 0);
    report.claim("ours lets in nobody with another secret", pair.go_asks().await? == 0);
    pair.stop().await
}

/// Returns what to report of so many values, of which there has to be one.
fn told(answered: Result<u64>) -> Result<String> {
    let count = answered?;
    ensure!(count > 0, "no value came");
    Ok(format!("{count} values"))
}

/// A node of Go's with the secret, and one of ours in this process.
struct Pair {
    go: Node,
    group: Group,
    rows: Vec<Entry>,
    serving: JoinHandle<()>,
    // Dropped last: the node in Go reads from it.
    _folder: tempfile::TempDir,
}

impl Pair {
    /// Starts both; ours has this `secret`.
    async fn start(programs: &Programs, secret: &str) -> Result<Self> {
        on_free_addresses(Ports::Usual, 2, async |addresses| {
            let (folder, rows) = (tempfile::tempdir()?, data::batch("secret", KEYS));
            let files = Files::write(folder.path(), &programs.import, &rows)?;
            let go = programs.node(Kind::Go, addresses, 0, &files)?;
            let mut go = go.with("--secret", SECRET);
            let (group, serving) = serve(addresses, secret).await?;
            go.start().await?;
            Ok(Self { go, group, rows, serving, _folder: folder })
        })
        .await
    }

    /// Returns how many keys our node got from the one in Go.
    async fn ours_asks(&self) -> Result<u64> {
        for Entry { key, value, .. } in &self.rows {
            let found = self.group.get(key).await?;
            ensure!(*found == *OURS.as_bytes() || *found == **value, "{key} has another value");
        }
        Ok(self.group.stats().peer_loads)
    }

    /// Returns how many keys the node in Go got from ours.
    async fn go_asks(&self) -> Result<u64> {
        let mut count = 0;
        for Entry { key, .. } in &self.rows {
            let found = self.go.api().value(GROUP, key).await?;
            count += u64::from(found == OURS.as_bytes());
        }
        Ok(count)
    }

    async fn stop(self) -> Result<()> {
        self.serving.abort();
        node::stop_all(vec![self.go]).await
    }
}

/// Serves a node of ours at the second address.
async fn serve(addresses: &Addresses, secret: &str) -> Result<(Group, JoinHandle<()>)> {
    let url = &addresses.urls()[1];
    let listener = TcpListener::bind(url.strip_prefix("http://").context("no URL")?).await?;
    let pool = HttpPool::builder(url).secret(secret).build()?;
    pool.set_peers(addresses.urls())?;
    let node = CacheNode::builder().peers(pool.clone()).build();
    let load = |_: String| async { Ok::<_, Infallible>(Some(OURS)) };
    let group = node.group(GROUP).loader(load).build()?;
    let serving = pool.serve(listener, node, pending());
    Ok((group, tokio::spawn(async { drop(serving.await) })))
}
