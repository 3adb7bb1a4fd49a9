//! How a group and a key travel in the path of a request.
//!
//! A path is `{base path}{group}/{key}`, both escaped as Go's `url.QueryEscape` escapes them, so
//! that a `/` inside a group or a key is `%2F` and the first raw `/` is the one between the two.
//! Go sends a space as `+`; a path that is read by other means means a plus by it. So a raw `+` is
//! read as a space here, and never written: a space goes out as `%20`, which everybody agrees on.
//!
//! Paths are never cleaned: the keys `.`, `..` and `//` are keys like any other.
//!
//! ```
//! use carrotcache_peer_http::path;
//!
//! let path = path::encode("/_groupcache/", "scores", "a b/c");
//! assert_eq!(path, "/_groupcache/scores/a%20b%2Fc");
//! assert_eq!(path::decode(&path, "/_groupcache/"), Ok(("scores".into(), "a b/c".into())));
//! ```

use thiserror::Error;

/// Returns the path that asks for `key` in `group` below `base_path`.
///
/// `base_path` is taken as it is; it starts and ends with a `/`.
#[must_use]
pub fn encode(base_path: &str, group: &str, key: &str) -> String {
    // Most keys need few escapes; the string grows for the others.
    let mut path = String::with_capacity(base_path.len() + group.len() + 1 + key.len() + 16);
    path.push_str(base_path);
    escape_into(&mut path, group);
    path.push('/');
    escape_into(&mut path, key);
    path
}

/// Returns the group and the key that `path` asks for below `base_path`.
///
/// Everything after the first `/` behind the group is the key, as Go reads it, so that
/// a path typed by hand may hold a raw `/` in its key.
///
/// # Errors
///
/// A [`PathError`] that says what is wrong with the path. No input panics.
pub fn decode(path: &str, base_path: &str) -> Result<(String, String), PathError> {
    let rest = path.strip_prefix(base_path).ok_or(PathError::OutsideBase)?;
    let (group, key) = rest.split_once('/').ok_or(PathError::NoKey)?;
    if group.is_empty() {
        return Err(PathError::EmptyGroup);
    }
    if key.is_empty() {
        return Err(PathError::EmptyKey);
    }
    Ok((unescape(group)?, unescape(key)?))
}

/// What is wrong with the path of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PathError {
    /// The path does not start with the base path.
    #[error("path is outside the base path")]
    OutsideBase,
    /// No `/` follows the group.
    #[error("path has no key, it should end in group/key")]
    NoKey,
    /// Nothing stands before the `/`.
    #[error("group is empty")]
    EmptyGroup,
    /// Nothing stands behind the `/`.
    #[error("key is empty")]
    EmptyKey,
    /// A `%` without two hexadecimal digits behind it.
    #[error("bad percent escape in path")]
    BadEscape,
    /// The bytes that the escapes stand for are not UTF-8.
    #[error("path is not valid UTF-8")]
    NotUtf8,
}

/// Returns whether `path` can be a base path: between slashes, and nothing in it to escape.
pub(crate) fn is_base_path(path: &str) -> bool {
    path.starts_with('/')
        && path.ends_with('/')
        && path.bytes().all(|byte| byte == b'/' || is_unreserved(byte))
}

/// Appends `text` to `out`, with everything but unreserved characters escaped.
fn escape_into(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut rest = text;
    // All unreserved characters are one byte, so that both cuts fall between characters.
    while let Some(at) = rest.bytes().position(|byte| !is_unreserved(byte)) {
        let (plain, tail) = rest.split_at(at);
        out.push_str(plain);
        let reserved = tail.find(|c: char| c.is_ascii() && is_unreserved(c as u8));
        let (escaped, tail) = tail.split_at(reserved.unwrap_or(tail.len()));
        for byte in escaped.bytes() {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
        rest = tail;
    }
    out.push_str(rest);
}

/// Returns what `text` stands for, its escapes and pluses read once.
fn unescape(text: &str) -> Result<String, PathError> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => hex_digit(bytes.next())? << 4 | hex_digit(bytes.next())?,
            b'+' => b' ',
            plain => plain,
        });
    }
    String::from_utf8(out).map_err(|_| PathError::NotUtf8)
}

/// Returns the value of a hexadecimal digit of either case.
fn hex_digit(byte: Option<u8>) -> Result<u8, PathError> {
    let digit = byte.and_then(|byte| char::from(byte).to_digit(16)).ok_or(PathError::BadEscape)?;
    u8::try_from(digit).map_err(|_| PathError::BadEscape)
}

/// Returns whether `byte` may stand in a path as it is, by the rule of Go's `url.QueryEscape`.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
}
