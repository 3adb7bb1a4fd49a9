//! An axum application with a cache of JSON values that have a time to live: people ask on one port,
//! peers on another, and one signal ends both.
//!
//! ```text
//! cargo run --example axum_app -- --api 127.0.0.1:3001 --addr http://127.0.0.1:8001 \
//!     --peers http://127.0.0.1:8001,http://127.0.0.1:8002
//! cargo run --example axum_app -- --api 127.0.0.1:3002 --addr http://127.0.0.1:8002 \
//!     --peers http://127.0.0.1:8001,http://127.0.0.1:8002
//! curl 127.0.0.1:3001/greeting/Tom
//! ```

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use carrotcache::{GetError, Group, HttpPool, Node, Value};
use clap::Parser;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// For how long the node goes on when it is asked to end: for as long as its peers need to notice.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// For how long a greeting is good.
const TIME_TO_LIVE: Duration = Duration::from_secs(60);

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
    node: Node,
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
    let app = Router::new()
        .route("/greeting/{name}", get(greeting))
        .route("/readyz", get(ready))
        .with_state(App { greetings, node: node.clone() });

    // Peers have a listener of their own. Whoever reaches it may read any key of any group, past all
    // that a route would check, so it belongs on an address of the inner network, while people ask
    // from anywhere. And peers still get in when people hold every connection that there is for them.
    let host = addr.strip_prefix("http://").context("--addr is no http:// URL")?;
    let for_peers = TcpListener::bind(host).await?;
    let for_people = TcpListener::bind(&api).await?;
    println!("listening at http://{} for people, at {addr} for peers", for_people.local_addr()?);

    // Both go on for a while after the signal, in which nobody sends requests here any more, and new
    // owners of this node's keys fetch them from here. Nodes on one machine need little.
    let people = axum::serve(for_people, app).with_graceful_shutdown(drained(&node)?);
    let peers = pool.serve(for_peers, node.clone(), drained(&node)?);
    tokio::try_join!(async { people.await.context("people can no longer be served") }, async {
        peers.await.context("peers can no longer be served")
    },)?;
    Ok(())
}

/// A route of the application: the cache is a field of its state.
async fn greeting(State(app): State<App>, Path(name): Path<String>) -> Response {
    match app.greetings.get(&name).await {
        // It is JSON already, and a view becomes a body without a copy.
        Ok(view) => ([(CONTENT_TYPE, "application/json")], view.into_bytes()).into_response(),
        Err(GetError::NotFound { .. }) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error}\n")).into_response(),
    }
}

/// What a readiness probe asks: once the node drains, whoever chooses among nodes chooses others.
async fn ready(State(app): State<App>) -> StatusCode {
    if app.node.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// What the cache holds, as JSON.
#[derive(Serialize)]
struct Greeting {
    text: String,
    composed_at: u64,
}

/// Stands for work that is worth doing once a minute. A value may say for itself how long it is good;
/// where all values of a group are good for the same time, the group's builder says it.
async fn greet(name: String) -> anyhow::Result<Option<Value>> {
    if name == "Nobody" {
        return Ok(None);
    }
    println!("composing a greeting for {name}");
    #[expect(clippy::disallowed_methods, reason = "for people to read")]
    let composed_at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let greeting = Greeting { text: format!("Good morning, {name}!"), composed_at };
    let json = serde_json::to_vec(&greeting)?;
    Ok(Some(Value::new(json).with_time_to_live(TIME_TO_LIVE)))
}

/// Returns a future that ends when the node has drained after Ctrl-C or SIGTERM. Requests under way
/// are answered then, those of peers like those of people.
fn drained(node: &Node) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let (mut terminate, node) = (signal(SignalKind::terminate())?, node.clone());
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        node.drain_for(DRAIN_TIME).await;
    })
}
