//! How the node ends: a signal is heard by everyone who serves.

use std::future::Future;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

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
}
