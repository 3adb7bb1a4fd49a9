//! The tasks as a user runs them: the built program, its output and its exit code.

use std::process::{Command, Output};

fn xtask(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(args).output().expect("cannot run xtask")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_lists_each_task() {
    let help = text(&xtask(&["--help"]).stdout);
    for task in ["bench", "ci", "cluster", "codegen", "databases", "interop", "tidy"] {
        assert!(help.contains(&format!("\n  {task} ")), "{help}");
    }
}

#[test]
fn an_unknown_task_is_a_usage_error() {
    let output = xtask(&["no-such-task"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("no-such-task"));
}

#[test]
fn a_task_that_fails_exits_with_one_and_one_line() {
    let output = xtask(&["ci", "no-such-step"]);
    assert_eq!(output.status.code(), Some(1));
    let expected = "error: there is no step `no-such-step`: see `cargo xtask ci --list`\n";
    assert_eq!(text(&output.stderr), expected);
}

#[test]
fn a_task_of_e2e_gets_its_options_and_gives_its_exit_code() {
    let output = xtask(&["cluster", "--nodes", "0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--nodes"), "{}", text(&output.stderr));
    let help = text(&xtask(&["interop", "--help"]).stdout);
    assert!(help.contains("Usage: cargo xtask interop [OPTIONS]"), "{help}");
}

#[test]
fn ci_lists_commands_that_can_be_pasted() {
    let list = text(&xtask(&["ci", "--list"]).stdout);
    assert!(list.contains("cargo test --workspace\n"), "{list}");
    assert!(list.lines().all(|line| line.contains("cargo ")), "{list}");
}

#[test]
fn an_unknown_benchmark_is_named_beside_those_there_are() {
    let output = xtask(&["bench", "no-such-benchmark"]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.starts_with("error: there is no benchmark `no-such-benchmark`"), "{error}");
    assert!(error.contains("ring"), "{error}");
}
