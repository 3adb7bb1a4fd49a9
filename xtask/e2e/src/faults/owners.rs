//! Nodes that cannot be asked: killed, stopped, cut off, silent, restarted again and again.

use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::process::Signal;
use tokio::time::sleep;

use super::cluster::{Cluster, GROUP, Plan};
use super::figures::Figures;
use super::load::{Fresh, Samples, ask, ask_whom};
use super::proxy::Mode;

/// Requests a second.
const RATE: u32 = 500;
/// Different keys a second: each is asked for through both of the nodes that stay.
const KEYS: usize = 250;
/// How long the nodes are asked before a fault, and while it lasts.
const BEFORE: usize = 3;
const DURING: usize = 6;
/// How long everything may take to be as it was.
const RETURN: Duration = Duration::from_secs(35);

/// The node to which it happens. The others are asked.
const OWNER: usize = 2;

const THREE: Plan<'static> = Plan { nodes: 3, options: &[], proxied: false, listed: false };
const BEHIND_PROXIES: Plan<'static> = Plan { proxied: true, ..THREE };

/// What was seen before and during a fault.
struct Seen {
    before: Samples,
    during: Samples,
    /// Queries for each key that was asked for meanwhile.
    queries_a_key: f64,
    lines: u64,
}

/// Asks the others before and after `fault` happens to the owner.
async fn seen(
    cluster: &mut Cluster,
    fresh: &mut Fresh,
    fault: impl AsyncFnOnce(&mut Cluster) -> Result<()>,
) -> Result<Seen> {
    cluster.meet().await?;
    let apis = cluster.apis(Some(OWNER));
    let before = ask(&apis, &fresh.take(KEYS * BEFORE, apis.len()), RATE).await;
    fault(cluster).await?;
    let (queries, lines) = (Cluster::queries(&apis).await?, cluster.logged());
    let during = ask(&apis, &fresh.take(KEYS * DURING, apis.len()), RATE).await;
    let queries = Cluster::queries(&apis).await? - queries;
    let queries_a_key = queries as f64 / (KEYS * DURING) as f64;
    Ok(Seen { before, during, queries_a_key, lines: cluster.logged() - lines })
}

pub(super) async fn killed() -> Result<Figures> {
    let (mut cluster, mut fresh) = (Cluster::start(THREE).await?, Fresh::new());
    let kill = async |cluster: &mut Cluster| cluster.nodes[OWNER].kill().await;
    let seen = seen(&mut cluster, &mut fresh, kill).await?;
    let mut figures = Figures::default();
    figures.errors(&seen.during, 0.0);
    figures.at_most("queries a key", seen.queries_a_key, 1.1, "");
    figures.tell("p99 before", seen.before.percentile(99), " ms");
    figures.at_most("the longest wait", seen.during.longest(), 1_200.0, " ms");
    let before = seen.before.percentile(99);
    let after = seen.during.after(Duration::from_secs(1)).percentile(99);
    figures.at_most("p99 after the first second, of before", after / before, 3.0, " ×");
    figures.at_most("lines in the log", seen.lines as f64, 20.0, "");
    Ok(figures)
}

pub(super) async fn stopped() -> Result<Figures> {
    let stop = async |cluster: &mut Cluster| cluster.nodes[OWNER].signal(Signal::STOP);
    let go_on = async |cluster: &mut Cluster| cluster.nodes[OWNER].signal(Signal::CONT);
    silent_owner(THREE, stop, go_on).await
}

pub(super) async fn stalled() -> Result<Figures> {
    let stall = async |cluster: &mut Cluster| cluster.set(OWNER, Mode::Stall);
    let go_on = async |cluster: &mut Cluster| cluster.set(OWNER, Mode::Pass);
    silent_owner(BEHIND_PROXIES, stall, go_on).await
}

pub(super) async fn silent() -> Result<Figures> {
    let silence = async |cluster: &mut Cluster| cluster.set(OWNER, Mode::Silent);
    let go_on = async |cluster: &mut Cluster| cluster.set(OWNER, Mode::Pass);
    silent_owner(BEHIND_PROXIES, silence, go_on).await
}

