//! How much a node may use, derived from how it is set and what is done to it.

use std::time::Duration;

use crate::process::usage::Usage;

use super::truth::HUGE_BYTES;

/// How many nodes there are.
pub(super) const NODES: usize = 2;
/// How many fake peers share the ring with them.
pub(super) const FAKES: usize = 4;

/// What a node may keep: less than all small values, so that owners are asked all the time.
pub(super) const MAX_BYTES: u64 = 4 << 20;
/// The largest answer that a node accepts from a peer: one huge value.
pub(super) const MAX_ANSWER_BYTES: u64 = 8 << 20;
/// Bytes of answers that a node has promised to send at one moment.
pub(super) const MAX_UNSENT_BYTES: u64 = 32 << 20;
/// How long an exchange with a client may take that does not say how long it waits: longer than the
/// 10 s without progress after which a client is cut off that does not read.
pub(super) const MAX_TIME_LEFT: Duration = Duration::from_secs(15);
/// How long a connection may be open that nobody uses.
pub(super) const IDLE_TIME: Duration = Duration::from_secs(6);
/// How long a node waits for a peer: not much, so that stalled ones leave time for others.
pub(super) const PEER_TIME: Duration = Duration::from_millis(500);

/// How many honest gets are under way at a node.
pub(super) const GETS_AT_ONCE: usize = 16;
/// How often each of those who get begins anew, at most.
pub(super) const GET_INTERVAL: Duration = Duration::from_millis(50);
/// How many hostile clients a node has at once.
pub(super) const HOSTILE_AT_ONCE: usize = 32;
/// How many connections each of them opens at most.
pub(super) const FLOOD: usize = 8;
/// How long a connection of theirs is held open, at most, while the soak runs.
pub(super) const HOLD_TIME: Duration = Duration::from_secs(12);

/// How long a node may go on with a peer that it waits for no more, in a machine that is busy.
pub(super) const GIVE_UP_TIME: Duration = Duration::from_secs(10);
/// The longest that a get may take: waiting for the owner, then a query, in a machine that is busy.
pub(super) const GET_TIME: Duration = Duration::from_secs(5);
/// How long anything may stay open when nobody asks any more: an exchange that has just begun, and
/// then unused, in a machine that is busy.
pub(super) const LEFT_TIME: Duration =
    Duration::from_secs(MAX_TIME_LEFT.as_secs() + IDLE_TIME.as_secs() + 9);
/// How long a node may take to end while nobody has a whole request under way.
pub(super) const END_TIME: Duration = Duration::from_secs(5);

/// Connections to the database, each with a thread and a page cache of 2 MiB.
const DATABASE: u64 = 8;
/// Files that the database opens for each.
const FILES_EACH: u64 = 2;
/// After so many seconds without a failure a peer is back; it is told when one fails first, and then.
const QUIET_SECONDS: u64 = 10;

/// What an answer or a load of a huge value takes while it is put together: it and a copy.
const COPIES: u64 = 2;
/// Bytes of answers that are being sent, and as many that wait for their turn.
const UNSENT_BYTES: u64 = 2 * MAX_UNSENT_BYTES;
/// Bytes of answers that are under way to a node: four of the largest.
const UNDER_WAY_BYTES: u64 = 4 * MAX_ANSWER_BYTES;
/// What a connection takes: its buffers, and its task.
const CONNECTION_BYTES: u64 = 64 << 10;

/// Returns what a node may use at most that used `start` when it was new.
pub(super) fn of(start: Usage) -> Usage {
    let [gets, hostile] = [GETS_AT_ONCE, HOSTILE_AT_ONCE * FLOOD].map(|count| count as u64);
    let peers = (NODES + FAKES - 1) as u64;
    // At each peer there can be as many connections as there were gets at one moment; likewise
    // from each other node.
    let connections = gets + gets * peers + gets * (NODES as u64 - 1) + hostile;
    let loads = 3 * COPIES * HUGE_BYTES as u64;
    let bytes = MAX_BYTES
        + UNSENT_BYTES
        + UNDER_WAY_BYTES
        + loads
        + DATABASE * (2 << 20)
        + connections * CONNECTION_BYTES;
    Usage {
        // What was freed is not always given back: a quarter more.
        resident_bytes: start.resident_bytes + bytes + bytes / 4,
        // The runtime may need a few of its own, to look something up.
        threads: start.threads + DATABASE + 4,
        descriptors: start.descriptors + connections + DATABASE * FILES_EACH,
    }
}

/// Returns how many lines a node may have printed after so many seconds: two for each time that a
/// peer fails and is back, and what it says when it starts and ends.
pub(super) fn lines(seconds: u64) -> u64 {
    let peers = (NODES + FAKES - 1) as u64;
    2 * peers * (seconds / QUIET_SECONDS + 1) + 5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_may_use_more_than_at_its_start_and_far_less_than_is_aimed_at_it() {
        let start = Usage { resident_bytes: 20 << 20, threads: 4, descriptors: 20 };
        let most = of(start);
        assert_eq!(most.max(start), most);
        // What those who never read ask for, all at once.
        let asked_for = HOSTILE_AT_ONCE * FLOOD * HUGE_BYTES;
        assert!(most.resident_bytes < asked_for as u64 / 3, "{most:?}");
        assert!(most.descriptors < 1_000, "{most:?}");
    }

    #[test]
    fn lines_go_with_the_time_and_not_with_the_gets() {
        assert_eq!(lines(0), 15);
        assert_eq!(lines(60), 75);
    }
}
