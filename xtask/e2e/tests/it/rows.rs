//! The short form of `cargo xtask rows`: that nothing stale is read, and that it would be noticed.

use std::process::{Command, Output};

fn rows(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_e2e"));
    command.args(["rows", "--seconds", "5"]).args(args).output().expect("cannot run e2e")
}

#[test]
fn nothing_stale_is_read_while_nodes_are_killed_and_stopped() {
    let output = rows(&[]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}{stderr}");
}

#[test]
fn nodes_that_remove_nothing_are_noticed() {
    let output = rows(&["--broken"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("stale: a get at node"), "{stderr}");
}
