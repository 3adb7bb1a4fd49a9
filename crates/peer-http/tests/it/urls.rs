//! One spelling a node, and what cannot be a peer's URL.

use carrotcache_consistenthash::Ring;
use carrotcache_peer_http::peer::Owner;
use carrotcache_peer_http::{HttpPool, SetPeersError, UrlFault};

use crate::support::{Served, client};

const OWN: &str = "http://node-1:8001";

fn pool() -> HttpPool {
    HttpPool::builder(OWN).build().expect("a pool")
}

#[test]
fn node_that_is_listed_twice_is_refused_however_it_is_spelled() {
    for (first, second) in [
        ("http://a:1", "http://a:1"),
        ("http://a", "http://a:80"),
        ("http://a:80", "HTTP://a"),
        ("http://a:8001", "http://a:08001"),
        ("http://a:80", "http://a:+80"),
        ("http://cache.example.org", "http://Cache.Example.ORG"),
        ("http://cache.example.org", "http://cache.example.org."),
        ("http://[::1]:1", "http://[0:0:0:0:0:0:0:1]:1"),
        ("http://[2001:DB8::1]", "http://[2001:db8:0::0:0001]"),
        ("http://127.0.0.1:1", "http://[::ffff:127.0.0.1]:1"),
        ("http://127.0.0.1:1", "http://[::FFFF:7f00:1]:1"),
        ("http://a:443", "https://a"),
        ("https://a:80", "http://a"),
    ] {
        let error = pool().set_peers([OWN, first, second]).expect_err(second);
        let expected = SetPeersError::SameNode { first: first.into(), second: second.into() };
        assert_eq!(error, expected);
        assert!(error.to_string().contains(first) && error.to_string().contains(second));
    }
}

#[test]
fn peers_in_tls_need_a_configuration_and_the_node_itself_does_not() {
    let pool = HttpPool::builder("https://a").build().expect("a pool");
    pool.set_peers(["https://a:443", "http://b"]).expect("it does not ask itself");
    let error = pool.set_peers(["https://a", "https://b:8001"]).expect_err("no configuration");
    assert_eq!(error, SetPeersError::NoTls { url: "https://b:8001".into() });
    assert!(error.to_string().contains("tls_client"), "{error}");
    assert_eq!(pool.ring().len(), 2, "the old set stays");
}

#[test]
fn nodes_that_share_only_a_part_are_two() {
    let urls = [OWN, "http://node-1", "http://node-2:8001", "http://[::1]:8001", "http://10.0.0.1"];
    pool().set_peers(urls).expect("five nodes");
}

#[test]
fn node_finds_itself_in_every_spelling_and_the_list_is_what_counts() {
    let spelled = "http://NODE-1.:08001";
    let pool = pool();
    pool.set_peers([spelled, "http://node-2"]).expect("the own node is there");
    // The ring is that of a node, in Rust or in Go, that was given the same strings.
    let ring = Ring::new([spelled, "http://node-2"]).expect("a ring");
    assert_eq!(pool.ring().fingerprint(), ring.fingerprint());
    assert_eq!(pool.base_url(), OWN);
    for key in (0..100).map(|key| format!("key{key}")) {
        let is_own = ring.get(&key) == Some(spelled);
        assert_eq!(matches!(pool.owner(&key), Owner::Local), is_own, "{key}");
    }
}

#[tokio::test]
async fn peer_is_connected_to_in_every_spelling() {
    let served = Served::echo().await;
    let (_, port) = served.pool.base_url().rsplit_once(':').expect("a port");
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "[0:0::FFFF:7f00:1]", "LocalHost"] {
        let url = format!("HTTP://{host}:+0{port}");
        let peer = client(&url);
        assert_eq!(peer.value("group", "Tom").await, "Tom");
        assert_eq!(peer.0.label(), url);
    }
}

#[test]
fn what_nobody_can_reach_is_refused_with_the_reason() {
    let listens = |host: &str| UrlFault::ListensOnly { host: host.into() };
    let number = |host: &str| UrlFault::Number { host: host.into() };
    let port = |port: &str| UrlFault::Port { port: port.into() };
    let not_ipv6 = |host: &str| UrlFault::NotIpv6 { host: host.into() };
    for (url, fault) in [
        ("", UrlFault::Scheme),
        ("10.0.0.2:8001", UrlFault::Scheme),
        ("ftp://10.0.0.2", UrlFault::Scheme),
        (" http://a", UrlFault::Scheme),
        ("http://", UrlFault::NoHost),
        ("http://:80", UrlFault::NoHost),
        ("http://$HOST:80", UrlFault::Variable),
        ("http://${HOST}", UrlFault::Variable),
        ("http://10.0.0.1:$PORT", UrlFault::Variable),
        ("$URL", UrlFault::Variable),
        ("http://0.0.0.0:80", listens("0.0.0.0")),
        ("http://[::]:80", listens("::")),
        ("http://[0:0:0:0:0:0:0:0]", listens("0:0:0:0:0:0:0:0")),
        ("http://[::ffff:0.0.0.0]", listens("::ffff:0.0.0.0")),
        ("http://*:80", listens("*")),
        ("http://[fe80::1%eth0]:80", UrlFault::Zone),
        ("http://[fe80::1%25eth0]:80", UrlFault::Zone),
        ("http://127.1", number("127.1")),
        ("http://2130706433", number("2130706433")),
        ("http://0x7f000001", number("0x7f000001")),
        ("http://0X7F.0.0.1", number("0X7F.0.0.1")),
        ("http://010.0.0.1", number("010.0.0.1")),
        ("http://10.0.0.256", number("10.0.0.256")),
        ("http://10.0.0.1.", number("10.0.0.1.")),
        ("http://10.0.0.0.1", number("10.0.0.0.1")),
        ("http://a:", port("")),
        ("http://a:0", port("0")),
        ("http://a:65536", port("65536")),
        ("http://a:-1", port("-1")),
        ("http://a:b", port("b")),
        ("http://a:80 ", port("80 ")),
        ("http://a/", UrlFault::Behind),
        ("http://a/b", UrlFault::Behind),
        ("http://a?b", UrlFault::Behind),
        ("http://a#b", UrlFault::Behind),
        ("http://[::1]8001", UrlFault::Behind),
        ("http://user:secret@a", UrlFault::UserName),
        ("http://[::1", not_ipv6("::1")),
        ("http://[]", not_ipv6("")),
        ("http://[127.0.0.1]", not_ipv6("127.0.0.1")),
        ("http://::1:8001", UrlFault::NoBrackets),
        ("http://a b", UrlFault::Character { character: ' ' }),
        ("http://%41", UrlFault::Character { character: '%' }),
        ("http://{{host}}:80", UrlFault::Character { character: '{' }),
        ("http://*.example.org", UrlFault::Character { character: '*' }),
        ("http://ä.example.org", UrlFault::NotAscii { character: 'ä' }),
        ("http://.", UrlFault::EmptyLabel),
        ("http://a..b", UrlFault::EmptyLabel),
    ] {
        let error = pool().set_peers([OWN, url]).expect_err(url);
        let SetPeersError::Url(error) = error else { panic!("{url}: {error:?}") };
        assert_eq!((error.url.as_str(), &error.fault), (url, &fault));
        assert!(error.to_string().contains(&fault.to_string()));
    }
}
