//! Clients of the nodes' peer ports that are no nodes.
//!
//! `client` is one of them, `kind` what it can do, and `acts` what they have done.

mod acts;
mod client;
mod kind;

use anyhow::{Result, bail};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::bounds::HOSTILE_AT_ONCE;
use crate::seeds::rng;
pub(super) use acts::Acts;
use client::{Client, Phase};

/// The hostile clients of all nodes; dropping them closes their connections.
pub(super) struct Hostile {
    phase: watch::Sender<Phase>,
    tasks: JoinSet<Result<()>>,
}

impl Hostile {
    /// Starts the clients of the nodes that listen on `ports`; `acts` is told what they do.
    pub(super) fn start(ports: &[u16], seed: u64, acts: &Acts) -> Self {
        let (phase, mut tasks) = (watch::Sender::new(Phase::Running), JoinSet::new());
        for (who, &port) in (0..).zip(ports.iter().cycle().take(ports.len() * HOSTILE_AT_ONCE)) {
            let draws = rng(seed, 2_000 + who);
            tasks.spawn(Client::new(port, draws, phase.subscribe(), acts.clone()).run());
        }
        Self { phase, tasks }
    }

    /// Waits for a wrong value.
    ///
    /// # Errors
    ///
    /// As soon as there is one.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again at any time.
    pub(super) async fn wrong(&mut self) -> Result<()> {
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        bail!("the hostile clients have ended before they were told to")
    }

    /// Has nobody begin anew, while what is open stays open.
    pub(super) fn begin_no_more(&self) {
        self.phase.send_replace(Phase::Ending);
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Over);
    }
}
