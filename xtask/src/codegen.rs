//! `cargo xtask codegen`: writes the Rust types of the wire contract in `proto/`.
//!
//! The result is checked in, so that whoever builds the crates needs neither `protoc` nor this task;
//! `--check` tells whether it is still what the contract says.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use prost_build::Module;

use crate::workspace;

/// Generate the wire types of `carrotcache-peer-http` from proto/groupcache.proto
#[derive(clap::Args)]
pub struct Args {
    /// Write nothing; fail if the checked-in file is not what would be written
    #[arg(long)]
    check: bool,
}

const CONTRACT: &str = "proto/groupcache.proto";
const OUTPUT: &str = "crates/peer-http/src/wire/generated.rs";

// The module that holds the file is private, and `GetRequest` never crosses the wire over HTTP:
// group and key travel in the path.
const HEADER: &str = "\
// @generated from proto/groupcache.proto by `cargo xtask codegen`; do not edit.
#![allow(dead_code, missing_docs, unreachable_pub)]
";

/// Writes the generated file, or compares it when `--check` is given.
///
/// # Errors
///
/// When the contract cannot be read, rustfmt is missing, or the checked-in file is out of date.
pub fn run(args: &Args) -> Result<()> {
    let generated = rustfmt(&generate(&workspace::root().join(CONTRACT))?)?;
    let output = workspace::root().join(OUTPUT);
    // A missing file is one that is not up to date.
    let current = std::fs::read_to_string(&output).unwrap_or_default();
    if current == generated {
        println!("{OUTPUT} is up to date");
        return Ok(());
    }
    if args.check {
        bail!(
            "{OUTPUT} is not what {CONTRACT} says: run `cargo xtask codegen` and commit the result"
        );
    }
    std::fs::write(&output, generated).with_context(|| format!("cannot write {OUTPUT}"))?;
    println!("wrote {OUTPUT}");
    Ok(())
}

fn generate(contract: &Path) -> Result<String> {
    let folder = contract.parent().unwrap_or(Path::new("."));
    let descriptors = protox::compile([contract], [folder])
        .with_context(|| format!("{} is at fault", contract.display()))?;
    let requests =
        descriptors.file.into_iter().map(|file| (Module::from_parts([""]), file)).collect();
    // `Bytes` lets a value be taken out of an answer without a copy.
    let modules = prost_build::Config::new().bytes(["."]).generate(requests)?;
    let code = modules.into_values().next().context("the contract holds no message")?;
    Ok(HEADER.to_owned() + &code)
}

fn rustfmt(code: &str) -> Result<String> {
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(workspace::root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("rustfmt is missing: `rustup component add rustfmt`")?;
    // Dropped at the end of the statement, which tells rustfmt that this was all.
    child.stdin.take().context("rustfmt has no standard input")?.write_all(code.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "rustfmt failed ({})", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_fields_become_shared_bytes() {
        let code = generate(&workspace::root().join(CONTRACT)).unwrap();
        assert!(code.starts_with("// @generated"));
        assert!(code.contains("prost::bytes::Bytes"), "{code}");
    }

    #[test]
    fn a_contract_at_fault_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let contract = folder.path().join("broken.proto");
        std::fs::write(&contract, "message {").unwrap();
        let error = generate(&contract).unwrap_err();
        assert!(error.to_string().ends_with("broken.proto is at fault"), "{error}");
    }
}
