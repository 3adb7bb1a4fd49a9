//! The example `node` over a server: it answers, goes on while the server is gone, and says clearly
//! what it cannot open.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Client, StatusCode};

use super::server::{Product, Server};
use crate::checks::Checks;
use crate::process::{Daemon, ports};

/// Where the search for free ports begins.
const FIRST_PORT: u16 = 8300;
/// How long a node may take until it answers.
const READY_TIME: Duration = Duration::from_secs(30);
/// How long a node may take to end: more than its own limit.
const STOP_TIME: Duration = Duration::from_secs(15);
/// The database that the node is shown.
const DATABASE: &str = "shop";

/// Makes every check of a node over `server`, which is running before and after.
///
/// # Errors
///
/// When the server cannot be prepared, or the node does not start or end.
///
/// # Cancel safety
///
/// When the future is dropped the node is killed.
pub(super) async fn check<P: Product>(
    program: &Path,
    server: &mut Server<P>,
    checks: &mut Checks,
) -> Result<()> {
    let system = server.system_database();
    server.run(system, &format!("CREATE DATABASE {DATABASE}"))?;
    server.run(DATABASE, server.scores())?;
    let url = format!("{}/{DATABASE}", server.url());
    let node = Node::start(program, &url).await?;

    let mut note = |check, found: Result<String>| checks.add(server.name(), check, found);
    note("node: a row is read, a missing one is 404", node.reads_rows().await);
    note("node: wrong password, exit code 2 and one line", refuses_password(program, &url));
    let (gone, back) = node.outlives(server).await?;
    let mut note = |check, found: Result<String>| checks.add(server.name(), check, found);
    note("node: server gone, 502 and healthy", gone);
    note("node: server back, the next get succeeds", back);
    let ended = node.daemon.stop(STOP_TIME).await?;
    note("node: ends with 0 on SIGTERM", ended.success().then(String::new).context("it did not"));
    Ok(())
}

/// A running node, which has no peers.
struct Node {
    daemon: Daemon,
    api: String,
    client: Client,
}

impl Node {
    async fn start(program: &Path, url: &str) -> Result<Self> {
        let ports = ports::free_from(FIRST_PORT, 2)?;
        let api = format!("127.0.0.1:{}", ports[1]);
        let mut daemon = Daemon::start("node", command(program, ports[0], &api, url))?;
        daemon.ready(&format!("http://{api}/healthz"), READY_TIME).await?;
        Ok(Self { daemon, api, client: Client::new() })
    }

    /// Returns the status and the text of an answer.
    async fn get(&self, path: &str) -> Result<(StatusCode, String)> {
        let answer = self.client.get(format!("http://{}{path}", self.api)).send().await?;
        Ok((answer.status(), answer.text().await?.trim().to_owned()))
    }

    async fn expect(&self, path: &str, status: StatusCode, part: &str) -> Result<String> {
        let (found, text) = self.get(path).await?;
        ensure!(found == status && text.contains(part), "{path}: {found}, {text}");
        ensure!(!text.contains('\n'), "{path}: more than one line: {text}");
        Ok(text)
    }

    async fn reads_rows(&self) -> Result<String> {
        self.expect("/api?key=Tom", StatusCode::OK, "630").await?;
        self.expect("/api?key=Nobody", StatusCode::NOT_FOUND, "Nobody").await
    }

    /// Lets the server vanish and come back, and returns what was found meanwhile and after.
    async fn outlives<P: Product>(
        &self,
        server: &mut Server<P>,
    ) -> Result<(Result<String>, Result<String>)> {
        server.vanish().await?;
        let gone = self.goes_on().await;
        server.appear().await?;
        Ok((gone, self.expect("/api?key=Jack", StatusCode::OK, "589").await))
    }

    async fn goes_on(&self) -> Result<String> {
        self.expect("/api?key=Tom", StatusCode::OK, "630").await?;
        self.expect("/healthz", StatusCode::OK, "").await?;
        self.expect("/api?key=Jack", StatusCode::BAD_GATEWAY, "database").await
    }
}

fn command(program: &Path, port: u16, api: &str, database: &str) -> Command {
    let own = format!("http://127.0.0.1:{port}");
    let mut command = Command::new(program);
    command.args(["--addr", &own, "--peers", &own, "--api", api, "--db", database]);
    command
}

/// Starts a node with another password and reads why it does not start.
fn refuses_password(program: &Path, url: &str) -> Result<String> {
    let (front, host) = url.rsplit_once('@').context("the URL has no user")?;
    let (user, _) = front.rsplit_once(':').context("the URL has no password")?;
    // It does not come to listening.
    let database = format!("{user}:wrong@{host}");
    let mut command = command(program, FIRST_PORT, "127.0.0.1:0", &database);
    let output = command.stdin(Stdio::null()).output().context("cannot run node")?;
    let errors = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    ensure!(output.status.code() == Some(2), "it ended with {}: {errors}", output.status);
    ensure!(errors.lines().count() == 1, "it printed more than one line: {errors}");
    ensure!(errors.contains(&format!("{user}:***@{host}")), "{errors}");
    ensure!(!errors.contains("wrong"), "it tells the password: {errors}");
    Ok(errors)
}
