//! Child processes that serve, and never outlive the task.
//!
//! A [`Daemon`] is a child in a process group of its own, so that Ctrl-C in a terminal reaches the
//! task alone, which then ends its children in order. However the task itself ends, the child ends
//! too: when the `Daemon` is dropped it is killed, and where the task is killed without a chance to
//! drop anything, the kernel does it (see [`tied`]).

pub mod interrupt;
mod output;
pub mod ports;
pub mod tied;
pub mod usage;

use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};
use tokio::process::Child;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use output::Output;

/// A running child process; dropping it kills it.
pub struct Daemon {
    name: String,
    child: Child,
    output: Output,
    readers: Vec<JoinHandle<()>>,
}

impl Daemon {
    /// Starts `command`, called `name` in messages. What it prints is collected, not shown.
    ///
    /// # Errors
    ///
    /// When the program cannot be started.
    pub fn start(name: impl Into<String>, command: Command) -> Result<Self> {
        let name = name.into();
        let mut command = tokio::process::Command::from(tied::tie(command));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let output = Output::default();
        let stdout = child.stdout.take().map(|stream| output.collect(stream));
        let stderr = child.stderr.take().map(|stream| output.collect(stream));
        let readers = stdout.into_iter().chain(stderr).collect();
        Ok(Self { name, child, output, readers })
    }

    /// Returns the name given at the start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the process id, or `None` once the end of the process was noticed.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Returns the last lines that the process printed, on either stream.
    pub fn output(&self) -> String {
        self.output.lines().join("\n")
    }

    /// Returns how many lines the process has printed, on either stream.
    pub fn printed(&self) -> u64 {
        self.output.count()
    }

    /// Waits until `url` answers with a status of success.
    ///
    /// # Errors
    ///
    /// When the process ends first or does not answer within `limit`; the error holds its last lines.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again at any time.
    pub async fn ready(&mut self, url: &str, limit: Duration) -> Result<()> {
        let client = reqwest::Client::new();
        let attempt = async || {
            let answer = client.get(url).timeout(Duration::from_secs(1)).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        };
        self.ready_when(url, limit, attempt).await
    }

    /// Waits until `attempt`, made again and again, says that the process answers at `place`.
    ///
    /// # Errors
    ///
    /// When the process ends first or does not answer within `limit`; the error holds its last lines.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again at any time, if `attempt` may.
    pub async fn ready_when(
        &mut self,
        place: &str,
        limit: Duration,
        attempt: impl AsyncFn() -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !attempt().await {
            if let Some(status) = self.child.try_wait()? {
                self.read_to_end().await;
                bail!("{} ended ({status}) before it was ready:\n{}", self.name, self.output());
            }
            if Instant::now() > deadline {
                bail!("{} did not answer at {place} in {limit:?}:\n{}", self.name, self.output());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Asks the process to end (SIGTERM) and waits until it has; kills it after `limit`.
    ///
    /// # Errors
    ///
    /// When the process had to be killed.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the process is killed.
    pub async fn stop(mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        match timeout(limit, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => {
                self.child.kill().await?;
                bail!("{} did not end within {limit:?} of SIGTERM and was killed", self.name)
            }
        }
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Errors
    ///
    /// When the system does not tell.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again at any time.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().await.with_context(|| format!("cannot wait for {}", self.name))
    }

    /// Kills the process (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    ///
    /// When the system refuses to.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the process is killed all the same.
    pub async fn kill(mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("cannot kill {}", self.name))
    }

    /// Waits until all that the ended process printed is collected.
    async fn read_to_end(&mut self) {
        for reader in self.readers.drain(..) {
            // A process of its own that lives on may hold the stream open: not worth waiting for.
            let _ = timeout(Duration::from_secs(1), reader).await;
        }
    }

    /// Sends a signal, unless the process has ended already.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // An id that is gone belongs to a process that has ended: nothing is left to signal.
        let Some(id) = self.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)) else {
            return Ok(());
        };
        rustix::process::kill_process(id, signal)
            .with_context(|| format!("cannot signal {}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn shell(script: &str) -> Daemon {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Daemon::start("shell", command).unwrap()
    }

    #[tokio::test]
    async fn a_child_that_ends_before_it_is_ready_tells_why() {
        let mut daemon = shell("echo no such table >&2; exec 2>&- >&-; exit 2");
        let url = "http://127.0.0.1:1/healthz";
        let error = daemon.ready(url, Duration::from_secs(30)).await.unwrap_err().to_string();
        assert!(error.contains("exit status: 2"), "{error}");
        assert!(error.contains("no such table"), "{error}");
    }

    #[tokio::test]
    async fn ready_waits_for_an_answer_of_success() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/healthz", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            for status in ["503 Service Unavailable", "200 OK"] {
                let (mut connection, _) = listener.accept().await.unwrap();
                // One read holds all of so small a request.
                assert!(connection.read(&mut [0; 1024]).await.unwrap() > 0);
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                connection.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let mut daemon = shell("exec sleep 600");
        daemon.ready(&url, Duration::from_secs(30)).await.unwrap();
        server.await.unwrap();
        daemon.kill().await.unwrap();
    }

    #[tokio::test]
    async fn a_child_that_never_answers_is_an_error_after_the_limit() {
        let mut daemon = shell("echo still busy; exec sleep 600");
        let url = "http://127.0.0.1:1/healthz";
        let error = daemon.ready(url, Duration::from_millis(300)).await.unwrap_err().to_string();
        assert!(error.contains("did not answer at http://127.0.0.1:1/healthz"), "{error}");
    }

    #[tokio::test]
    async fn stop_waits_for_an_orderly_end() {
        let daemon = shell("trap 'exit 7' TERM; echo set; while :; do sleep 0.01; done");
        while daemon.output().is_empty() {
            tokio::task::yield_now().await;
        }
        let status = daemon.stop(Duration::from_secs(30)).await.unwrap();
        assert_eq!(status.code(), Some(7));
    }

    #[tokio::test]
    async fn stop_kills_who_does_not_listen() {
        let daemon = shell("trap '' TERM; echo set; while :; do sleep 0.01; done");
        while daemon.output().is_empty() {
            tokio::task::yield_now().await;
        }
        let error = daemon.stop(Duration::from_millis(50)).await.unwrap_err().to_string();
        assert!(error.ends_with("and was killed"), "{error}");
    }
}
