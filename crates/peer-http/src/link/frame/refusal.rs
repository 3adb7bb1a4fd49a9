//! Why there is no value, as a number.
//!
//! The reasons are those that HTTP tells in a header, so that a get means the same either way, and
//! one more for what only HTTP carries. The numbers are for programs and the text beside them for
//! people: no decision goes by the text.

use carrotcache_peer::{Answer, PeerError, PeerErrorKind};

use crate::wire::outcome::{Outcome, one_line};

/// Why the owner sends no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// What HTTP would tell in a header.
    Outcome(Outcome),
    /// There is a value, and it is too large for a link: it is to be fetched over HTTP.
    OverHttp,
    /// To a look: there is no value cached.
    NotCached,
    /// The reason is one of a later version.
    Unknown,
}

/// The numbers of the outcomes, which never change.
const CODES: [(Outcome, u16); 8] = [
    (Outcome::NotFound, 1),
    (Outcome::LoadFailed, 2),
    (Outcome::NoSuchGroup, 3),
    (Outcome::Overloaded, 4),
    (Outcome::TimedOut, 5),
    (Outcome::Invalid, 6),
    (Outcome::TooManyLoads, 8),
    (Outcome::Unauthorized, 9),
];

/// The number of [`Refusal::OverHttp`].
const OVER_HTTP: u16 = 7;
/// The number of [`Refusal::NotCached`].
const NOT_CACHED: u16 = 10;

impl Refusal {
    /// The loader says that there is no such thing.
    pub(crate) const NOT_FOUND: Self = Self::Outcome(Outcome::NotFound);

    /// Returns the number that is sent; zero, which no reason has, for what is unknown.
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::Outcome(outcome) => {
                CODES.into_iter().find(|(known, _)| *known == outcome).map_or(0, |(_, code)| code)
            }
            Self::OverHttp => OVER_HTTP,
            Self::NotCached => NOT_CACHED,
            Self::Unknown => 0,
        }
    }

    /// Returns the reason with this number.
    pub(crate) fn from_code(code: u16) -> Self {
        match code {
            OVER_HTTP => return Self::OverHttp,
            NOT_CACHED => return Self::NotCached,
            _ => {}
        }
        let outcome = CODES.into_iter().find(|(_, known)| *known == code);
        outcome.map_or(Self::Unknown, |(outcome, _)| Self::Outcome(outcome))
    }

    /// Returns what the asking node makes of it, and of the `text` beside it.
    ///
    /// A reason that is not known is no verdict: the owner's loader need not have spoken.
    ///
    /// # Errors
    ///
    /// For every reason but that there is no such thing, which is an answer.
    pub(crate) fn answer(self, text: &[u8]) -> Result<Answer, PeerError> {
        if self == Self::NOT_FOUND {
            return Ok(Answer::absent());
        }
        Err(self.error(text))
    }

    /// Returns the error that it is, with the `text` beside it. That there is no such thing is none, and
    /// no node says it of a purge.
    pub(crate) fn error(self, text: &[u8]) -> PeerError {
        let kind = match self {
            Self::Outcome(outcome) => outcome.kind(),
            Self::NotCached => Some(PeerErrorKind::NotCached),
            Self::OverHttp | Self::Unknown => None,
        };
        let error = PeerError::new(kind.unwrap_or(PeerErrorKind::Failed));
        let line = one_line(&String::from_utf8_lossy(text));
        if line.is_empty() { error } else { error.with_source(line) }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn reasons_keep_their_numbers() {
        for (outcome, code) in CODES {
            assert_eq!(Refusal::Outcome(outcome).code(), code);
            assert_eq!(Refusal::from_code(code), Refusal::Outcome(outcome));
        }
        assert_eq!(Refusal::from_code(Refusal::OverHttp.code()), Refusal::OverHttp);
        assert_eq!(Refusal::from_code(Refusal::NotCached.code()), Refusal::NotCached);
        for code in [0, 11, u16::MAX] {
            assert_eq!(Refusal::from_code(code), Refusal::Unknown);
        }
    }

    #[test]
    fn plain_is_what_an_asker_finds_out_and_no_peer_says() {
        let kinds = CODES.into_iter().filter_map(|(outcome, _)| outcome.kind());
        assert!(!kinds.into_iter().any(|kind| kind == PeerErrorKind::Plain));
        assert_eq!(Outcome::of(PeerErrorKind::Plain), Outcome::Overloaded);
    }

    #[test]
    fn not_found_is_an_answer_and_the_rest_are_errors_with_a_cause() {
        assert_eq!(Refusal::from_code(1).answer(b"no such key").unwrap(), Answer::absent());
        let error = Refusal::from_code(2).answer(b"no\ndisk\xff").unwrap_err();
        assert_eq!(error.kind, PeerErrorKind::LoadFailed);
        assert_eq!(error.source().unwrap().to_string(), "no disk\u{fffd}");
        assert!(Refusal::from_code(8).answer(b"").unwrap_err().is_verdict());
        assert!(!Refusal::Unknown.answer(b"").unwrap_err().is_verdict());
    }
}
