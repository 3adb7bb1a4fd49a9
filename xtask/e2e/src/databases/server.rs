//! A database server of this task's own: in a temporary folder, on a free port of the loopback
//! interface, gone with the task.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::unprivileged;
use crate::process::{Daemon, ports};

/// How long a server may take to answer after its start; a machine that compiles is slow.
const START_TIME: Duration = Duration::from_secs(60);
/// How long a server may take to end.
const STOP_TIME: Duration = Duration::from_secs(20);

/// Who may do everything on the server.
pub(super) struct Login {
    pub(super) user: &'static str,
    pub(super) password: &'static str,
}

const LOGIN: Login = Login { user: "carrot", password: "orange" };

/// What differs between the products: how each is set up, run, asked and stopped.
pub(super) trait Product {
    /// The name that people use.
    fn name(&self) -> &'static str;
    /// The scheme of its URLs.
    fn scheme(&self) -> &'static str;
    /// The name of the database that is always there.
    fn system_database(&self) -> &'static str;
    /// Statements that make the table `scores`, with Tom and Jack.
    fn scores(&self) -> &'static str;
    /// Where the search for a free port begins.
    fn first_port(&self) -> u16;
    /// Makes an empty database in the subfolder `data`, with `login`.
    fn prepare(&self, folder: &Path, login: &Login) -> Result<()>;
    /// Returns the command that serves it.
    fn serve(&self, folder: &Path, port: u16) -> Command;
    /// Returns whether the server takes clients.
    async fn answers(&self, port: u16) -> bool;
    /// Returns the command that runs statements.
    fn client(&self, port: u16, login: &Login, database: &str, sql: &str) -> Command;
    /// Returns the command that ends the server at once whatever its clients do, if it is not enough
    /// to kill it.
    fn crash(&self, folder: &Path) -> Option<Command>;
}

/// A server, running or not.
pub(super) struct Server<P> {
    product: P,
    port: u16,
    running: Option<Daemon>,
    folder: TempDir,
}

impl<P: Product> Server<P> {
    /// Sets a server up and starts it.
    ///
    /// # Errors
    ///
    /// When a program fails; the error holds what it printed.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the server is killed and its folder removed.
    pub(super) async fn start(product: P) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("carrotcache-").tempdir()?;
        unprivileged::give(folder.path())?;
        product.prepare(folder.path(), &LOGIN)?;
        let port = ports::free_from(product.first_port(), 1)?[0];
        let mut server = Self { product, port, running: None, folder };
        server.launch().await?;
        Ok(server)
    }

    /// Returns the URL of the server, without the name of a database.
    pub(super) fn url(&self) -> String {
        let Login { user, password } = LOGIN;
        format!("{}://{user}:{password}@127.0.0.1:{}", self.product.scheme(), self.port)
    }

    /// Returns the name that people use for the product.
    pub(super) fn name(&self) -> &'static str {
        self.product.name()
    }

    /// Returns the name of the database that is always there.
    pub(super) fn system_database(&self) -> &'static str {
        self.product.system_database()
    }

    /// Returns statements that make the table `scores`, with Tom and Jack.
    pub(super) fn scores(&self) -> &'static str {
        self.product.scores()
    }

    /// Runs statements in `database`.
    ///
    /// # Errors
    ///
    /// When one fails; the error holds what the server said.
    pub(super) fn run(&self, database: &str, sql: &str) -> Result<()> {
        finish(self.product.client(self.port, &LOGIN, database, sql))
    }

    /// Starts the process of the server, the first time or after it was ended.
    ///
    /// # Errors
    ///
    /// When it does not start; the error holds what it printed.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the server is killed.
    pub(super) async fn launch(&mut self) -> Result<()> {
        let serve = self.product.serve(self.folder.path(), self.port);
        let mut daemon = Daemon::start(self.name(), serve)?;
        let attempt = async || self.product.answers(self.port).await;
        daemon.ready_when(&self.url(), START_TIME, attempt).await?;
        self.running = Some(daemon);
        Ok(())
    }

    /// Ends the server at once, as a crash would.
    ///
    /// # Errors
    ///
    /// When it cannot be ended.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the server is killed.
    pub(super) async fn crash(&mut self) -> Result<()> {
        let daemon = self.running.take().context("the server is not running")?;
        if let Some(stop) = self.product.crash(self.folder.path()) {
            finish(stop)?;
        }
        daemon.kill().await
    }

    /// Stops the server and removes what it wrote.
    ///
    /// # Errors
    ///
    /// When it does not end by itself.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the server is killed.
    pub(super) async fn stop(mut self) -> Result<()> {
        if let Some(daemon) = self.running.take() {
            let status = daemon.stop(STOP_TIME).await?;
            ensure!(status.success(), "{} ended with {status}", self.name());
        }
        Ok(())
    }
}

/// Returns the program `name` in the first of `places` that has it, or else in `PATH`.
pub(super) fn find(name: &str, places: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = places.into_iter().chain(std::env::split_paths(&path));
    candidates.map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// Runs `command` to its end, quietly.
///
/// # Errors
///
/// When it fails; the error holds what it printed.
pub(super) fn finish(mut command: Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    ensure!(output.status.success(), "{name} failed ({}):\n{printed}", output.status);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_in_the_places_first() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("sh"), "").unwrap();
        let found = find("sh", [folder.path().to_owned()]).unwrap();
        assert_eq!(found, folder.path().join("sh"));
        assert_ne!(find("sh", []).unwrap(), found);
        assert_eq!(find("no such program", []), None);
    }

    #[test]
    fn a_failure_tells_what_was_printed() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo broken >&2; exit 3"]);
        let error = finish(command).unwrap_err().to_string();
        assert!(error.contains("broken") && error.contains('3'), "{error}");
    }
}
