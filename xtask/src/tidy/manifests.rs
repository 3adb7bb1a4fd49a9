//! Manifests: what is the same for all is written once, in the root.

use std::path::Path;

use anyhow::{Context, Result};
use toml::{Table, Value};

use crate::workspace;

/// Fields that every package takes from the root.
const ALWAYS: [&str; 3] = ["edition", "license", "version"];
/// Fields that a package which can be published takes from the root as well.
const PUBLISHED: [&str; 4] = ["categories", "keywords", "repository", "rust-version"];

/// Returns each field, lint table and dependency of a member's manifest that is not inherited.
///
/// # Errors
///
/// When a manifest cannot be read.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for path in workspace::files(root, "toml")? {
        let is_member = path.ends_with("Cargo.toml") && path.parent() != Some(root);
        // The fuzz targets are a workspace of their own: they are built with other flags.
        if is_member && !path.starts_with(root.join("fuzz")) {
            let text = std::fs::read_to_string(&path)?;
            let manifest = text.parse().with_context(|| path.display().to_string())?;
            let path = workspace::relative(&path);
            faults.extend(
                check_member(&manifest).into_iter().map(|fault| format!("{path}: {fault}")),
            );
        }
    }
    Ok(faults)
}

fn check_member(manifest: &Table) -> Vec<String> {
    let mut faults = Vec::new();
    let package = manifest.get("package");
    let unpublished = package.and_then(|it| it.get("publish")) == Some(&Value::Boolean(false));
    let extra = if unpublished { &[][..] } else { &PUBLISHED[..] };
    for field in ALWAYS.iter().chain(extra) {
        if !package.and_then(|package| package.get(*field)).is_some_and(is_inherited) {
            faults.push(format!("write `{field}.workspace = true` in [package]"));
        }
    }
    if !manifest.get("lints").is_some_and(is_inherited) {
        faults.push("write `workspace = true` in [lints]".to_owned());
    }
    for (name, dependency) in dependencies(manifest) {
        if !is_inherited(dependency) {
            faults.push(format!("declare `{name}` in the root's [workspace.dependencies]"));
        }
    }
    faults
}

fn is_inherited(value: &Value) -> bool {
    value.get("workspace") == Some(&Value::Boolean(true))
}

/// Returns the dependencies of every kind, those for one platform included.
fn dependencies(manifest: &Table) -> impl Iterator<Item = (&String, &Value)> {
    const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = manifest.get("target").and_then(Value::as_table);
    let per_target = targets.into_iter().flat_map(|targets| targets.values());
    let tables = std::iter::once(manifest).chain(per_target.filter_map(Value::as_table));
    tables
        .flat_map(|table| KINDS.iter().filter_map(|kind| table.get(*kind)?.as_table()))
        .flat_map(|dependencies| dependencies.iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNPUBLISHED: &str = "
        lints.workspace = true
        [package]
        name = \"tool\"
        publish = false
        edition.workspace = true
        license.workspace = true
        version.workspace = true
    ";

    fn faults(manifest: &str) -> Vec<String> {
        check_member(&manifest.parse().unwrap())
    }

    #[test]
    fn the_workspace_as_it_is_has_no_fault() {
        assert_eq!(check(workspace::root()).unwrap(), [""; 0]);
    }

    #[test]
    fn a_manifest_that_inherits_all_has_no_fault() {
        assert_eq!(faults(UNPUBLISHED), [""; 0]);
    }

    #[test]
    fn a_published_package_inherits_more() {
        assert_eq!(faults(&UNPUBLISHED.replace("publish = false", "")).len(), PUBLISHED.len());
    }

    #[test]
    fn own_lints_and_own_versions_are_faults() {
        let own = UNPUBLISHED
            .replace("lints.workspace = true", "lints.rust.missing_docs = \"allow\"")
            .replace("edition.workspace = true", "edition = \"2021\"");
        assert_eq!(faults(&own).len(), 2);
    }

    #[test]
    fn a_version_outside_the_root_is_a_fault_for_dependencies_of_every_kind() {
        for table in ["dependencies", "dev-dependencies", "target.'cfg(unix)'.dependencies"] {
            let manifest = format!("{UNPUBLISHED}\n[{table}]\nfine.workspace = true\nown = \"1\"");
            let fault = "declare `own` in the root's [workspace.dependencies]";
            assert_eq!(faults(&manifest), [fault], "{table}");
        }
    }
}
