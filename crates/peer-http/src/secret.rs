//! The secret that the nodes of a cluster share, by which one knows that another belongs to it.
//!
//! It goes with every request, and so with the one that asks for a link. It says who asks, and not
//! who answers: whoever listens at a peer's address is sent it too, and whoever can read the network
//! reads it. Against both there is TLS.

use std::fmt;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use subtle::ConstantTimeEq;
use thiserror::Error;

/// The header that the secret is sent in.
pub(crate) const SECRET: HeaderName = HeaderName::from_static("carrotcache-secret");

/// The secrets of a node: one that it sends and takes, and perhaps another that it takes too.
#[derive(Clone)]
pub(crate) struct Secrets {
    sent: HeaderValue,
    other: Option<HeaderValue>,
}

/// What is wrong with the secret of a request, in words for its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// There is none, or more than one.
    Silent,
    /// It is another than is taken here.
    Mistaken,
}

/// The secrets as the builder was told them, which may be no good.
#[derive(Clone, Default)]
pub(crate) struct Draft {
    pub(crate) sent: Option<String>,
    pub(crate) other: Option<String>,
}

/// The shortest secret, in bytes: nobody guesses one of as many random letters.
const MIN_BYTES: usize = 16;
/// The longest secret, in bytes. The head of a request has to have room for it.
const MAX_BYTES: usize = 1_024;

impl Draft {
    /// Returns the secrets, if there are any.
    ///
    /// # Errors
    ///
    /// When one of them cannot be a secret.
    pub(crate) fn settle(&self) -> Result<Option<Secrets>, SecretError> {
        let other = self.other.as_deref().map(to_header).transpose()?;
        match &self.sent {
            Some(sent) => Ok(Some(Secrets { sent: to_header(sent)?, other })),
            None if other.is_some() => Err(SecretError::NoneToSend),
            None => Ok(None),
        }
    }
}

impl Secrets {
    /// Adds the secret to a request.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        headers.insert(SECRET, self.sent.clone());
    }

    /// Lets a request in that knows one of the secrets.
    ///
    /// How long it takes tells nothing of them but their lengths.
    ///
    /// # Errors
    ///
    /// When it knows none.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Stranger> {
        let mut told = headers.get_all(SECRET).iter();
        let (Some(told), None) = (told.next(), told.next()) else { return Err(Stranger::Silent) };
        let is_sent = self.sent.as_bytes().ct_eq(told.as_bytes());
        // Compared whether the first was right or not.
        let is_other = self.other.as_ref().map(|other| other.as_bytes().ct_eq(told.as_bytes()));
        let is_known = is_sent | is_other.unwrap_or_else(|| 0.into());
        if is_known.into() { Ok(()) } else { Err(Stranger::Mistaken) }
    }
}

/// Returns the header of a secret. Whatever prints it hides what it says.
fn to_header(secret: &str) -> Result<HeaderValue, SecretError> {
    let bytes = secret.len();
    if bytes < MIN_BYTES {
        return Err(SecretError::TooShort { bytes });
    }
    if bytes > MAX_BYTES {
        return Err(SecretError::TooLong { bytes });
    }
    let odd = secret.bytes().position(|byte| !byte.is_ascii_graphic());
    let at = odd.unwrap_or(bytes);
    let header = odd.is_none().then(|| HeaderValue::from_str(secret).ok()).flatten();
    let mut header = header.ok_or(SecretError::Character { at })?;
    header.set_sensitive(true);
    Ok(header)
}

impl Stranger {
    /// Returns what the sender is told.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Silent => "the header carrotcache-secret is missing, this node knows peers by it",
            Self::Mistaken => "the carrotcache-secret is not one that this node takes",
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.other.is_some() { "two, hidden" } else { "one, hidden" })
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = usize::from(self.sent.is_some()) + usize::from(self.other.is_some());
        write!(f, "{count}, hidden")
    }
}

