//! Ending a task early, in order.

use std::future::Future;

use anyhow::{Result, bail};
use tokio::signal::unix::{SignalKind, signal};

/// Runs `work` to its end, or drops it, and with it the processes that it started, when the task is
/// asked to end.
///
/// # Errors
///
/// Those of `work`, and when the task was asked to end.
///
/// # Cancel safety
///
/// As that of `work`.
pub async fn unless_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        outcome = work => outcome,
        signal = asked_to_end() => {
            signal?;
            bail!("interrupted; what was started was ended")
        }
    }
}

/// Waits for Ctrl-C or SIGTERM.
///
/// # Errors
///
/// When the system does not let us listen for them.
///
/// # Cancel safety
///
/// May be dropped at any time.
pub async fn asked_to_end() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
