//! Runs the tests that need servers, and reads what they report.

use std::process::Stdio;

use anyhow::{Context, Result, anyhow, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::cargo::cargo;
use crate::report::Report;

/// The module of the example's tests that is run; each kind of database has a module in it.
const MODULE: &str = "databases::";

/// Runs the example's tests over all kinds of database and notes each as a check.
///
/// # Errors
///
/// When the tests cannot be built or none is run.
///
/// # Cancel safety
///
/// When the future is dropped the run is killed.
pub(super) async fn run(urls: [(&str, String); 2], report: &mut Report) -> Result<()> {
    report.part("The tests of `node` over each kind of database");
    let mut command = cargo(["test", "--package", "examples", "--test", "it", "--"]);
    // One at a time: a test that counts the server's queries must be alone with it.
    command.args([MODULE, "--include-ignored", "--test-threads=1"]).envs(urls);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut command = tokio::process::Command::from(command);
    let mut child = command.kill_on_drop(true).spawn().context("cargo")?;
    let stdout = child.stdout.take().context("cargo has no standard output")?;
    let (mut lines, mut tests) = (BufReader::new(stdout).lines(), 0);
    while let Some(line) = lines.next_line().await? {
        let Some(Outcome { kind, check, passed }) = Outcome::of_line(&line) else {
            println!("{line}");
            continue;
        };
        tests += 1;
        let found = if passed { Ok("") } else { Err(anyhow!("see below")) };
        report.check(&format!("{kind}: {check}"), found);
    }
    let status = child.wait().await?;
    ensure!(status.success() || tests > 0, "cargo test failed ({status})");
    Ok(())
}

#[derive(Debug, PartialEq)]
struct Outcome {
    kind: &'static str,
    check: String,
    passed: bool,
}

impl Outcome {
    /// Reads `test databases::values::mysql::some_behaviour ... ok`.
    fn of_line(line: &str) -> Option<Self> {
        let (path, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
        let (kind, name) = path.strip_prefix(MODULE)?.rsplit_once("::")?;
        let kind = match kind.rsplit("::").next()? {
            "mysql" | "mysql_only" => "MariaDB",
            "postgres" => "PostgreSQL",
            "sqlite" => "SQLite",
            _ => "all",
        };
        Some(Self { kind, check: name.replace('_', " "), passed: outcome == "ok" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_test_runner_is_read() {
        let line = "test databases::values::mysql::any_bytes ... ok";
        let expected = Outcome { kind: "MariaDB", check: "any bytes".into(), passed: true };
        assert_eq!(Outcome::of_line(line), Some(expected));
        let failed = Outcome::of_line("test databases::refusals::a_wrong_scheme ... FAILED");
        assert!(failed.is_some_and(|outcome| outcome.kind == "all" && !outcome.passed));
        assert_eq!(Outcome::of_line("test cluster::starts ... ok"), None);
    }
}
