//! Where the workspace is, and how cargo is called in it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Returns the folder of the workspace, wherever the task was started.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Returns a command that runs cargo, the one that runs this task, in the workspace's folder.
pub fn cargo<S: Into<OsString>>(args: impl IntoIterator<Item = S>) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root()).args(args.into_iter().map(Into::into));
    // What `cargo run` sets for its child describes the package `xtask`. Build scripts that look at
    // these would run again each time a task and a shell take turns.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") {
            command.env_remove(name);
        }
    }
    command.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_MANIFEST_PATH");
    command
}

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

/// Returns what `cargo metadata` tells of the workspace's own packages, dependencies unresolved.
///
/// # Errors
///
/// When cargo cannot be run or finds the manifests at fault.
pub fn metadata() -> Result<Value> {
    let args = ["metadata", "--format-version=1", "--no-deps", "--offline"];
    let output = cargo(args).stderr(Stdio::inherit()).output().context("cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata failed ({})", output.status);
    serde_json::from_slice(&output.stdout)
        .context("cargo metadata printed something else than JSON")
}

/// Returns every file below `folder` whose name ends with `.extension`, sorted; `target` and hidden
/// folders are left out, and links are not followed.
///
/// # Errors
///
/// When a folder cannot be read.
pub fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let entry = entry?;
            let (name, path) = (entry.file_name(), entry.path());
            // The type of the entry itself: a link to a folder could lead in a circle.
            if entry.file_type()?.is_dir() {
                let name = name.to_string_lossy();
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Returns `path` as seen from the workspace's folder, for messages.
#[must_use]
pub fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_the_folder_of_the_workspace_manifest() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }

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

    #[test]
    fn files_skips_build_output_and_hidden_folders() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["a.rs", "b.txt", "in/c.rs", "target/d.rs", ".git/e.rs"] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = files(folder.path(), "rs").unwrap();
        assert_eq!(found, [folder.path().join("a.rs"), folder.path().join("in/c.rs")]);
    }
}
