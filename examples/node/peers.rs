//! Who the nodes are: by the command line, or by a file that is read again when it changes.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use carrotcache::HttpPool;
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// More than the longest list that makes sense.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// All nodes, this one among them.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Peers {
    /// Base URLs of all nodes, this one among them, separated by commas
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    peers: Vec<String>,

    /// The same as a file, one URL a line, which is read again when it changes and on SIGHUP
    #[arg(long, value_name = "FILE")]
    peers_file: Option<PathBuf>,
}

impl Peers {
    /// Tells the pool its peers, and from then on whenever the file changes.
    ///
    /// # Errors
    ///
    /// When the list cannot be read or used.
    pub(crate) fn follow(&self, pool: &HttpPool) -> Result<()> {
        let Some(path) = &self.peers_file else {
            return pool.set_peers(&self.peers).context("--peers");
        };
        let text = read(path)?;
        set(pool, path, &text)?;
        let asked = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
        tokio::spawn(watch(pool.clone(), path.clone(), text, asked));
        Ok(())
    }
}

/// Reads the file again and again, and never ends. What is wrong with it is logged once, and the peers
/// stay as they are.
///
/// # Cancel safety
///
/// May be dropped at any time.
async fn watch(pool: HttpPool, path: PathBuf, text: String, mut asked: Signal) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // As text: neither a list nor an error is taken twice.
    let mut last = Ok(text);
    loop {
        let is_asked = tokio::select! {
            _ = looks.tick() => false,
            _ = asked.recv() => true,
        };
        let read = read(&path).map_err(|error| format!("{error:#}"));
        if read == last && !is_asked {
            continue;
        }
        let taken = match &read {
            Ok(text) => set(&pool, &path, text).map_err(|error| format!("{error:#}")),
            Err(error) => Err(error.clone()),
        };
        match taken {
            Ok(()) => tracing::info!(nodes = pool.ring().len(), "the peers were read again"),
            Err(error) => tracing::warn!(error, "the peers stay as they are"),
        }
        last = read;
    }
}

fn read(path: &Path) -> Result<String> {
    let read = || -> io::Result<String> {
        let mut text = String::new();
        // One byte too many tells that there are more.
        File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
        Ok(text)
    };
    let text = read().with_context(|| format!("cannot read --peers-file {}", path.display()))?;
    let is_small = text.len() as u64 <= MAX_FILE_BYTES;
    ensure!(is_small, "--peers-file {} has over {MAX_FILE_BYTES} bytes", path.display());
    Ok(text)
}

/// Takes a list of a URL a line. Empty lines, and those that begin with `#`, are left out.
fn set(pool: &HttpPool, path: &Path, text: &str) -> Result<()> {
    let urls =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let urls: Vec<_> = urls.collect();
    ensure!(!urls.is_empty(), "--peers-file {} names no node", path.display());
    pool.set_peers(urls).with_context(|| format!("--peers-file {}", path.display()))
}
