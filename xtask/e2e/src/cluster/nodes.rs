//! The processes: started, killed, started again, stopped.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::process::{Daemon, ports};

/// Where ports are looked for: the nodes' own from the first on, their APIs from the second on.
const FIRST_PORTS: (u16, u16) = (8001, 9999);
/// How often to try other ports when someone else takes one meanwhile.
const TRIES: usize = 3;
/// How long a node may take until it answers: the first start fills the database.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// The nodes, over a database in a temporary folder; dropping it kills them.
pub(super) struct Cluster {
    program: PathBuf,
    delay: Duration,
    urls: Vec<String>,
    apis: Vec<String>,
    /// `None` for a node that was killed.
    daemons: Vec<Option<Daemon>>,
    // Dropped last: the nodes have the database open.
    folder: TempDir,
}

impl Cluster {
    /// Starts `count` nodes and waits until all answer.
    pub(super) async fn start(program: &Path, count: usize, delay: Duration) -> Result<Self> {
        let (mut first, mut first_api) = FIRST_PORTS;
        let mut tries = 0..TRIES;
        loop {
            tries.next();
            let ports = ports::free_from(first, count)?;
            let api_ports = ports::free_from(first_api, count)?;
            let mut cluster = Self::new(program, &ports, &api_ports, delay)?;
            match cluster.start_all().await {
                Ok(()) => return Ok(cluster),
                Err(error) if tries.is_empty() => return Err(error),
                // Someone else took a port between our look and the node's start.
                Err(_) => (first, first_api) = (first + 100, first_api + 100),
            }
        }
    }

    fn new(program: &Path, ports: &[u16], api_ports: &[u16], delay: Duration) -> Result<Self> {
        Ok(Self {
            program: program.to_owned(),
            delay,
            urls: ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect(),
            apis: api_ports.iter().map(|port| format!("127.0.0.1:{port}")).collect(),
            daemons: ports.iter().map(|_| None).collect(),
            folder: tempfile::tempdir()?,
        })
    }

    /// Starts all at once, over a file that is not there: they sort out who creates it.
    async fn start_all(&mut self) -> Result<()> {
        for at in 0..self.urls.len() {
            self.daemons[at] = Some(self.spawn(at)?);
        }
        for at in 0..self.urls.len() {
            self.wait_for(at).await?;
        }
        Ok(())
    }

    fn spawn(&self, at: usize) -> Result<Daemon> {
        let mut command = Command::new(&self.program);
        command.args(["--addr", &self.urls[at], "--peers", &self.urls.join(",")]);
        command.args(["--api", &self.apis[at], "--log", "warn"]);
        command.arg("--db").arg(format!("sqlite:{}", self.database().display()));
        command.arg("--slow-db").arg(format!("{}ms", self.delay.as_millis()));
        Daemon::start(format!("node {}", self.urls[at]), command)
    }

    async fn wait_for(&mut self, at: usize) -> Result<()> {
        let url = format!("http://{}/healthz", self.apis[at]);
        let daemon = self.daemons[at].as_mut().context("the node was killed")?;
        daemon.ready(&url, READY_LIMIT).await
    }

    /// Returns the path of the database's file.
    pub(super) fn database(&self) -> PathBuf {
        self.folder.path().join("carrots.db")
    }

    /// Returns the nodes' base URLs, by which the ring knows them.
    pub(super) fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Returns where the nodes' APIs listen, in the same order.
    pub(super) fn apis(&self) -> &[String] {
        &self.apis
    }

    /// Kills a node, as a power cut would, and waits until it is gone.
    pub(super) async fn kill(&mut self, at: usize) -> Result<()> {
        self.daemons[at].take().context("the node was killed already")?.kill().await
    }

    /// Starts a node that was killed, and waits until it answers.
    pub(super) async fn restart(&mut self, at: usize) -> Result<()> {
        self.daemons[at] = Some(self.spawn(at)?);
        self.wait_for(at).await
    }

    /// Asks all nodes to end and waits until they have.
    pub(super) async fn stop(mut self, limit: Duration) -> Result<()> {
        let mut stopping = tokio::task::JoinSet::new();
        for daemon in self.daemons.drain(..).flatten() {
            stopping.spawn(async move {
                let name = daemon.name().to_owned();
                (name, daemon.stop(limit).await)
            });
        }
        for (name, status) in stopping.join_all().await {
            let status = status?;
            ensure!(status.success(), "{name} ended with {status}");
        }
        Ok(())
    }
}
