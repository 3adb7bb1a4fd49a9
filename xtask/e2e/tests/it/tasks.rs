//! The tasks as a user runs them: the built program, its output and its exit code.

use std::process::{Command, Output, Stdio};

fn e2e(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_e2e")).args(args).output().expect("cannot run e2e")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_lists_each_task_and_no_hidden_one() {
    let help = text(&e2e(&["--help"]).stdout);
    for task in ["cluster", "databases", "interop", "rows", "soak"] {
        assert!(help.contains(&format!("\n  {task} ")), "{help}");
    }
    assert!(!help.contains("tied") && !help.contains("row-node"), "{help}");
}

#[test]
fn a_cluster_of_nobody_and_a_soak_of_no_time_are_usage_errors() {
    let usages =
        [["cluster", "--nodes", "0"], ["cluster", "--requests", "0"], ["soak", "--seconds", "0"]];
    for args in usages {
        let output = e2e(&args);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(args[1]), "{}", text(&output.stderr));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_tied_child_ends_when_its_parent_is_killed() {
    use std::io::{BufRead, BufReader, Read};

    // The shell is the parent. It tells its child's id, and is killed while it waits for it; the
    // child holds the other end of the pipe, so the pipe closes when both are gone.
    let script = format!("{} tied $$ sleep 600 & echo $!; wait", env!("CARGO_BIN_EXE_e2e"));
    let mut parent =
        Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(parent.stdout.take().unwrap());
    let mut id = String::new();
    stdout.read_line(&mut id).unwrap();
    // Wait until the child has become `sleep`: before that it is not tied yet.
    let name = format!("/proc/{}/comm", id.trim());
    while std::fs::read_to_string(&name).unwrap().trim() != "sleep" {
        std::thread::yield_now();
    }
    parent.kill().unwrap();
    parent.wait().unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_child_whose_parent_is_gone_does_not_start() {
    let output = e2e(&["tied", "1", "echo", "started"]);
    assert!(!output.status.success());
    assert_eq!(text(&output.stderr), "error: the parent has ended\n");
    assert_eq!(text(&output.stdout), "");
}
