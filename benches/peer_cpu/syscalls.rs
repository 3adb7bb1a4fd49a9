//! How many system calls a get takes, by `strace`, on runtimes of one thread.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::owner::{OWN_IN_ONE_THREAD, Process};
use crate::peers::{Asker, Contender};

const GETS: usize = 100_000;
const AT_A_TIME: usize = 64;
const VALUE_BYTES: usize = 100;

/// Counts the calls of both processes, and prints them.
pub(crate) fn count() -> Result<()> {
    let folder = std::env::temp_dir();
    let file = |side: &str| folder.join(format!("peer_cpu-{side}-{}", std::process::id()));
    let (ours, theirs) = (file("asker"), file("owner"));
    let owner =
        Process::start(traced(&theirs)?, OWN_IN_ONE_THREAD, Contender::Carrotcache, VALUE_BYTES)?;
    let status = traced(&ours)?.args(["ask", &owner.address.to_string()]).status()?;
    anyhow::ensure!(status.success(), "the asker failed");
    drop(owner);
    println!("System calls a get, {AT_A_TIME} at a time, 100 B, on one thread each:");
    for (side, file) in [("asker", ours), ("owner", theirs)] {
        println!("{side} {:.3}", total(&file)? as f64 / GETS as f64);
    }
    Ok(())
}

/// Returns a command that runs this program and leaves in `file` what it called.
fn traced(file: &Path) -> Result<Command> {
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-o"]).arg(file).arg(std::env::current_exe()?);
    Ok(command)
}

/// Asks an owner, in a process that is traced.
pub(crate) async fn ask(address: &str) -> Result<()> {
    let asker = Asker::new(Contender::Carrotcache, address.parse()?, VALUE_BYTES).await?;
    asker.get_many(GETS, AT_A_TIME).await
}

/// Returns the number of calls in the last line of a summary, and removes it.
fn total(file: &PathBuf) -> Result<u64> {
    let summary = std::fs::read_to_string(file).context("strace leaves a summary")?;
    std::fs::remove_file(file)?;
    let line = summary.lines().find(|line| line.trim_end().ends_with("total"));
    let calls = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    calls.context("a total")
}
