//! Looks after the unused connections of a pool.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::sleep;

/// Closes the unused connections that have grown old, or that their peers have closed.
///
/// Whoever asks a peer finds out by itself that a connection is closed. But a peer that is asked no
/// more would keep its closed sockets for ever, each of them a descriptor of this process. So while
/// there are unused connections in a pool, one small task looks at all of them now and then; it ends
/// when there are none left.
#[derive(Clone, Default)]
pub(crate) struct Sweeper {
    watched: Arc<Mutex<Watched>>,
}

/// The connections to a peer, of which some may be unused.
pub(crate) trait Swept: Send + Sync {
    /// Closes the unused connections that have grown old or that the peer has closed, and returns
    /// whether any is left. If so they are looked at again, else no more before they are watched.
    fn sweep(&self) -> bool;

    /// Is told that they are no longer looked after, though some may be unused.
    fn unwatch(&self);
}

/// What is looked after.
#[derive(Default)]
struct Watched {
    /// The peers that have unused connections. It is not this list that keeps them.
    peers: Vec<Weak<dyn Swept>>,
    is_running: bool,
}

/// How long a closed connection can go unnoticed.
const INTERVAL: Duration = Duration::from_secs(1);

impl Sweeper {
    /// Looks after `connections` from now on, until none of them is unused.
    ///
    /// Called within a tokio runtime with a timer.
    pub(crate) fn watch(&self, connections: Weak<dyn Swept>) {
        let mut watched = self.lock();
        watched.peers.push(connections);
        if !std::mem::replace(&mut watched.is_running, true) {
            drop(watched);
            let task = Task { sweeper: self.clone(), is_over: false };
            Handle::current().spawn(task.run());
        }
    }

    /// Looks at all unused connections, and returns whether any is left.
    fn sweep(&self) -> bool {
        let peers = std::mem::take(&mut self.lock().peers);
        let mut left = Vec::with_capacity(peers.len());
        left.extend(peers.into_iter().filter(|peer| {
            // Unlocked: who puts a connection back must not wait for all the others to be closed.
            peer.upgrade().is_some_and(|connections| connections.sweep())
        }));
        let mut watched = self.lock();
        watched.peers.append(&mut left);
        watched.is_running = !watched.peers.is_empty();
        watched.is_running
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task, as long as it runs.
struct Task {
    sweeper: Sweeper,
    is_over: bool,
}

impl Task {
    /// Sweeps until there is nothing left to look at.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time, as a runtime does that is shut down: the next connection to
    /// become unused starts another.
    async fn run(mut self) {
        while !self.is_over {
            sleep(INTERVAL).await;
            self.is_over = !self.sweeper.sweep();
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut watched = self.sweeper.lock();
        watched.is_running = false;
        let peers = std::mem::take(&mut watched.peers);
        drop(watched);
        for connections in peers.iter().filter_map(Weak::upgrade) {
            connections.unwatch();
        }
    }
}
