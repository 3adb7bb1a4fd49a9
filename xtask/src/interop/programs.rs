//! The two programs that a mixed ring is made of, and how they are built.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace;

/// Where Debian's packages put the sources of Go libraries.
const DEBIAN_GOPATH: &str = "/usr/share/gocode";
/// The package that a node of Go's groupcache needs.
const GROUPCACHE: &str = "src/github.com/golang/groupcache";

/// The paths of the programs.
pub(super) struct Programs {
    /// Go's groupcache behind the flags of `node`.
    pub(super) go: PathBuf,
    /// The example `node`.
    pub(super) rust: PathBuf,
    /// The example `import`.
    pub(super) import: PathBuf,
    /// The example `peer_load`.
    pub(super) load: PathBuf,
}

impl Programs {
    /// Builds them all, ours optimised if that is asked for.
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
        println!("{version}");
        let [rust, import, load] =
            workspace::build_examples(["node", "import", "peer_load"], release)?;
        let go = rust.with_file_name("interop-go");
        build_go(&go)?;
        Ok(Self { go, rust, import, load })
    }
}

fn build_go(program: &Path) -> Result<()> {
    // Through the module proxy if it can be reached, and otherwise with Debian's sources.
    let by_module = go_build(program, &[("GO111MODULE", "on"), ("GOFLAGS", "-mod=readonly")])?;
    if by_module.status.success() {
        return Ok(());
    }
    ensure!(
        Path::new(DEBIAN_GOPATH).join(GROUPCACHE).is_dir(),
        "Go cannot fetch groupcache, and it is not in {DEBIAN_GOPATH} (Debian package \
         golang-github-golang-groupcache-dev):\n{}",
        String::from_utf8_lossy(&by_module.stderr)
    );
    let by_path = go_build(program, &[("GO111MODULE", "off"), ("GOPATH", DEBIAN_GOPATH)])?;
    let printed = String::from_utf8_lossy(&by_path.stderr);
    ensure!(by_path.status.success(), "go build failed:\n{printed}");
    Ok(())
}

fn go_version() -> Option<String> {
    let output = Command::new("go").arg("version").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn go_build(program: &Path, env: &[(&str, &str)]) -> Result<std::process::Output> {
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(program).arg(".").envs(env.iter().copied());
    build.current_dir(workspace::root().join("interop/go")).stdin(Stdio::null());
    build.output().context("cannot run go")
}
