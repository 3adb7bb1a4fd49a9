//! What the compiler says of the mistakes that newcomers make with a loader.
//!
//! Each file in `tests/messages` holds one mistake, and begins with lines that the compiler must
//! print for it. Whole messages are not compared: they change from compiler to compiler.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Begins each line of a mistake that says what the compiler must print.
const EXPECTED: &str = "// The compiler says: ";

/// Mistakes by name: the text of their files.
type Mistakes = HashMap<String, String>;

#[test]
fn the_compiler_says_what_is_wrong_with_a_loader() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages");
    let mistakes = mistakes(&folder);
    let said = messages(&compile(&mistakes));
    for (name, text) in &mistakes {
        let message = said.get(name).unwrap_or_else(|| panic!("{name} compiles, or was left out"));
        let expected: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix(EXPECTED)).collect();
        assert!(!expected.is_empty(), "{name} expects nothing");
        for line in expected {
            assert!(message.contains(line), "{name}: `{line}` is missing in\n{message}");
        }
    }
}

fn mistakes(folder: &Path) -> Mistakes {
    let files = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files.map(|path| (name(&path), std::fs::read_to_string(&path).unwrap())).collect()
}

/// Checks all mistakes in one run of cargo, as examples of a package that depends on this one. Its
/// folder stays, so that only the first run compiles the dependencies.
fn compile(mistakes: &Mistakes) -> Output {
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("messages");
    // One that is no longer here would be compiled all the same.
    let examples = package.join("examples");
    let _ = std::fs::remove_dir_all(&examples);
    std::fs::create_dir_all(&examples).unwrap();
    for (name, text) in mistakes {
        std::fs::write(examples.join(name).with_extension("rs"), text).unwrap();
    }
    std::fs::create_dir_all(package.join("src")).unwrap();
    std::fs::write(package.join("src/lib.rs"), "").unwrap();
    std::fs::write(package.join("Cargo.toml"), manifest()).unwrap();
    if let Some(lock) = lock() {
        std::fs::copy(lock, package.join("Cargo.lock")).unwrap();
    }
    Command::new(env!("CARGO"))
        .args(["check", "--examples", "--keep-going", "--offline", "--message-format", "json"])
        .args(["--target-dir", "target"])
        .current_dir(package)
        .output()
        .unwrap()
}

/// Without HTTP there is little to compile, and loaders are the same.
fn manifest() -> String {
    format!(
        "[package]\nname = \"messages\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [dependencies]\ncarrotcache = {{ path = {:?}, default-features = false }}\n",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// The versions that the workspace was built with, which are the ones at hand without a network.
fn lock() -> Option<PathBuf> {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
    lock.is_file().then_some(lock)
}

/// Collects what the compiler printed about each example.
fn messages(output: &Output) -> HashMap<String, String> {
    let mut said = HashMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        if record["reason"] == "compiler-message" && record["message"]["level"] == "error" {
            let name = record["target"]["name"].as_str().unwrap().to_owned();
            let message = record["message"]["rendered"].as_str().unwrap();
            said.entry(name).or_insert_with(String::new).push_str(message);
        }
    }
    assert!(!said.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    said
}
