//! A peer's base URL, taken apart.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use super::fault::UrlFault;
use super::host::Host;

/// A base URL of the form `http://host[:port]`, or `https://host[:port]`.
///
/// It has two spellings. The text is the one that was given: it is the peer's label on the ring,
/// and so must stay as it is, or a ring with Go nodes that were given the same list would place
/// keys elsewhere. Host and port are the one spelling of all URLs that mean this node: by them they
/// are compared, connected to, and named in the header `host`. A node with and without TLS would be two
/// at one port, so the scheme tells how a node is asked and not which one.
#[derive(Debug, Clone)]
pub(crate) struct BaseUrl {
    text: Arc<str>,
    scheme: Scheme,
    host: Host,
    port: u16,
    /// Host and port.
    node: String,
}

/// How a node is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

impl Scheme {
    /// Returns the port of a URL that names none.
    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl BaseUrl {
    /// Returns the URL as it was given.
    pub(crate) fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Returns host and port in their one spelling, as they are sent in the header `host`: without the
    /// port, if that is the scheme's own.
    pub(crate) fn authority(&self) -> String {
        if self.port == self.scheme.port() { self.host.to_string() } else { self.node.clone() }
    }

    /// Returns whether the node is asked in TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// Returns the host to connect to.
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the port to connect to.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns whether both mean one node, however they are spelled.
    pub(crate) fn is_same_node(&self, other: &Self) -> bool {
        self.node == other.node
    }
}

/// Returns the first two of `urls` that mean one node, if any do.
pub(crate) fn find_same_node(urls: &[BaseUrl]) -> Option<(&BaseUrl, &BaseUrl)> {
    let mut seen = HashMap::with_capacity(urls.len());
    urls.iter().find_map(|url| seen.insert(&*url.node, url).map(|first| (first, url)))
}

impl FromStr for BaseUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let error = |fault| UrlError { url: text.to_owned(), fault };
        let (scheme, host, port) = parse(text).map_err(error)?;
        let node = format!("{host}:{port}");
        Ok(Self { text: text.into(), scheme, host, port, node })
    }
}

/// Returns the scheme, the host and the port that `url` names.
fn parse(url: &str) -> Result<(Scheme, Host, u16), UrlFault> {
    // First, because a variable may stand for any part of the URL.
    if url.contains('$') {
        return Err(UrlFault::Variable);
    }
    let (scheme, rest) = url.split_once("://").ok_or(UrlFault::Scheme)?;
    // The scheme is compared as hosts are, regardless of case, because Go and every browser do.
    let scheme = match scheme {
        http if http.eq_ignore_ascii_case("http") => Scheme::Http,
        https if https.eq_ignore_ascii_case("https") => Scheme::Https,
        _ => return Err(UrlFault::Scheme),
    };
    if rest.contains('@') {
        return Err(UrlFault::UserName);
    }
    if rest.contains(['/', '?', '#']) {
        return Err(UrlFault::Behind);
    }
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => split_brackets(rest)?,
        None => split_bare(rest)?,
    };
    Ok((scheme, host, port.map_or(Ok(scheme.port()), parse_port)?))
}

/// Returns an IPv6 address and the port behind it; the bracket before it is taken off.
fn split_brackets(rest: &str) -> Result<(Host, Option<&str>), UrlFault> {
    let not_ipv6 = || UrlFault::NotIpv6 { host: rest.to_owned() };
    let (host, rest) = rest.split_once(']').ok_or_else(not_ipv6)?;
    let host = Host::in_brackets(host)?;
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Ok((host, None)),
        None => Err(UrlFault::Behind),
        port => Ok((host, port)),
    }
}

/// Returns a name or an IPv4 address, and the port behind it.
fn split_bare(rest: &str) -> Result<(Host, Option<&str>), UrlFault> {
    match rest.split_once(':') {
        None => Ok((Host::bare(rest)?, None)),
        Some((_, port)) if port.contains(':') => Err(UrlFault::NoBrackets),
        Some((host, port)) => Ok((Host::bare(host)?, Some(port))),
    }
}

/// Returns the port that the digits say; leading zeros and a plus say nothing.
fn parse_port(text: &str) -> Result<u16, UrlFault> {
    match text.parse() {
        Ok(port @ 1..) => Ok(port),
        _ => Err(UrlFault::Port { port: text.to_owned() }),
    }
}

/// Why a text cannot be a peer's base URL.
///
/// ```
/// # use carrotcache_peer_http::HttpPool;
/// let error = HttpPool::builder("http://0.0.0.0:8001").build().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "\"http://0.0.0.0:8001\" is not the URL of a peer, http://host[:port]: \
///      a server may listen on 0.0.0.0, but nobody can reach it there",
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{url:?} is not the URL of a peer, http://host[:port]: {fault}")]
#[non_exhaustive]
pub struct UrlError {
    /// The text that was given.
    pub url: String,
    /// What is wrong with it.
    pub fault: UrlFault,
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// A host that was not written down yet.
    #[derive(Debug, Clone, PartialEq)]
    enum Meant {
        Address(IpAddr),
        /// In lower case, without a dot at the end.
        Name(String),
    }

    const SCHEMES: [&str; 2] = ["http", "https"];
    const PORTS: [u16; 3] = [80, 443, 8001];

