//! `cargo xtask bench`: the comparisons, in rounds, as tables and charts in `benches/results/`.
//!
//! A machine is never equally fast for long: what runs beside the benchmark, and how warm the
//! processor is, change within minutes by more than the difference between two libraries. So each
//! round measures every contender once and shortly, and what counts is the ratio *within* a round.
//!
//! A benchmark follows one convention: a criterion group is a scenario, a function in it is a
//! contender, ours is called `carrotcache` and the others by their crate. A benchmark that does
//! not use criterion is run once, and what it prints is kept as it is.

mod chart;
mod machine;
mod report;
mod results;

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace;
use machine::Machine;
use results::Results;

/// Run the benchmarks in short rounds and write benches/results/
#[derive(clap::Args)]
pub struct Args {
    /// Run only these benchmarks (default: all)
    names: Vec<String>,
    /// How often each contender is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure each contender only as long as it takes to see that it runs
    #[arg(long)]
    quick: bool,
}

/// Runs the benchmarks and writes a table and a chart for each.
///
/// # Errors
///
/// When a benchmark is unknown, does not build or fails, or a result cannot be written.
pub fn run(args: &Args) -> Result<()> {
    let known = benchmarks(&workspace::metadata()?);
    if let Some(unknown) = args.names.iter().find(|name| !known.contains(name)) {
        bail!("there is no benchmark `{unknown}`, but there are: {}", known.join(", "));
    }
    let names = if args.names.is_empty() { &known } else { &args.names };
    for name in names {
        build(name)?;
    }
    let machine = Machine::read()?;
    for name in names {
        let folder = workspace::root().join("benches/results");
        std::fs::create_dir_all(&folder)?;
        measure(name, args, &machine, &folder).with_context(|| format!("benchmark `{name}`"))?;
    }
    Ok(())
}

/// Returns the names of all benchmarks of the package `benches`.
fn benchmarks(metadata: &serde_json::Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages
        .filter(|package| package["name"] == "benches")
        .flat_map(|package| package["targets"].as_array().into_iter().flatten())
        .filter(|target| target["kind"][0] == "bench")
        .filter_map(|target| Some(target["name"].as_str()?.to_owned()))
        .collect()
}

fn build(name: &str) -> Result<()> {
    let args = ["bench", "--quiet", "--package", "benches", "--bench", name, "--no-run"];
    let status = workspace::cargo(args).status().context("cargo bench")?;
    ensure!(status.success(), "benchmark `{name}` does not build ({status})");
    Ok(())
}

/// Measures one benchmark and writes its table and its chart into `folder`.
fn measure(name: &str, args: &Args, machine: &Machine, folder: &Path) -> Result<()> {
    let home = workspace::root().join("target/xtask-bench").join(name);
    if home.exists() {
        std::fs::remove_dir_all(&home)?;
    }
    let mut results = Results::default();
    for round in 1..=args.rounds {
        eprintln!("{name}: round {round} of {}", args.rounds);
        let printed = one_round(name, args.quick, &home)?;
        if !home.exists() {
            let text = report::printed(name, machine, &printed);
            return write(&folder.join(format!("{name}.md")), &text);
        }
        results.add(results::read(&home)?);
    }
    let results = results.sorted();
    let table = report::table(name, args.rounds, machine, &results);
    write(&folder.join(format!("{name}.svg")), &chart::draw(&results))?;
    write(&folder.join(format!("{name}.md")), &table)
}

/// Runs a benchmark once and returns what it printed; criterion's figures go below `home`.
fn one_round(name: &str, quick: bool, home: &Path) -> Result<String> {
    let mut command =
        workspace::cargo(["bench", "--quiet", "--package", "benches", "--bench", name]);
    if uses_criterion(name)? {
        let lengths = "--sample-size 15 --warm-up-time 0.2 --measurement-time 0.6";
        let lengths = if quick { "--quick" } else { lengths };
        command.args(["--", "--noplot"]).args(lengths.split(' '));
    }
    let output = command.env("CRITERION_HOME", home).output().context("cargo bench")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo bench failed ({})\n{errors}", output.status);
    String::from_utf8(output.stdout).context("it printed something else than text")
}

fn uses_criterion(name: &str) -> Result<bool> {
    let source = workspace::root().join("benches").join(format!("{name}.rs"));
    let text = std::fs::read_to_string(&source).with_context(|| workspace::relative(&source))?;
    Ok(text.contains("criterion_main!"))
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| workspace::relative(path))?;
    eprintln!("wrote {}", workspace::relative(path));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn benchmarks_are_the_bench_targets_of_one_package() {
        let metadata = serde_json::json!({ "packages": [
            { "name": "benches", "targets": [
                { "name": "benches", "kind": ["lib"] },
                { "name": "lru", "kind": ["bench"] },
            ] },
            { "name": "other", "targets": [{ "name": "alien", "kind": ["bench"] }] },
        ] });
        assert_eq!(benchmarks(&metadata), ["lru"]);
    }

    #[test]
    fn every_benchmark_of_the_workspace_has_its_source_where_it_is_looked_for() {
        for name in benchmarks(&workspace::metadata().unwrap()) {
            uses_criterion(&name).unwrap();
        }
    }
}
