//! `cargo xtask tidy`: what the workspace promises and no compiler checks.
//!
//! Each check is a module with one function that returns what it found wrong, a line each. Unwraps
//! outside tests, missing documentation and unsafe code are clippy's and rustc's to find (the lints
//! are in the root manifest; that every package inherits them is checked here).

mod arrows;
mod circles;
mod examples;
mod manifests;
mod sizes;

use anyhow::{Result, ensure};

use crate::workspace;

/// Check arrows between crates, file sizes, manifests and the list of examples
#[derive(clap::Args)]
pub struct Args {}

/// Runs every check and prints what it found.
///
/// # Errors
///
/// When anything was found, or a file cannot be read.
pub fn run(_: &Args) -> Result<()> {
    let checks = [
        ("arrows between crates", arrows::check(&workspace::metadata()?)),
        ("circles between files", circles::check(&workspace::metadata()?)?),
        ("file sizes", sizes::check(workspace::root())?),
        ("manifests", manifests::check(workspace::root())?),
        ("examples", examples::check(&workspace::root().join("examples"))?),
    ];
    let mut found = 0;
    for (name, faults) in checks {
        println!("{} {name}", if faults.is_empty() { "ok    " } else { "FAILED" });
        faults.iter().for_each(|fault| println!("       {fault}"));
        found += faults.len();
    }
    ensure!(found == 0, "tidy found {found} faults");
    Ok(())
}
