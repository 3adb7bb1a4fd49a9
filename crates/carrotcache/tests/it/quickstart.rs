//! The first program that a newcomer runs.

use std::path::PathBuf;
use std::process::Command;

/// Returns the path of the example, which cargo builds before it runs these tests.
fn quickstart() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let built = tests.ancestors().nth(2).unwrap().join("examples/quickstart");
    let built = built.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        built.is_file(),
        "{built:?} is missing: run `cargo test -p carrotcache`, without `--test`"
    );
    built
}

#[test]
fn the_quickstart_makes_one_query_for_many_gets() {
    let output = Command::new(quickstart()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed.matches("(query: Tom)").count(), 1, "{printed}");
    assert!(printed.contains("Tom has 630, from the cache"), "{printed}");
    assert!(printed.contains("2 queries for 5 gets"), "{printed}");
}
