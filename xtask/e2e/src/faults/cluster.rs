//! Nodes over one database, each behind a proxy if faults of the network are wanted.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::proxy::{Mode, Proxy};
use crate::node::addresses::{Addresses, Ports, on_free_addresses};
use crate::node::api::Api;
use crate::node::{self, Node};
use crate::programs::build_examples;

/// The group whose rows every database of a node has.
pub(super) const GROUP: &str = "unicode";

/// The nodes of a scenario. Dropping it kills them.
pub(super) struct Cluster {
    pub(super) nodes: Vec<Node>,
    /// One for each node; none if they meet without.
    proxies: Vec<Proxy>,
    // Dropped last: the nodes have the database open.
    folder: TempDir,
}

/// What the nodes of a scenario are like.
#[derive(Clone, Copy)]
pub(super) struct Plan<'a> {
    pub(super) nodes: usize,
    pub(super) options: &'a [(&'a str, &'a str)],
    /// Whether each is reached through a proxy.
    pub(super) proxied: bool,
    /// Whether each reads who the nodes are from a file of its own.
    pub(super) listed: bool,
}

impl Cluster {
    /// Starts the nodes, and waits until all answer.
    ///
    /// # Errors
    ///
    /// When one does not.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the nodes are killed.
    pub(super) async fn start(plan: Plan<'_>) -> Result<Self> {
        Self::start_by::<&str>(plan, &[]).await
    }

    /// Does the same, with processes that `words` start, which become them.
    ///
    /// # Errors
    ///
    /// When one does not answer.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the nodes are killed.
    pub(super) async fn start_by<S: AsRef<OsStr>>(plan: Plan<'_>, words: &[S]) -> Result<Self> {
        let [program] = build_examples(["node"], true)?;
        on_free_addresses(Ports::Any, plan.nodes, async |addresses| {
            let mut proxies = Vec::new();
            for port in addresses.ports().iter().filter(|_| plan.proxied) {
                proxies.push(Proxy::start(*port).await?);
            }
            let known = match plan.proxied {
                true => proxies.iter().map(Proxy::port).collect(),
                false => addresses.ports().to_vec(),
            };
            let known = Addresses::of(known, addresses.apis().to_vec());
            let mut cluster = Self { nodes: Vec::new(), proxies, folder: tempfile::tempdir()? };
            let db = format!("sqlite:{}", cluster.database().display());
            for (at, port) in addresses.ports().iter().enumerate() {
                let node = Node::new("node", &program, &known, at, &db)?;
                let listen = format!("127.0.0.1:{port}");
                let mut node = node.with("--listen", &listen).with("--log", "info");
                if plan.listed {
                    cluster.list(at, known.urls())?;
                    let list = cluster.list_of(at).display().to_string();
                    node = node.without("--peers").with("--peers-file", &list);
                }
                let with_option = |node: Node, (name, value): &(&str, &str)| node.with(name, value);
                cluster.nodes.push(plan.options.iter().fold(node, with_option).by(words));
            }
            node::start_all(&mut cluster.nodes).await?;
            Ok(cluster)
        })
        .await
    }

    /// Returns the path of the database's file.
    pub(super) fn database(&self) -> PathBuf {
        self.folder.path().join("carrots.db")
    }

    /// Returns the file from which a node reads who the nodes are.
    fn list_of(&self, node: usize) -> PathBuf {
        self.folder.path().join(format!("peers of {node}"))
    }

    /// Tells a node who the nodes are. It looks once a second.
    ///
    /// # Errors
    ///
    /// When its file cannot be replaced.
    pub(super) fn list(&self, node: usize, urls: &[String]) -> Result<()> {
        let (list, new) = (self.list_of(node), self.list_of(node).with_extension("new"));
        std::fs::write(&new, urls.join("\n")).context("a list of nodes")?;
        std::fs::rename(new, list).context("a list of nodes")
    }

    /// Has the network to a node do this to it.
    ///
    /// # Errors
    ///
    /// When there is none in between.
    pub(super) fn set(&self, node: usize, mode: Mode) -> Result<()> {
        self.proxies.get(node).context("the node has no proxy")?.set(mode);
        Ok(())
    }

    pub(super) fn api(&self, node: usize) -> Api {
        self.nodes[node].api().clone()
    }

    /// Returns what asks all nodes but `without`.
    pub(super) fn apis(&self, without: Option<usize>) -> Vec<Api> {
        let wanted = (0..self.nodes.len()).filter(|node| Some(*node) != without);
        wanted.map(|node| self.api(node)).collect()
    }

    /// Returns how many queries these nodes have made.
    ///
    /// # Errors
    ///
    /// When one does not answer.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(super) async fn queries(apis: &[Api]) -> Result<u64> {
        let mut queries = 0;
        for api in apis {
            queries += api.stats().await?["db_queries"].as_u64().context("no db_queries")?;
        }
        Ok(queries)
    }

    /// Returns how many lines the nodes have logged.
    pub(super) fn logged(&self) -> u64 {
        self.nodes.iter().map(Node::printed).sum()
    }

    /// Asks all nodes for a few keys each, so that all have links to each other.
    ///
    /// # Errors
    ///
    /// When one does not answer.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(super) async fn meet(&self) -> Result<()> {
        for api in self.apis(None) {
            for point in 0x41..0x61 {
                api.value(GROUP, &format!("U+{point:04X}")).await?;
            }
        }
        // The last of them may have come before its link.
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(())
    }
}
