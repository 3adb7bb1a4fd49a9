//! Hands over to the package `e2e`, whose tasks start real processes.
//!
//! It is run as a program, not used as a library, so that `cargo xtask ci` and `cargo xtask tidy` are
//! built without the HTTP client, the runtime and the terminal that it needs.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};

use crate::cargo::cargo;

/// What follows the name of the task; `e2e` reads it, `--help` included.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    rest: Vec<OsString>,
}

/// Becomes `e2e` with the task `name`, built first where it has to be; returns only if that fails.
///
/// The process stays the same, so a signal reaches the task and its exit code is ours.
///
/// # Errors
///
/// When cargo cannot be run.
pub fn run(name: &str, args: &Args) -> Result<()> {
    let mut command = cargo(["run", "--quiet", "--package", "e2e", "--", name]);
    Err(command.args(&args.rest).exec()).context("cannot run cargo")
}
