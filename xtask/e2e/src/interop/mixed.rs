//! A ring of nodes of both kinds, over the same data.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use carrotcache_consistenthash::Ring;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::data::{self, Entry, Files};
use super::kind::Kind;
use super::programs::Programs;
use crate::node::addresses::{Addresses, Ports, on_free_addresses};
use crate::node::api::Api;
use crate::node::{self, Node};

/// How many questions are asked at a time.
const AT_A_TIME: usize = 64;
/// The size of a large value: far more than fits any buffer on the way.
const LARGE_BYTES: usize = 8 << 20;
/// How many keys are kept back for the time while a node is down, and again for its return.
const KEPT_BACK: usize = 300;

/// A mixed ring, and the rows that its nodes read.
pub(super) struct Mixed {
    /// What each node is written in.
    pub(super) kinds: Vec<Kind>,
    /// The nodes, in the same order.
    pub(super) nodes: Vec<Node>,
    ring: Ring,
    /// Rows that everyone is asked for first.
    pub(super) rows: Vec<Entry>,
    /// A row for each node that is its owner, too large for any buffer.
    pub(super) large: Vec<Entry>,
    /// Rows that nobody is asked for until a node is down.
    pub(super) while_down: Vec<Entry>,
    /// Rows that nobody is asked for until it is back.
    pub(super) when_back: Vec<Entry>,
    // Dropped last: the nodes read from it.
    folder: TempDir,
}

impl Mixed {
    /// Writes the data and starts a node of each of `kinds`.
    ///
    /// # Errors
    ///
    /// When a node does not start.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the nodes are killed.
    pub(super) async fn start(kinds: &[Kind], programs: &Programs) -> Result<Self> {
        on_free_addresses(Ports::Usual, kinds.len(), async |addresses| {
            let mut mixed = Self::at(addresses, kinds)?;
            let files = mixed.write(&programs.import)?;
            for (at, &kind) in kinds.iter().enumerate() {
                mixed.nodes.push(programs.node(kind, addresses, at, &files)?);
            }
            node::start_all(&mut mixed.nodes).await?;
            Ok(mixed)
        })
        .await
    }

    /// Returns a ring that has no nodes yet, and the rows for it.
    fn at(addresses: &Addresses, kinds: &[Kind]) -> Result<Self> {
        let ring = Ring::new(addresses.urls())?;
        let large = (0..kinds.len()).map(|owner| large_row(&ring, owner)).collect::<Result<_>>()?;
        Ok(Self {
            kinds: kinds.to_vec(),
            nodes: Vec::new(),
            ring,
            rows: data::of_every_kind(),
            large,
            while_down: data::batch("down", KEPT_BACK),
            when_back: data::batch("back", KEPT_BACK),
            folder: tempfile::tempdir()?,
        })
    }

    fn write(&self, import: &Path) -> Result<Files> {
        let all = [&self.rows, &self.large, &self.while_down, &self.when_back];
        Files::write(self.folder.path(), import, all.into_iter().flatten())
    }

    /// Returns which node owns `key`.
    pub(super) fn owner(&self, key: impl AsRef<[u8]>) -> usize {
        self.ring.get_index(key).unwrap_or(0)
    }

    /// Returns how many of `rows` the node owns.
    pub(super) fn owned(&self, rows: &[Entry], node: usize) -> u64 {
        rows.iter().filter(|row| self.owner(&row.key) == node).map(|_| 1).sum()
    }

    /// Returns each question that can be put to one of `askers`: the node and the row.
    ///
    /// Left out is what Go's own server makes something else of.
    pub(super) fn questions<'a>(
        &self,
        rows: &'a [Entry],
        askers: &[usize],
    ) -> Vec<(usize, &'a Entry)> {
        let all = rows.iter().flat_map(|row| askers.iter().map(move |&asker| (asker, row)));
        all.filter(|&(asker, row)| {
            let owner = self.owner(&row.key);
            let [from, to] = [asker, owner].map(|at| self.kinds[at]);
            asker == owner || row.crosses(from, to)
        })
        .collect()
    }

    /// Asks every question, many at a time, and compares the answers.
    ///
    /// # Errors
    ///
    /// The first wrong or missing answer.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(super) async fn ask_all(&self, questions: &[(usize, &Entry)]) -> Result<()> {
        let questions: Arc<Vec<_>> = Arc::new(
            questions
                .iter()
                .map(|&(at, row)| (self.nodes[at].api().clone(), row.clone()))
                .collect(),
        );
        let next = Arc::new(AtomicUsize::new(0));
        let mut workers = JoinSet::new();
        for _ in 0..AT_A_TIME {
            let (questions, next) = (questions.clone(), next.clone());
            workers.spawn(async move {
                while let Some((api, row)) = questions.get(next.fetch_add(1, Ordering::Relaxed)) {
                    ask(api, row).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(outcome) = workers.join_next().await {
            outcome??;
        }
        Ok(())
    }

    /// Returns a counter, summed up over all nodes.
    ///
    /// # Errors
    ///
    /// When a node does not answer.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(super) async fn count(&self, counter: &str) -> Result<u64> {
        let mut total = 0;
        for node in &self.nodes {
            total += node.api().count(counter).await?;
        }
        Ok(total)
    }
}

/// Asks a node for a row and compares the answer.
///
/// # Errors
///
/// When the answer is no value, or another one.
///
/// # Cancel safety
///
/// May be dropped at any time.
pub(super) async fn ask(api: &Api, row: &Entry) -> Result<()> {
    let (key, value) = (&row.key, api.value(row.group, &row.key).await?);
    let (length, address) = (value.len(), api.address());
    ensure!(value == row.value, "{address} has {length} wrong bytes for {key:?}");
    Ok(())
}

/// Returns a large row that the ring gives to `owner`.
fn large_row(ring: &Ring, owner: usize) -> Result<Entry> {
    let mut keys = (0..10_000).map(|number| format!("large-{number}"));
    let key = keys.find(|key| ring.get_index(key) == Some(owner)).context("a node owns nothing")?;
    Ok(data::large(key, LARGE_BYTES))
}
