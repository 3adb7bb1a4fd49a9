//! How a node caches each table, as options.

use std::time::Duration;

use bytesize::ByteSize;
use carrotcache::GroupBuilder;
use clap::Args;

/// How long a key may be.
pub(crate) const MAX_KEY_BYTES: usize = 1_024;

/// How much is kept, for how long, and how many loads the database is asked for at once.
#[derive(Args)]
#[command(next_help_heading = "Each group")]
pub(crate) struct Caching {
    /// How much each group may hold, its bookkeeping included
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    max_bytes: ByteSize,

    /// How long a value is fresh; for good unless set
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    time_to_live: Option<Duration>,

    /// How long a value that is no longer fresh is still answered while a new one is loaded
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, requires = "time_to_live")]
    serve_stale: Option<Duration>,

    /// How long it is remembered that there is no such row; not at all unless set
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    not_found_time_to_live: Option<Duration>,

    /// How many rows of each table are loaded at once; others wait for their turn
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_loads: usize,
}

impl Caching {
    /// Returns `group` with these options set.
    pub(crate) fn apply(&self, group: GroupBuilder) -> GroupBuilder {
        let mut group = group.max_bytes(self.max_bytes.as_u64()).max_key_bytes(MAX_KEY_BYTES);
        group = group.max_loads(self.max_loads);
        if let Some(time) = self.time_to_live {
            group = group.time_to_live(time);
        }
        if let Some(time) = self.serve_stale {
            group = group.serve_stale(time);
        }
        if let Some(time) = self.not_found_time_to_live {
            group = group.not_found_time_to_live(time);
        }
        group
    }
}
