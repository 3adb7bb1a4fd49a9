//! What is in the workspace: its packages and its files.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

pub use crate::cargo::{cargo, root};

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
