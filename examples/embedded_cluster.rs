//! A cluster inside one process: how to test an application that uses carrotcache.
//!
//! ```text
//! cargo run --example embedded_cluster
//! ```
//!
//! Nothing in a node is global, so a test can have as many as it wants, each with groups and a port
//! of its own. What a test wants to know is then a matter of counting: how often the loader ran, who
//! ran it, and what happens when a node is gone. Copy [`Cluster`] into your tests and give its groups
//! your own loaders.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::ensure;
use carrotcache::{Group, HttpPool, Node};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let loads = Arc::new(AtomicUsize::new(0));
    let mut cluster = Cluster::start(3, &loads).await?;

    // Every node is asked for every key; each key is loaded once, by the node that owns it.
    for key in 0..100 {
        let key = key.to_string();
        for member in &cluster.members {
            ensure!(member.squares.get(&key).await?.as_str()? == square(&key));
        }
    }
    ensure!(loads.load(Ordering::Relaxed) == 100);
    for member in &cluster.members {
        println!("{} loaded {} keys", member.url, member.squares.stats().local_loads);
    }

    // One node ends. The others load what it owned themselves, and nobody sees an error.
    cluster.members.remove(0).stop().await?;
    for key in 100..200 {
        let key = key.to_string();
        for member in &cluster.members {
            ensure!(member.squares.get(&key).await?.as_str()? == square(&key));
        }
    }
    for member in cluster.members {
        println!("{} did without: {} times", member.url, member.squares.stats().peer_errors);
        member.stop().await?;
    }
    Ok(())
}

/// Several nodes of one ring.
struct Cluster {
    members: Vec<Member>,
}

impl Cluster {
    /// Starts `count` nodes on free ports; their loaders count in `loads`.
    async fn start(count: usize, loads: &Arc<AtomicUsize>) -> anyhow::Result<Self> {
        // All ports first, since each node must know all URLs. Port 0 lets the system choose.
        let mut listeners = Vec::new();
        for _ in 0..count {
            listeners.push(TcpListener::bind("127.0.0.1:0").await?);
        }
        let urls = listeners.iter().map(url).collect::<Result<Vec<_>, _>>()?;
        let members = listeners.into_iter().map(|listener| Member::start(listener, &urls, loads));
        Ok(Self { members: members.collect::<Result<_, _>>()? })
    }
}

fn url(listener: &TcpListener) -> std::io::Result<String> {
    Ok(format!("http://{}", listener.local_addr()?))
}

/// One node, with what an application would hold beside it.
struct Member {
    url: String,
    squares: Group,
    shutdown: oneshot::Sender<()>,
    server: JoinHandle<Result<(), carrotcache::peer_http::ServeError>>,
}

impl Member {
    fn start(
        listener: TcpListener,
        urls: &[String],
        loads: &Arc<AtomicUsize>,
    ) -> anyhow::Result<Self> {
        let url = url(&listener)?;
        let pool = HttpPool::builder(&*url).build()?;
        pool.set_peers(urls)?;
        let node = Node::builder().peers(pool.clone()).build();
        let loads = loads.clone();
        let loader = move |key: String| {
            loads.fetch_add(1, Ordering::Relaxed);
            async move { Ok::<_, Infallible>(Some(square(&key))) }
        };
        let squares = node.group("squares").loader(loader).build()?;
        let (shutdown, requested) = oneshot::channel();
        let requested = async move { requested.await.unwrap_or_default() };
        let server = tokio::spawn(pool.serve(listener, node, requested));
        Ok(Self { url, squares, shutdown, server })
    }

    /// Ends the node as a deployment would: requests under way are answered.
    async fn stop(self) -> anyhow::Result<()> {
        drop(self.shutdown);
        Ok(self.server.await??)
    }
}

/// Stands for what the application fetches.
fn square(key: &str) -> String {
    let number: u64 = key.parse().unwrap_or_default();
    (number * number).to_string()
}
