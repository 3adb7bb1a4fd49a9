//! What can go wrong, one enum per operation.

use std::error::Error as StdError;
use std::sync::Arc;

use thiserror::Error;

use crate::peer::PeerError;

/// An error of the user's, as a loader hands it over.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Why [`Group::get`](crate::Group::get) has no value to return.
///
/// It is [`Clone`], since everyone who waited for the same flight gets the same error. A loader's
/// own error is kept as [`source`](std::error::Error::source).
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum GetError {
    /// The key is the empty string, which no transport can carry.
    #[error("the key is empty")]
    EmptyKey,

    /// The key is longer than the group allows.
    #[error("the key has {len} bytes, the group `{group}` allows {max}")]
    KeyTooLong {
        /// The group that was asked.
        group: Arc<str>,
        /// Length of the key, in bytes.
        len: usize,
        /// The group's limit, in bytes (`GroupBuilder::max_key_bytes`).
        max: usize,
    },

    /// The loader, here or at the owner, says that there is no such thing.
    #[error("nothing is stored under `{key}`")]
    NotFound {
        /// The key that was asked for.
        key: Arc<str>,
    },

    /// The loader, here or at the owner, returned an error.
    #[error("the loader of group `{group}` failed for `{key}`")]
    LoadFailed {
        /// The group that was asked.
        group: Arc<str>,
        /// The key that was asked for.
        key: Arc<str>,
        /// The loader's error, or the [`PeerError`] with which the owner told of its own.
        source: Arc<dyn StdError + Send + Sync>,
    },

    /// The loader panicked. The key can be tried again at once.
    #[error("the loader of group `{group}` panicked for `{key}`: {message}")]
    LoadPanicked {
        /// The group that was asked.
        group: Arc<str>,
        /// The key that was asked for.
        key: Arc<str>,
        /// The text that the panic carried.
        message: Arc<str>,
    },

    /// The task that ran the load was dropped before its end: the runtime is shutting down.
    #[error("the load of `{key}` was abandoned: its runtime is shutting down")]
    Abandoned {
        /// The key that was asked for.
        key: Arc<str>,
    },

    /// The loader asked its group for the key that it is loading, and would wait for itself for
    /// ever.
    ///
    /// The call inside the loader gets this error; the load goes on, and may even end well. A
    /// circle over several keys (the loader of `a` gets `b`, that of `b` gets `a`) crosses tasks
    /// and is not seen.
    #[error("the loader of group `{group}` asked for `{key}` while loading it")]
    Reentrant {
        /// The group that was asked.
        group: Arc<str>,
        /// The key that was asked for.
        key: Arc<str>,
    },

    /// A miss needs a tokio runtime to run its load on, and the caller is not inside one.
    #[error("a load needs a tokio runtime, and `get` was called outside of one")]
    NoRuntime,
}

impl GetError {
    /// Returns `true` if the loader's answer was that there is no such thing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// The same error, as it is told to a peer that asked for the key.
    pub(crate) fn into_peer_error(self) -> PeerError {
        match self {
            Self::NotFound { .. } => PeerError::NotFound,
            // The asker wraps this text as the source of an error of its own, so only the cause is
            // sent.
            Self::LoadFailed { source, .. } => PeerError::LoadFailed { message: chain(&*source) },
            Self::LoadPanicked { .. } | Self::Reentrant { .. } => {
                PeerError::LoadFailed { message: self.to_string() }
            }
            Self::EmptyKey | Self::KeyTooLong { .. } => {
                PeerError::Invalid { reason: self.to_string() }
            }
            Self::Abandoned { .. } | Self::NoRuntime => {
                PeerError::Overloaded { reason: self.to_string() }
            }
        }
    }
}

/// An error and its causes in one line, for a peer that cannot walk them itself.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Why [`GroupBuilder::build`](crate::GroupBuilder::build) made no group.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildGroupError {
    /// The name is the empty string, which no transport can carry.
    #[error("the name of a group is empty")]
    EmptyName,

    /// The name is longer than [`MAX_GROUP_NAME_BYTES`](crate::MAX_GROUP_NAME_BYTES).
    #[error("the group name `{name}` has {} bytes, {max} are allowed", name.len())]
    NameTooLong {
        /// The name as given.
        name: String,
        /// The limit, in bytes.
        max: usize,
    },

    /// The node has a group of that name already.
    #[error("the node has a group `{name}` already")]
    NameTaken {
        /// The name as given.
        name: String,
    },

    /// No loader was given, so a miss could not be answered.
    #[error("the group `{name}` has no loader: call `GroupBuilder::loader` before `build`")]
    NoLoader {
        /// The name as given.
        name: String,
    },
}
