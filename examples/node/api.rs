//! The interface for those who ask: values, changes of rows, the counters, a sign of life.

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use carrotcache::peer_http::{HealthState, LinkState, PeerHealth, PeerStats};
use carrotcache::{ByteView, CacheStats, GetError, Group, HttpPool, Node, RemoveError, Stats};
use http_body_util::LengthLimitError;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::caching::MAX_KEY_BYTES;
use crate::db::{Database, QueryError};
use crate::parameters;

/// The largest value that is written, and how long it may take to come.
const MAX_BODY_BYTES: usize = 2 << 20;
const MAX_BODY_TIME: Duration = Duration::from_secs(30);

/// How large the values may be together that are asked for at once: each becomes text.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Returns the routes of the interface.
pub(crate) fn routes(node: Node, pool: HttpPool, database: Database) -> Router {
    Router::new()
        .route("/api", get(values).put(put).delete(delete))
        .route("/stats", get(stats))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .method_not_allowed_fallback(async || {
            let text = "the paths take GET, and /api PUT and DELETE too";
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, text)
        })
        .fallback(async || {
            Refusal::new(StatusCode::NOT_FOUND, "there is /api, /stats, /healthz and /readyz")
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

/// One key is answered with its value as it is, several with JSON.
async fn values(State(ask): State<Ask>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = query.unwrap_or_default();
    let (group, keys) = ask.group_and_keys(&query)?;
    if let [key] = &keys[..] {
        let value = group.get(key).await.map_err(|error| Refusal::of_get(&error, &query))?;
        let kind = [(CONTENT_TYPE, "application/octet-stream")];
        return Ok((kind, value.into_bytes()).into_response());
    }
    let answers = group.get_many(&keys).await;
    let bytes: usize = answers.iter().flatten().map(|value| value.len()).sum();
    if bytes > MAX_ANSWER_BYTES {
        let text = format!("the values have {bytes} bytes, ask for fewer: {MAX_ANSWER_BYTES}");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
    }
    let answers = keys.iter().zip(answers).map(|(key, answer)| answer_json(key, answer, &query));
    Ok(Json(answers.collect::<Vec<_>>()).into_response())
}

async fn put(
    State(ask): State<Ask>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let (group, key) = ask.group_and_key(&query.unwrap_or_default())?;
    let value = match timeout(MAX_BODY_TIME, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => {
            let status = match error.source().is_some_and(<dyn Error>::is::<LengthLimitError>) {
                true => StatusCode::PAYLOAD_TOO_LARGE,
                false => StatusCode::BAD_REQUEST,
            };
            return Err(Refusal::new(
                status,
                format!("the value was not taken: {}", chain(&error)),
            ));
        }
        Err(_elapsed) => {
            let text = format!("the value did not come within {MAX_BODY_TIME:?}");
            return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, text));
        }
    };
    ask.change(group, key, Some(value)).await
}

async fn delete(State(ask): State<Ask>, RawQuery(query): RawQuery) -> Result<StatusCode, Refusal> {
    let (group, key) = ask.group_and_key(&query.unwrap_or_default())?;
    ask.change(group, key, None).await
}

/// Whether others should send requests here.
async fn ready(State(ask): State<Ask>) -> Result<&'static str, Refusal> {
    match ask.node.is_ready() {
        true => Ok("ready\n"),
        false => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "about to end")),
    }
}

async fn stats(State(ask): State<Ask>) -> Json<Value> {
    let groups = ask.node.groups();
    let by_name = groups.iter().map(|group| (group.name().to_owned(), stats_json(&group.stats())));
    let groups = by_name.collect::<serde_json::Map<_, _>>();
    let pool = ask.pool.stats();
    let health = ask.pool.health();
    // Both have the peers in the order of the ring.
    let by_url = pool.peers.iter().zip(&health.peers);
    let by_url = by_url.map(|(peer, health)| (peer.peer.to_string(), peer_json(peer, health)));
    let peers = by_url.collect::<serde_json::Map<_, _>>();
    Json(json!({
        "groups": groups,
        "db_queries": ask.database.queries(),
        "links_served": pool.links_served,
        "peers": peers,
    }))
}

impl Ask {
    /// Returns what a query asks for: a group, and at least one key.
    fn group_and_keys(&self, query: &str) -> Result<(Group, Vec<String>), Refusal> {
        let parameters = |name| {
            parameters::find_all(query, name).map_err(|_| {
                Refusal::new(StatusCode::BAD_REQUEST, format!("`{name}` is not UTF-8"))
            })
        };
        let name = parameters("group")?.into_iter().next().unwrap_or_else(|| "scores".to_owned());
        let keys = parameters("key")?;
        if keys.is_empty() || keys.iter().any(String::is_empty) {
            let text = "`key` is missing or empty: ask for /api?key=Tom";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
        }
        let Some(group) = self.node.find(&name) else {
            let text = format!("there is no group `{name}`: see /stats for those that are");
            return Err(Refusal::new(StatusCode::NOT_FOUND, text));
        };
        Ok((group, keys))
    }

