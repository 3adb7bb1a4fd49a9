//! The bridge between the seam of [`peer`](crate::peer) and the HTTP pool.
//!
//! Three small translations: the pool's ring picks owners, its clients ask them, and what its
//! server receives goes to the node. All of HTTP that the facade knows is in this file.

use carrotcache_peer_http as http;
use http::{Answer, Handler, HttpPeer, HttpPool, Refusal};

use crate::node::Node;
use crate::peer::{Owner, PeerAnswer, PeerClient, PeerError, PeerPicker, PeerRequest};

impl PeerPicker for HttpPool {
    type Client = HttpPeer;

    fn pick(&self, key: &str) -> Owner<HttpPeer> {
        match self.owner(key) {
            http::Owner::Local => Owner::Local,
            http::Owner::Remote(peer) => Owner::Remote(peer),
        }
    }
}

impl PeerClient for HttpPeer {
    fn label(&self) -> &str {
        self.url()
    }

    async fn get(&self, request: PeerRequest) -> Result<PeerAnswer, PeerError> {
        HttpPeer::get(self, &request.group, &request.key, request.time_left)
            .await
            .map(|answer| PeerAnswer::new(answer.value))
            .map_err(|error| from_http(error, &request))
    }
}

/// What the pool tells of a failed request, in the words of the seam.
fn from_http(error: http::PeerError, request: &PeerRequest) -> PeerError {
    match error {
        http::PeerError::NotFound { .. } => PeerError::NotFound,
        http::PeerError::LoadFailed { message, .. } => PeerError::LoadFailed { message },
        http::PeerError::NoSuchGroup { .. } => {
            PeerError::NoSuchGroup { group: request.group.to_string() }
        }
        other => PeerError::Unreachable { source: Box::new(other) },
    }
}

impl Handler for Node {
    async fn get(&self, request: http::PeerRequest) -> Result<Answer, Refusal> {
        let request =
            PeerRequest::new(request.group, request.key).with_time_left(request.time_left);
        self.answer(request).await.map(|answer| Answer::new(answer.value)).map_err(into_refusal)
    }
}

/// What the node tells of a request that it cannot answer, in the words of the wire.
fn into_refusal(error: PeerError) -> Refusal {
    match error {
        PeerError::NotFound => Refusal::NotFound,
        PeerError::LoadFailed { message } => Refusal::LoadFailed(message),
        PeerError::NoSuchGroup { .. } => Refusal::NoSuchGroup,
        PeerError::TimedOut { .. } => Refusal::TimedOut,
        PeerError::Invalid { reason } => Refusal::Invalid(reason),
        other => Refusal::Overloaded(other.to_string()),
    }
}
