//! What the nodes use while the soak runs, and what they have left open when it is over.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytesize::ByteSize;
use tokio::time::{Instant, interval, sleep};

use super::bounds;
use crate::node::Node;
use crate::process::usage::{Socket, Usage, sockets};

/// How often the nodes are looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(250);
/// How often it is told how far the soak is.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// What the nodes have used.
pub(super) struct Watch {
    /// What each used when it was new.
    start: Vec<Usage>,
    /// What each uses now.
    now: Vec<Usage>,
    /// The most that each has used.
    peak: Vec<Usage>,
}

impl Watch {
    /// Looks at the nodes for the first time.
    ///
    /// # Errors
    ///
    /// When one does not run.
    pub(super) fn new(nodes: &[Node]) -> Result<Self> {
        let start = nodes.iter().map(usage).collect::<Result<Vec<_>>>()?;
        Ok(Self { now: start.clone(), peak: start.clone(), start })
    }

    /// Looks at the nodes for `time`, and tells by `tell` now and then how far it has come.
    ///
    /// # Errors
    ///
    /// When one has ended, or uses twice what it may.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(super) async fn run(
        &mut self,
        nodes: &[Node],
        time: Duration,
        tell: impl Fn(Duration),
    ) -> Result<()> {
        let (start, mut ticks, mut told) = (Instant::now(), interval(SAMPLE_INTERVAL), 0);
        while start.elapsed() < time {
            ticks.tick().await;
            self.look(nodes)?;
            let due = start.elapsed().as_secs() / TELL_INTERVAL.as_secs();
            if due > told {
                told = due;
                tell(start.elapsed());
                self.lines(nodes).for_each(|line| println!("       {line}"));
            }
        }
        Ok(())
    }

    fn look(&mut self, nodes: &[Node]) -> Result<()> {
        self.now = nodes.iter().map(usage).collect::<Result<Vec<_>>>()?;
        for ((node, now), start) in nodes.iter().zip(&self.now).zip(&self.start) {
            let most = bounds::of(*start);
            ensure!(
                now.resident_bytes < 2 * most.resident_bytes,
                "{} uses {}, more than twice the {} that it may: the soak ends here",
                node.name(),
                size(now.resident_bytes),
                size(most.resident_bytes)
            );
        }
        let peaks = self.peak.iter_mut().zip(&self.now);
        peaks.for_each(|(peak, now)| *peak = peak.max(*now));
        Ok(())
    }

    /// Returns a line for each node: what it uses and the most that it has used.
    fn lines(&self, nodes: &[Node]) -> impl Iterator<Item = String> {
        nodes.iter().zip(self.now.iter().zip(&self.peak)).map(|(node, (now, peak))| {
            let [bytes, most] = [now, peak].map(|usage| size(usage.resident_bytes));
            let (open, opened) = (now.descriptors, peak.descriptors);
            let (name, threads, lines) = (node.name(), now.threads, node.printed());
            format!(
                "{name}: {bytes} (at most {most}), {open} descriptors (at most {opened}), {threads} \
                 threads, {lines} lines"
            )
        })
    }

    /// Returns for each node, by its place, what it has used and what it may use.
    pub(super) fn found(&self) -> impl Iterator<Item = (Usage, Usage)> {
        self.peak.iter().copied().zip(self.start.iter().map(|start| bounds::of(*start)))
    }
}

/// Returns how many bytes that is, to be read.
pub(super) fn size(bytes: u64) -> String {
    ByteSize::b(bytes).to_string()
}

fn usage(node: &Node) -> Result<Usage> {
    let found = node.id().context("it is not running").and_then(Usage::of);
    found.with_context(|| format!("{} has ended; it said:\n{}", node.name(), node.output()))
}

/// Waits until no node has a connection open other than to another node; the nodes listen at `ports`,
/// the fakes at `peers`.
///
/// Returns how long that took. `name` says who has a port, for the error.
///
/// # Errors
///
/// When some are open still after the limit.
///
/// # Cancel safety
///
/// May be dropped at any time.
pub(super) async fn until_closed(
    nodes: &[Node],
    ports: &[u16],
    peers: &[u16],
    name: impl Fn(u16) -> String,
) -> Result<Duration> {
    let start = Instant::now();
    loop {
        let left = left(nodes, ports, peers, &name)?;
        if left.is_empty() {
            return Ok(start.elapsed());
        }
        ensure!(
            start.elapsed() < bounds::LEFT_TIME,
            "after {:?} open still: {}",
            bounds::LEFT_TIME,
            left.join("; ")
        );
        sleep(SAMPLE_INTERVAL).await;
    }
}

/// Returns what each node has open that it should not have, as a text.
fn left(
    nodes: &[Node],
    ports: &[u16],
    peers: &[u16],
    name: impl Fn(u16) -> String,
) -> Result<Vec<String>> {
    let ids = nodes.iter().map(|node| node.id().context("a node has ended"));
    let open = ids.map(|id| sockets(id?)).collect::<Result<Vec<_>>>()?;
    let all: Vec<_> = open.iter().flatten().copied().collect();
    let mut found = Vec::new();
    for ((node, &port), open) in nodes.iter().zip(ports).zip(&open) {
        let (to_peers, foreign) = (to_peers(open, peers), foreign(open, &all, port));
        if to_peers + foreign.len() > 0 {
            let names: Vec<_> = foreign.iter().map(|&port| name(port)).collect();
            let (node, names) = (node.name(), names.join(", "));
            found.push(format!("{node} has {to_peers} to fake peers, and of strangers [{names}]"));
        }
    }
    Ok(found)
}

/// Counts the sockets of a node to `peers`.
fn to_peers(open: &[Socket], peers: &[u16]) -> usize {
    open.iter().filter(|socket| peers.contains(&socket.remote_port)).count()
}

/// Returns the ports of others than nodes who are connected to the `port` of a node; `all` are the
/// sockets of all nodes.
fn foreign(open: &[Socket], all: &[Socket], port: u16) -> Vec<u16> {
    let accepted = open.iter().filter(|socket| socket.local_port == port);
    let others = accepted.map(|socket| socket.remote_port).filter(|&other| other != 0);
    let of_node = |other| all.contains(&Socket { local_port: other, remote_port: port });
    others.filter(|&other| !of_node(other)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_between_nodes_are_no_strangers_and_listeners_no_connections() {
        let socket = |local_port, remote_port| Socket { local_port, remote_port };
        let listeners = [socket(8001, 0), socket(9999, 0)];
        let from_node = [socket(8001, 50_001)];
        let other_node = [socket(50_001, 8001)];
        let api = [socket(9999, 50_002)];
        let quiet = [&listeners[..], &from_node, &api].concat();
        let all = [&quiet[..], &other_node].concat();
        assert_eq!(to_peers(&quiet, &[8003, 8004]), 0);
        assert!(foreign(&quiet, &all, 8001).is_empty());

        let busy = [&quiet[..], &[socket(50_003, 8003), socket(8001, 50_004)]].concat();
        let all = [&busy[..], &other_node].concat();
        assert_eq!(to_peers(&busy, &[8003, 8004]), 1);
        assert_eq!(foreign(&busy, &all, 8001), [50_004]);
        // The other node has closed its end: what is left here belongs to nobody.
        assert_eq!(foreign(&quiet, &quiet, 8001), [50_001]);
    }
}
