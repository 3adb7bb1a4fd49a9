//! The command line of `node`.

use std::time::Duration;

use clap::Parser;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::caching::Caching;
use crate::limits::Limits;
use crate::peers::Peers;
use crate::trust::Trust;

/// One node of a cluster that caches the tables of a database.
///
/// Each table NAME(key TEXT PRIMARY KEY, value BLOB) is a group NAME.
#[derive(Parser)]
#[command(name = "node")]
pub(crate) struct Args {
    /// This node's base URL, by which its peers know it
    #[arg(long, value_name = "URL")]
    pub(crate) addr: String,

    #[command(flatten)]
    pub(crate) peers: Peers,

    /// Where to listen for peers, if that is not the host and port of --addr
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,

    /// Where to listen for those who ask: GET, PUT, DELETE /api?key=Tom&group=scores, and /stats, /healthz
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) api: String,

    /// The database: sqlite:FILE, mysql://USER:PASSWORD@HOST/DATABASE or postgres://…; a file that is
    /// not there is created with the groups `scores` and `unicode`
    #[arg(long, value_name = "URL")]
    pub(crate) db: String,

    /// How long to go on when asked to end, while /readyz says 503 and the others are told that this node
    /// leaves
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    pub(crate) drain: Duration,

    /// Sleep this long before each query, as a slow database would
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = humantime::parse_duration)]
    pub(crate) slow_db: Duration,

    /// What to log to standard error: a level, or `target=level` separated by commas
    #[arg(long, value_name = "FILTER", default_value = "info", value_parser = filter)]
    pub(crate) log: EnvFilter,

    #[command(flatten)]
    pub(crate) caching: Caching,

    #[command(flatten)]
    pub(crate) limits: Limits,

    #[command(flatten)]
    pub(crate) trust: Trust,
}

// Clap would take the conversion that cannot fail, which leaves out what it does not understand.
fn filter(text: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::try_new(text)
}
