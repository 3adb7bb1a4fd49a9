//! `cargo xtask soak`: real nodes on a ring with peers that misbehave, asked by honest clients and
//! beset by hostile ones.
//!
//! No value may be wrong, no get may fail, and what a node uses stays within bounds that follow from
//! its settings; when all is over, nothing is left open. `table` is how peers misbehave and `fakes`
//! are those peers, `hostile` the clients that are no nodes, `load` the honest ones, `truth` what they
//! know, `watch` what the nodes use and `bounds` what they may use.

mod bounds;
mod fakes;
mod hostile;
mod load;
mod table;
mod truth;
mod watch;
mod wire;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use self::fakes::Fakes;
use self::hostile::{Acts, Hostile};
use self::load::{Load, Outcome};
use self::watch::{Watch, size};
use crate::node::addresses::{Addresses, Ports, on_free_addresses};
use crate::node::{self, Node};
use crate::process::interrupt::unless_interrupted;
use crate::programs::build_examples;
use crate::report::Report;
use crate::seeds;

/// Have nodes share a ring with peers that misbehave, and see what they use and what they answer
#[derive(clap::Args)]
pub struct Args {
    /// How long to go on
    #[arg(long, default_value_t = 60, value_name = "N", value_parser = clap::value_parser!(u64).range(10..=86_400))]
    seconds: u64,

    /// What decides who does what, to repeat a run [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Build the nodes with optimisations, which takes some minutes the first time
    #[arg(long)]
    release: bool,
}

/// Runs the soak and reports what came of it.
///
/// # Errors
///
/// When a value is wrong, which ends the soak at once; when a node cannot be started, or a check has
/// failed.
///
/// # Cancel safety
///
/// When the future is dropped, the nodes are killed.
pub async fn run(args: &Args) -> Result<()> {
    let programs = build_examples(["node", "import"], args.release)?;
    let seed = args.seed.unwrap_or_else(seeds::any);
    let soaked = unless_interrupted(soak(&programs, args.seconds, seed)).await;
    soaked.with_context(|| format!("the soak with --seed {seed}"))
}

async fn soak([program, import]: &[PathBuf; 2], seconds: u64, seed: u64) -> Result<()> {
    let mut report = Report::default();
    report.part(&format!("A soak of {seconds} s, with --seed {seed}"));
    let mut soak = Soak::start(program, import, seed).await?;
    report.note(&format!(
        "{} nodes and {} fake peers share a ring; {} clients of each node are hostile.",
        bounds::NODES,
        bounds::FAKES,
        bounds::HOSTILE_AT_ONCE
    ));
    let (watch, hostile) = soak.run(Duration::from_secs(seconds), seed).await?;
    report.part("What was answered");
    soak.check_answers(&mut report);
    report.part("What was used");
    soak.check_usage(&watch, seconds, &mut report);
    report.part("When it is over");
    soak.end(hostile, &mut report).await?;
    report.finish()
}

/// The nodes and all who deal with them; dropping it ends them.
struct Soak {
    nodes: Vec<Node>,
    ports: Vec<u16>,
    fakes: Fakes,
    fake_ports: Vec<u16>,
    load: Load,
    acts: Acts,
    // Dropped last: the nodes have the database open.
    _folder: TempDir,
}

