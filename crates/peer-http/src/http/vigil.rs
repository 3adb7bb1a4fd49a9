//! Whether a peer that is asked over HTTP lives, while its answers take their time.
//!
//! Nothing in HTTP tells an owner that loads from one that is stopped: the system takes connections
//! and requests for both. But every node answers at once when it is asked for a group that nobody has,
//! Go's too, and runs no getter for it. So when nothing has come for a while, one such request goes out
//! beside the gets, over a connection of its own. If it is not answered either, nobody is there.

use std::pin::pin;

use carrotcache_peer::{PeerError, PeerErrorKind};
use tokio::runtime::Handle;
use tokio::select;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, sleep, timeout};

use super::client::HttpPeer;
use super::reply::ExchangeError;

/// A ping that is under way. Dropped with its runtime, it has told nothing.
struct Ping {
    peer: HttpPeer,
    number: u64,
}

/// What comes of a ping.
enum Pong {
    /// Something came.
    Alive,
    /// The peer took no connection, or ended it without a byte.
    Refused(PeerError),
    /// The time is over.
    Unanswered(PeerError),
    /// It could not be sent, for want of something here.
    Unsent,
}

impl HttpPeer {
    /// Waits until the peer is found dead, and returns why. `death` is what tells so.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. A ping that it has sent goes on, for others who wait.
    pub(super) async fn vigil(&self, death: Notified<'_>) -> PeerError {
        let mut death = pin!(death);
        loop {
            select! {
                biased;
                () = &mut death => return self.judge().cause_of_death(),
                () = sleep(self.judge().patience()) => self.check(),
            }
        }
    }

    /// Sends a ping in a task, if nothing has come of late and none is under way.
    pub(super) fn check(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        if let Some(number) = self.judge().ping() {
            runtime.spawn(Ping { peer: self.clone(), number }.run());
        }
    }
}

impl Ping {
    /// Sends the ping, and tells what comes of it.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. Another ping may be sent then.
    async fn run(self) {
        let judge = self.peer.judge();
        match self.send().await {
            Pong::Alive => judge.alive(),
            Pong::Refused(why) => judge.refused(&why),
            Pong::Unanswered(why) => judge.unanswered(self.number, &why),
            Pong::Unsent => {}
        }
    }

    /// Sends the ping, and waits for anything that comes of it.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes the connection.
    async fn send(&self) -> Pong {
        let mut connection = match self.peer.open().await {
            Ok(connection) => connection,
            Err(error) if error.is_late => return Pong::Unanswered(error.error),
            Err(error) if error.is_of_peer => return Pong::Refused(error.error),
            Err(_ours) => return Pong::Unsent,
        };
        let judge = self.peer.judge();
        let within = judge.pong_within();
        let Ok((request, reader)) = self.peer.bare_request(Instant::now() + within) else {
            return Pong::Unsent;
        };
        match timeout(within, connection.exchange(request, &reader, judge)).await {
            Ok(Err(ExchangeError::Unanswered(source))) => {
                Pong::Refused(self.error(PeerErrorKind::Truncated).with_source(source))
            }
            Ok(_) => Pong::Alive,
            Err(_elapsed) => {
                let why = format!("it was silent, and did not answer a ping within {within:?}");
                Pong::Unanswered(self.error(PeerErrorKind::Unreachable).with_source(why))
            }
        }
    }

    fn error(&self, kind: PeerErrorKind) -> PeerError {
        PeerError::new(kind).at(self.peer.label().clone())
    }
}

impl Drop for Ping {
    fn drop(&mut self) {
        self.peer.judge().pinged(self.number);
    }
}
