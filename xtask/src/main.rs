//! Reads the command line and runs one task; the library says what they are.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{bench, ci, cluster, codegen, databases, interop, process::tied, tidy};

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
    Cluster(cluster::Args),
    Codegen(codegen::Args),
    Databases(databases::Args),
    Interop(interop::Args),
    Tidy(tidy::Args),
    #[command(hide = true)]
    Tied(tied::Args),
}

// One thread: the kernel ends tied children when the *thread* that started them ends, and the main
// thread ends with the process (see `process::tied`).
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Bench(args) => bench::run(&args),
        Task::Ci(args) => ci::run(&args),
        Task::Cluster(args) => cluster::run(&args).await,
        Task::Codegen(args) => codegen::run(&args),
        Task::Databases(args) => databases::run(&args).await,
        Task::Interop(args) => interop::run(&args).await,
        Task::Tidy(args) => tidy::run(&args),
        Task::Tied(args) => tied::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
