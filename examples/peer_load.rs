//! Asks a peer for cached values as fast as it can: what one costs, measured from outside.
//!
//! `cargo xtask interop --bench` starts it beside a node that owns the keys, writes a line to its
//! standard input for each round, and reads both processes' CPU time before and after. For each round
//! it prints how many gets were made, how many failed, and how many nanoseconds they took.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::ensure;
use carrotcache::{Group, HttpPool, Node, Owner};
use clap::Parser;
use tokio::task::JoinSet;

/// Asks the peers for the keys `key-0`, `key-1`, … of a group, once a line on standard input
#[derive(Parser)]
struct Args {
    /// This node's base URL; it answers nobody
    #[arg(long)]
    addr: String,
    /// Base URLs of all nodes, separated by commas
    #[arg(long, value_delimiter = ',', required = true)]
    peers: Vec<String>,
    /// How many keys to ask for at a time
    #[arg(long, default_value_t = 64)]
    load: usize,
    /// How many gets make a round
    #[arg(long, default_value_t = 10_000)]
    load_gets: usize,
    /// The group
    #[arg(long, default_value = "load")]
    load_group: String,
    /// How many keys there are
    #[arg(long, default_value_t = 4_096)]
    load_keys: usize,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let pool = HttpPool::builder(&*args.addr).build()?;
    pool.set_peers(&args.peers)?;
    let mut keys: Vec<_> = (0..args.load_keys).map(|number| format!("key-{number}")).collect();
    keys.retain(|key| matches!(pool.owner(key), Owner::Remote(_)));
    ensure!(keys.len() >= args.load, "only {} keys belong to peers", keys.len());

    let node = Node::builder().peers(pool).build();
    // Nothing is kept here, so that each get is one question to the owner. Were it to fail, the
    // group would turn to its loader, and the round would count a failure.
    let loader = async |_: String| Err::<Option<Vec<u8>>, _>("a peer could not be asked");
    let group = node.group(args.load_group).max_bytes(0).loader(loader).build()?;

    println!("ready {}", keys.len());
    let keys = Arc::new(keys);
    let runtime = tokio::runtime::Runtime::new()?;
    for line in std::io::stdin().lock().lines() {
        line?;
        let start = Instant::now();
        let round = round(&group, &keys, args.load, args.load_gets);
        let failed = runtime.block_on(round)?;
        println!("{} {failed} {}", args.load_gets, start.elapsed().as_nanos());
    }
    Ok(())
}

/// Asks for `gets` keys in turn, `at_a_time` at a time, and counts the failures.
async fn round(
    group: &Group,
    keys: &Arc<Vec<String>>,
    at_a_time: usize,
    gets: usize,
) -> anyhow::Result<usize> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..at_a_time {
        let (group, keys, next) = (group.clone(), keys.clone(), next.clone());
        workers.spawn(async move {
            let mut failed = 0;
            loop {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                if turn >= gets {
                    return failed;
                }
                failed += usize::from(group.get(&keys[turn % keys.len()]).await.is_err());
            }
        });
    }
    let mut failed = 0;
    while let Some(worker) = workers.join_next().await {
        failed += worker?;
    }
    Ok(failed)
}