/// An owner that says nothing for a while, and is then as before.
async fn silent_owner(
    plan: Plan<'_>,
    begin: impl AsyncFnOnce(&mut Cluster) -> Result<()>,
    end: impl AsyncFnOnce(&mut Cluster) -> Result<()>,
) -> Result<Figures> {
    let (mut cluster, mut fresh) = (Cluster::start(plan).await?, Fresh::new());
    let seen = seen(&mut cluster, &mut fresh, begin).await?;
    let mut figures = Figures::default();
    figures.errors(&seen.during, 0.0);
    figures.at_most("queries a key", seen.queries_a_key, 1.1, "");
    figures.at_most("the longest wait", seen.during.longest(), 1_200.0, " ms");
    figures.tell("p99 before", seen.before.percentile(99), " ms");
    let after = seen.during.after(Duration::from_secs(1));
    figures.at_most("p99 after the first second", after.percentile(99), 5.0, " ms");
    end(&mut cluster).await?;
    let back = time_to_return(&cluster, &mut fresh).await?;
    figures.at_most("until it has its keys again", back, RETURN.as_secs_f64(), " s");
    figures.at_most("lines in the log", seen.lines as f64, 20.0, "");
    Ok(figures)
}

/// Asks one of the others for new keys until the owner loads some itself. Returns how many seconds that
/// takes.
async fn time_to_return(cluster: &Cluster, fresh: &mut Fresh) -> Result<f64> {
    let (asked, owner) = (cluster.api(0), [cluster.api(OWNER)]);
    let start = Instant::now();
    // What it was asked for long ago it loads too, when it goes on: so not the first ones count.
    let mut rounds = 0;
    while start.elapsed() < 2 * RETURN && rounds < 3 {
        sleep(Duration::from_millis(100)).await;
        let before = Cluster::queries(&owner).await?;
        for (key, _) in fresh.take(20, 1) {
            // Whether it is answered is counted elsewhere.
            drop(asked.value(GROUP, &key).await);
        }
        rounds = if Cluster::queries(&owner).await? > before { rounds + 1 } else { 0 };
    }
    Ok(start.elapsed().as_secs_f64())
}

/// A network that delays what goes to the owner, lets little of it pass, cuts it short or resets it.
pub(super) async fn bad_network() -> Result<Figures> {
    let (cluster, mut fresh) = (Cluster::start(BEHIND_PROXIES).await?, Fresh::new());
    cluster.meet().await?;
    let apis = cluster.apis(Some(OWNER));
    let mut figures = Figures::default();
    let modes = [
        ("delayed by 20 ms", Mode::Delay(Duration::from_millis(20))),
        ("100 KB a second", Mode::Throttle(1_000)),
        ("answers cut short", Mode::Truncate(20)),
        ("reset", Mode::Reset),
    ];
    for (name, mode) in modes {
        cluster.set(OWNER, mode)?;
        let samples = ask(&apis, &fresh.take(KEYS * 3, apis.len()), RATE).await;
        cluster.set(OWNER, Mode::Pass)?;
        figures.errors(&samples, 0.0);
        figures.at_most(&format!("the longest wait, {name}"), samples.longest(), 1_200.0, " ms");
        // As if nothing had been.
        time_to_return(&cluster, &mut fresh).await?;
    }
    Ok(figures)
}

/// A node that is killed and started ten times.
pub(super) async fn bounces() -> Result<Figures> {
    let (mut cluster, mut fresh) = (Cluster::start(THREE).await?, Fresh::new());
    cluster.meet().await?;
    let apis = cluster.apis(Some(OWNER));
    let rows = fresh.take(KEYS * 12, apis.len());
    let keys = (rows.len() / apis.len()) as f64;
    let before = Cluster::queries(&apis).await?;
    let asking = ask(&apis, &rows, RATE);
    let mut lost = 0;
    let bouncing = async {
        for _ in 0..10 {
            sleep(Duration::from_millis(500)).await;
            lost += Cluster::queries(&[cluster.api(OWNER)]).await?;
            cluster.nodes[OWNER].kill().await?;
            sleep(Duration::from_millis(300)).await;
            cluster.nodes[OWNER].start().await?;
        }
        anyhow::Ok(())
    };
    let (samples, bounced) = tokio::join!(asking, bouncing);
    bounced?;
    let at_owner = lost + Cluster::queries(&[cluster.api(OWNER)]).await?;
    let queries = Cluster::queries(&apis).await? - before + at_owner;
    let mut figures = Figures::default();
    figures.errors(&samples, 0.0);
    figures.at_most("p99", samples.percentile(99), 10.0, " ms");
    figures.tell("the longest wait", samples.longest(), " ms");
    figures.at_most("queries a key", queries as f64 / keys, 1.15, "");
    Ok(figures)
}

/// How long a node that is asked to end goes on: others hear of it within a second or two.
const DRAIN: &str = "3s";

