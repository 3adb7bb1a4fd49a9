//! The programs that a mixed ring is made of, those beside it, and how they are built.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::data::Files;
use super::kind::Kind;
use crate::node::Node;
use crate::node::addresses::Addresses;
use crate::programs::build_examples;

/// Where Debian's packages put the sources of Go libraries.
const DEBIAN_GOPATH: &str = "/usr/share/gocode";
/// The package that a node of Go's groupcache needs.
const GROUPCACHE: &str = "src/github.com/golang/groupcache";

/// The paths of the programs.
pub(super) struct Programs {
    /// Go's groupcache behind the flags of `node`.
    pub(super) go: PathBuf,
    /// The client of the link.
    pub(super) link: PathBuf,
    /// The example `node`.
    pub(super) rust: PathBuf,
    /// The example `import`.
    pub(super) import: PathBuf,
    /// The example `peer_load`.
    pub(super) load: PathBuf,
}

impl Programs {
    /// Builds them all, ours optimised if that is asked for, and runs the tests of those in Go.
    ///
    /// # Errors
    ///
    /// When there is no Go, or one cannot be built.
    pub(super) fn build(release: bool) -> Result<Self> {
        let Some(version) = go_version() else {
            bail!(
                "cannot find `go`: install Go (Debian packages golang-go and \
                 golang-github-golang-groupcache-dev)"
            );
        };
        let [rust, import, load] = build_examples(["node", "import", "peer_load"], release)?;
        let [go, link] = ["interop-go", "interop-link"].map(|name| rust.with_file_name(name));
        println!("building and testing the Go node and client ({version})");
        build_go(&[(".", &go), ("./link", &link)])?;
        Ok(Self { go, link, rust, import, load })
    }

    /// Describes a node of one kind at place `at` of a ring, which reads what is in `files`.
    ///
    /// # Errors
    ///
    /// When no HTTP client can be made.
    pub(super) fn node(
        &self,
        kind: Kind,
        addresses: &Addresses,
        at: usize,
        files: &Files,
    ) -> Result<Node> {
        let (program, db) = match kind {
            Kind::Go => (&self.go, files.text.display().to_string()),
            Kind::Rust => (&self.rust, format!("sqlite:{}", files.sqlite.display())),
        };
        Node::new(&format!("{kind:?} node"), program, addresses, at, &db)
    }
}

/// Builds packages of the folder into programs, and tests all.
fn build_go(programs: &[(&str, &Path)]) -> Result<()> {
    // Through the module proxy if it can be reached, and otherwise with Debian's sources.
    let by_module = [("GO111MODULE", "on"), ("GOFLAGS", "-mod=readonly -buildvcs=false")];
    let by_path = [("GO111MODULE", "off"), ("GOPATH", DEBIAN_GOPATH)];
    let Err(unreachable) = build_and_test(programs, &by_module) else { return Ok(()) };
    ensure!(
        Path::new(DEBIAN_GOPATH).join(GROUPCACHE).is_dir(),
        "Go cannot fetch groupcache, and it is not in {DEBIAN_GOPATH} (Debian package \
         golang-github-golang-groupcache-dev): {unreachable:#}"
    );
    build_and_test(programs, &by_path)
}

fn build_and_test(programs: &[(&str, &Path)], env: &[(&str, &str)]) -> Result<()> {
    for (package, program) in programs {
        go(&["build".as_ref(), "-o".as_ref(), program.as_ref(), package.as_ref()], env)?;
    }
    for check in ["vet", "test"] {
        go(&[check.as_ref(), "./...".as_ref()], env)?;
    }
    Ok(())
}

fn go_version() -> Option<String> {
    let output = Command::new("go").arg("version").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs `go` in the folder of the Go programs.
fn go(args: &[&OsStr], env: &[(&str, &str)]) -> Result<()> {
    let mut go = Command::new("go");
    go.args(args).envs(env.iter().copied()).stdin(Stdio::null());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/go");
    let output = go.current_dir(folder).output();
    let output = output.context("cannot run go")?;
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    ensure!(output.status.success(), "go {} failed:\n{printed}", args[0].display());
    Ok(())
}
