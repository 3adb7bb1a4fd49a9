//! Reads the command line and runs one task; the library says what they are.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{bench, ci, codegen, e2e, fuzz, tidy};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The tasks of the workspace")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Bench(bench::Args),
    Ci(ci::Args),
    /// Start a cluster of `node` processes over one database, and show what it does
    Cluster(e2e::Args),
    Codegen(codegen::Args),
    /// Test the loader of the example `node` over private MariaDB and PostgreSQL servers
    Databases(e2e::Args),
    Fuzz(fuzz::Args),
    /// Check that nodes of Go's groupcache and ours can share a ring
    Interop(e2e::Args),
    /// Have faults happen to real nodes, and see what they cost
    Faults(e2e::Args),
    /// Update and remove rows of real nodes that are killed and stopped, and see what is read
    Rows(e2e::Args),
    /// Have nodes share a ring with peers that misbehave, and see what they use and answer
    Soak(e2e::Args),
    Tidy(tidy::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Bench(args) => bench::run(&args),
        Task::Ci(args) => ci::run(&args),
        Task::Cluster(args) => e2e::run("cluster", &args),
        Task::Codegen(args) => codegen::run(&args),
        Task::Databases(args) => e2e::run("databases", &args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Interop(args) => e2e::run("interop", &args),
        Task::Faults(args) => e2e::run("faults", &args),
        Task::Rows(args) => e2e::run("rows", &args),
        Task::Soak(args) => e2e::run("soak", &args),
        Task::Tidy(args) => tidy::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
