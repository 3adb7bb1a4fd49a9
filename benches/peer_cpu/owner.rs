//! The process on the other side: an owner of ours, or a Redis server.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result};
use tokio::net::TcpListener;

use crate::peers::{self, Asker, Contender, redis};

/// A process that has the values. It ends with this.
pub(crate) enum Owner {
    Ours(Process),
    Redis(redis::Server),
}

impl Owner {
    /// Starts the owner of a contender; `None` if its program is not there.
    pub(crate) async fn start(contender: Contender, value_bytes: usize) -> Result<Option<Self>> {
        if contender == Contender::Redis {
            return Ok(redis::Server::start().await?.map(Self::Redis));
        }
        let command = Command::new(std::env::current_exe()?);
        Ok(Some(Self::Ours(Process::start(command, OWN, contender, value_bytes)?)))
    }

    /// Returns who asks it for values of `value_bytes`.
    pub(crate) async fn asker(&self, contender: Contender, value_bytes: usize) -> Result<Asker> {
        match self {
            Self::Ours(process) => Asker::new(contender, process.address, value_bytes).await,
            Self::Redis(server) => Asker::of_redis(server, value_bytes).await,
        }
    }

    pub(crate) fn cpu_nanos(&self) -> Result<u64> {
        let id = match self {
            Self::Ours(process) => process.child.id(),
            Self::Redis(server) => server.id(),
        };
        cpu_nanos(&id.to_string())
    }
}

/// What this program is told to be an owner, on all cores or in one thread.
pub(crate) const OWN: &str = "own";
pub(crate) const OWN_IN_ONE_THREAD: &str = "own-in-one-thread";

/// This program, run as an owner. It ends when its standard input does.
pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    child: Child,
    /// Closed first, so that it ends in good order.
    input: Option<ChildStdin>,
}

impl Process {
    /// Starts `command`, which is this program or what runs it, to do what `verb` says.
    pub(crate) fn start(
        mut command: Command,
        verb: &str,
        contender: Contender,
        value_bytes: usize,
    ) -> Result<Self> {
        let mut child = command
            .args([verb, contender.name(), &value_bytes.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let input = child.stdin.take();
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("a pipe")?).read_line(&mut line)?;
        let address = line.trim().parse().context("the owner tells its address")?;
        Ok(Self { address, child, input })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.input.take());
        // One that cannot be waited for has ended already.
        let _ = self.child.wait();
    }
}

/// Runs as an owner, in a child process, until the standard input ends.
pub(crate) async fn own(name: &str, value_bytes: usize) -> Result<()> {
    let contenders = [Contender::Carrotcache, Contender::Http, Contender::Groupcache];
    let contender = contenders.into_iter().find(|contender| contender.name() == name);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    std::thread::spawn(|| {
        // It never sends anything: this waits for the end.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    peers::own(contender.context("a contender")?, listener, value_bytes).await
}

/// Returns the CPU time that the threads of a process have used, in nanoseconds.
pub(crate) fn cpu_nanos(process: &str) -> Result<u64> {
    let mut nanos = 0;
    for thread in PathBuf::from(format!("/proc/{process}/task")).read_dir()? {
        let stat = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        nanos += stat.split(' ').next().context("a number")?.parse::<u64>()?;
    }
    Ok(nanos)
}
