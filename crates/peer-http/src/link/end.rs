//! Why a link ended.
//!
//! It is told twice: to the log, as it is, and to the gets that were under way, as a
//! [`PeerErrorKind`] beside those that HTTP has. None is a verdict, so all of them are loaded where
//! they were asked for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use carrotcache_peer::{PeerError, PeerErrorKind};
use thiserror::Error;

use crate::link::frame::FrameError;

/// Why a link ended.
#[derive(Debug, Error)]
pub(crate) enum End {
    /// Nobody here wants it any more, and nothing was under way.
    #[error("the link is not needed any more")]
    Unneeded,
    /// The peer said GOAWAY, and all that was under way was answered.
    #[error("the peer has said goodbye")]
    Goodbye,
    /// The peer closed the connection.
    #[error("the peer closed the connection")]
    Closed,
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// The peer said nothing, not even to a ping.
    #[error("the peer was silent for {silence:?}, and did not answer a ping")]
    Silent {
        /// How long nothing had come.
        silence: Duration,
    },
    /// The peer took nothing of what was to be written.
    #[error("the peer read nothing for {time:?}")]
    Stalled {
        /// The time that it had.
        time: Duration,
    },
    /// The peer did not say HELLO.
    #[error("the peer did not say HELLO for {time:?}")]
    Unmet { time: Duration },
    /// The time for a farewell is over.
    #[error("the time to end gently is over")]
    Drained,
    /// What the peer sends cannot be understood.
    #[error("the peer does not keep to the protocol")]
    Violation(#[from] FrameError),
    /// The task was dropped, with its runtime.
    #[error("the runtime of the link has ended")]
    Dropped,
}

impl End {
    /// Returns whether both sides meant it. Such an end says nothing bad of the peer, which may be
    /// asked for a new link at once.
    pub(crate) fn is_gentle(&self) -> bool {
        matches!(self, Self::Unneeded | Self::Goodbye)
    }

    /// Returns the error of the gets that were under way. It has this end as its cause, and is
    /// cloned for each of them.
    pub(crate) fn to_error(self: &Arc<Self>) -> PeerError {
        let kind = match **self {
            Self::Silent { .. } | Self::Stalled { .. } | Self::Unmet { .. } => {
                PeerErrorKind::Unreachable
            }
            Self::Violation(_) => PeerErrorKind::Malformed,
            Self::Dropped => PeerErrorKind::Dropped,
            Self::Unneeded | Self::Goodbye | Self::Closed | Self::Broken(_) | Self::Drained => {
                PeerErrorKind::Truncated
            }
        };
        let mut error = PeerError::new(kind);
        error.source = Some(Arc::clone(self) as _);
        error
    }
}
