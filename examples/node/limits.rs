//! What a node puts up with from other nodes, as options.

use std::time::Duration;

use bytesize::ByteSize;
use carrotcache::HttpPool;
use carrotcache::peer_http::HttpPoolBuilder;
use clap::Args;

/// How long others may take, and how much they may hold here.
#[derive(Args)]
#[command(next_help_heading = "Limits for other nodes")]
pub(crate) struct Limits {
    /// How long another node may show no sign that it is at it before its value is loaded here
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    pub(crate) peer_timeout: Duration,

    /// How long connecting to another node may take
    #[arg(long, value_name = "TIME", default_value = "250ms", value_parser = humantime::parse_duration)]
    connect_timeout: Duration,

    /// The largest value that is taken from another node
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    max_answer_bytes: ByteSize,

    /// How much may wait to be read by all who have asked
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    max_unsent_bytes: ByteSize,

    /// How long somebody who asks may take in all, until he has read the answer
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    max_time_left: Duration,

    /// How long a connection is kept on which nobody asks
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    idle_timeout: Duration,
}

impl Limits {
    /// Returns the builder of the pool of the node at `url`, within these limits.
    pub(crate) fn pool(&self, url: &str) -> HttpPoolBuilder {
        HttpPool::builder(url)
            .connect_timeout(self.connect_timeout)
            .max_answer_bytes(self.max_answer_bytes.as_u64())
            .max_unsent_bytes(self.max_unsent_bytes.as_u64())
            .max_time_left(self.max_time_left)
            .idle_connection_timeout(self.idle_timeout)
            // Sooner than the other side, which else might close it just as it is used again.
            .idle_timeout(self.idle_timeout * 5 / 6)
    }
}
