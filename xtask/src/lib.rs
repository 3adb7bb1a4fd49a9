//! The tasks of the workspace, run as `cargo xtask TASK`.
//!
//! Each task is one module with an `Args` (what clap reads) and a `run`; `cargo xtask --help` lists
//! them. To add one: a module here, a variant and an arm in `main.rs`. What tasks share is
//! [`workspace`] (its packages and files) and [`cargo`] (how it is called).
//!
//! Tasks that start nodes, servers and clients are a package of their own, `e2e`, which [`e2e`]
//! hands over to: whoever runs another task does not build it.

pub mod bench;
pub mod cargo;
pub mod ci;
pub mod codegen;
pub mod e2e;
pub mod fuzz;
pub mod tidy;
pub mod workspace;
