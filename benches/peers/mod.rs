//! A value cached on the node that owns it, and the ways to ask for it that are compared.

pub(crate) mod redis;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ::redis::aio::MultiplexedConnection;
use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use carrotcache::peer::{Answer, Completion, Owner, Peer, Request};
use carrotcache::{Group, HttpPool, Mirroring, Node};
use groupcache::moka::future::Cache;
use groupcache::{Groupcache, ValueLoader};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// Who is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    /// Whole nodes of this project: a group that asks the owner's group, over a link.
    Carrotcache,
    /// The same over HTTP.
    Http,
    /// The crate `redis` with its multiplexed connection, and a Redis server.
    Redis,
    /// The crate `groupcache`, over gRPC.
    Groupcache,
}

impl Contender {
    /// Returns the name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Carrotcache => "carrotcache",
            Self::Http => "carrotcache-http",
            Self::Redis => "redis",
            Self::Groupcache => "groupcache",
        }
    }
}

/// The number of keys that are asked for in turn.
pub(crate) const KEYS: usize = 1024;

/// The length of the value of a key that begins with this, whatever other keys have.
pub(crate) const LARGE: &str = "large:";
pub(crate) const LARGE_BYTES: usize = 64 << 10;

/// Returns the value of a key where others have `value_bytes`.
pub(crate) fn value_of(key: &str, value_bytes: usize) -> String {
    "x".repeat(if key.starts_with(LARGE) { LARGE_BYTES } else { value_bytes })
}

