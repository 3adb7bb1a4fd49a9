//! Three whole nodes, linked over the loopback interface: what a remove takes until all of them have
//! done it, and what many values of one other node take, by a `get_many` and by as many gets at once.
//!
//! All nodes share the runtime and the cores.
#![allow(missing_docs)]

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use carrotcache::peer_http::LinkState;
use carrotcache::{Group, HttpPool, Mirroring, Node};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::try_join_all;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

const NODES: usize = 3;
/// How many keys are asked for or removed at once.
const BATCH: usize = 64;
const VALUE: &[u8] = &[7; 100];

struct Cluster {
    groups: Vec<Group>,
    pools: Vec<HttpPool>,
    /// Keys that the last node owns.
    keys: Vec<String>,
}

impl Cluster {
    /// Starts nodes that have a link to each other, and the values of `keys` at their owner alone.
    async fn start() -> Result<Self> {
        let mut listeners = Vec::new();
        for _ in 0..NODES {
            listeners.push(TcpListener::bind("127.0.0.1:0").await?);
        }
        let addresses = listeners.iter().map(TcpListener::local_addr);
        let urls = addresses.map(|address| Ok(format!("http://{}", address?)));
        let urls = urls.collect::<Result<Vec<_>>>()?;
        let (mut groups, mut pools) = (Vec::new(), Vec::new());
        for (listener, url) in listeners.into_iter().zip(&urls) {
            let pool = HttpPool::builder(url).build()?;
            pool.set_peers(&urls)?;
            let node = Node::builder().peers(pool.clone()).build();
            let load = |_: String| async { Ok::<_, Infallible>(Some(VALUE)) };
            let group = node.group("bench").mirroring(Mirroring::Never).loader(load);
            groups.push(group.build()?);
            tokio::spawn(pool.clone().serve(listener, node, std::future::pending()));
            pools.push(pool);
        }
        let owned = (0..).map(|key| format!("user:{key:012}"));
        let keys = owned.filter(|key| groups[0].owner(key).as_deref() == Some(&*urls[NODES - 1]));
        let cluster = Self { keys: keys.take(BATCH).collect(), groups, pools };
        cluster.link().await?;
        Ok(cluster)
    }

    /// Has each node ask for the others' links, and waits for them.
    async fn link(&self) -> Result<()> {
        let is_up =
            |pool: &HttpPool| pool.stats().peers.iter().all(|peer| peer.link == LinkState::Up);
        let up = async {
            while !self.pools.iter().all(is_up) {
                for group in &self.groups {
                    group.remove("some key").await?;
                }
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(Duration::from_secs(10), up).await.context("there are no links")?
    }

    /// Gets a value that the owner has, and that nobody else keeps.
    async fn get(&self, key: &str) -> Result<()> {
        let value = self.groups[0].get(key).await?;
        ensure!(value.len() == VALUE.len(), "another value");
        Ok(())
    }
}

fn remove(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let cluster = &runtime.block_on(Cluster::start()).expect("a cluster");
    let mut scenario = criterion.benchmark_group("cluster/remove");
    scenario.bench_function("carrotcache", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            cluster.groups[0].remove(&cluster.keys[0]).await.expect("all are reached");
        });
    });
    // A get of a value at its owner is a round trip.
    scenario.bench_function("two gets, one after the other", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            for key in &cluster.keys[..2] {
                cluster.get(key).await.expect("its owner has it");
            }
        });
    });
    scenario.bench_function("64 removes at once", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let removes = cluster.keys.iter().map(|key| cluster.groups[0].remove(key));
            try_join_all(removes).await.expect("all are reached");
        });
    });
    scenario.bench_function("remove_many of 64", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            cluster.groups[0].remove_many(&cluster.keys).await.expect("all are reached");
        });
    });
    scenario.finish();
}

fn many(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let cluster = &runtime.block_on(Cluster::start()).expect("a cluster");
    let mut scenario = criterion.benchmark_group("cluster/64 values of one other node");
    scenario.throughput(Throughput::Elements(BATCH as u64));
    // The name of ours is the table's first column.
    scenario.bench_function("carrotcache", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            for value in cluster.groups[0].get_many(&cluster.keys).await {
                assert_eq!(value.expect("its owner has it").len(), VALUE.len());
            }
        });
    });
    scenario.bench_function("64 gets at once", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let gets = cluster.keys.iter().map(|key| cluster.get(key));
            try_join_all(gets).await.expect("its owner has them");
        });
    });
    scenario.bench_function("64 gets in a task each", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let gets = cluster.keys.iter().map(|key| {
                let (group, key) = (cluster.groups[0].clone(), key.clone());
                tokio::spawn(async move { group.get(&key).await })
            });
            for value in try_join_all(gets).await.expect("nothing panics") {
                assert_eq!(value.expect("its owner has it").len(), VALUE.len());
            }
        });
    });
    scenario.finish();
}

criterion_group!(benches, remove, many);
criterion_main!(benches);
