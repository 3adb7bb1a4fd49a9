//! Tasks that start real processes and check what they do together, run as `cargo xtask TASK`.
//!
//! Each task is one module with an `Args` (what clap reads) and a `run`. What they share is
//! [`process`] (children that never outlive the task, waiting until a server answers, ports),
//! [`programs`] (the examples, built) and [`checks`] (the table of what was checked).
//!
//! Tasks talk to this machine's loopback interface only.

#[path = "../../src/cargo.rs"]
pub mod cargo;
pub mod checks;
pub mod cluster;
pub mod databases;
pub mod interop;
pub mod process;
pub mod programs;
