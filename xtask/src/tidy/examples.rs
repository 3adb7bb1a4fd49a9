//! Examples: each one is built by cargo and found by a reader.

use std::path::Path;

use anyhow::{Context, Result};
use toml::{Table, Value};

/// Returns each example of `folder` that its manifest or its README does not list.
///
/// # Errors
///
/// When a file cannot be read.
pub(super) fn check(folder: &Path) -> Result<Vec<String>> {
    let read = |name: &str| {
        std::fs::read_to_string(folder.join(name)).with_context(|| format!("examples/{name}"))
    };
    let (manifest, readme) = (read("Cargo.toml")?.parse()?, read("README.md")?);
    let listed = listed(&manifest);
    let mut faults = Vec::new();
    for (name, path) in sources(folder)? {
        if !listed.contains(&(name.as_str(), path.as_str())) {
            faults.push(format!("list `{name}` ({path}) as [[example]] in examples/Cargo.toml"));
        }
        if !readme.contains(&format!("`{name}`")) {
            faults.push(format!("describe `{name}` in examples/README.md"));
        }
    }
    Ok(faults)
}

/// Returns name and path of each example in the manifest.
fn listed(manifest: &Table) -> Vec<(&str, &str)> {
    let examples = manifest.get("example").and_then(Value::as_array);
    examples
        .into_iter()
        .flatten()
        .filter_map(|example| {
            Some((example.get("name")?.as_str()?, example.get("path")?.as_str()?))
        })
        .collect()
}

/// Returns name and path of each example on disk: `NAME.rs` or `NAME/main.rs`.
fn sources(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        // A test is also a folder with a `main.rs`, one level deeper.
        if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((name.clone(), format!("{name}.rs")));
        } else if path.join("main.rs").is_file() {
            found.push((name.clone(), format!("{name}/main.rs")));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_that_is_not_listed_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("one.rs", "");
        write("two/main.rs", "");
        write("tests/it/main.rs", "");
        write("Cargo.toml", "[[example]]\nname = \"one\"\npath = \"one.rs\"");
        write("README.md", "- `two`: the second");
        let expected = [
            "describe `one` in examples/README.md",
            "list `two` (two/main.rs) as [[example]] in examples/Cargo.toml",
        ];
        assert_eq!(check(folder.path()).unwrap(), expected);
    }

    #[test]
    fn the_workspace_as_it_is_has_no_fault() {
        let folder = crate::workspace::root().join("examples");
        assert_eq!(check(&folder).unwrap(), [""; 0]);
    }
}
