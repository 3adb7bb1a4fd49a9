//! One module style: what belongs to a folder lies in it, as `mod.rs`, and not beside it.

use std::path::Path;

use anyhow::Result;

use crate::workspace;

/// Returns each Rust file below `root` that stands beside a folder of its own name with code in it.
///
/// # Errors
///
/// When a folder cannot be read.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for path in workspace::files(root, "rs")? {
        let folder = path.with_extension("");
        if folder.is_dir() && !workspace::files(&folder, "rs")?.is_empty() {
            let [path, folder] = [&path, &folder].map(|path| workspace::relative(path));
            faults.push(format!("{path} stands beside {folder}/: move it inside, as mod.rs"));
        }
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beside_its_folder_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["a/mod.rs", "a/x.rs", "b.rs", "b/x.rs", "c.rs", "c/data.tsv", "d.rs"] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let faults = check(folder.path()).unwrap();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].contains("/b.rs stands beside"), "{faults:?}");
    }

    #[test]
    fn the_workspace_as_it_is_has_no_fault() {
        assert_eq!(check(workspace::root()).unwrap(), [""; 0]);
    }
}