/// Why a text cannot be the secret of a cluster; in [`BuildError`](crate::BuildError).
///
/// It says nothing of what the secret is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SecretError {
    /// It could be guessed.
    #[error("the secret has {bytes} bytes, fewer than {MIN_BYTES}: it could be guessed")]
    TooShort {
        /// Its length.
        bytes: usize,
    },
    /// The head of a request has no room for it.
    #[error("the secret has {bytes} bytes, more than {MAX_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It holds what a header cannot: a line break at its end, most likely.
    #[error("byte {at} of the secret is no visible ASCII character (a space, or a line break?)")]
    Character {
        /// Which byte, counted from zero.
        at: usize,
    },
    /// There is one to accept, and none to send.
    #[error("there is an other_secret to accept and no secret to send")]
    NoneToSend,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "one-secret-of-this-cluster";
    const TWO: &str = "two-secret-of-this-cluster";

    fn secrets(sent: &str, other: Option<&str>) -> Result<Secrets, SecretError> {
        let draft = Draft { sent: Some(sent.to_owned()), other: other.map(str::to_owned) };
        draft.settle().map(|secrets| secrets.expect("one is given"))
    }

    fn headers(told: &[&str]) -> HeaderMap {
        let value = |text: &&str| (SECRET, HeaderValue::from_str(text).expect("a header"));
        told.iter().map(value).collect()
    }

    #[test]
    fn two_secrets_are_taken_and_the_first_is_sent() {
        let both = secrets(ONE, Some(TWO)).expect("two secrets");
        let mut sent = HeaderMap::new();
        both.add_to(&mut sent);
        assert_eq!(sent, headers(&[ONE]));
        for (told, checked) in [
            (&[ONE][..], Ok(())),
            (&[TWO], Ok(())),
            (&[], Err(Stranger::Silent)),
            // One of them is right, and nobody says which is meant.
            (&[ONE, TWO], Err(Stranger::Silent)),
            (&[&ONE[1..]], Err(Stranger::Mistaken)),
            (&["One-secret-of-this-cluster"], Err(Stranger::Mistaken)),
            (&[""], Err(Stranger::Mistaken)),
        ] {
            assert_eq!(both.check(&headers(told)), checked, "{told:?}");
        }
        let one = secrets(ONE, None).expect("a secret");
        assert_eq!(one.check(&headers(&[TWO])), Err(Stranger::Mistaken));
    }

    #[test]
    fn what_cannot_be_a_secret_is_told_without_telling_it() {
        for (text, error) in [
            ("", SecretError::TooShort { bytes: 0 }),
            ("fifteen-letters", SecretError::TooShort { bytes: 15 }),
            ("a secret with spaces in it", SecretError::Character { at: 1 }),
            ("from-a-file-with-its-end\n", SecretError::Character { at: 24 }),
            ("geheimnis-mit-umlaut-ö", SecretError::Character { at: 21 }),
            (&"x".repeat(1_025), SecretError::TooLong { bytes: 1_025 }),
        ] {
            assert_eq!(secrets(text, None).expect_err("no secret"), error);
            assert_eq!(secrets(ONE, Some(text)).expect_err("no secret"), error);
            assert!(text.is_empty() || !error.to_string().contains(text));
        }
        let alone = Draft { sent: None, other: Some(ONE.to_owned()) };
        assert_eq!(alone.settle().expect_err("none to send"), SecretError::NoneToSend);
        assert!(secrets("sixteen-letters!", None).is_ok());
    }

    #[test]
    fn nothing_that_is_printed_shows_a_secret() {
        let draft = Draft { sent: Some(ONE.to_owned()), other: Some(TWO.to_owned()) };
        let secrets = draft.settle().expect("two").expect("two");
        let mut sent = HeaderMap::new();
        secrets.add_to(&mut sent);
        let printed = format!("{draft:?} {secrets:?} {sent:?}");
        assert!(!printed.contains("secret-of"), "{printed}");
    }
}
