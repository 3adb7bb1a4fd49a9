//! What can go wrong, one enum per operation.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use carrotcache_peer::{PeerError, PeerErrorKind};
use thiserror::Error;

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

    /// As many loads of the group run and wait as may, here or at the owner, so this one did not run. Or
    /// neither the owner nor its stand-in can be asked, and this node has loaded as much for others as it
    /// [may](crate::NodeBuilder::loads_for_others). The database is kept from more than it can bear; try
    /// again later.
    #[error("the load of `{key}` in group `{group}` was refused: there are too many")]
    Overloaded {
        /// The group that was asked.
        group: Arc<str>,
        /// The key that was asked for.
        key: Arc<str>,
    },

    /// The load took longer than the group allows, and was dropped. The key can be tried again at
    /// once.
    #[error("the load of `{key}` in group `{group}` was not done within {after:?}")]
    TimedOut {
        /// The group that was asked.
        group: Arc<str>,
        /// The key that was asked for.
        key: Arc<str>,
        /// How long was waited.
        after: Duration,
    },

    /// The runtime on which the load ran was shut down, or nobody drives it, and trying again met the
    /// same.
    #[error("the load of `{key}` was abandoned: its runtime was shut down, or does not run")]
    Abandoned {
        /// The key that was asked for.
        key: Arc<str>,
    },

    /// The loader asked its group for the key that it is loading, and would wait for itself for
    /// ever.
    ///
    /// The call inside the loader gets this error; the load goes on, and may even end well. A
    /// circle over several keys (the loader of `a` gets `b`, that of `b` gets `a`) may cross tasks,
    /// where it is not seen: it ends in [`TimedOut`](Self::TimedOut).
    #[error("the loader of group `{group}` asked for `{key}` while loading it")]
    Reentrant {
        /// The group that was asked.
        group: Arc<str>,
        /// The key that was asked for.
        key: Arc<str>,
    },

    /// A load needs a tokio runtime to run on. The node is bound to none, and the caller is not inside
    /// one.
    #[error("it needs a tokio runtime: the node has none, and the caller is outside of all")]
    NoRuntime,

    /// The tokio runtime that the node is bound to has no timer, which loads need.
    #[error("the node's tokio runtime has no timer: build it with `enable_time` or `enable_all`")]
    NoTimer,

    /// The tokio runtime that the node is bound to lacks what asking a peer needs.
    #[error("the node's tokio runtime cannot be used to ask peers")]
    CannotAskPeers {
        /// What it lacks.
        source: PeerError,
    },
}

impl GetError {
    /// Returns `true` if the loader's answer was that there is no such thing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Returns `true` if the load was refused because there are too many: the same get may do later.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        matches!(self, Self::Overloaded { .. })
    }
}

/// Why [`Group::remove`](crate::Group::remove) and its like have not removed a key everywhere.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// The key is the empty string, which nothing is stored under.
    #[error("the key is empty")]
    EmptyKey,

    /// The key is longer than the group allows, so nothing is stored under it.
    #[error("the key has {len} bytes, the group `{group}` allows {max}")]
    KeyTooLong {
        /// The group that was asked.
        group: Arc<str>,
        /// Length of the key, in bytes.
        len: usize,
        /// The group's limit, in bytes (`GroupBuilder::max_key_bytes`).
        max: usize,
    },

    /// It is removed from this node and from the peers that are not named here: no get that begins
    /// there returns what was removed. Those that are named may still do so, and so may a process that is
    /// started anew before it has heard of this.
    ///
    /// The unreached are told as soon as they are met again, and are not asked before; nothing needs to
    /// be done but to know it.
    #[error(
        "removed from all nodes but {}, where a value may be old for {}",
        names(unreached, plain),
        how_long(*stale_for_at_most)
    )]
    Incomplete {
        /// The peers that did not answer.
        unreached: Vec<Arc<str>>,
        /// The peers that cannot be told to forget, as nodes of Go's groupcache. One that takes links
        /// after all, and did not say so this time, is told all when it has answered a get again.
        plain: Vec<Arc<str>>,
        /// How old a value can get there, counted from now: what is left of the longest time to live,
        /// and a load that was under way. `None` if there is no bound to it: the group has no
        /// [`time_to_live`](crate::GroupBuilder::time_to_live), or some peers are plain.
        stale_for_at_most: Option<Duration>,
    },

    /// Nothing is promised yet: peers that had begun to remove it did not answer to the end. It is
    /// removed from this node, and the others are told later. Removing it again is safe.
    #[error("removed here, and not known to be removed from {}", names(unreached, plain))]
    Unsettled {
        /// The peers that did not answer, or not to the end.
        unreached: Vec<Arc<str>>,
        /// The peers that cannot be told to forget.
        plain: Vec<Arc<str>>,
    },

    /// Nothing is removed: peers would have to be told, and there is no runtime to do that on.
    #[error("nothing was removed, since peers cannot be told")]
    CannotAskPeers {
        /// What is missing.
        source: Box<GetError>,
    },

    /// The runtime that peers are told on was shut down meanwhile, or nobody drives it. Nothing is
    /// promised.
    #[error("the remove was abandoned: its runtime was shut down, or does not run")]
    Abandoned,
}

