//! What can be wrong with a peer's base URL.

use thiserror::Error;

/// What is wrong with a text that should be a peer's base URL; in [`UrlError`](crate::UrlError).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UrlFault {
    /// A variable of a template or a shell stands where its value should.
    #[error("the $ looks like a variable that was not replaced by its value")]
    Variable,
    /// The URL does not start with `http://` or `https://`.
    #[error("it does not start with http:// or https://")]
    Scheme,
    /// A user name or a password stands before the host.
    #[error("peers do not log in, leave out what stands before the @")]
    UserName,
    /// There is a path, if only a `/`, a query, or anything else behind the host and the port.
    #[error(
        "there is something behind the host and the port: a list is one URL each, and a / at the end is one too many"
    )]
    Behind,
    /// There is no host.
    #[error("the host is missing")]
    NoHost,
    /// The port is not a number from 1 to 65535.
    #[error("the port should be a number from 1 to 65535, but is {port:?}")]
    Port {
        /// What stands behind the colon.
        port: String,
    },
    /// What stands in brackets is not an IPv6 address.
    #[error("{host:?} should be an IPv6 address in brackets")]
    NotIpv6 {
        /// What stands behind the opening bracket.
        host: String,
    },
    /// There are several colons, and no brackets.
    #[error("an IPv6 address is written in brackets, as in http://[2001:db8::1]:8001")]
    NoBrackets,
    /// The IPv6 address has a zone, such as the name of an interface.
    #[error("a zone such as %eth0 means something only to the machine that it is written on")]
    Zone,
    /// The host is what a server binds to when it listens on all addresses: `0.0.0.0`, `[::]`, `*`.
    #[error("a server may listen on {host}, but nobody can reach it there")]
    ListensOnly {
        /// The host.
        host: String,
    },
    /// The host consists of numbers, but is not an IPv4 address in its usual form.
    ///
    /// Some resolvers read `127.1` or `2130706433` as addresses, each in its own way.
    #[error(
        "{host} is not an IPv4 address, which is written as four numbers without leading zeros"
    )]
    Number {
        /// The host.
        host: String,
    },
    /// The host has a character that is in no host's name.
    #[error("the name of a host cannot have a {character:?}")]
    Character {
        /// The first such character.
        character: char,
    },
    /// The host has a letter beyond those of the English alphabet.
    #[error("the name of a host cannot have a {character:?}; give the form that starts with xn--")]
    NotAscii {
        /// The first such letter.
        character: char,
    },
    /// The host's name starts with a dot, or two dots follow each other.
    #[error("the name of the host has a dot too many")]
    EmptyLabel,
    /// The host's name has more than 253 bytes, or a part between dots more than 63.
    #[error("the name of the host is too long: 253 bytes at most, 63 between two dots")]
    TooLong,
}
