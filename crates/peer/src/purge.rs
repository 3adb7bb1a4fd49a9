//! How one node tells another to forget.

use std::sync::Arc;
use std::time::Instant;

use crate::entry::Entry;

/// One message of a purge: keys that the receiver is to forget, and what else is to be done.
///
/// To remove keys everywhere, a node sends its peers two messages. The first one *closes* the keys:
/// from then on the receiver keeps nothing for them, though it answers gets. When all have
/// acknowledged that, the second one *opens* them. Between the two there is no moment at which one
/// node could fill its cache from what another has not yet forgotten. A third kind *tells* a peer what
/// it has missed.
///
/// A receiver forgets the keys in each of the three: what it has cached, and what it is fetching.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Purge {
    /// Name of the group.
    pub group: Arc<str>,
    /// What is to be forgotten.
    pub keys: Keys,
    /// Who sends it.
    pub sender: Member,
    /// What is to be done beside forgetting.
    pub step: Step,
    /// When the sender stops waiting for the answer. As with [`Request::deadline`], what is left of
    /// it goes over a network.
    ///
    /// [`Request::deadline`]: crate::Request::deadline
    pub deadline: Instant,
}

/// Which keys of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// All that there are.
    All,
    /// These. Whoever receives them takes [`Purge::MAX_KEYS`] at most.
    These(Vec<Arc<str>>),
}

/// A node, as purges name it: a label, and which process has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Member {
    /// What the node is called, as by [`Peer::label`](crate::Peer::label).
    pub label: Arc<str>,
    /// A random number that its process drew when it started: one that was started anew has another.
    pub incarnation: u64,
}

/// What a [`Purge`] asks for beside forgetting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Close the keys, for this attempt of the sender's to remove them.
    Close {
        /// A number of the sender's own, which it uses once.
        attempt: u64,
    },
    /// Open the keys that were closed for this attempt.
    Open {
        /// The number of the attempt.
        attempt: u64,
        /// What the receiver answered when it closed the keys.
        token: u64,
        /// Who has closed the keys, the receiver and the sender among them. Whoever is not named has
        /// missed the purge, and has to be told before anything it says is believed.
        closed: Vec<Member>,
        /// The new value of the one key, for its owner to keep.
        value: Option<Entry>,
    },
    /// Nothing more: the receiver has missed a purge.
    Tell {
        /// The peers that have not, as far as the sender knows.
        told: Vec<Member>,
    },
}

/// What the receiver of a [`Purge`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purged {
    /// The process that answers.
    pub incarnation: u64,
    /// What has become of the keys.
    pub fate: Fate,
}

/// What has become of the keys of a [`Purge`], which are forgotten in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// They are closed.
    Closed {
        /// To be returned when they are opened. Each closing has another.
        token: u64,
    },
    /// They are open.
    Opened {
        /// Whether they were closed all the while. If not, something may have been kept in between.
        stood: bool,
        /// Whether the value that came along is kept.
        kept: bool,
    },
    /// They are forgotten, and that was all.
    Told,
}

impl Purge {
    /// The most keys of one message.
    pub const MAX_KEYS: usize = 1_000;

    /// Returns a message.
    #[must_use]
    pub fn new(
        group: impl Into<Arc<str>>,
        keys: Keys,
        sender: Member,
        step: Step,
        deadline: Instant,
    ) -> Self {
        Self { group: group.into(), keys, sender, step, deadline }
    }
}

impl Purged {
    /// Returns an answer.
    #[must_use]
    pub const fn new(incarnation: u64, fate: Fate) -> Self {
        Self { incarnation, fate }
    }
}
