//! The listener for those who ask, and what they may hold of this node: places, and time in each.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How long the head of a request may take, and how long a connection waits for the next one.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// How long a client may take nothing of its answer, or be gone without a word.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// How many connections there may be. Further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 1_024;

/// How long accepting waits after it has failed, as it does without a descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What was still under way when the time to end was over.
#[derive(Debug, Error)]
#[error("{connections} connections of the API were cut: what they had asked for was not answered")]
pub(crate) struct Cut {
    connections: usize,
}

/// Answers whoever connects, until `stop` ends, and then what is in flight, for `drain_limit` at most.
///
/// # Errors
///
/// When connections had to be cut.
///
/// # Cancel safety
///
/// Dropping it closes the listener. What is under way is answered all the same, while the runtime
/// lives.
pub(crate) async fn serve(
    listener: TcpListener,
    routes: Router,
    stop: impl Future<Output = ()>,
    drain_limit: Duration,
) -> Result<(), Cut> {
    let (connections, places) =
        (GracefulShutdown::new(), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
    tokio::select! {
        () = accept_all(&listener, &routes, &connections, &places) => {}
        () = stop => {}
    }
    drop(listener);
    let drained = timeout(drain_limit, connections.shutdown()).await;
    drained.map_err(|_| Cut { connections: MAX_CONNECTIONS - places.available_permits() })
}

/// Accepts connections, as many as there are places for, and never ends.
async fn accept_all(
    listener: &TcpListener,
    routes: &Router,
    connections: &GracefulShutdown,
    places: &Arc<Semaphore>,
) {
    let mut has_failed = false;
    loop {
        let Ok(place) = Arc::clone(places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                has_failed = false;
                start(stream, routes.clone(), connections, place);
            }
            Err(error) => {
                // The first of a row: out of descriptors it would be ten lines a second.
                if !std::mem::replace(&mut has_failed, true) {
                    tracing::warn!(%error, "cannot accept a connection of the API: trying again");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers one connection, in a task.
fn start(
    stream: TcpStream,
    routes: Router,
    connections: &GracefulShutdown,
    place: OwnedSemaphorePermit,
) {
    if let Err(error) = set_up(&stream) {
        tracing::debug!(%error, "a connection of the API ended before it began");
        return;
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let connection = connections.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection of the API broke");
        }
        drop(place);
    });
}

fn set_up(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // The system's own limit: it ends a connection whose other side takes no more bytes.
    SockRef::from(stream).set_tcp_user_timeout(Some(READ_LIMIT))
}
