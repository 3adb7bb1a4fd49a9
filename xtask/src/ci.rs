//! `cargo xtask ci`: every check that a change must pass, in the order that fails soonest.
//!
//! Each step is one cargo command that can be repeated by hand; the first that fails ends the run.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Run every check that a change must pass; stop at the first that fails
#[derive(clap::Args)]
pub struct Args {
    /// Run only these steps (default: all)
    steps: Vec<String>,
    /// Print the steps and their commands, and run none
    #[arg(long)]
    list: bool,
}

struct Step {
    name: &'static str,
    /// Set for the command, in addition to what it inherits.
    env: Option<(&'static str, &'static str)>,
    /// Arguments of cargo, separated by blanks.
    args: &'static str,
}

const fn step(name: &'static str, args: &'static str) -> Step {
    Step { name, env: None, args }
}

const STEPS: &[Step] = &[
    step("fmt", "fmt --all --check"),
    step("codegen", "xtask codegen --check"),
    step("tidy", "xtask tidy"),
    step("clippy", "clippy --workspace --all-targets --all-features -- -D warnings"),
    // The README's command. Doc tests are part of it.
    step("test", "test --workspace"),
    // What takes too long for every run: all interleavings of four parties of a flight.
    step("proofs", "test --package carrotcache-singleflight -- --ignored"),
    // Whole nodes on one thread, whose messages are lost, late and doubled by the seed.
    Step {
        name: "simulate",
        env: Some(("CARROTCACHE_SEEDS", "100000")),
        args: "test --release --package carrotcache --lib simulation::seeds::seeds",
    },
    // Ten million inserts that evict, after which the heap must be what it was.
    step("churn", "test --release --package carrotcache-lru --test it -- --ignored"),
    // Under AddressSanitizer. Fails where cargo-fuzz is missing, which `.ci/run` installs.
    step("fuzz", "xtask fuzz --seconds 30"),
    Step {
        name: "docs",
        env: Some(("RUSTDOCFLAGS", "-D warnings")),
        args: "doc --workspace --all-features --no-deps",
    },
    // Each crate is packed and built from its package, as its users will get it.
    step("package", "publish --workspace --dry-run --allow-dirty"),
    step("cluster", "xtask cluster"),
    step("interop", "xtask interop"),
    // A minute of misbehaviour; the seed that it prints repeats it.
    step("soak", "xtask soak --seconds 60"),
    // A minute of rows that change while nodes are killed and stopped.
    step("rows", "xtask rows --seconds 60"),
    // Nodes are killed, stopped, cut off and restarted, which must cost no more than it says.
    step("faults", "xtask faults"),
    // Prints the closing line of the tests that it runs, so those are counted.
    step("databases", "xtask databases"),
];

/// Runs the steps one after the other, and ends with a line that counts checks: each test is one,
/// and so is each other step.
///
/// # Errors
///
/// When a step fails; the error holds the command that repeats it.
pub fn run(args: &Args) -> Result<()> {
    let known = |name: &String| STEPS.iter().any(|step| step.name == name);
    if let Some(unknown) = args.steps.iter().find(|name| !known(name)) {
        bail!("there is no step `{unknown}`: see `cargo xtask ci --list`");
    }
    let is_wanted =
        |step: &&Step| args.steps.is_empty() || args.steps.iter().any(|s| s == step.name);
    let steps: Vec<_> = STEPS.iter().filter(is_wanted).collect();
    if args.list {
        steps.iter().for_each(|step| println!("{:9} {}", step.name, step.command_line()));
        return Ok(());
    }
    run_all(&steps)
}

