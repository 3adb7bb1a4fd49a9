//! Reads the command line and runs one task; the library says what they are.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use e2e::{cluster, databases, faults, interop, process::tied, rows, soak};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Tasks over real processes")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Cluster(cluster::Args),
    Databases(databases::Args),
    Faults(faults::Args),
    Interop(interop::Args),
    Rows(rows::Args),
    #[command(hide = true)]
    RowNode(rows::node::Args),
    Soak(soak::Args),
    #[command(hide = true)]
    Tied(tied::Args),
}

// One thread: the kernel ends tied children when the *thread* that started them ends, and the main
// thread ends with the process (see `process::tied`).
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tied::offer();
    let outcome = match Cli::parse().task {
        Task::Cluster(args) => cluster::run(&args).await,
        Task::Databases(args) => databases::run(&args).await,
        Task::Faults(args) => faults::run(&args).await,
        Task::Interop(args) => interop::run(&args).await,
        Task::Rows(args) => rows::run(&args).await,
        Task::RowNode(args) => rows::node::run(&args).await,
        Task::Soak(args) => soak::run(&args).await,
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
