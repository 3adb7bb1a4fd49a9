//! `cargo xtask fuzz`: runs the fuzz targets, each for a while.
//!
//! They are built by the compiler that builds everything else. The flags that fuzzing needs are
//! unstable, so it is told to take them as a nightly compiler does; the code itself needs none.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use toml::Table;

use crate::workspace;

/// Run the fuzz targets in fuzz/ under AddressSanitizer, each for a while
#[derive(clap::Args)]
pub struct Args {
    /// Run only these targets (default: all)
    targets: Vec<String>,
    /// How long each target runs, in seconds
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Build the targets, and run none
    #[arg(long)]
    build: bool,
}

/// An input that takes longer than this is a fault: links that hang are found by it.
const INPUT_SECONDS: u64 = 10;

/// Builds the targets and runs them one after the other. The first fault ends the run; the input that
/// shows it stays in `fuzz/artifacts`.
///
/// # Errors
///
/// When cargo-fuzz is missing, there is no such target, or a target finds a fault.
pub fn run(args: &Args) -> Result<()> {
    let known = targets(&std::fs::read_to_string(workspace::root().join("fuzz/Cargo.toml"))?)?;
    if let Some(unknown) = args.targets.iter().find(|target| !known.contains(target)) {
        bail!("there is no fuzz target `{unknown}`, only {}", known.join(", "));
    }
    need_cargo_fuzz()?;
    ensure!(cargo_fuzz("build", &[]).status()?.success(), "the fuzz targets do not build");
    let wanted = if args.targets.is_empty() { &known } else { &args.targets };
    for target in wanted.iter().filter(|_| !args.build) {
        let seconds = args.seconds;
        println!("fuzzing {target} for {seconds} s");
        let rest = [
            target.clone(),
            "--".to_owned(),
            format!("-max_total_time={seconds}"),
            format!("-timeout={INPUT_SECONDS}"),
            // Long inputs from the start: half a minute is too short to come to them step by step.
            "-len_control=0".to_owned(),
            "-print_final_stats=1".to_owned(),
            "-print_funcs=0".to_owned(),
            "-verbosity=0".to_owned(),
        ];
        let status = cargo_fuzz("run", &rest).status()?;
        ensure!(status.success(), "the fuzz target `{target}` found a fault: see above");
    }
    Ok(())
}

/// Returns the names of the targets that a manifest has.
fn targets(manifest: &str) -> Result<Vec<String>> {
    let manifest: Table = manifest.parse().context("fuzz/Cargo.toml")?;
    let bins = manifest.get("bin").and_then(|bins| bins.as_array());
    let names = bins.into_iter().flatten().filter_map(|bin| bin.get("name")?.as_str());
    let names: Vec<String> = names.map(str::to_owned).collect();
    ensure!(!names.is_empty(), "fuzz/Cargo.toml has no [[bin]] with a name");
    Ok(names)
}

fn need_cargo_fuzz() -> Result<()> {
    let mut version = workspace::cargo(["fuzz", "--version"]);
    let version = version.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    ensure!(
        version.success(),
        "cargo-fuzz is missing, and nothing was fuzzed: `cargo install --locked cargo-fuzz`"
    );
    Ok(())
}

/// Returns a command of cargo-fuzz, with these arguments after its own.
fn cargo_fuzz(command: &str, rest: &[String]) -> Command {
    // Beside everything else that is built, so that `cargo clean` takes it along.
    let target_dir = workspace::root().join("target/fuzz").into_os_string();
    let own = ["fuzz", command, "--target-dir"].map(OsString::from);
    let rest = rest.iter().map(OsString::from);
    let mut cargo = workspace::cargo(own.into_iter().chain([target_dir]).chain(rest));
    cargo.current_dir(workspace::root().join("fuzz")).env("RUSTC_BOOTSTRAP", "1");
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_from_the_manifest() {
        let manifest = "[package]\nname = \"fuzz\"\n[[bin]]\nname = \"a\"\n[[bin]]\nname = \"b\"";
        assert_eq!(targets(manifest).unwrap(), ["a", "b"]);
        assert!(targets("[package]").is_err());
    }

    #[test]
    fn an_unknown_target_is_an_error_that_names_it_and_the_known_ones() {
        let args = Args { targets: vec!["ring".to_owned()], seconds: 1, build: false };
        let error = run(&args).unwrap_err().to_string();
        assert!(error.contains("`ring`") && error.contains("lru"), "{error}");
    }
}
