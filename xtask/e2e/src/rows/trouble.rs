//! What happens to nodes: one is killed and started again, stopped for a while, or lets no peer in.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rand::RngExt;
use rand::rngs::StdRng;
use rustix::process::Signal;
use tokio::time::sleep;

use super::truth::Truth;
use super::wire::{Answer, Ask, Connection};
use crate::process::Daemon;

/// Long enough for a busy machine.
const SOON: Duration = Duration::from_secs(20);
/// How long nothing happens in between, in milliseconds.
const CALM: Range<u64> = 300..1_000;
/// How long a killed node stays down.
const DOWN: Range<u64> = 50..600;
/// How long a node stays stopped: others know it for dead after 750 ms, some of the time.
const STOPPED: Range<u64> = 300..2_500;
/// How long a node lets no peer in: some of it longer than what a remove promises of it.
const DEAF: Range<u64> = 500..4_500;

/// A node under test, which ends with this.
pub(super) struct Process {
    at: usize,
    daemon: Option<Daemon>,
    url: String,
    control: String,
    program: PathBuf,
    args: Vec<String>,
}

impl Process {
    /// Starts the node with the number `at` of those at these ports.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(super) fn start(
        ports: &[u16],
        at: usize,
        control: u16,
        database: &Path,
        broken: bool,
    ) -> Result<Self> {
        let urls: Vec<_> = ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect();
        let control = format!("127.0.0.1:{control}");
        let database = database.to_str().context("the folder's name is not text")?.to_owned();
        let mut args = vec!["row-node".to_owned(), at.to_string(), control.clone(), database];
        args.extend(urls.iter().cloned());
        args.extend(broken.then(|| "--broken".to_owned()));
        let (url, program) = (urls[at].clone(), this_program()?);
        let mut process = Self { at, daemon: None, url, control, program, args };
        process.begin()?;
        Ok(process)
    }

    /// By which the other nodes know it.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Where it is told what to do.
    pub(super) fn control(&self) -> &str {
        &self.control
    }

    /// Waits until it answers.
    ///
    /// # Errors
    ///
    /// When it ends first, or does not answer soon.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub(super) async fn ready(&mut self) -> Result<()> {
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        let control = &self.control;
        let attempt = async || Connection::open(control).await.is_ok();
        daemon.ready_when(control, SOON, attempt).await
    }

    fn begin(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(&self.args);
        self.daemon = Some(Daemon::start(format!("node {}", self.at), command)?);
        Ok(())
    }

    async fn kill(&mut self) -> Result<()> {
        match self.daemon.take() {
            Some(daemon) => daemon.kill().await,
            None => Ok(()),
        }
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        self.daemon.as_ref().map_or(Ok(()), |daemon| daemon.signal(signal))
    }
}

/// Returns a path of this program, which is to be started again as a node.
fn this_program() -> Result<PathBuf> {
    // Not `current_exe`, where there is another: its path is gone when cargo builds this program anew.
    let itself = Path::new("/proc/self/exe");
    if itself.exists() { Ok(itself.to_owned()) } else { Ok(std::env::current_exe()?) }
}

/// How often there was trouble.
#[derive(Clone, Default)]
pub(super) struct Troubles(Arc<[AtomicU64; 3]>);

impl Troubles {
    /// Returns how often a node was killed, how often one was stopped, and how often one was deaf.
    pub(super) fn counts(&self) -> [u64; 3] {
        std::array::from_fn(|kind| self.0[kind].load(Ordering::Relaxed))
    }

    /// Has a node let no peer in for a while: it may read what is old, and others know.
    async fn deafen(&self, node: &Process, truth: &Truth, rng: &mut StdRng) -> Result<()> {
        let millis = rng.random_range(DEAF);
        truth.note(None, format!("node {} is deaf for {millis} ms", node.at));
        let mut connection = Connection::open(&node.control).await?;
        let answer = connection.ask(Ask::Deafen(millis)).await?;
        ensure!(answer == Some(Answer::Deaf), "node {} is not deaf: {answer:?}", node.at);
        self.0[2].fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(millis)).await;
        Ok(())
    }

    /// Kills a node, and starts it again after a while.
    async fn kill(&self, node: &mut Process, truth: &Truth, rng: &mut StdRng) -> Result<()> {
        truth.note(None, format!("node {} is killed", node.at));
        node.kill().await?;
        truth.begins_anew(node.at, Instant::now());
        self.0[0].fetch_add(1, Ordering::Relaxed);
        between(rng, DOWN).await;
        node.begin()?;
        node.ready().await?;
        truth.note(None, format!("node {} is back", node.at));
        Ok(())
    }
}

/// Kills nodes, stops them, and has them be deaf, in turn, until it is dropped.
///
/// While one is stopped, now and then another is killed: one that knows what the first has missed.
///
/// # Errors
///
/// When a node does not come back.
///
/// # Cancel safety
///
/// When it is dropped, a node may stay down, or stopped.
pub(super) async fn troubled(
    nodes: &mut [Process],
    troubles: &Troubles,
    truth: &Truth,
    mut rng: StdRng,
) -> Result<()> {
    loop {
        between(&mut rng, CALM).await;
        let at = rng.random_range(0..nodes.len());
        troubles.kill(&mut nodes[at], truth, &mut rng).await?;
        between(&mut rng, CALM).await;
        let at = rng.random_range(0..nodes.len());
        truth.note(None, format!("node {at} is stopped"));
        nodes[at].signal(Signal::STOP)?;
        troubles.0[1].fetch_add(1, Ordering::Relaxed);
        between(&mut rng, STOPPED).await;
        if rng.random() {
            let other = (at + rng.random_range(1..nodes.len())) % nodes.len();
            troubles.kill(&mut nodes[other], truth, &mut rng).await?;
        }
        truth.note(None, format!("node {at} goes on"));
        nodes[at].signal(Signal::CONT)?;
        between(&mut rng, CALM).await;
        let at = rng.random_range(0..nodes.len());
        troubles.deafen(&nodes[at], truth, &mut rng).await?;
    }
}

/// Waits for some time of a range, in milliseconds.
async fn between(rng: &mut StdRng, millis: Range<u64>) {
    sleep(Duration::from_millis(rng.random_range(millis))).await;
}
