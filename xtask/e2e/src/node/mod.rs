//! Node processes: started, killed, started again, stopped. Every task starts its nodes here.

pub mod addresses;
pub mod api;

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process::Daemon;
use addresses::Addresses;
use api::Api;

/// How long a node may take until it answers: the first start of all fills a database.
const READY_TIME: Duration = Duration::from_secs(60);
/// How long a node may take to end: more than its own limit.
const STOP_TIME: Duration = Duration::from_secs(15);

/// A node of a ring, running or not; dropping it kills the process.
pub struct Node {
    /// What it is called in messages.
    name: String,
    url: String,
    api: Api,
    command: Vec<OsString>,
    running: Option<Daemon>,
}

impl Node {
    /// Describes the node at place `at` of the ring at `addresses`, over the database `db`: the
    /// example `node`, or a `program` that takes its options. Messages call it `kind` and its URL.
    ///
    /// # Errors
    ///
    /// When no HTTP client can be made.
    ///
    /// # Panics
    ///
    /// When the ring has no such place.
    pub fn new(
        kind: &str,
        program: &Path,
        addresses: &Addresses,
        at: usize,
        db: &str,
    ) -> Result<Self> {
        let (url, api) = (addresses.urls()[at].clone(), addresses.apis()[at].clone());
        let peers = addresses.urls().join(",");
        let options = ["--addr", &url, "--peers", &peers, "--api", &api, "--db", db];
        let command = std::iter::once(program.into()).chain(options.map(OsString::from)).collect();
        let name = format!("{kind} {url}");
        Ok(Self { name, url, api: Api::new(api)?, command, running: None })
    }

    /// Adds to the options that the process is started with.
    #[must_use]
    pub fn with(mut self, options: &[&str]) -> Self {
        self.command.extend(options.iter().map(OsString::from));
        self
    }

    /// Returns what the node is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the base URL, by which the ring knows the node.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns what asks the node.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Returns the process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.running.as_ref()?.id()
    }

    /// Returns the last lines that the process printed, while it runs.
    #[must_use]
    pub fn output(&self) -> String {
        self.running.as_ref().map(Daemon::output).unwrap_or_default()
    }

    /// Starts the process and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it does not; the error holds what it printed.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the node may run or not; dropping the node kills it.
    pub async fn start(&mut self) -> Result<()> {
        self.spawn()?;
        self.wait_until_ready().await
    }

    /// Kills the process, as a power cut would, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// When it is not running, or the system refuses.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the process is killed all the same.
    pub async fn kill(&mut self) -> Result<()> {
        let daemon = self.running.take();
        daemon.with_context(|| format!("{} is not running", self.name))?.kill().await
    }

    /// Asks the process to end, if it runs, and waits until it has, with exit code 0.
    ///
    /// # Errors
    ///
    /// When it ends otherwise, or not in time.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the process is killed.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(daemon) = self.running.take() {
            let status = daemon.stop(STOP_TIME).await?;
            ensure!(status.success(), "{} ended with {status}", self.name);
        }
        Ok(())
    }

    fn spawn(&mut self) -> Result<()> {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        self.running = Some(Daemon::start(self.name.as_str(), command)?);
        Ok(())
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let url = format!("http://{}/healthz", self.api.address());
        let daemon = self.running.as_mut().context("the node is not running")?;
        daemon.ready(&url, READY_TIME).await
    }
}

/// Starts all nodes at the same moment and waits until each answers.
///
/// # Errors
///
/// When one does not; the error holds what it printed.
///
/// # Cancel safety
///
/// When the future is dropped some nodes may run; dropping them kills them.
pub async fn start_all(nodes: &mut [Node]) -> Result<()> {
    nodes.iter_mut().try_for_each(Node::spawn)?;
    for node in nodes {
        node.wait_until_ready().await?;
    }
    Ok(())
}

/// Asks all nodes that run to end, and waits until they have, each with exit code 0.
///
/// # Errors
///
/// When one ends otherwise, or not in time; the others are waited for all the same.
///
/// # Cancel safety
///
/// When the future is dropped the processes are killed.
pub async fn stop_all(nodes: Vec<Node>) -> Result<()> {
    let mut stopping = tokio::task::JoinSet::new();
    for mut node in nodes {
        stopping.spawn(async move { node.stop().await });
    }
    stopping.join_all().await.into_iter().collect()
}