/// Five nodes, each of which is taken off the lists, ended, started and listed again while all are asked.
pub(super) async fn rolling() -> Result<Figures> {
    let plan = Plan { nodes: 5, options: &[("--drain", DRAIN)], proxied: false, listed: true };
    let (mut cluster, mut fresh) = (Cluster::start(plan).await?, Fresh::new());
    cluster.meet().await?;
    let rows = fresh.take(1_000, 1);
    let all = cluster.apis(None);
    let before = Cluster::queries(&all).await?;
    ask(&all, &rows, RATE).await;
    let alive = Mutex::new(all.clone());
    let whom = |at: usize| {
        let alive = alive.lock().unwrap_or_else(PoisonError::into_inner);
        alive[at % alive.len()].clone()
    };
    let mut lost = 0;
    let restarting = async {
        let urls: Vec<_> = cluster.nodes.iter().map(|node| node.url().to_owned()).collect();
        for node in 0..all.len() {
            let others: Vec<_> = urls.iter().filter(|url| **url != urls[node]).cloned().collect();
            *alive.lock().unwrap_or_else(PoisonError::into_inner) = cluster.apis(Some(node));
            for other in (0..all.len()).filter(|other| *other != node) {
                cluster.list(other, &others)?;
            }
            lost += end(&mut cluster, node).await?;
            cluster.nodes[node].start().await?;
            for other in 0..all.len() {
                cluster.list(other, &urls)?;
            }
            // Until all have looked.
            sleep(Duration::from_secs(2)).await;
        }
        anyhow::Ok(())
    };
    let asked: Vec<_> = rows.iter().cycle().take(30 * RATE as usize).cloned().collect();
    let (samples, restarted) = tokio::join!(ask_whom(whom, &asked, RATE), restarting);
    restarted?;
    let queries = Cluster::queries(&all).await? + lost - before;
    let mut figures = Figures::default();
    figures.errors(&samples, 0.0);
    figures.at_most("p99", samples.percentile(99), 10.0, " ms");
    figures.tell("the longest wait", samples.longest(), " ms");
    figures.at_most("loads a key", queries as f64 / rows.len() as f64, 1.15, "");
    Ok(figures)
}

/// Asks a node to end, and waits until it has. Returns how many queries it had made, as it last said.
async fn end(cluster: &mut Cluster, node: usize) -> Result<u64> {
    let api = [cluster.api(node)];
    let mut queries = Cluster::queries(&api).await?;
    let mut stopping = pin!(cluster.nodes[node].stop());
    loop {
        tokio::select! {
            stopped = &mut stopping => return stopped.map(|()| queries),
            () = sleep(Duration::from_millis(100)) => {}
        }
        if let Ok(more) = Cluster::queries(&api).await {
            queries = more;
        }
    }
}

/// One node on one side, two on the other, and then together again.
pub(super) async fn split() -> Result<Figures> {
    let (cluster, mut fresh) = (Cluster::start(BEHIND_PROXIES).await?, Fresh::new());
    cluster.meet().await?;
    let alone = cluster.nodes[OWNER].id().unwrap_or_default();
    for node in 0..OWNER {
        cluster.set(node, Mode::Apart { from: alone })?;
    }
    cluster.set(OWNER, Mode::Stall)?;
    let apis = cluster.apis(None);
    let during = ask(&apis, &fresh.take(1_000, apis.len()), RATE).await;
    // A row changes on either side.
    let mut named = 0;
    for node in [0, OWNER] {
        let (status, _) = cluster.api(node).put(GROUP, "U+1F955", &format!("side {node}")).await?;
        named += usize::from(status == reqwest::StatusCode::ACCEPTED);
    }
    for node in 0..3 {
        cluster.set(node, Mode::Pass)?;
    }
    let start = Instant::now();
    let last = format!("side {OWNER}");
    let healed = async {
        for api in &apis {
            while api.value(GROUP, "U+1F955").await.ok().as_deref() != Some(last.as_bytes()) {
                sleep(Duration::from_millis(20)).await;
            }
        }
    };
    let is_healed = tokio::time::timeout(2 * RETURN, healed).await.is_ok();
    let mut figures = Figures::default();
    figures.errors(&during, 0.0);
    figures.at_most("changes that named nobody", (2 - named) as f64, 0.0, "");
    // The one that is alone cannot know that it is, and asks a few times all the same.
    figures.at_most("the longest wait", during.longest(), 2_500.0, " ms");
    figures.at_most("sides that stay different", f64::from(u8::from(!is_healed)), 0.0, "");
    figures.at_most(
        "until all are told",
        start.elapsed().as_secs_f64(),
        RETURN.as_secs_f64(),
        " s",
    );
    Ok(figures)
}
