//! An axum application with a cache: people ask on one port, peers on another, and one signal ends
//! both.
//!
//! ```text
//! cargo run --example axum_app -- --api 127.0.0.1:3001 --addr http://127.0.0.1:8001 \
//!     --peers http://127.0.0.1:8001,http://127.0.0.1:8002
//! cargo run --example axum_app -- --api 127.0.0.1:3002 --addr http://127.0.0.1:8002 \
//!     --peers http://127.0.0.1:8001,http://127.0.0.1:8002
//! curl 127.0.0.1:3001/greeting/Tom
//! ```

use std::convert::Infallible;

use anyhow::Context;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use carrotcache::{GetError, Group, HttpPool, Node};
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Greets people, and computes each greeting once in the whole cluster
#[derive(Parser)]
struct Args {
    /// Where people ask
    #[arg(long, default_value = "127.0.0.1:3001")]
    api: String,
    /// This node's base URL, where its peers ask; keep it inside your network
    #[arg(long, default_value = "http://127.0.0.1:8001")]
    addr: String,
    /// Base URLs of all nodes, separated by commas (default: this one alone)
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
}

/// What the application's own routes share.
#[derive(Clone)]
struct App {
    greetings: Group,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { api, addr, mut peers } = Args::parse();
    if peers.is_empty() {
        peers.push(addr.clone());
    }
    let pool = HttpPool::builder(&*addr).build()?;
    pool.set_peers(peers)?;
    let node = Node::builder().peers(pool.clone()).build();
    let greetings = node.group("greetings").loader(greet).build()?;
    let app = Router::new().route("/greeting/{name}", get(greeting)).with_state(App { greetings });

    // Peers have a listener of their own. Whoever reaches it may read any key of any group, past all
    // that a route would check, so it belongs on an address of the inner network, while people ask
    // from anywhere. And peers still get in when people hold every connection that there is for them.
    let host = addr.strip_prefix("http://").context("--addr is no http:// URL")?;
    let for_peers = TcpListener::bind(host).await?;
    let for_people = TcpListener::bind(&api).await?;
    println!("listening at http://{} for people, at {addr} for peers", for_people.local_addr()?);

    let people = axum::serve(for_people, app).with_graceful_shutdown(asked_to_end()?);
    let peers = pool.serve(for_peers, node, asked_to_end()?);
    tokio::try_join!(async { people.await.context("people can no longer be served") }, async {
        peers.await.context("peers can no longer be served")
    },)?;
    Ok(())
}

/// A route of the application: the cache is a field of its state.
async fn greeting(State(app): State<App>, Path(name): Path<String>) -> Response {
    match app.greetings.get(&name).await {
        // A view becomes a body without a copy.
        Ok(view) => view.into_bytes().into_response(),
        Err(GetError::NotFound { .. }) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error}\n")).into_response(),
    }
}

/// Stands for work that is worth doing once.
async fn greet(name: String) -> Result<Option<String>, Infallible> {
    println!("composing a greeting for {name}");
    Ok((name != "Nobody").then(|| format!("Good morning, {name}!\n")))
}

/// Returns a future that ends with Ctrl-C or SIGTERM. Requests under way are answered then, those
/// of peers like those of people.
fn asked_to_end() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    })
}
