//! `cargo xtask tidy`: what the workspace promises and no compiler checks.
//!
//! Each check is a module with one function that returns what it found wrong, a line each. Unwraps
//! outside tests, missing documentation and unsafe code are clippy's and rustc's to find (the lints
//! are in the root manifest; that every package inherits them is checked here).

mod arrows;
mod circles;
mod examples;
mod folders;
mod manifests;
mod pages;
mod sizes;

use anyhow::{Result, ensure};

use crate::workspace;

/// Check arrows, circles, sizes, folders, manifests, examples and pages
#[derive(clap::Args)]
pub struct Args {}

/// Runs every check and prints what it found, as soon as it has.
///
/// # Errors
///
/// When anything was found, or a file cannot be read.
pub fn run(_: &Args) -> Result<()> {
    let root = workspace::root();
    let metadata = workspace::metadata()?;
    let found = [
        show("arrows between crates", arrows::check(&metadata)),
        show("circles between files", circles::check(&metadata)?),
        show("file sizes", sizes::check(root)?),
        show("modules in folders", folders::check(root)?),
        show("manifests", manifests::check(root)?),
        show("examples", examples::check(&root.join("examples"))?),
        show("pages", pages::check(root)?),
    ];
    let found = found.iter().sum::<usize>();
    ensure!(found == 0, "tidy found {found} faults");
    Ok(())
}

/// Prints what a check found, and returns how many faults that is.
fn show(check: &str, faults: Vec<String>) -> usize {
    println!("{} {check}", if faults.is_empty() { "ok    " } else { "FAILED" });
    faults.iter().for_each(|fault| println!("       {fault}"));
    faults.len()
}
