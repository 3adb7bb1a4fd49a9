//! A client in Go that was written from the page of the protocol, beside nodes of both kinds.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use super::data::{self, Entry, Files, GROUP};
use super::kind::Kind;
use super::programs::Programs;
use crate::node::Node;
use crate::node::addresses::{Ports, on_free_addresses};
use crate::process::tied;
use crate::report::Report;

/// How long a node looks a key up: long enough to be seen as a load.
const SLOW: &str = "200ms";
/// The longest value that goes over a link.
const LARGEST_BYTES: usize = 1 << 20;
/// Keys in the order in which they are asked for, the first with what a path has to escape.
const KEYS: [&str; 6] = ["a b+c/汉字", "Jack", "Sam", "Lily", "Pity", "Tom"];
/// A key that is not there.
const ABSENT: &str = "Nobody";
/// What the client writes when somebody else may stop the node.
const LOADING: &str = "loading";

/// Checks what the client makes of a node without links and of one with them.
///
/// # Errors
///
/// When a node does not start.
///
/// # Cancel safety
///
/// When the future is dropped all processes are killed.
pub(super) async fn check(programs: &Programs, report: &mut Report) -> Result<()> {
    report.part("A client in Go, written from the page of the protocol");
    let world = World::write(programs)?;
    world.plain(report).await?;
    world.linked(report).await?;
    world.failing(report).await
}

/// The programs, and the rows that the nodes read.
struct World<'a> {
    programs: &'a Programs,
    rows: Vec<Entry>,
    largest: Entry,
    too_large: Entry,
    files: Files,
    // Dropped last: the nodes read from it.
    folder: TempDir,
}

impl<'a> World<'a> {
    fn write(programs: &'a Programs) -> Result<Self> {
        let value = |key: &str| format!("the value of {key}").into_bytes();
        let rows: Vec<_> =
            KEYS.iter().map(|key| Entry { value: value(key), ..Entry::new(*key) }).collect();
        let largest = data::large("largest".to_owned(), LARGEST_BYTES);
        let too_large = data::large("too large".to_owned(), LARGEST_BYTES + 1);
        let folder = tempfile::tempdir()?;
        let all = rows.iter().chain([&largest, &too_large]);
        let files = Files::write(folder.path(), &programs.import, all)?;
        Ok(Self { programs, rows, largest, too_large, files, folder })
    }

    /// A node of Go's answers the get that asks for a link.
    async fn plain(&self, report: &mut Report) -> Result<()> {
        let node = self.start(Kind::Go).await?;
        let mut client = self.client(&node, "plain", &[], &self.rows[..1])?;
        client.tell_all(report).await;
        crate::node::stop_all(vec![node]).await
    }

    /// A node of ours is asked over a link, in every way that the page knows.
    async fn linked(&self, report: &mut Report) -> Result<()> {
        let mut node = self.start(Kind::Rust).await?;
        let files = [("--largest", &self.largest), ("--too-large", &self.too_large)];
        let mut options = vec![format!("--absent={ABSENT}")];
        for (option, row) in files {
            let file = self.folder.path().join(&row.key);
            std::fs::write(&file, &row.value)?;
            options.push(format!("{option}={}={}", row.key, file.display()));
        }
        self.client(&node, "tour", &options, &self.rows[..5])?.tell_all(report).await;

        let mut client = self.client(&node, "goaway", &[], &self.rows[5..])?;
        // Whatever else it says, or if it has ended: what follows tells.
        if client.line().await?.is_some_and(|(what, _)| what == LOADING) {
            let stopped = node.stop().await;
            report.check("a node with a link ends with 0 on SIGTERM", stopped.map(|()| ""));
        }
        client.tell_all(report).await;
        Ok(())
    }

    /// A node of ours whose database breaks.
    async fn failing(&self, report: &mut Report) -> Result<()> {
        let node = self.start(Kind::Rust).await?;
        let (cached, other) = (&self.rows[0], &self.rows[1]);
        node.api().value(GROUP, &cached.key).await?;
        std::fs::write(&self.files.sqlite, "this is no database")?;
        let mut client = self.client(&node, "fails", &[], &[cached.clone(), other.clone()])?;
        client.tell_all(report).await;
        crate::node::stop_all(vec![node]).await
    }

    /// Starts a node that is alone on its ring.
    async fn start(&self, kind: Kind) -> Result<Node> {
        on_free_addresses(Ports::Usual, 1, async |addresses| {
            let node = self.programs.node(kind, addresses, 0, &self.files)?;
            let mut node = node.with("--slow-db", SLOW);
            node.start().await?;
            Ok(node)
        })
        .await
    }

    fn client(
        &self,
        node: &Node,
        check: &str,
        options: &[String],
        rows: &[Entry],
    ) -> Result<Client> {
        let mut command = Command::new(&self.programs.link);
        command.args(["--addr", node.url(), "--group", GROUP, "--check", check]).args(options);
        for Entry { key, value, .. } in rows {
            command.arg(format!("{key}={}", String::from_utf8_lossy(value)));
        }
        Client::start(&self.programs.link, command)
    }
}

/// The running client; dropping it kills it.
struct Client {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Client {
    fn start(program: &Path, command: Command) -> Result<Self> {
        let mut command = tokio::process::Command::from(tied::tie(command));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.process_group(0).kill_on_drop(true).spawn();
        let mut child = child.with_context(|| format!("cannot start {}", program.display()))?;
        let stdout = child.stdout.take().context("the client has no output")?;
        Ok(Self { child, lines: BufReader::new(stdout).lines() })
    }

    /// Returns what the client has checked next, and what it found; `None` at its end.
    async fn line(&mut self) -> Result<Option<(String, String)>> {
        let Some(line) = self.lines.next_line().await? else { return Ok(None) };
        let (what, found) = line.split_once('\t').context("a line without a tab")?;
        Ok(Some((what.to_owned(), found.to_owned())))
    }

    /// Reports what the client has checked, and whether it went through with it.
    async fn tell_all(&mut self, report: &mut Report) {
        let mut told = 0;
        let ended = loop {
            match self.line().await {
                Ok(Some((what, found))) => report.check(&what, Ok(found)),
                Ok(None) => break self.end().await,
                Err(error) => break Err(error),
            }
            told += 1;
        };
        if let Err(error) = ended {
            report.check("the client goes on", Err::<&str, _>(error));
        } else if told == 0 {
            report.claim("the client checks something", false);
        }
    }

    /// Waits until the client has ended, and returns what went wrong, if anything did.
    async fn end(&mut self) -> Result<()> {
        let mut said = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            stderr.read_to_string(&mut said).await?;
        }
        let status = self.child.wait().await?;
        ensure!(status.success(), "{status}: {}", said.trim());
        Ok(())
    }
}
