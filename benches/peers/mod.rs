//! A value cached on the node that owns it, and the ways to ask for it that are compared.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use carrotcache::peer::{Answer, Handler, Owner, Peer, Reply, Request, ask};
use carrotcache::{Group, HttpPool, Mirroring, Node};
use groupcache::moka::future::Cache;
use groupcache::{Groupcache, ValueLoader};
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// Who is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    /// The whole of this project: a group that asks the owner's group.
    Carrotcache,
    /// The wire alone: `carrotcache-peer-http` before a handler that has the value at hand.
    PeerHttp,
    /// The crate `groupcache`, over gRPC.
    Groupcache,
}

impl Contender {
    /// All of them, ours first.
    pub(crate) const ALL: [Self; 3] = [Self::Carrotcache, Self::PeerHttp, Self::Groupcache];

    /// Returns the name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Carrotcache => "carrotcache",
            Self::PeerHttp => "carrotcache-peer-http",
            Self::Groupcache => "groupcache",
        }
    }
}

/// The number of keys that are asked for in turn.
const KEYS: usize = 1024;

/// Answers whoever connects to `listener` with values of `value_bytes`, and never ends.
pub(crate) async fn own(
    contender: Contender,
    listener: TcpListener,
    value_bytes: usize,
) -> Result<()> {
    let address = listener.local_addr()?;
    // Without peers a node of either kind owns all keys.
    let pool = HttpPool::builder(format!("http://{address}")).build()?;
    let forever = std::future::pending();
    match contender {
        Contender::Carrotcache => {
            let node = Node::builder().peers(pool.clone()).build();
            let load =
                move |_: String| async move { Ok::<_, Infallible>(Some("x".repeat(value_bytes))) };
            node.group("bench").max_bytes(1 << 30).loader(load).build()?;
            pool.serve(listener, node, forever).await?;
        }
        Contender::PeerHttp => {
            let answer = Answer::new("x".repeat(value_bytes));
            pool.serve(listener, AtHand { answer }, forever).await?;
        }
        Contender::Groupcache => {
            let cache = Groupcache::builder(address.into(), Constant { value_bytes }).build();
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            Server::builder()
                .add_service(cache.grpc_service())
                .serve_with_incoming(incoming)
                .await?;
        }
    }
    bail!("an owner stopped serving")
}

/// Asks one owner, for keys that it has in its cache.
#[derive(Clone)]
pub(crate) struct Asker {
    client: Client,
    keys: Arc<[String]>,
}

#[derive(Clone)]
enum Client {
    Carrotcache(Group),
    PeerHttp(Arc<dyn Peer>),
    Groupcache(Groupcache<String>),
}

impl Asker {
    /// Returns one for the owner at `address`, whose cache it has warmed.
    pub(crate) async fn new(contender: Contender, address: SocketAddr) -> Result<Self> {
        let client = Client::new(contender, address).await?;
        let mut keys = Vec::with_capacity(KEYS);
        let mut candidates = (0..).map(|key| format!("user:{key:012}"));
        while keys.len() < KEYS {
            let key = candidates.next().context("there are enough numbers")?;
            // Keys of the asking node itself fail: its loader has nothing.
            if client.get(&key).await.is_ok() {
                keys.push(key);
            }
        }
        Ok(Self { client, keys: keys.into() })
    }

    /// Returns the length of the value of the `index`th key.
    pub(crate) async fn get(&self, index: usize) -> Result<usize> {
        self.client.get(&self.keys[index]).await
    }

    /// Gets `count` values, `at_a_time` of them concurrently, in a task each.
    pub(crate) async fn get_many(&self, count: usize, at_a_time: usize) -> Result<()> {
        let keys_each = KEYS / at_a_time;
        let tasks = (0..at_a_time).map(|task| {
            let asker = self.clone();
            tokio::spawn(async move {
                // Each task has keys of its own, so that no two share a flight.
                for index in 0..count / at_a_time {
                    asker.get(task * keys_each + index % keys_each).await?;
                }
                anyhow::Ok(())
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await??;
        }
        Ok(())
    }
}

impl Client {
    async fn new(contender: Contender, address: SocketAddr) -> Result<Self> {
        let (own, owner) = ("http://127.0.0.1:1", format!("http://{address}"));
        let pool = HttpPool::builder(own).build()?;
        pool.set_peers([own, &owner])?;
        Ok(match contender {
            Contender::Carrotcache => {
                let node = Node::builder().peers(pool).build();
                let nothing = |_: String| async { Ok::<_, Infallible>(None::<String>) };
                let group = node.group("bench").mirroring(Mirroring::Never).loader(nothing);
                Self::Carrotcache(group.build()?)
            }
            Contender::PeerHttp => {
                let mut owners = (0..1000).map(|key| pool.owner(&format!("key{key}")));
                let Some(Owner::Remote(peer)) = owners.find(|o| matches!(o, Owner::Remote(_)))
                else {
                    bail!("the owner owns nothing");
                };
                Self::PeerHttp(peer)
            }
            Contender::Groupcache => {
                let own: SocketAddr = "127.0.0.1:1".parse()?;
                // Without room for copies, each get asks the owner.
                let no_copies = Cache::builder().max_capacity(0).build();
                let cache = Groupcache::builder(own.into(), Nothing).hot_cache(no_copies).build();
                cache.add_peer(address.into()).await?;
                Self::Groupcache(cache)
            }
        })
    }

    async fn get(&self, key: &str) -> Result<usize> {
        Ok(match self {
            Self::Carrotcache(group) => group.get(key).await?.len(),
            Self::PeerHttp(peer) => {
                let deadline = Instant::now() + Duration::from_secs(5);
                let answer = ask(&**peer, Request::new("bench", key, deadline)).await?;
                answer.entry.value().map_or(0, |value| value.len())
            }
            Self::Groupcache(cache) => cache.get(key).await?.len(),
        })
    }
}

/// Has a value for each key.
struct Constant {
    value_bytes: usize,
}

#[async_trait]
impl ValueLoader for Constant {
    // A string is what its encoding copies fastest.
    type Value = String;

    async fn load(
        &self,
        _: &str,
    ) -> Result<String, Box<dyn std::error::Error + Send + Sync + 'static>> {
        Ok("x".repeat(self.value_bytes))
    }
}

/// Has no value for any key.
struct Nothing;

#[async_trait]
impl ValueLoader for Nothing {
    type Value = String;

    async fn load(
        &self,
        _: &str,
    ) -> Result<String, Box<dyn std::error::Error + Send + Sync + 'static>> {
        Err("no such key".into())
    }
}

/// Gives one answer to all.
struct AtHand {
    answer: Answer,
}

impl Handler for AtHand {
    fn answer(&self, _: Request) -> Reply {
        Reply::ready(Ok(self.answer.clone()))
    }
}
