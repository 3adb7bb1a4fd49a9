//! The example `node` over a server: it answers, goes on while the server is gone, and says clearly
//! what it cannot open.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::server::{Product, Server};
use crate::node::Node;
use crate::node::addresses::{Addresses, Ports, on_free_addresses};
use crate::node::api::Api;
use crate::report::Report;

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
    report: &mut Report,
) -> Result<()> {
    report.part(&format!("A node over {}", server.name()));
    let system = server.system_database();
    server.run(system, &format!("CREATE DATABASE {DATABASE}"))?;
    server.run(DATABASE, server.scores())?;
    let url = format!("{}/{DATABASE}", server.url());
    let start = async |addresses: &Addresses| {
        let mut node = Node::new("node", program, addresses, 0, &url)?;
        node.start().await?;
        Ok(node)
    };
    let mut node = on_free_addresses(Ports::Usual, 1, start).await?;

    report.check("a row is read, a missing one is 404", reads_rows(node.api()).await);
    report.check("wrong password, exit code 2 and one line", refuses_password(program, &url));
    server.crash().await?;
    report.check("server gone, 502 and healthy", goes_on(node.api()).await);
    server.launch().await?;
    let back = expect(node.api(), "/api?key=Jack", 200, "589").await;
    report.check("server back, the next get succeeds", back);
    report.check("ends with 0 on SIGTERM", node.stop().await.map(|()| ""));
    Ok(())
}

async fn reads_rows(api: &Api) -> Result<String> {
    expect(api, "/api?key=Tom", 200, "630").await?;
    expect(api, "/api?key=Nobody", 404, "Nobody").await
}

async fn goes_on(api: &Api) -> Result<String> {
    expect(api, "/api?key=Tom", 200, "630").await?;
    expect(api, "/healthz", 200, "").await?;
    expect(api, "/api?key=Jack", 502, "database").await
}

/// Returns the answer, which must be one line that holds `part`.
async fn expect(api: &Api, path: &str, status: u16, part: &str) -> Result<String> {
    let (found, body) = api.get(path).await?;
    let text = String::from_utf8_lossy(&body).trim().to_owned();
    ensure!(found == status && text.contains(part), "{path}: {found}, {text}");
    ensure!(!text.contains('\n'), "{path}: more than one line: {text}");
    Ok(text)
}

/// Starts a node with another password and reads why it does not start.
fn refuses_password(program: &Path, url: &str) -> Result<String> {
    let (front, host) = url.rsplit_once('@').context("the URL has no user")?;
    let (user, _) = front.rsplit_once(':').context("the URL has no password")?;
    let database = format!("{user}:wrong@{host}");
    let addresses = Addresses::free(Ports::Any, 1)?;
    let mut command = Node::new("node", program, &addresses, 0, &database)?.command();
    let output = command.stdin(Stdio::null()).output().context("cannot run node")?;
    let errors = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    ensure!(output.status.code() == Some(2), "it ended with {}: {errors}", output.status);
    ensure!(errors.lines().count() == 1, "it printed more than one line: {errors}");
    ensure!(errors.contains(&format!("{user}:***@{host}")), "{errors}");
    ensure!(!errors.contains("wrong"), "it tells the password: {errors}");
    Ok(errors)
}
