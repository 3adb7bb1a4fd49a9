//! How the node ends: a signal is heard by everyone who serves, and they have a limit to finish.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How long requests in flight may take once the signal came.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// Tells when the process was asked to end.
pub(crate) struct Shutdown {
    requested: watch::Receiver<bool>,
}

impl Shutdown {
    /// Listens for SIGTERM and Ctrl-C from now on.
    pub(crate) fn on_signal() -> Result<Self> {
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
        let (request, requested) = watch::channel(false);
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("asked to end: finishing what is in flight");
            request.send_replace(true);
            // Held, so that no receiver mistakes a closed channel for a request.
            std::future::pending::<()>().await;
        });
        Ok(Self { requested })
    }

    /// Returns a future that ends when the process was asked to.
    pub(crate) fn requested(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut requested = self.requested.clone();
        async move {
            // Fails only when the runtime ends, and then the request is a fact.
            let _ = requested.wait_for(|requested| *requested).await;
        }
    }

    /// Runs `servers` to their end, which after a request comes within the limit: what has not
    /// finished by then is dropped.
    pub(crate) async fn limit<T>(self, servers: impl Future<Output = Result<T>>) -> Result<()> {
        let too_late = async {
            self.requested().await;
            tokio::time::sleep(DRAIN_LIMIT).await;
        };
        tokio::select! {
            ended = servers => ended.map(drop),
            () = too_late => {
                tracing::warn!("requests in flight were dropped after {DRAIN_LIMIT:?}");
                Ok(())
            }
        }
    }
}