/// Answers whoever connects to `listener` with values of `value_bytes`, and never ends.
pub(crate) async fn own(
    contender: Contender,
    listener: TcpListener,
    value_bytes: usize,
) -> Result<()> {
    let address = listener.local_addr()?;
    match contender {
        Contender::Carrotcache | Contender::Http => {
            // Without peers a node of either kind owns all keys.
            let pool = HttpPool::builder(format!("http://{address}")).build()?;
            let node = Node::builder().peers(pool.clone()).build();
            let load = move |key: String| async move {
                Ok::<_, Infallible>(Some(value_of(&key, value_bytes)))
            };
            node.group("bench").max_bytes(1 << 30).loader(load).build()?;
            pool.serve(listener, node, std::future::pending()).await?;
        }
        Contender::Groupcache => {
            let cache = Groupcache::builder(address.into(), Constant { value_bytes }).build();
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            Server::builder()
                .add_service(cache.grpc_service())
                .serve_with_incoming(incoming)
                .await?;
        }
        Contender::Redis => bail!("Redis is a program of its own"),
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
    Carrotcache(Group, HttpPool),
    Redis(MultiplexedConnection),
    Groupcache(Groupcache<String>),
}

impl Asker {
    /// Returns one for the owner at `address`, whose values have `value_bytes`.
    pub(crate) async fn new(
        contender: Contender,
        address: SocketAddr,
        value_bytes: usize,
    ) -> Result<Self> {
        Self::of(Client::new(contender, address).await?, "user:", value_bytes).await
    }

    /// Returns one for a Redis server, which it gives values of `value_bytes`.
    pub(crate) async fn of_redis(server: &redis::Server, value_bytes: usize) -> Result<Self> {
        Self::of(Client::Redis(server.connect().await?), "user:", value_bytes).await
    }

    /// Returns one for the large values of the same owner, over the same connection.
    pub(crate) async fn for_large(&self) -> Result<Self> {
        Self::of(self.client.clone(), LARGE, LARGE_BYTES).await
    }

    /// Returns one for keys that begin with `prefix`, which the owner has in its cache from here on.
    async fn of(client: Client, prefix: &str, value_bytes: usize) -> Result<Self> {
        let mut candidates = (0..).map(|key| format!("{prefix}{key:012}"));
        let keys = if let Client::Redis(connection) = &client {
            let keys: Vec<String> = candidates.take(KEYS).collect();
            let values = keys.iter().map(|key| (&**key, value_of(key, value_bytes)));
            redis::fill(connection.clone(), values).await?;
            keys
        } else {
            let mut keys = Vec::with_capacity(KEYS);
            while keys.len() < KEYS {
                let key = candidates.next().context("there are enough numbers")?;
                // Keys of the asking node itself fail: its loader has nothing.
                if client.get(&key).await.is_ok() {
                    keys.push(key);
                }
            }
            keys
        };
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

    /// Gets `count` values in a task, `batch` of them at once and together.
    pub(crate) async fn get_batches(&self, count: usize, batch: usize) -> Result<()> {
        let asker = self.clone();
        let task = tokio::spawn(async move {
            for start in (0..count).step_by(batch) {
                let keys: Vec<&str> =
                    (start..start + batch).map(|index| &*asker.keys[index % KEYS]).collect();
                let bytes = asker.client.get_batch(&keys).await?;
                anyhow::ensure!(bytes > 0, "a batch without values");
            }
            anyhow::Ok(())
        });
        task.await?
    }
}

impl Client {
    async fn new(contender: Contender, address: SocketAddr) -> Result<Self> {
        if contender == Contender::Groupcache {
            let own: SocketAddr = "127.0.0.1:1".parse()?;
            // Without room for copies, each get asks the owner.
            let no_copies = Cache::builder().max_capacity(0).build();
            let cache = Groupcache::builder(own.into(), Nothing).hot_cache(no_copies).build();
            cache.add_peer(address.into()).await?;
            return Ok(Self::Groupcache(cache));
        }
        let (own, owner) = ("http://127.0.0.1:1", format!("http://{address}"));
        let pool = HttpPool::builder(own).link(contender == Contender::Carrotcache).build()?;
        pool.set_peers([own, &owner])?;
        let node = Node::builder().peers(pool.clone()).build();
        let nothing = |_: String| async { Ok::<_, Infallible>(None::<String>) };
        let group = node.group("bench").mirroring(Mirroring::Never).loader(nothing);
        Ok(Self::Carrotcache(group.build()?, pool))
    }

    async fn get(&self, key: &str) -> Result<usize> {
        Ok(match self {
            Self::Carrotcache(group, _) => group.get(key).await?.len(),
            Self::Redis(connection) => redis::get(connection.clone(), key).await?,
            Self::Groupcache(cache) => cache.get(key).await?.len(),
        })
    }

    async fn get_batch(&self, keys: &[&str]) -> Result<usize> {
        match self {
            Self::Carrotcache(_, pool) => {
                let Owner::Remote(owner) = pool.owner(keys[0]) else {
                    bail!("the owner is another")
                };
                get_batch(&*owner, keys).await
            }
            Self::Redis(connection) => redis::get_batch(connection.clone(), keys).await,
            Self::Groupcache(_) => bail!("it has no way to ask for many"),
        }
    }
}

/// Asks a peer for all `keys` at once, and waits for the last answer. Returns the length of all values.
async fn get_batch(owner: &dyn Peer, keys: &[&str]) -> Result<usize> {
    let group: Arc<str> = Arc::from("bench");
    let deadline = Instant::now() + Duration::from_secs(5);
    let (tell, told) = oneshot::channel();
    let answers = Arc::new(Answers { bytes: AtomicUsize::new(0), tell: Some(tell) });
    let requests = keys.iter().map(|key| {
        let answers = Arc::clone(&answers);
        let completion = Completion::<Answer>::new(move |answer| {
            let value = answer.ok().and_then(|answer| answer.entry.into_value());
            let bytes = value.map_or(0, |value| value.len());
            answers.bytes.fetch_add(bytes, Ordering::Relaxed);
        });
        (Request::new(Arc::clone(&group), *key, deadline), completion)
    });
    owner.ask_many(requests.collect());
    drop(answers);
    Ok(told.await?)
}

/// What a batch was told. The last one of it that is dropped tells the sum.
struct Answers {
    bytes: AtomicUsize,
    tell: Option<oneshot::Sender<usize>>,
}

impl Drop for Answers {
    fn drop(&mut self) {
        if let Some(tell) = self.tell.take() {
            // Fails when nobody waits.
            let _ = tell.send(*self.bytes.get_mut());
        }
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
        key: &str,
    ) -> Result<String, Box<dyn std::error::Error + Send + Sync + 'static>> {
        Ok(value_of(key, self.value_bytes))
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
