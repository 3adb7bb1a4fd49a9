//! Our server against clients that do not ask as they should.

use carrotcache_peer_http::HttpPool;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::support::{Echo, Served, ask, read_head, read_response};

#[tokio::test]
async fn connection_stays_usable_after_each_malformed_path() {
    let served = Served::echo().await;
    let mut stream = served.connect().await;
    let long_key = format!("/_groupcache/scores/{}", "k".repeat(1025));
    let long_group = format!("/_groupcache/{}/Tom", "g".repeat(65));
    for (path, status, text) in [
        ("/_groupcache/", 400, "path has no key, it should end in group/key\n"),
        ("/_groupcache/scores", 400, "path has no key, it should end in group/key\n"),
        ("/_groupcache/scores/", 400, "key is empty\n"),
        ("/_groupcache//Tom", 400, "group is empty\n"),
        ("/_groupcache/scores/%", 400, "bad percent escape in path\n"),
        ("/_groupcache/scores/%zz", 400, "bad percent escape in path\n"),
        ("/_groupcache/scores/%FF", 400, "path is not valid UTF-8\n"),
        (&long_key, 400, "key of 1025 bytes is over 1024\n"),
        (&long_group, 400, "group of 65 bytes is over 64\n"),
        ("/_groupcache/no-such-group/Tom", 404, "the peer has no such group\n"),
        ("/_groupcache/not-found/Tom", 404, "no such key\n"),
        ("/elsewhere", 404, "nothing is served at this path\n"),
    ] {
        let (head, body) = ask(&mut stream, path).await;
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{path}: {head}");
        assert_eq!(String::from_utf8(body).as_deref(), Ok(text), "{path}");
        // The next request, on the same connection.
        let (head, body) = ask(&mut stream, "/_groupcache/scores/Tom").await;
        assert!(head.starts_with("http/1.1 200 "), "{path}: {head}");
        assert_eq!(body, b"\x0a\x03Tom");
    }
}

#[tokio::test]
async fn raw_utf8_in_a_path_is_read_as_it_is() {
    let served = Served::echo().await;
    let mut stream = served.connect().await;
    let (_, body) = ask(&mut stream, "/_groupcache/scores/é汉").await;
    assert_eq!(body, "\x0a\x05é汉".as_bytes());
}

#[tokio::test]
async fn request_line_that_is_no_http_is_refused_and_ends_its_connection() {
    let served = Served::echo().await;
    for path in [&b"/_groupcache/scores/a b"[..], b"/_groupcache/scores/\xff", b"\x00"] {
        let mut stream = served.connect().await;
        let request = [b"GET ", path, b" HTTP/1.1\r\nhost: x\r\n\r\n"].concat();
        stream.write_all(&request).await.expect("sent");
        let (head, _) = read_response(&mut stream).await;
        assert!(head.starts_with("http/1.1 400 "), "{head}");
        assert_eq!(read_head(&mut stream).await, "");
    }
}

#[tokio::test]
async fn outcome_is_told_in_a_header() {
    let served = Served::echo().await;
    let mut stream = served.connect().await;
    for (group, status) in [
        ("not-found", 404),
        ("load-failed", 500),
        ("no-such-group", 404),
        ("overloaded", 503),
        ("too-many-loads", 503),
        ("timed-out", 504),
        ("invalid", 400),
    ] {
        let (head, _) = ask(&mut stream, &format!("/_groupcache/{group}/Tom")).await;
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
        assert!(head.contains(&format!("carrotcache-outcome: {group}\r\n")), "{head}");
    }
}

#[tokio::test]
async fn text_of_a_refusal_is_one_short_line() {
    let served = Served::echo().await;
    let mut stream = served.connect().await;
    let key = format!("a%0D%0Ab%00{}", "c".repeat(600));
    let (_, body) = ask(&mut stream, &format!("/_groupcache/load-failed/{key}")).await;
    assert!(body.starts_with(b"a  b cc"));
    assert_eq!((body.len(), body.last()), (513, Some(&b'\n')));
}

#[tokio::test]
async fn time_left_is_bounded_before_it_is_believed() {
    let served = Served::echo().await;
    let mut stream = served.connect().await;
    for (sent, told) in [("15000", "15"), ("0", "0"), ("99999999999999", "60")] {
        let (_, body) = ask_with(&mut stream, &format!("carrotcache-time-left: {sent}\r\n")).await;
        assert_eq!(str::from_utf8(&body[2..]), Ok(told), "{sent}");
    }
    for nonsense in ["", "-1", "+1", "1s", "99999999999999999999999", "\u{e9}"] {
        let header = format!("carrotcache-time-left: {nonsense}\r\n");
        let (head, body) = ask_with(&mut stream, &header).await;
        assert!(head.starts_with("http/1.1 400 "), "{nonsense}: {head}");
        assert_eq!(body, b"carrotcache-time-left is not a number of milliseconds\n");
    }
}

#[tokio::test]
async fn body_of_a_request_is_not_in_the_way_of_the_next() {
    let served = Served::echo().await;
    let mut stream = served.connect().await;
    let (head, body) = ask_with(&mut stream, "content-length: 5\r\n").await;
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert_eq!(body, b"\x0a\x0260", "what says nothing has the longest time");
}

#[tokio::test]
async fn other_methods_are_refused() {
    let served = Served::echo().await;
    let mut stream = served.connect().await;
    stream.write_all(b"DELETE /_groupcache/g/k HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 405 ") && head.contains("allow: GET\r\n"), "{head}");
}

#[tokio::test]
async fn head_over_the_bound_is_refused() {
    let served = Served::echo().await;
    let mut stream = served.connect().await;
    let header = format!("x: {}\r\n", "x".repeat(1024)).repeat(64);
    drop(stream.write_all(format!("GET / HTTP/1.1\r\n{header}\r\n").as_bytes()).await);
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
}

#[tokio::test]
async fn more_headers_than_the_bound_are_refused() {
    let served = Served::echo().await;
    let mut stream = served.connect().await;
    let request = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(200));
    stream.write_all(request.as_bytes()).await.expect("sent");
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
}

#[tokio::test]
async fn service_can_be_mounted_in_another_server() {
    let pool = HttpPool::builder("http://own.invalid").build().unwrap();
    let service = mountable(pool.service(Echo::default()));
    let nested = service.clone().mounted_at("/");
    for (mut service, path) in [(service, "/_groupcache/g/a%2Fb"), (nested, "/g/a%2Fb")] {
        let request = Request::get(path).body(Full::new(&b"ignored"[..])).unwrap();
        let response = service.call(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&body[..], b"\x0a\x03a/b");
    }
}

/// Takes what axum takes as the service of a route.
fn mountable<S>(service: S) -> S
where
    S: Service<Request<Full<&'static [u8]>>, Error = std::convert::Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    service
}

/// Asks for the time left as the server was told it, with one more header in the request.
async fn ask_with(stream: &mut TcpStream, header: &str) -> (String, Vec<u8>) {
    let body = if header.starts_with("content-length") { "12345" } else { "" };
    let path = "/_groupcache/time-left/Tom";
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{header}\r\n{body}");
    stream.write_all(request.as_bytes()).await.expect("sent");
    read_response(stream).await
}
