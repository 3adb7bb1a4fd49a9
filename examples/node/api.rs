//! The interface for those who ask: a value, the counters, a sign of life.

use std::error::Error;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use carrotcache::peer_http::{LinkState, PeerStats};
use carrotcache::{ByteView, CacheStats, GetError, HttpPool, Node, Stats};
use serde_json::{Value, json};

use crate::db::Database;
use crate::parameters;

/// Returns the routes of the interface.
pub(crate) fn routes(node: Node, pool: HttpPool, database: Database) -> Router {
    Router::new()
        .route("/api", get(value))
        .route("/stats", get(stats))
        .route("/healthz", get(async || "ok\n"))
        .fallback(async || {
            Refusal::new(StatusCode::NOT_FOUND, "there is /api, /stats and /healthz")
        })
        .with_state(Ask { node, pool, database })
}

/// What the answers come from.
#[derive(Clone)]
struct Ask {
    node: Node,
    pool: HttpPool,
    database: Database,
}

async fn value(
    State(ask): State<Ask>,
    RawQuery(query): RawQuery,
) -> Result<impl IntoResponse, Refusal> {
    let value = ask.value(&query.unwrap_or_default()).await?;
    Ok(([(CONTENT_TYPE, "application/octet-stream")], value.into_bytes()))
}

async fn stats(State(ask): State<Ask>) -> Json<Value> {
    let groups = ask.node.groups();
    let by_name = groups.iter().map(|group| (group.name().to_owned(), stats_json(&group.stats())));
    let groups = by_name.collect::<serde_json::Map<_, _>>();
    let pool = ask.pool.stats();
    let by_url = pool.peers.iter().map(|peer| (peer.peer.to_string(), peer_json(peer)));
    let peers = by_url.collect::<serde_json::Map<_, _>>();
    Json(json!({
        "groups": groups,
        "db_queries": ask.database.queries(),
        "links_served": pool.links_served,
        "peers": peers,
    }))
}

impl Ask {
    async fn value(&self, query: &str) -> Result<ByteView, Refusal> {
        let parameter = |name| {
            parameters::find(query, name).map_err(|_| {
                Refusal::new(StatusCode::BAD_REQUEST, format!("`{name}` is not UTF-8"))
            })
        };
        let name = parameter("group")?.unwrap_or_else(|| "scores".to_owned());
        let Some(key) = parameter("key")?.filter(|key| !key.is_empty()) else {
            let text = "`key` is missing or empty: ask for /api?key=Tom";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
        };
        let Some(group) = self.node.find(&name) else {
            let text = format!("there is no group `{name}`: see /stats for those that are");
            return Err(Refusal::new(StatusCode::NOT_FOUND, text));
        };
        group.get(&key).await.map_err(|error| Refusal::of_get(&error, query))
    }
}

/// An answer of one line that says what was wrong.
struct Refusal {
    status: StatusCode,
    text: String,
}

impl Refusal {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    fn of_get(error: &GetError, query: &str) -> Self {
        let status = match error {
            GetError::EmptyKey | GetError::KeyTooLong { .. } => StatusCode::BAD_REQUEST,
            GetError::NotFound { .. } => StatusCode::NOT_FOUND,
            GetError::LoadFailed { .. } | GetError::LoadPanicked { .. } => StatusCode::BAD_GATEWAY,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut text = chain(error);
        if error.is_not_found() && query.contains('+') {
            text.push_str(" (in a URL a plus is a space: write %2B for a plus)");
        }
        Self::new(status, text)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        // A key may hold anything, line breaks too.
        let line = self.text.replace(char::is_control, " ") + "\n";
        (self.status, line).into_response()
    }
}

/// An error and its causes, in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn stats_json(stats: &Stats) -> Value {
    json!({
        "gets": stats.gets,
        "cache_hits": stats.cache_hits,
        "peer_loads": stats.peer_loads,
        "peer_errors": stats.peer_errors,
        "loads": stats.loads,
        "loads_deduped": stats.loads_deduped,
        "local_loads": stats.local_loads,
        "local_load_errs": stats.local_load_errs,
        "server_requests": stats.server_requests,
        "main": cache_json(&stats.main),
        "hot": cache_json(&stats.hot),
    })
}

fn cache_json(cache: &CacheStats) -> Value {
    json!({
        "bytes": cache.bytes,
        "items": cache.items,
        "gets": cache.gets,
        "hits": cache.hits,
        "evictions": cache.evictions,
    })
}

fn peer_json(peer: &PeerStats) -> Value {
    let link = match peer.link {
        LinkState::Off => "off",
        LinkState::Down => "down",
        LinkState::Asking => "asking",
        LinkState::Up => "up",
        LinkState::Plain { .. } => "plain",
        _ => "unknown",
    };
    json!({
        "link": link,
        "links_opened": peer.links_opened,
        "gets_in_flight": peer.gets_in_flight,
        "bytes_sent": peer.bytes_sent,
        "bytes_received": peer.bytes_received,
    })
}
