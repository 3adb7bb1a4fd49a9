//! File sizes: a file past the wall holds more than one concept.

use std::path::Path;

use anyhow::{Context, Result};

use crate::workspace;

const WALL: usize = 500;

/// Returns each Rust file below `root` that is longer than the wall; generated ones are exempt.
///
/// # Errors
///
/// When a file cannot be read.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for path in workspace::files(root, "rs")? {
        let code = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let lines = code.lines().count();
        let generated = code.lines().next().is_some_and(|line| line.contains("@generated"));
        if lines > WALL && !generated {
            let path = workspace::relative(&path);
            faults.push(format!("{path} has {lines} lines, more than {WALL}: split it"));
        }
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_past_the_wall_is_a_fault_unless_generated() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, head: &str, lines: usize| {
            let text = head.to_owned() + &"//\n".repeat(lines);
            std::fs::write(folder.path().join(name), text).unwrap();
        };
        write("at_the_wall.rs", "", WALL);
        write("generated.rs", "// @generated\n", WALL + 1);
        assert_eq!(check(folder.path()).unwrap(), [""; 0]);
        write("past.rs", "", WALL + 1);
        let faults = check(folder.path()).unwrap();
        assert_eq!(faults.len(), 1);
        assert!(
            faults[0].ends_with("past.rs has 501 lines, more than 500: split it"),
            "{faults:?}"
        );
    }
}
