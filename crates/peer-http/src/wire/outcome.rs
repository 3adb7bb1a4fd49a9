//! The headers that our own nodes understand, and Go's ignore.
//!
//! A status alone does not tell a key that is not there from a group that is not there, and Go's
//! nodes take any status but 200 as a reason to load the value themselves. The header lets our own
//! nodes take an owner's verdict for what it is.

use carrotcache_peer::PeerErrorKind;
use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};

/// How a request ended, in a word, because HTTP's status codes alone do not tell it.
pub(crate) const OUTCOME: HeaderName = HeaderName::from_static("carrotcache-outcome");

/// The time that the asking node still waits, in milliseconds.
///
/// It is relative, so that the clocks of the two machines need not agree.
pub(crate) const TIME_LEFT: HeaderName = HeaderName::from_static("carrotcache-time-left");

/// The content type of a value. A 200 of any other type does not come from a node.
pub(crate) const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

/// How a request ended, other than with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The loader says that there is no such thing.
    NotFound,
    /// The loader failed.
    LoadFailed,
    /// The node does not have the group.
    NoSuchGroup,
    /// The node has too much to do.
    Overloaded,
    /// As many loads of the group run and wait at the node as may, which is its verdict.
    TooManyLoads,
    /// The value did not come while the asking node waited.
    TimedOut,
    /// The request makes no sense.
    Invalid,
    /// The asking node has not shown that it is one of the cluster.
    Unauthorized,
}

impl Outcome {
    /// All of them, the frequent ones first.
    const ALL: [Self; 8] = [
        Self::NotFound,
        Self::LoadFailed,
        Self::NoSuchGroup,
        Self::Overloaded,
        Self::TooManyLoads,
        Self::TimedOut,
        Self::Invalid,
        Self::Unauthorized,
    ];

    /// Returns what the header of an answer says, if this version knows the word.
    pub(crate) fn from_header(value: &HeaderValue) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| value == outcome.as_str())
    }

    /// Returns how a request ended at the node that answered it.
    pub(crate) fn of(kind: PeerErrorKind) -> Self {
        match kind {
            PeerErrorKind::LoadFailed => Self::LoadFailed,
            PeerErrorKind::TooManyLoads => Self::TooManyLoads,
            PeerErrorKind::NoSuchGroup => Self::NoSuchGroup,
            PeerErrorKind::TimedOut => Self::TimedOut,
            PeerErrorKind::BadRequest => Self::Invalid,
            PeerErrorKind::Unauthorized => Self::Unauthorized,
            // Whatever else kept the node from answering, another may do better.
            _ => Self::Overloaded,
        }
    }

    /// Returns the same, as the asking node tells it; `None` for the answer that there is no value.
    pub(crate) fn kind(self) -> Option<PeerErrorKind> {
        match self {
            Self::NotFound => None,
            Self::LoadFailed => Some(PeerErrorKind::LoadFailed),
            Self::NoSuchGroup => Some(PeerErrorKind::NoSuchGroup),
            Self::Overloaded => Some(PeerErrorKind::Overloaded),
            Self::TooManyLoads => Some(PeerErrorKind::TooManyLoads),
            Self::TimedOut => Some(PeerErrorKind::TimedOut),
            Self::Invalid => Some(PeerErrorKind::BadRequest),
            Self::Unauthorized => Some(PeerErrorKind::Unauthorized),
        }
    }

    /// Returns the status that goes with the header.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::NotFound | Self::NoSuchGroup => StatusCode::NOT_FOUND,
            Self::LoadFailed => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Overloaded | Self::TooManyLoads => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
        }
    }

    /// Returns the text of the header.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::LoadFailed => "load-failed",
            Self::NoSuchGroup => "no-such-group",
            Self::Overloaded => "overloaded",
            Self::TooManyLoads => "too-many-loads",
            Self::TimedOut => "timed-out",
            Self::Invalid => "invalid",
            Self::Unauthorized => "unauthorized",
        }
    }

    /// Returns the header.
    pub(crate) fn to_header(self) -> HeaderValue {
        HeaderValue::from_static(self.as_str())
    }
}

/// Returns what a status other than 200 says without the header, as nodes of Go's groupcache send it,
/// and whatever else may stand between. None of it is a verdict: the owner's loader did not speak.
pub(crate) fn kind_of_status(status: StatusCode) -> PeerErrorKind {
    match status {
        StatusCode::NOT_FOUND => PeerErrorKind::NoSuchGroup,
        StatusCode::INTERNAL_SERVER_ERROR => PeerErrorKind::Failed,
        StatusCode::SERVICE_UNAVAILABLE => PeerErrorKind::Overloaded,
        StatusCode::GATEWAY_TIMEOUT => PeerErrorKind::TimedOut,
        StatusCode::BAD_REQUEST => PeerErrorKind::BadRequest,
        StatusCode::UNAUTHORIZED => PeerErrorKind::Unauthorized,
        _ => PeerErrorKind::Foreign,
    }
}

/// The length to which a line of text is cut: enough for an error, too little to flood a log.
const MAX_LINE_CHARS: usize = 512;

/// Returns `text` without what would make it more than one short line.
///
/// The text of a loader's error may hold anything, and ends up in the logs of another node, which
/// does the same to it: not everybody on the ring need be as careful.
pub(crate) fn one_line(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.trim_end().chars().take(MAX_LINE_CHARS).map(clean).collect()
}
