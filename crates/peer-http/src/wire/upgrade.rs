//! How two nodes agree to go on in frames: HTTP's own way to change the protocol of a connection.
//!
//! A get that asks for it is a get like any other, so whoever does not know the word answers it, and
//! nothing is lost. Status 101 means that frames follow, and the first of them answer the get.

use std::time::Instant;

use carrotcache_peer::Request;
use hyper::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};

/// The protocol that is asked for, and agreed on.
const LINK: HeaderValue = HeaderValue::from_static("carrotcache/1");

/// The group and the key of a get that asks for a link and for nothing else. Nobody has the group: Go's
/// nodes say so without running a getter, and ours without asking their handler.
const BARE_GROUP: &str = "carrotcache.link";
const BARE_KEY: &str = "-";

/// Returns the get of whoever wants a link, and no value.
pub(crate) fn bare_request(deadline: Instant) -> Request {
    Request::new(BARE_GROUP, BARE_KEY, deadline)
}

/// Returns whether these are the names of a get that wants no value.
pub(crate) fn is_bare(group: &str, key: &str) -> bool {
    group == BARE_GROUP && key == BARE_KEY
}

/// Adds what asks for a link, or agrees to one.
pub(crate) fn add_to(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, LINK);
}

/// Returns whether a request asks for a link, or a response with status 101 agrees to one.
pub(crate) fn is_in(headers: &HeaderMap) -> bool {
    has_token(headers, CONNECTION.as_str(), b"upgrade")
        && has_token(headers, UPGRADE.as_str(), LINK.as_bytes())
}

/// Returns whether a header is a list that has this word, in capitals or not.
fn has_token(headers: &HeaderMap, name: &str, token: &[u8]) -> bool {
    let values = headers.get_all(name).iter();
    let mut words = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    words.any(|word| word.trim_ascii().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;

    use super::*;

    fn headers(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn what_is_added_is_found() {
        let mut added = HeaderMap::new();
        add_to(&mut added);
        assert!(is_in(&added));
    }

    #[test]
    fn both_headers_are_needed_and_the_word_stands_anywhere_in_them() {
        let asks =
            |connection, upgrade| is_in(&headers(&[(CONNECTION, connection), (UPGRADE, upgrade)]));
        assert!(asks("keep-alive, upgrade", "h2c ,CarrotCache/1"));
        assert!(!asks("keep-alive", "carrotcache/1"));
        assert!(!asks("Upgrade", "websocket"));
        assert!(!asks("Upgrade", "carrotcache/10"));
        assert!(!is_in(&headers(&[(UPGRADE, "carrotcache/1")])));
    }
}
