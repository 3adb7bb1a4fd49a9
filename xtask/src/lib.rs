//! The tasks of the workspace, run as `cargo xtask TASK`.
//!
//! Each task is one module with an `Args` (what clap reads) and a `run`; `cargo xtask --help` lists
//! them. To add one: a module here, a variant and an arm in `main.rs`. What tasks share is
//! [`workspace`] (where things are, how cargo is called), [`process`] (children that never outlive the
//! task, waiting until a server answers, ports) and [`checks`] (the table of what was checked).
//!
//! Tasks talk to this machine's loopback interface only.

pub mod bench;
pub mod checks;
pub mod ci;
pub mod cluster;
pub mod codegen;
pub mod databases;
pub mod interop;
pub mod process;
pub mod tidy;
pub mod workspace;