/// Returns for how long at most, as part of a sentence.
fn how_long(time: Option<Duration>) -> String {
    time.map_or("as long as it likes".to_owned(), |time| format!("{time:?} at most"))
}

/// Returns the names of peers, as part of a sentence.
fn names(unreached: &[Arc<str>], plain: &[Arc<str>]) -> String {
    let plain = plain.iter().map(|label| format!("{label} (plain)"));
    let all: Vec<_> = unreached.iter().map(|label| label.to_string()).chain(plain).collect();
    all.join(", ")
}

/// Why [`Group::set`](crate::Group::set) has not set a value everywhere.
///
/// What was there before is removed from this node, unless the error of the remove says that nothing is.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum SetError {
    /// The old value may be left somewhere.
    #[error(transparent)]
    Remove(#[from] RemoveError),

    /// The old value is gone, and the new one is not kept: the whole group has less room. A get
    /// loads it.
    #[error("the value has {len} bytes, more than the group `{group}` keeps")]
    TooLarge {
        /// The group that was asked.
        group: Arc<str>,
        /// Length of the value, in bytes.
        len: usize,
    },
}

/// A key that no group takes is no more removed than it is got.
impl From<GetError> for RemoveError {
    fn from(error: GetError) -> Self {
        match error {
            GetError::EmptyKey => Self::EmptyKey,
            GetError::KeyTooLong { group, len, max } => Self::KeyTooLong { group, len, max },
            error => Self::CannotAskPeers { source: Box::new(error) },
        }
    }
}

/// The same error, as it is told to a peer that asked for the key.
impl From<GetError> for PeerError {
    fn from(error: GetError) -> Self {
        let kind = match &error {
            // The asker wraps it as the source of an error of its own, so only the cause is sent.
            GetError::LoadFailed { source, .. } => {
                return Self::new(PeerErrorKind::LoadFailed).with_source(Arc::clone(source));
            }
            // The owner has asked the database, and asking it again elsewhere would not be faster.
            GetError::TimedOut { .. }
            | GetError::LoadPanicked { .. }
            | GetError::Reentrant { .. }
            | GetError::NotFound { .. } => PeerErrorKind::LoadFailed,
            GetError::EmptyKey | GetError::KeyTooLong { .. } => PeerErrorKind::BadRequest,
            // Without its text, as below.
            GetError::Overloaded { .. } => return PeerErrorKind::TooManyLoads.into(),
            // Without its text, which holds the key: it may end up in a log.
            GetError::Abandoned { .. } => {
                return Self::new(PeerErrorKind::Overloaded).with_source("its runtime is gone");
            }
            GetError::NoRuntime | GetError::NoTimer | GetError::CannotAskPeers { .. } => {
                PeerErrorKind::Overloaded
            }
        };
        Self::new(kind).with_source(error)
    }
}

/// Why [`GroupBuilder::build`](crate::GroupBuilder::build) made no group.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildGroupError {
    /// The name is the empty string, which no transport can carry.
    #[error("the name of a group is empty")]
    EmptyName,

    /// The name is longer than [`MAX_GROUP_NAME_BYTES`](crate::MAX_GROUP_NAME_BYTES), or than the
    /// node's transport carries.
    #[error("the group name `{name:.64}` has {} bytes, {max} are allowed", name.len())]
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

    /// The group allows longer keys than the node's transport carries, so that some could not be
    /// asked for.
    #[error(
        "the group `{name}` allows keys of {max_key_bytes} bytes, the node's peers are asked for {max} at most: \
         lower `GroupBuilder::max_key_bytes` or raise the pool's"
    )]
    KeysTooLong {
        /// The name as given.
        name: String,
        /// What the group allows, in bytes.
        max_key_bytes: usize,
        /// What the transport carries, in bytes.
        max: usize,
    },

    /// A setting has a value with which the group could not work, or that has no meaning.
    #[error("the group `{name}` cannot have {setting}: {why}")]
    Setting {
        /// The name as given.
        name: String,
        /// The setting, as its method of the builder is called.
        setting: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },

    /// No loader was given, so a miss could not be answered.
    #[error(
        "the group `{name}` has no loader: call `GroupBuilder::loader` or `bulk_loader` before `build`"
    )]
    NoLoader {
        /// The name as given.
        name: String,
    },
}
