//! The host of a URL: an address or a name, and what is neither.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::fault::UrlFault;

/// Where a peer is, in the one spelling that all its spellings are brought to.
///
/// Its [`Display`](fmt::Display) is that spelling. Two hosts are the same node's exactly if theirs
/// are equal.
#[derive(Debug, Clone)]
pub(crate) enum Host {
    /// An address. An IPv6 address that stands for an IPv4 one is the IPv4 one, since both reach
    /// the same socket.
    Address(IpAddr),
    /// A name in lower case, as a resolver has to look it up.
    ///
    /// A dot may end it. The resolver then takes the name as it is, which saves half a dozen
    /// queries where search domains are configured, as in Kubernetes. So it is kept; but it is no
    /// part of the one spelling, because nobody means two nodes by `cache-1.example.org` with
    /// and without it.
    Name(Arc<str>),
}

/// The longest name that can be looked up.
const MAX_NAME_BYTES: usize = 253;
/// The longest part of a name between two dots.
const MAX_LABEL_BYTES: usize = 63;

impl Host {
    /// Reads what stands between the brackets of a URL.
    pub(crate) fn in_brackets(text: &str) -> Result<Self, UrlFault> {
        if text.contains('%') {
            return Err(UrlFault::Zone);
        }
        let address = text.parse::<Ipv6Addr>();
        let address = address.map_err(|_| UrlFault::NotIpv6 { host: text.to_owned() })?;
        Self::address(address.to_canonical(), text)
    }

    /// Reads a host that stands without brackets.
    pub(crate) fn bare(text: &str) -> Result<Self, UrlFault> {
        match text {
            "" => return Err(UrlFault::NoHost),
            "*" => return Err(UrlFault::ListensOnly { host: text.to_owned() }),
            _ => {}
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Self::address(address.into(), text);
        }
        let name = without_last_dot(text);
        check_name(name)?;
        if name.split('.').all(is_number) {
            return Err(UrlFault::Number { host: text.to_owned() });
        }
        Ok(Self::Name(text.to_ascii_lowercase().into()))
    }

    /// Returns the host at `address`, which stood as `text`, unless nobody can be reached there.
    fn address(address: IpAddr, text: &str) -> Result<Self, UrlFault> {
        if address.is_unspecified() {
            return Err(UrlFault::ListensOnly { host: text.to_owned() });
        }
        Ok(Self::Address(address))
    }
}

/// Returns `name` without the dot that may end it.
fn without_last_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Returns what keeps `name` from being the name of a host.
fn check_name(name: &str) -> Result<(), UrlFault> {
    // Underscores are not in the standard, and in the names of many a container.
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match name.chars().find(|&c| !is_allowed(c)) {
        Some(character) if character.is_ascii() => return Err(UrlFault::Character { character }),
        Some(character) => return Err(UrlFault::NotAscii { character }),
        None => {}
    }
    if name.split('.').any(str::is_empty) {
        return Err(UrlFault::EmptyLabel);
    }
    if name.len() > MAX_NAME_BYTES || name.split('.').any(|label| label.len() > MAX_LABEL_BYTES) {
        return Err(UrlFault::TooLong);
    }
    Ok(())
}

/// Returns whether resolvers may read `label` as a part of an address: a number that is decimal,
/// octal with a leading 0, or hexadecimal with a leading 0x.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Name(name) => f.write_str(without_last_dot(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_looked_up_with_its_last_dot_and_compared_without() {
        let host = Host::bare("Cache-1.Example.org.").expect("a name");
        assert_eq!(host.to_string(), "cache-1.example.org");
        assert!(matches!(host, Host::Name(name) if &*name == "cache-1.example.org."));
    }

    #[test]
    fn names_may_be_as_long_as_names_can_be() {
        let label = "a".repeat(MAX_LABEL_BYTES);
        let longest = format!("{label}.{label}.{label}.{}", &label[..MAX_LABEL_BYTES - 2]);
        assert_eq!(longest.len(), MAX_NAME_BYTES);
        assert!(Host::bare(&longest).is_ok() && Host::bare(&format!("{longest}.")).is_ok());
        for name in [format!("{longest}a"), format!("{label}a")] {
            assert_eq!(Host::bare(&name).expect_err("too long"), UrlFault::TooLong);
        }
    }
}