impl Soak {
    /// Starts the fakes and the nodes, and nobody who asks.
    async fn start(program: &Path, import: &Path, seed: u64) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let db = truth::write(folder.path(), import)?;
        let start = async |addresses: &Addresses| {
            let (ports, fake_ports) = addresses.ports().split_at(bounds::NODES);
            let (ports, fake_ports) = (ports.to_vec(), fake_ports.to_vec());
            let fakes = Fakes::start(&fake_ports, seed)?;
            let nodes = (0..bounds::NODES).map(|at| describe(program, addresses, at, &db));
            let mut nodes = nodes.collect::<Result<Vec<_>>>()?;
            node::start_all(&mut nodes).await?;
            Ok((nodes, ports, fakes, fake_ports))
        };
        let count = bounds::NODES + bounds::FAKES;
        let (nodes, ports, fakes, fake_ports) =
            on_free_addresses(Ports::Usual, count, start).await?;
        let (load, acts) = (Load::default(), Acts::default());
        Ok(Self { nodes, ports, fakes, fake_ports, load, acts, _folder: folder })
    }

    /// Has everybody ask for `time`. Returns what the nodes have used, and the hostile clients with
    /// what they still have open.
    ///
    /// # Errors
    ///
    /// When a value is wrong, or a node ends.
    async fn run(&mut self, time: Duration, seed: u64) -> Result<(Watch, Hostile)> {
        let apis: Vec<_> = self.nodes.iter().map(|node| node.api().clone()).collect();
        for api in &apis {
            // A first get each, so that what a node needs once is part of what it starts with.
            self.load.get(api, "small-1").await?;
        }
        let mut watch = Watch::new(&self.nodes)?;
        let mut hostile = Hostile::start(&self.ports, seed, &self.acts);
        tokio::select! {
            watched = watch.run(&self.nodes, time, |elapsed| self.tell(elapsed)) => watched?,
            wrong = self.load.run(&apis, seed) => wrong?,
            wrong = hostile.wrong() => wrong?,
        }
        hostile.begin_no_more();
        Ok((watch, hostile))
    }

    /// Prints how far it is.
    fn tell(&self, elapsed: Duration) {
        let (seconds, gets) = (elapsed.as_secs(), self.load.outcome());
        let (peers, clients) = (self.fakes.tally().misbehaved(), self.acts.tally().acts);
        println!(
            "  {seconds:3} s: {} gets right, {} failed; peers misbehaved {peers} times, clients \
             {clients}",
            gets.right, gets.failed
        );
    }

    /// Checks what was answered to whom.
    fn check_answers(&self, report: &mut Report) {
        let Outcome { right, failed, failures, slowest } = self.load.outcome();
        let (fakes, clients) = (self.fakes.tally(), self.acts.tally());
        let all = Ok(format!("{right} gets, and {} from peer ports", clients.right));
        report.check("Every value that came was the right one", all);
        report.check("No get has failed, whoever owns the key", none(failed, &failures));
        let limit = bounds::GET_TIME;
        report.claim(
            &format!("Each get was over within {limit:?}: the slowest took {slowest:.1?}"),
            slowest <= limit,
        );
        let (count, unanswered) = (clients.unanswered.len() as u64, &clients.unanswered);
        report.check("Who asked a peer port in order got an answer", none(count, unanswered));
        let found = format!("{} times, {} right answers beside", fakes.misbehaved(), fakes.right);
        let missed = fakes.missed();
        let met = missed.is_empty().then_some(found);
        let met = met.with_context(|| format!("not in these: {}", missed.join(", ")));
        report.check("Peers misbehaved in each of the ways that there are", met);
        let faults = none(fakes.faults.len() as u64, &fakes.faults);
        report.check("Nodes sent peers what they should, and gave up in time", faults);
    }

    /// Checks what the nodes have used.
    fn check_usage(&self, watch: &Watch, seconds: u64, report: &mut Report) {
        let lines = bounds::lines(seconds);
        for (node, (used, may)) in self.nodes.iter().zip(watch.found()) {
            let [bytes, most] = [used, may].map(|usage| size(usage.resident_bytes));
            let mut claim =
                |what: &str, holds| report.claim(&format!("{} {what}", node.name()), holds);
            claim(&format!("used {bytes} of {most}"), used.resident_bytes <= may.resident_bytes);
            let (used_threads, threads) = (used.threads, may.threads);
            claim(&format!("ran {used_threads} threads of {threads}"), used_threads <= threads);
            let (open, most) = (used.descriptors, may.descriptors);
            claim(&format!("had {open} descriptors open, of {most}"), open <= most);
            let printed = node.printed();
            claim(&format!("printed {printed} lines, of {lines}"), printed <= lines);
            if printed > lines {
                report.note(&node.output());
            }
        }
    }

    /// Ends it all, and checks what is left open on the way.
    async fn end(mut self, hostile: Hostile, report: &mut Report) -> Result<()> {
        self.fakes.stop().await;
        let name = |port| self.acts.kind_at(port);
        let closed = watch::until_closed(&self.nodes, &self.ports, &self.fake_ports, name).await;
        let closed = closed.map(|after| format!("after {after:.1?}"));
        report.check("The nodes have closed what nobody uses", closed);
        drop(hostile);

        let load = Load::default();
        for (node, key) in self.nodes.iter().cycle().zip((0..200).map(|n| format!("small-{n}"))) {
            load.get(node.api(), &key).await?;
        }
        let Outcome { failed, failures, .. } = load.outcome();
        report.check("With all other peers gone, every get is answered", none(failed, &failures));

        // Nobody has to be waited for who has not said what he wants.
        let _half = half_heads(&self.ports).await?;
        let start = Instant::now();
        let ended = node::stop_all(self.nodes).await;
        let took = start.elapsed();
        let (time, limit) = (format!("{took:.1?}"), bounds::END_TIME);
        let ended =
            ended.and_then(|()| if took <= limit { Ok(time) } else { bail!("in {took:.1?}") });
        report.check(&format!("Asked to end, each exits with 0 within {limit:?}"), ended);
        Ok(())
    }
}

/// Describes a node over the database.
fn describe(program: &Path, addresses: &Addresses, at: usize, db: &str) -> Result<Node> {
    let time = |time: Duration| format!("{}ms", time.as_millis());
    let bytes = |bytes: u64| format!("{bytes}B");
    let node = Node::new("node", program, addresses, at, db)?;
    // A query that takes long in a busy machine is told by the database's crate, as often as it
    // happens: that is not ours to bound.
    let node = node.with("--log", "warn,sqlx=error");
    Ok(node
        .with("--max-bytes", &bytes(bounds::MAX_BYTES))
        .with("--peer-timeout", &time(bounds::PEER_TIME))
        .with("--max-answer-bytes", &bytes(bounds::MAX_ANSWER_BYTES))
        .with("--max-unsent-bytes", &bytes(bounds::MAX_UNSENT_BYTES))
        .with("--max-time-left", &time(bounds::MAX_TIME_LEFT))
        .with("--idle-timeout", &time(bounds::IDLE_TIME)))
}

/// Opens connections to each of `ports` on which half a head has come.
async fn half_heads(ports: &[u16]) -> Result<Vec<TcpStream>> {
    let mut streams = Vec::new();
    for port in ports.iter().flat_map(|port| [port; bounds::FLOOD]) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).await?;
        stream.write_all(b"GET /_groupcache/soak/sma").await?;
        streams.push(stream);
    }
    Ok(streams)
}

/// Returns that there were none, or how many there were and what the first of them are.
fn none(count: u64, texts: &[String]) -> Result<String> {
    let first: Vec<_> = texts.iter().take(3).map(String::as_str).collect();
    ensure!(count == 0, "{count}, the first of them: {}", first.join("; "));
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_should_not_be_is_counted_and_the_first_of_it_told() {
        assert_eq!(none(0, &[]).unwrap(), "");
        let texts: Vec<_> = (1..=9).map(|number| number.to_string()).collect();
        assert_eq!(none(9, &texts).unwrap_err().to_string(), "9, the first of them: 1; 2; 3");
    }
}
