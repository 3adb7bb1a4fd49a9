//! Tasks that start real processes and check what they do together, run as `cargo xtask TASK`.
//!
//! Each task is one module with an `Args` (what clap reads) and a `run`. What they share is [`node`]
//! (node processes), [`report`] (what is told while a task runs), [`programs`] (the examples, built)
//! and [`process`] (children that never outlive the task, waiting until a server answers, ports).
//!
//! Tasks talk to this machine's loopback interface only.

#[path = "../../src/cargo.rs"]
pub mod cargo;
pub mod cluster;
pub mod databases;
pub mod faults;
pub mod interop;
pub mod node;
pub mod process;
pub mod programs;
pub mod report;
pub mod rows;
pub mod seeds;
pub mod soak;
pub(crate) mod workload;