    /// Returns hosts, few enough that two are often equal.
    fn hosts() -> impl Strategy<Value = Meant> {
        let v4 = select(vec![Ipv4Addr::LOCALHOST, Ipv4Addr::new(10, 0, 0, 1)]);
        let v6 = prop_oneof![
            select(vec![Ipv6Addr::LOCALHOST, Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped()]),
            any::<u128>().prop_map(Ipv6Addr::from),
        ];
        prop_oneof![
            v4.prop_map(|v4| Meant::Address(v4.into())),
            v6.prop_map(|v6| Meant::Address(v6.to_canonical())),
            "[ab][a-z0-9_-]{0,1}(\\.[a-z0-9]{1,2})?".prop_map(Meant::Name),
        ]
    }

    /// Returns one of the ways to write `text` in which letters differ in their case.
    fn in_some_case(text: String) -> impl Strategy<Value = String> {
        any::<u64>().prop_map(move |upper| {
            let letters = text.chars().enumerate();
            let is_upper = |at: usize| upper >> (at % 64) & 1 == 1;
            letters.map(|(at, c)| if is_upper(at) { c.to_ascii_uppercase() } else { c }).collect()
        })
    }

    /// Returns the ways to write an IPv6 address.
    fn written_v6(address: Ipv6Addr) -> Vec<String> {
        let groups = address.segments();
        let join = |groups: Vec<String>| groups.join(":");
        let low = Ipv4Addr::from((u32::from(groups[6]) << 16) | u32::from(groups[7]));
        let high = join(groups[..6].iter().map(|group| format!("{group:x}")).collect());
        vec![
            format!("[{address}]"),
            format!("[{}]", join(groups.iter().map(|group| format!("{group:x}")).collect())),
            format!("[{}]", join(groups.iter().map(|group| format!("{group:04x}")).collect())),
            format!("[{high}:{low}]"),
        ]
    }

    /// Returns the URLs by which `host` and `port` may be meant.
    fn spellings(host: &Meant, port: u16) -> impl Strategy<Value = String> + use<> {
        let hosts = match host {
            Meant::Address(IpAddr::V4(v4)) => {
                [vec![v4.to_string()], written_v6(v4.to_ipv6_mapped())].concat()
            }
            Meant::Address(IpAddr::V6(v6)) => written_v6(*v6),
            Meant::Name(name) => vec![name.clone(), format!("{name}.")],
        };
        let written = [format!(":{port}"), format!(":0{port}"), format!(":+00{port}")];
        let mut ends: Vec<_> =
            written.into_iter().flat_map(|it| SCHEMES.map(|scheme| (scheme, it.clone()))).collect();
        ends.extend(
            SCHEMES
                .into_iter()
                .zip([80, 443])
                .filter(|(_, its)| *its == port)
                .map(|(scheme, _)| (scheme, String::new())),
        );
        let url = (select(hosts), select(ends));
        url.prop_map(|(host, (scheme, port))| format!("{scheme}://{host}{port}"))
            .prop_flat_map(in_some_case)
    }

    /// Returns a node that is meant, and one way to write it.
    fn nodes() -> impl Strategy<Value = ((Meant, u16), String)> {
        let ports = select(PORTS.to_vec());
        (hosts(), ports).prop_flat_map(|(host, port)| {
            let spellings = spellings(&host, port);
            (Just((host, port)), spellings)
        })
    }

    proptest! {
        #[test]
        fn spellings_are_one_node_exactly_if_host_and_port_are(a in nodes(), b in nodes()) {
            let ((a, a_text), (b, b_text)) = (a, b);
            let a_url: BaseUrl = a_text.parse().expect("a URL");
            let b_url: BaseUrl = b_text.parse().expect("a URL");
            prop_assert_eq!(a_url.is_same_node(&b_url), a == b, "{} {}", a_text, b_text);
        }

        #[test]
        fn all_spellings_of_a_node_are_one(
            (a, b) in (hosts(), select(PORTS.to_vec())).prop_flat_map(|(host, port)| {
                (spellings(&host, port), spellings(&host, port))
            })
        ) {
            let urls = [a, b].map(|text| text.parse::<BaseUrl>().expect("a URL"));
            prop_assert!(find_same_node(&urls).is_some(), "{urls:?}");
        }

        #[test]
        fn one_spelling_is_its_own(node in nodes()) {
            let url: BaseUrl = node.1.parse().expect("a URL");
            let scheme = if url.is_tls() { "https" } else { "http" };
            let again = format!("{scheme}://{}", url.authority());
            let again: BaseUrl = again.parse().expect("a URL");
            prop_assert!(again.is_same_node(&url));
            prop_assert_eq!(again.authority(), url.authority());
            prop_assert_eq!(&**url.text(), &node.1);
        }

        #[test]
        fn no_text_panics(text in ".*", rest in "[\\[\\]:.@%$*+xX0-9a-fé-]{0,40}") {
            drop(text.parse::<BaseUrl>());
            drop(format!("http://{text}").parse::<BaseUrl>());
            // What is accepted has one spelling, and may be sent in a header.
            if let Ok(url) = format!("http://{rest}").parse::<BaseUrl>() {
                let again: BaseUrl = format!("http://{}", url.authority()).parse().expect("a URL");
                prop_assert!(again.is_same_node(&url));
                prop_assert!(url.authority().bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
