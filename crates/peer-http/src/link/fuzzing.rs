//! Ways in for `fuzz/`, which makes up what the other side sends. Built with `--cfg fuzzing` alone.

use tokio::runtime::Runtime;

use super::scripted::{Script, check_asker, check_owner};

/// What the other side sends, and how it comes and is taken.
#[derive(Debug)]
pub struct Sent {
    /// What came behind the agreement on frames, and was read with it.
    pub early: Vec<u8>,
    /// What each read brings. The end of the stream follows.
    pub reads: Vec<Vec<u8>>,
    /// Whether the connection is not ready every other time that it is asked.
    pub pauses: bool,
    /// How many bytes a write takes at most.
    pub write_bytes: usize,
}

impl From<Sent> for Script {
    fn from(Sent { early, reads, pauses, write_bytes }: Sent) -> Self {
        Self { early, reads, pauses, write_bytes }
    }
}

/// Lets an owner read what an asker sends, cut into reads and in one.
///
/// # Panics
///
/// When it does not answer both alike. If a link does not end, this does not return.
pub fn read_requests(runtime: &Runtime, sent: Sent) {
    runtime.block_on(check_owner(&sent.into()));
}

/// Lets an asker with some gets and purges under way read what an owner sends, cut into reads and in one.
///
/// # Panics
///
/// When its gets are not told the same both times, or one is not told exactly once. If a link does not
/// end, this does not return.
pub fn read_replies(runtime: &Runtime, sent: Sent) {
    runtime.block_on(check_asker(&sent.into()));
}
