//! The nodes of the demonstration, over one database that they create.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use crate::node::addresses::{Ports, on_free_addresses};
use crate::node::api::Api;
use crate::node::{self, Node};

/// The nodes, over a database in a temporary folder; dropping it kills them.
pub(super) struct Cluster {
    pub(super) nodes: Vec<Node>,
    // Dropped last: the nodes have the database open.
    folder: TempDir,
}

impl Cluster {
    /// Starts `count` nodes and waits until all answer.
    pub(super) async fn start(program: &Path, count: usize, delay: Duration) -> Result<Self> {
        on_free_addresses(Ports::Usual, count, async |addresses| {
            let mut cluster = Self { nodes: Vec::new(), folder: tempfile::tempdir()? };
            let db = format!("sqlite:{}", cluster.database().display());
            let delay = format!("{}ms", delay.as_millis());
            for at in 0..count {
                let node = Node::new("node", program, addresses, at, &db)?;
                cluster.nodes.push(node.with("--log", "warn").with("--slow-db", &delay));
            }
            // All at once, over a file that is not there: they sort out who creates it.
            node::start_all(&mut cluster.nodes).await?;
            Ok(cluster)
        })
        .await
    }

    /// Returns the path of the database's file.
    pub(super) fn database(&self) -> PathBuf {
        self.folder.path().join("carrots.db")
    }

    /// Returns the nodes' base URLs, by which the ring knows them.
    pub(super) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.url().to_owned()).collect()
    }

    /// Returns what asks the nodes, in the same order.
    pub(super) fn apis(&self) -> Vec<Api> {
        self.nodes.iter().map(|node| node.api().clone()).collect()
    }
}
