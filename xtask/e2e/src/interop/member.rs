//! One node of a mixed ring, as a process.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Client;
use serde_json::Value;

use super::data::{Entry, Files};
use super::programs::Programs;
use crate::process::Daemon;

/// How long a node may take until it answers; a Go node reads its text first.
const READY_TIME: Duration = Duration::from_secs(30);
/// How long a node may take to end: more than its own limit.
const STOP_TIME: Duration = Duration::from_secs(15);
/// How long an answer may take, whatever happens to other nodes.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// What a node is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Go,
    Rust,
}

/// A node, running or not.
pub(super) struct Member {
    pub(super) kind: Kind,
    /// Its base URL, which is its label on the ring.
    pub(super) url: String,
    api: String,
    command: Vec<String>,
    running: Option<Daemon>,
    client: Client,
}

impl Member {
    /// Describes a node that listens on two `ports`, for peers and for questions.
    ///
    /// # Errors
    ///
    /// When no HTTP client can be made.
    pub(super) fn new(
        kind: Kind,
        ports: [u16; 2],
        peers: &str,
        files: &Files,
        programs: &Programs,
    ) -> Result<Self> {
        let (program, db) = match kind {
            Kind::Go => (&programs.go, files.text.display().to_string()),
            Kind::Rust => (&programs.rust, format!("sqlite:{}", files.sqlite.display())),
        };
        let [url, api] = ports.map(|port| format!("127.0.0.1:{port}"));
        let url = format!("http://{url}");
        let program = program.display().to_string();
        let words = [&*program, "--addr", &url, "--peers", peers, "--api", &api, "--db", &db];
        let command = words.map(str::to_owned).into();
        let client = Client::builder().timeout(ANSWER_TIME).build()?;
        Ok(Self { kind, url, api, command, running: None, client })
    }

    /// Starts the process and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it does not; the error holds what it printed.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the process is killed.
    pub(super) async fn start(&mut self) -> Result<()> {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        let mut daemon = Daemon::start(format!("{:?} node {}", self.kind, self.url), command)?;
        daemon.ready(&format!("http://{}/healthz", self.api), READY_TIME).await?;
        self.running = Some(daemon);
        Ok(())
    }

    /// Ends the process as a crash would.
    ///
    /// # Errors
    ///
    /// When it is not running or the system refuses.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the process is killed all the same.
    pub(super) async fn kill(&mut self) -> Result<()> {
        self.running.take().context("the node is not running")?.kill().await
    }

    /// Asks the process to end, and waits until it has, with exit code 0.
    ///
    /// # Errors
    ///
    /// When it ends otherwise, or not at all.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the process is killed.
    pub(super) async fn stop(&mut self) -> Result<()> {
        if let Some(daemon) = self.running.take() {
            let status = daemon.stop(STOP_TIME).await?;
            ensure!(status.success(), "the {:?} node {} ended with {status}", self.kind, self.url);
        }
        Ok(())
    }

    /// Returns the process id, while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.running.as_ref()?.id()
    }

    /// Returns the last lines that the process printed.
    pub(super) fn output(&self) -> String {
        self.running.as_ref().map(Daemon::output).unwrap_or_default()
    }

    /// Asks for a row and compares the answer.
    ///
    /// # Errors
    ///
    /// When the answer is no value, or another one.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(super) async fn ask(&self, entry: &Entry) -> Result<()> {
        let query = [("group", entry.group), ("key", &entry.key)];
        let request = self.client.get(format!("http://{}/api", self.api)).query(&query);
        let answer = self.answer(request).await;
        let answer = answer.with_context(|| format!("the key {:?}", entry.key))?;
        ensure!(
            answer == entry.value,
            "the {:?} node {} has {} wrong bytes for {:?}",
            self.kind,
            self.url,
            answer.len(),
            entry.key
        );
        Ok(())
    }

    /// Asks for a key that is escaped already, and returns its value.
    ///
    /// # Errors
    ///
    /// When the answer is no value.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(super) async fn ask_escaped(&self, key: &str) -> Result<Vec<u8>> {
        self.answer(self.client.get(format!("http://{}/api?key={key}", self.api))).await
    }

    /// Returns a counter, summed up over the groups.
    ///
    /// # Errors
    ///
    /// When the node does not answer, or has no such counter.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(super) async fn count(&self, counter: &str) -> Result<u64> {
        let request = self.client.get(format!("http://{}/stats", self.api));
        let stats: Value = serde_json::from_slice(&self.answer(request).await?)?;
        let groups = stats["groups"].as_object().context("/stats has no groups")?;
        let counts = groups.values().map(|group| group[counter].as_u64());
        counts.sum::<Option<u64>>().with_context(|| format!("/stats has no {counter}"))
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Vec<u8>> {
        let answer = request.send().await?;
        let status = answer.status();
        let body = answer.bytes().await?;
        ensure!(
            status.is_success(),
            "the {:?} node {} answers {status}: {}",
            self.kind,
            self.url,
            String::from_utf8_lossy(&body).trim()
        );
        Ok(body.into())
    }
}
