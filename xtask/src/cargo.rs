//! Where the workspace is, and how cargo is called in it.
//!
//! The package `e2e` has this file as a module too: to depend on it as a crate, it would have to be
//! built with all that `xtask` stands on, or `xtask` with all that it stands on itself.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

/// Returns the folder of the workspace, wherever the task was started.
#[must_use]
pub fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    // This package may lie at any depth; only the workspace itself has a lock file.
    package.ancestors().find(|folder| folder.join("Cargo.lock").is_file()).unwrap_or(package)
}

/// Returns a command that runs cargo, the one that runs this task, in the workspace's folder.
pub fn cargo<S: Into<OsString>>(args: impl IntoIterator<Item = S>) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root()).args(args.into_iter().map(Into::into));
    // What `cargo run` sets for its child describes the package of the task. Build scripts that look at
    // these would run again each time a task and a shell take turns.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") {
            command.env_remove(name);
        }
    }
    command.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_MANIFEST_PATH");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_the_folder_of_the_workspace_manifest() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }
}
