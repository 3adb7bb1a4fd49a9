//! One axum application: its own routes and the peers' endpoint share a listener and a shutdown.
//!
//! ```text
//! cargo run --example axum_app -- --addr http://127.0.0.1:3001 \
//!     --peers http://127.0.0.1:3001,http://127.0.0.1:3002
//! cargo run --example axum_app -- --addr http://127.0.0.1:3002 \
//!     --peers http://127.0.0.1:3001,http://127.0.0.1:3002
//! curl 127.0.0.1:3001/greeting/Tom
//! ```
//!
//! The library knows nothing of axum: what it mounts is a `tower::Service`.

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
    /// This node's base URL: peers and people both ask there
    #[arg(long, default_value = "http://127.0.0.1:3001")]
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
    let Args { addr, mut peers } = Args::parse();
    if peers.is_empty() {
        peers.push(addr.clone());
    }
    let pool = HttpPool::builder(&*addr).build()?;
    pool.set_peers(peers)?;
    let node = Node::builder().peers(pool.clone()).build();
    let greetings = node.group("greetings").loader(greet).build()?;

    let app = Router::new()
        .route("/greeting/{name}", get(greeting))
        .with_state(App { greetings })
        // Below another path it is `nest_service("/inner/_groupcache", service.mounted_at("/"))`, and
        // all nodes say so to their pool: `HttpPool::builder(addr).base_path("/inner/_groupcache/")`.
        .route_service("/_groupcache/{*path}", pool.service(node));

    let host = addr.strip_prefix("http://").context("--addr is no http:// URL")?;
    let listener = TcpListener::bind(host).await?;
    println!("listening at {addr}");
    Ok(axum::serve(listener, app).with_graceful_shutdown(asked_to_end()?).await?)
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