    /// Returns what a query would change. The key is checked before the row is.
    fn group_and_key(&self, query: &str) -> Result<(Group, String), Refusal> {
        let (group, keys) = self.group_and_keys(query)?;
        let [key] = <[String; 1]>::try_from(keys).map_err(|_| {
            Refusal::new(StatusCode::BAD_REQUEST, "`key` is there more than once: change one row")
        })?;
        if key.len() > MAX_KEY_BYTES {
            let text = format!("the key has {} bytes, {MAX_KEY_BYTES} are allowed", key.len());
            return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
        }
        Ok((group, key))
    }

    /// Writes a row, or deletes it, and then removes its key from all nodes.
    async fn change(
        self,
        group: Group,
        key: String,
        value: Option<Bytes>,
    ) -> Result<StatusCode, Refusal> {
        // In a task of its own: a client that leaves after the commit drops this future, and the
        // nodes must be told of the new row all the same.
        let change = tokio::spawn(async move {
            let changed = match &value {
                Some(value) => self.database.put(group.name(), &key, value).await,
                None => self.database.delete(group.name(), &key).await,
            };
            // After a failure too: a commit whose answer was lost has changed the row.
            (changed, group.remove(&key).await)
        });
        match change.await {
            Ok((Err(error), _)) => Err(Refusal::of_change(&error)),
            Ok((Ok(()), Err(error))) => Err(Refusal::of_remove(&error)),
            Ok((Ok(()), Ok(()))) => Ok(StatusCode::NO_CONTENT),
            Err(error) => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
        }
    }
}

/// An answer of one line that says what was wrong, or not all right.
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

    fn of_change(error: &QueryError) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, chain(error))
    }

    /// The row is changed, and not every node knows.
    fn of_remove(error: &RemoveError) -> Self {
        let status = match error {
            RemoveError::Incomplete { .. } | RemoveError::Unsettled { .. } => StatusCode::ACCEPTED,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, format!("the row is changed: {}", chain(error)))
    }

    /// The answer's line.
    fn line(&self) -> String {
        // A key may hold anything, line breaks too.
        self.text.replace(char::is_control, " ")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, self.line() + "\n").into_response()
    }
}

/// An answer among several: the value as text, or its bytes in hexadecimal where it is none, or the
/// status and the line that the key alone would get.
fn answer_json(key: &str, answer: Result<ByteView, GetError>, query: &str) -> Value {
    match answer {
        Ok(value) => match value.as_str() {
            Ok(text) => json!({"key": key, "value": text}),
            Err(_) => json!({"key": key, "hex": hex(&value)}),
        },
        Err(error) => {
            let refusal = Refusal::of_get(&error, query);
            json!({"key": key, "status": refusal.status.as_u16(), "error": refusal.line()})
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
        "stand_in_loads": stats.stand_in_loads,
        "served_as_stand_in": stats.served_as_stand_in,
        "loads_over_budget": stats.loads_over_budget,
        "loads": stats.loads,
        "loads_deduped": stats.loads_deduped,
        "local_loads": stats.local_loads,
        "local_load_errs": stats.local_load_errs,
        "loads_refused": stats.loads_refused,
        "waiting_loads": stats.waiting_loads,
        "not_found": stats.not_found,
        "refreshes": stats.refreshes,
        "removes": stats.removes,
        "removes_incomplete": stats.removes_incomplete,
        "purges": stats.purges,
        "owed": stats.owed,
        "server_requests": stats.server_requests,
        "main": cache_json(&stats.main),
        "hot": cache_json(&stats.hot),
        "absent": cache_json(&stats.absent),
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

fn peer_json(peer: &PeerStats, health: &PeerHealth) -> Value {
    let state = match health.state {
        HealthState::Healthy => "healthy",
        HealthState::Ejected { .. } => "ejected",
        HealthState::Probing => "probing",
        _ => "unknown",
    };
    let link = match peer.link {
        LinkState::Off => "off",
        LinkState::Down => "down",
        LinkState::Asking => "asking",
        LinkState::Up => "up",
        LinkState::Plain { .. } => "plain",
        _ => "unknown",
    };
    json!({
        "state": state,
        "state_for_seconds": health.since.elapsed().as_secs(),
        "why": health.why.as_ref().map(|why| chain(why)),
        "ring_differs": health.ring_differs_since.is_some(),
        "link": link,
        "links_opened": peer.links_opened,
        "gets_in_flight": peer.gets_in_flight,
        "bytes_sent": peer.bytes_sent,
        "bytes_received": peer.bytes_received,
    })
}
