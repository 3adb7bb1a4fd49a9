//! A node of a cluster: a cache over the tables of a database, with an HTTP interface to try it.
//!
//! ```text
//! cargo run --release --example node -- --addr http://127.0.0.1:8001 \
//!     --peers http://127.0.0.1:8001,http://127.0.0.1:8002 \
//!     --api 127.0.0.1:9999 --db sqlite:carrots.db
//! curl '127.0.0.1:9999/api?key=Tom'
//! curl '127.0.0.1:9999/api?key=Tom&key=Jack'
//! curl -X PUT -d 631 '127.0.0.1:9999/api?key=Tom'
//! ```
//!
//! `cargo xtask cluster` starts three of them and shows what they do. It exits with 2 if it cannot
//! start, with 0 after SIGTERM or Ctrl-C once what was in flight is answered, and with 1 if some of it
//! was not answered in time.

mod api;
mod args;
mod caching;
mod db;
mod limits;
mod parameters;
mod peers;
mod seed;
mod serve;
mod shutdown;
mod trust;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result};
use axum::http::Uri;
use carrotcache::peer_http::BuildError;
use carrotcache::{HttpPool, Loader, Node};
use clap::Parser;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use crate::args::Args;
use crate::db::Database;
use crate::shutdown::Shutdown;

/// How long requests in flight may take once the node was asked to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = Args::parse();
    start_log(std::mem::take(&mut args.log));
    let server = match Server::start(&args).await {
        Ok(server) => server,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::from(2);
        }
    };
    match server.run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(filter: EnvFilter) {
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.with_ansi(std::io::stderr().is_terminal()).init();
}

/// A node that has everything it needs and listens, but does not answer yet.
struct Server {
    pool: HttpPool,
    node: Node,
    database: Database,
    peer_listener: TcpListener,
    api_listener: TcpListener,
    shutdown: Shutdown,
    drain: Duration,
}

impl Server {
    /// Checks the arguments and acquires what may be refused: signals, database, ports.
    async fn start(args: &Args) -> Result<Self> {
        let shutdown = Shutdown::on_signal()?;
        let pool = args.trust.apply(args.limits.pool(&args.addr))?.build();
        let pool = pool.map_err(|error| match error {
            BuildError::Url(_) => Error::new(error).context("--addr"),
            BuildError::Secret(_) => Error::new(error).context("--secret-file"),
            limit => limit.into(),
        })?;
        args.peers.follow(&pool)?;
        let database = Database::open(&args.db, args.slow_db).await?;

        let node =
            Node::builder().peers(pool.clone()).peer_timeout(args.limits.peer_timeout).build();
        for table in database.tables() {
            let group = args.caching.apply(node.group(table));
            group.loader(loader(&database, table)).build()?;
        }

        let for_peers = args.listen.clone().map_or_else(|| address_of(&args.addr), Ok)?;
        let peer_listener = listen(&for_peers).await?;
        let api_listener = listen(&args.api).await?;
        let drain = args.drain;
        Ok(Self { pool, node, database, peer_listener, api_listener, shutdown, drain })
    }

    /// Serves until a signal comes, then finishes what is in flight.
    async fn run(self) -> Result<()> {
        self.announce()?;
        let (stop, node) = (self.shutdown, self.node.clone());
        let drained = || {
            let (requested, node) = (stop.requested(), node.clone());
            async move {
                requested.await;
                node.drain_for(self.drain).await;
            }
        };
        let peers = self.pool.serve(self.peer_listener, self.node.clone(), drained());
        let routes = api::routes(self.node, self.pool, self.database);
        let api = serve::serve(self.api_listener, routes, drained(), DRAIN_LIMIT);
        // Each to its own end: what one had to cut is no reason to cut the other.
        let (peers, api) = tokio::join!(peers, api);
        peers?;
        Ok(api?)
    }

    /// Tells on standard output where the node listens, for people and for programs that start it.
    fn announce(&self) -> Result<()> {
        let groups = self.node.groups();
        let names: Vec<_> = groups.iter().map(carrotcache::Group::name).collect();
        let (own, api) = (self.pool.base_url(), self.api_listener.local_addr()?);
        println!("node {own} ready: api http://{api}, groups {}", names.join(", "));
        Ok(())
    }
}

/// Returns the loader of the group of `table`: one query.
fn loader(database: &Database, table: &str) -> impl Loader + use<> {
    let (database, table) = (database.clone(), Arc::<str>::from(table));
    move |key: String| {
        let (database, table) = (database.clone(), Arc::clone(&table));
        async move { database.query(&table, &key).await }
    }
}

/// Returns the `host:port` of a base URL that the pool has accepted.
fn address_of(url: &str) -> Result<String> {
    let url: Uri = url.parse()?;
    let usual = if url.scheme_str() == Some("https") { 443 } else { 80 };
    Ok(format!("{}:{}", url.host().unwrap_or_default(), url.port_u16().unwrap_or(usual)))
}

async fn listen(address: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}
