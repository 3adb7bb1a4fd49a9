//! Ties a child's life to ours, so that it ends even when we are killed.
//!
//! On Linux a process can ask to be killed when its parent ends, but it must ask for itself, between
//! fork and exec. Rust can run code there only by an unsafe call, so the child starts as this program
//! once more (`e2e tied`), asks, and then becomes the wanted program: same process id, no helper
//! left over. Elsewhere a child is killed when its handle is dropped, which covers all but SIGKILL.

use std::ffi::OsString;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;

/// Become PROGRAM, tied to the life of the process that started this one
#[derive(clap::Args)]
pub struct Args {
    /// Id of the process that started this one
    parent: u32,
    /// What to become
    program: OsString,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Whether this program can be started as `tied`.
static OFFERED: AtomicBool = AtomicBool::new(false);

/// Says that this program, started with `tied` and [`Args`], calls [`run`]; until then [`tie`] does
/// nothing. Tests are programs of their own, which do not.
pub fn offer() {
    OFFERED.store(true, Ordering::Relaxed);
}

/// Returns `command` changed such that it ends when this process does, whatever ends it.
///
/// It must be started on the main thread: the kernel looks at the thread that starts a child.
///
/// Wherever it is not Linux the command comes back as it is, and also where nobody called [`offer`].
#[must_use]
pub fn tie(command: Command) -> Command {
    if cfg!(not(target_os = "linux")) || !OFFERED.load(Ordering::Relaxed) {
        return command;
    }
    // Not `current_exe`: its path is gone when cargo builds this program anew while it runs.
    let mut tied = Command::new("/proc/self/exe");
    tied.arg("tied").arg(std::process::id().to_string());
    tied.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(name, value),
            None => tied.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        tied.current_dir(folder);
    }
    tied
}

/// Becomes the program; returns only if that fails.
///
/// # Errors
///
/// When the parent has ended already, or the program cannot be run.
#[cfg(target_os = "linux")]
pub fn run(args: &Args) -> Result<()> {
    use std::os::unix::process::CommandExt;

    use anyhow::Context;
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};

    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have ended before we asked; then nobody will tell us.
    let parent = getppid().map(|id| id.as_raw_nonzero().get().unsigned_abs());
    anyhow::ensure!(parent == Some(args.parent), "the parent has ended");
    let error = Command::new(&args.program).args(&args.args).exec();
    Err(error).with_context(|| format!("cannot run {}", args.program.display()))
}

/// Runs nothing: [`tie`] never asks for it here.
///
/// # Errors
///
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn run(_: &Args) -> Result<()> {
    anyhow::bail!("only Linux ties processes")
}