fn run_all(steps: &[&Step]) -> Result<()> {
    let (mut total, mut times) = (Tally::default(), Vec::new());
    for (at, step) in steps.iter().enumerate() {
        println!("\n[{}/{}] {}: {}", at + 1, steps.len(), step.name, step.command_line());
        let start = Instant::now();
        let (tally, success) = step.run()?;
        total.add(tally);
        times.push((step.name, start.elapsed()));
        println!("[{}/{}] {} took {:.1} s", at + 1, steps.len(), step.name, seconds(start));
        if !success {
            print_summary(&times, total);
            bail!("`{}` failed; to repeat it: {}", step.name, step.command_line());
        }
    }
    print_summary(&times, total);
    Ok(())
}

fn seconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64()
}

fn print_summary(times: &[(&str, Duration)], total: Tally) {
    println!();
    for (name, time) in times {
        println!("{name:9} {:7.1} s", time.as_secs_f64());
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
}

impl Step {
    fn command_line(&self) -> String {
        let env = self.env.map(|(name, value)| format!("{name}=\"{value}\" ")).unwrap_or_default();
        format!("{env}cargo {}", self.args)
    }

    /// Runs the step and shows what it prints. Returns what it counts for and whether it succeeded.
    fn run(&self) -> Result<(Tally, bool)> {
        let mut command = workspace::cargo(self.args.split(' '));
        command.envs(self.env).stdin(Stdio::null());
        // Packages are verified against each other from a registry in the target folder. Cargo keeps
        // what it unpacked by that folder's path and the version, so in a folder used before it
        // would take an earlier state of a crate for today's.
        let fresh = (self.name == "package").then(tempfile::tempdir).transpose()?;
        command.envs(fresh.as_ref().map(|folder| ("CARGO_TARGET_DIR", folder.path())));
        let (mut tally, success) = show(command)?;
        if tally == Tally::default() || (!success && tally.failed == 0) {
            tally.add(Tally { passed: u64::from(success), failed: u64::from(!success) });
        }
        Ok((tally, success))
    }
}

/// Runs `command`, passes its output on line by line, and adds up the tests that it reports.
fn show(mut command: Command) -> Result<(Tally, bool)> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    let stdout = child.stdout.take().context("cargo has no standard output")?;
    let mut tally = Tally::default();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        // A test may print anything.
        let line = String::from_utf8_lossy(&line);
        tally.add(Tally::of_line(&line));
        println!("{line}");
    }
    Ok((tally, child.wait()?.success()))
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Tally {
    passed: u64,
    failed: u64,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// Reads `test result: ok. 12 passed; 0 failed; …`; any other line counts nothing.
    fn of_line(line: &str) -> Tally {
        let Some((_, counts)) =
            line.strip_prefix("test result: ").and_then(|line| line.split_once(". "))
        else {
            return Tally::default();
        };
        let count = |word| {
            let field = counts.split("; ").find_map(|field| field.strip_suffix(word));
            field.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
        };
        Tally { passed: count("passed"), failed: count("failed") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_binary_s_closing_line_is_counted() {
        let line =
            "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; finished in 1s";
        assert_eq!(Tally::of_line(line), Tally { passed: 12, failed: 3 });
        assert_eq!(Tally::of_line("test lru ... ok"), Tally::default());
    }

    #[test]
    fn output_is_counted_and_the_status_kept() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "printf '\\377\\n'; echo 'test result: ok. 2 passed; 0 failed; 0 ignored'; exit 3",
        ]);
        assert_eq!(show(command).unwrap(), (Tally { passed: 2, failed: 0 }, false));
    }

    #[test]
    fn an_unknown_step_is_an_error_that_names_it() {
        let args = Args { steps: vec!["tests".to_owned()], list: false };
        assert!(run(&args).unwrap_err().to_string().contains("`tests`"));
    }

    #[test]
    fn a_step_can_be_repeated_from_its_command_line() {
        let docs = STEPS.iter().find(|step| step.name == "docs").unwrap();
        let line = "RUSTDOCFLAGS=\"-D warnings\" cargo doc --workspace --all-features --no-deps";
        assert_eq!(docs.command_line(), line);
    }
}
