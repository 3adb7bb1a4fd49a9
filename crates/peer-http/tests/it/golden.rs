//! What Go's groupcache really sends and answers, recorded in `data/wire_groupcache.tsv`.
//!
//! Its columns: group and key as Go quotes strings, the path that Go's client asks for, and the hex
//! of the body whose value is the key.

use std::sync::{Arc, Mutex};

use carrotcache_peer_http::path::{self, PathError};
use tokio::io::AsyncWriteExt;

use crate::support::{Served, ask, client, listen, read_head, replies, value_reply};

/// A line of the recording.
struct Line {
    group: String,
    /// Go's strings may hold any bytes.
    key: Vec<u8>,
    path: &'static str,
    body: Vec<u8>,
}

impl Line {
    fn key(&self) -> Option<&str> {
        std::str::from_utf8(&self.key).ok()
    }
}

const BASE_PATH: &str = "/_groupcache/";

#[test]
fn paths_that_go_sends_are_read_as_meant() {
    for line in lines() {
        let expected = match line.key() {
            Some(key) => Ok((line.group.clone(), key.to_owned())),
            None => Err(PathError::NotUtf8),
        };
        assert_eq!(path::decode(line.path, BASE_PATH), expected, "{}", line.path);
    }
}

#[test]
fn paths_are_written_as_go_writes_them_but_for_the_plus() {
    for line in lines() {
        let Some(key) = line.key() else { continue };
        assert_eq!(path::encode(BASE_PATH, &line.group, key), line.path.replace('+', "%20"));
    }
}

#[tokio::test]
async fn paths_arrive_in_a_request_as_they_were_written() {
    let (listener, url) = listen().await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        loop {
            let head = read_head(&mut stream).await;
            heard.lock().expect("no panic").push(head.split(' ').nth(1).map(str::to_owned));
            stream.write_all(&value_reply("")).await.expect("sent");
        }
    });
    let client = client(&url);
    for line in lines() {
        let Some(key) = line.key() else { continue };
        client.get(&line.group, key, None).await.expect("an answer");
        let path = asked.lock().expect("no panic").pop().flatten();
        assert_eq!(path, Some(line.path.replace('+', "%20")));
    }
}

#[tokio::test]
async fn requests_of_go_are_answered_with_the_same_bytes() {
    let served = Served::echo().await;
    let mut stream = served.connect().await;
    for line in lines() {
        let (head, body) = ask(&mut stream, line.path).await;
        if line.key().is_some() {
            assert!(head.starts_with("http/1.1 200"), "{head}");
            assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
            assert_eq!(body, line.body, "{}", line.path);
        } else {
            assert!(head.starts_with("http/1.1 400"), "{head}");
            assert_eq!(body, b"path is not valid UTF-8\n");
        }
    }
}

#[tokio::test]
async fn answers_of_go_are_read_as_meant() {
    for line in lines() {
        let url = replies(value_reply(&line.body)).await;
        assert_eq!(client(&url).value("scores", "Tom").await, line.key);
    }
}

fn lines() -> Vec<Line> {
    let lines = include_str!("../data/wire_groupcache.tsv").lines().map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [group, key, path, body] = columns[..] else { panic!("four columns: {line}") };
        let group = String::from_utf8(unquote(group)).expect("groups are UTF-8");
        let body = (0..body.len()).step_by(2).map(|at| hex_byte(&body[at..at + 2])).collect();
        Line { group, key: unquote(key), path, body }
    });
    let lines: Vec<Line> = lines.collect();
    assert!(lines.len() > 50, "the recording is there");
    lines
}

/// Returns the bytes of a string as Go's `%q` quotes it.
fn unquote(quoted: &str) -> Vec<u8> {
    let mut rest = quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"')).expect("quotes");
    let mut out = Vec::new();
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.extend_from_slice(plain.as_bytes());
        let (byte, len) = match escape.as_bytes()[0] {
            b't' => (b'\t', 1),
            b'n' => (b'\n', 1),
            b'x' => (hex_byte(&escape[1..3]), 3),
            quoted => (quoted, 1),
        };
        out.push(byte);
        rest = &escape[len..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

fn hex_byte(digits: &str) -> u8 {
    u8::from_str_radix(digits, 16).expect("two digits")
}
