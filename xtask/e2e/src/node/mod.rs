//! Node processes: started, killed, started again, stopped. Every task starts its nodes here.

pub mod addresses;
pub mod api;
pub mod rows;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

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
    /// The program, behind the words of another one that becomes it, if there is one.
    program: Vec<OsString>,
    /// Each option with its value.
    options: Vec<(String, String)>,
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
        let node = Self {
            name: format!("{kind} {url}"),
            url: url.clone(),
            api: Api::new(api.clone())?,
            program: vec![program.into()],
            options: Vec::new(),
            running: None,
        };
        Ok(node.with("--addr", &url).with("--peers", &peers).with("--api", &api).with("--db", db))
    }

    /// Sets an option that the process is started with, in place of the value that it had.
    #[must_use]
    pub fn with(mut self, option: &str, value: &str) -> Self {
        self.options.retain(|(name, _)| name != option);
        self.options.push((option.to_owned(), value.to_owned()));
        self
    }

    /// Leaves out an option.
    #[must_use]
    pub fn without(mut self, option: &str) -> Self {
        self.options.retain(|(name, _)| name != option);
        self
    }

    /// Returns the value of an option.
    #[must_use]
    pub fn option(&self, option: &str) -> Option<&str> {
        let mut options = self.options.iter();
        options.find(|(name, _)| name == option).map(|(_, value)| &**value)
    }

    /// Has the process started by `words`, which get program and options as further words and become
    /// it, as `sh -c 'exec "$0" "$@"'` does.
    #[must_use]
    pub fn by<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.program.splice(..0, words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Returns the command that the process is started with.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program[0]);
        command.args(&self.program[1..]);
        command.args(self.options.iter().flat_map(|(option, value)| [option, value]));
        command
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

    /// Returns how many lines the process has printed, while it runs.
    #[must_use]
    pub fn printed(&self) -> u64 {
        self.running.as_ref().map_or(0, Daemon::printed)
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

    /// Sends a signal to the process.
    ///
    /// # Errors
    ///
    /// When it is not running, or the system refuses.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let daemon = self.running.as_ref();
        daemon.with_context(|| format!("{} is not running", self.name))?.signal(signal)
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Errors
    ///
    /// When it is not running.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again at any time.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let daemon = self.running.as_mut();
        daemon.with_context(|| format!("{} is not running", self.name))?.wait().await
    }

    fn spawn(&mut self) -> Result<()> {
        self.running = Some(Daemon::start(self.name.as_str(), self.command())?);
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

#[cfg(test)]
mod tests {
    use super::addresses::Ports;
    use super::*;

    fn node() -> Node {
        let addresses = Addresses::free(Ports::Any, 2).unwrap();
        Node::new("node", Path::new("/bin/node"), &addresses, 1, "sqlite:x.db").unwrap()
    }

    #[test]
    fn an_option_that_is_set_again_has_one_value() {
        let command = node().with("--db", "sqlite:a.db").with("--db", "sqlite:b.db").command();
        let args: Vec<_> = command.get_args().filter_map(OsStr::to_str).collect();
        let values: Vec<_> = args.windows(2).filter(|pair| pair[0] == "--db").collect();
        assert_eq!(values, [["--db", "sqlite:b.db"]]);
        assert_eq!(args.len(), 8, "{args:?}");
    }

    #[tokio::test]
    async fn a_node_that_does_not_run_cannot_be_ended() {
        let mut node = node();
        let expected = format!("{} is not running", node.name());
        assert_eq!(node.kill().await.unwrap_err().to_string(), expected);
        assert_eq!(node.ended().await.unwrap_err().to_string(), expected);
        assert_eq!(node.signal(Signal::TERM).unwrap_err().to_string(), expected);
        node.stop().await.unwrap();
    }

    #[tokio::test]
    async fn who_ends_before_it_is_ready_is_named_with_what_it_said() {
        let mut node = node().by(["sh", "-c", "echo no such table >&2; exit 2"]);
        let error = node.start().await.unwrap_err().to_string();
        assert!(error.starts_with(node.name()), "{error}");
        assert!(error.contains("exit status: 2") && error.contains("no such table"), "{error}");
    }
}
