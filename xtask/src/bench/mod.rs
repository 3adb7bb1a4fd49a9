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

use std::path::{Path, PathBuf};

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
    let mut wanted = benchmarks(&workspace::metadata()?);
    let names: Vec<_> = wanted.iter().map(|benchmark| benchmark.name.clone()).collect();
    if let Some(unknown) = args.names.iter().find(|name| !names.contains(name)) {
        bail!("there is no benchmark `{unknown}`, but there are: {}", names.join(", "));
    }
    wanted.retain(|benchmark| args.names.is_empty() || args.names.contains(&benchmark.name));
    for benchmark in &wanted {
        build(&benchmark.name)?;
    }
    let machine = Machine::read()?;
    for benchmark in &wanted {
        let folder = workspace::root().join("benches/results");
        std::fs::create_dir_all(&folder)?;
        measure(benchmark, args, &machine, &folder)
            .with_context(|| format!("benchmark `{}`", benchmark.name))?;
    }
    Ok(())
}

#[derive(Debug, PartialEq)]
struct Benchmark {
    name: String,
    /// The file that cargo builds it from.
    source: PathBuf,
}

/// Returns all benchmarks of the package `benches`.
fn benchmarks(metadata: &serde_json::Value) -> Vec<Benchmark> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages
        .filter(|package| package["name"] == "benches")
        .flat_map(|package| package["targets"].as_array().into_iter().flatten())
        .filter(|target| target["kind"][0] == "bench")
        .filter_map(|target| {
            let [name, source] = ["name", "src_path"].map(|field| target[field].as_str());
            Some(Benchmark { name: name?.to_owned(), source: source?.into() })
        })
        .collect()
}

fn build(name: &str) -> Result<()> {
    let args = ["bench", "--quiet", "--package", "benches", "--bench", name, "--no-run"];
    let status = workspace::cargo(args).status().context("cargo bench")?;
    ensure!(status.success(), "benchmark `{name}` does not build ({status})");
    Ok(())
}

/// Measures one benchmark and writes its table and its chart into `folder`.
fn measure(benchmark: &Benchmark, args: &Args, machine: &Machine, folder: &Path) -> Result<()> {
    let name = &*benchmark.name;
    let home = workspace::root().join("target/xtask-bench").join(name);
    if home.exists() {
        std::fs::remove_dir_all(&home)?;
    }
    let mut results = Results::default();
    for round in 1..=args.rounds {
        eprintln!("{name}: round {round} of {}", args.rounds);
        let printed = one_round(benchmark, args.quick, &home)?;
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
fn one_round(benchmark: &Benchmark, quick: bool, home: &Path) -> Result<String> {
    let args = ["bench", "--quiet", "--package", "benches", "--bench", &benchmark.name];
    let mut command = workspace::cargo(args);
    if uses_criterion(&benchmark.source)? {
        let lengths = "--sample-size 15 --warm-up-time 0.2 --measurement-time 0.6";
        let lengths = if quick { "--quick" } else { lengths };
        command.args(["--", "--noplot"]).args(lengths.split(' '));
    }
    let output = command.env("CRITERION_HOME", home).output().context("cargo bench")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo bench failed ({})\n{errors}", output.status);
    String::from_utf8(output.stdout).context("it printed something else than text")
}

fn uses_criterion(source: &Path) -> Result<bool> {
    let text = std::fs::read_to_string(source).with_context(|| workspace::relative(source))?;
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
                { "name": "benches", "kind": ["lib"], "src_path": "/benches/lib.rs" },
                { "name": "lru", "kind": ["bench"], "src_path": "/benches/lru/main.rs" },
            ] },
            { "name": "other", "targets": [{ "name": "alien", "kind": ["bench"] }] },
        ] });
        let expected = Benchmark { name: "lru".to_owned(), source: "/benches/lru/main.rs".into() };
        assert_eq!(benchmarks(&metadata), [expected]);
    }

    #[test]
    fn benchmarks_in_a_file_and_in_a_folder_are_looked_into() {
        let found = benchmarks(&workspace::metadata().unwrap());
        for (name, file, expected) in
            [("lru", "lru/main.rs", true), ("peer_cpu", "peer_cpu/main.rs", false)]
        {
            let benchmark = found.iter().find(|benchmark| benchmark.name == name).unwrap();
            assert!(benchmark.source.ends_with(file), "{benchmark:?}");
            assert_eq!(uses_criterion(&benchmark.source).unwrap(), expected, "{benchmark:?}");
        }
    }
}
