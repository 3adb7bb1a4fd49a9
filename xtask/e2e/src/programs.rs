//! The examples as programs: how they are built, and where cargo puts them.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cargo::cargo;

/// Builds examples and returns the paths of the programs.
///
/// # Errors
///
/// When one cannot be built; cargo has said why.
pub fn build_examples<const N: usize>(names: [&str; N], release: bool) -> Result<[PathBuf; N]> {
    let mut build = cargo(["build", "--package=examples"]);
    build.args(release.then_some("--release")).args(names.map(|name| format!("--example={name}")));
    build.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = build.output().context("cannot run cargo")?;
    ensure!(output.status.success(), "the examples {} could not be built", names.join(", "));
    let messages = String::from_utf8_lossy(&output.stdout);
    let mut paths = names.map(|_| PathBuf::new());
    for (path, name) in paths.iter_mut().zip(names) {
        *path = executable(&messages, name)
            .with_context(|| format!("cargo did not say where it put the example `{name}`"))?;
    }
    Ok(paths)
}

/// Finds the path of the program `name` in what cargo tells of a build.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut found = messages.filter(|message| message["target"]["name"] == name);
    found.find_map(|message| Some(message["executable"].as_str()?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_among_cargo_s_messages() {
        let messages = r#"
            {"reason":"compiler-artifact","target":{"name":"sqlx"},"executable":null}
            not JSON
            {"reason":"compiler-artifact","target":{"name":"node"},"executable":"/out/node"}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages, "node"), Some("/out/node".into()));
        assert_eq!(executable(messages, "sqlx"), None);
        assert_eq!(executable("", "node"), None);
    }
}
