//! A peer's base URL, taken apart.

use std::str::FromStr;
use std::sync::Arc;

use hyper::http::uri::Authority;
use thiserror::Error;

/// A base URL of the form `http://host[:port]`.
///
/// The text is kept as it was given, because it is the peer's label on the ring: two nodes that
/// write one address in two ways would disagree about every owner. For the same reason nothing is
/// made regular here, and what would invite two ways of writing it is refused: a path, even `/`, a
/// user name, another scheme, `HTTP` in capitals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BaseUrl {
    text: Arc<str>,
    /// Host and port.
    authority: Authority,
}

impl BaseUrl {
    /// Returns the URL as it was given.
    pub(crate) fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Returns host and port as they are sent in the header `host`.
    pub(crate) fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// Returns the host to connect to, an IPv6 address without its brackets.
    pub(crate) fn host(&self) -> &str {
        let host = self.authority.host();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// Returns the port to connect to, 80 unless the URL names one.
    pub(crate) fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(80)
    }
}

impl FromStr for BaseUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let error = |reason| UrlError { url: text.to_owned(), reason };
        let rest =
            text.strip_prefix("http://").ok_or_else(|| error("does not start with http://"))?;
        if rest.contains(['/', '?', '#']) {
            return Err(error("has something behind host and port"));
        }
        if rest.contains('@') {
            return Err(error("has a user name"));
        }
        let authority = Authority::from_str(rest).map_err(|_| error("has no valid host"))?;
        if matches!(authority.host(), "" | "[]") {
            return Err(error("has no host"));
        }
        // What is behind the host is nothing, or a colon and a port that can be connected to.
        let port = &rest[authority.host().len()..];
        if !port.is_empty() && !matches!(authority.port_u16(), Some(1..)) {
            return Err(error("has no valid port"));
        }
        Ok(Self { text: text.into(), authority })
    }
}

/// Why a text is no peer's base URL.
///
/// ```
/// # use carrotcache_peer_http::HttpPool;
/// let error = HttpPool::builder("10.0.0.1:8001").build().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"peer URL "10.0.0.1:8001" does not start with http://, it should be http://host[:port]"#,
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("peer URL {url:?} {reason}, it should be http://host[:port]")]
#[non_exhaustive]
pub struct UrlError {
    /// The text that was given.
    pub url: String,
    /// What is wrong with it.
    pub reason: &'static str,
}
