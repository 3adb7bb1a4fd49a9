//! Our client against servers that do not answer as they should.

use std::error::Error;

use carrotcache_peer_http::peer::{PeerError, PeerErrorKind};

use crate::support::{client, client_with, listen, replies, reply, value_head, value_reply};

#[tokio::test]
async fn announced_answer_over_the_bound_is_not_read() {
    let url = replies(reply(&value_head("content-length: 99999999999"), "")).await;
    let error = client(&url).error("group", "key").await;
    assert_eq!(error.kind, PeerErrorKind::TooLarge);
    assert_eq!(error.causes(), "answers of up to 67108864 bytes are accepted");
}

#[tokio::test]
async fn answer_in_chunks_is_counted() {
    let chunks = "10\r\n0123456789abcdef\r\n".repeat(5);
    let reply = reply(&value_head("transfer-encoding: chunked"), chunks + "0\r\n\r\n");
    let client = client_with(&replies(reply).await, |builder| builder.max_answer_bytes(64));
    let error = client.get("group", "key", None).await.expect_err("too large");
    assert_eq!(error.kind, PeerErrorKind::TooLarge);
    assert_eq!(error.causes(), "answers of up to 64 bytes are accepted");
}

#[tokio::test]
async fn answer_in_chunks_is_put_together() {
    let chunks = b"2\r\n\x0a\x06\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
    let url = replies(reply(&value_head("transfer-encoding: chunked"), chunks)).await;
    assert_eq!(client(&url).value("group", "key").await, "abcdef");
}

#[tokio::test]
async fn field_of_a_later_version_is_passed_over() {
    let url = replies(value_reply(b"\x0a\x03abc\x18\x01")).await;
    assert_eq!(client(&url).value("group", "key").await, "abc");
}

#[tokio::test]
async fn answer_of_another_type_is_none_and_named() {
    let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: 7";
    let error = error_for(&reply(page, b"\x0a\x05hello")).await;
    assert_eq!(error.kind, PeerErrorKind::Foreign);
    assert_eq!(error.causes(), "a body of type text/html; charset=utf-8");
}

#[tokio::test]
async fn failure_of_a_go_getter_is_no_verdict() {
    let reply = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 8\r\n\r\nno disk\n";
    let error = error_for(reply).await;
    assert!(!error.is_verdict(), "a proxy says 500 as well");
    assert_eq!(error.kind, PeerErrorKind::Failed);
    assert_eq!(error.causes(), "no disk");
}

#[tokio::test]
async fn verdict_whose_text_is_cut_short_is_still_a_verdict() {
    let error = error_for(
        b"HTTP/1.1 500 Oh\r\ncarrotcache-outcome: load-failed\r\ncontent-length: 99\r\n\r\nno disk",
    )
    .await;
    assert_eq!(error.kind, PeerErrorKind::LoadFailed);
    assert_eq!(error.causes(), "no disk");
}

#[tokio::test]
async fn text_of_another_node_becomes_one_line() {
    let reply = b"HTTP/1.1 500 Oh\r\ncontent-length: 12\r\n\r\n\x1b[2J\xff\r\nb\r\n\r\n";
    let error = error_for(reply).await;
    assert_eq!(error.kind, PeerErrorKind::Failed);
    assert_eq!(error.causes(), " [2J\u{fffd}  b");
}

#[tokio::test]
async fn go_owner_without_the_group_could_not_be_asked() {
    let reply = b"HTTP/1.1 404 Not Found\r\ncontent-length: 21\r\n\r\nno such group: group\n";
    let error = error_for(reply).await;
    assert!(!error.is_verdict());
    assert_eq!(error.kind, PeerErrorKind::NoSuchGroup, "{error:?}");
}

#[tokio::test]
async fn status_that_no_node_sends_is_told() {
    let reply = b"HTTP/1.1 301 Moved\r\nlocation: /\r\ncontent-length: 0\r\n\r\n";
    let error = error_for(reply).await;
    assert_eq!(error.kind, PeerErrorKind::Foreign);
    assert_eq!(error.causes(), "status 301 Moved Permanently");
}

#[tokio::test]
async fn verdict_with_an_endless_text_is_still_a_verdict() {
    let head =
        "HTTP/1.1 500 Oh\r\ncarrotcache-outcome: load-failed\r\ntransfer-encoding: chunked\r\n\r\n";
    let reply = format!("{head}{}", format!("400\r\n{}\r\n", "x".repeat(1024)).repeat(1024));
    let error = error_for(reply.as_bytes()).await;
    assert_eq!(error.kind, PeerErrorKind::LoadFailed);
    assert_eq!(error.causes(), "x".repeat(512));
}

#[tokio::test]
async fn peer_that_is_not_there_cannot_be_connected_to() {
    let (listener, url) = listen().await;
    drop(listener);
    let error = client(&url).error("group", "key").await;
    assert_eq!(error.kind, PeerErrorKind::Unreachable, "{error:?}");
    assert_eq!(error.to_string(), format!("peer {url} cannot be reached"));
    assert!(error.source().is_some());
}

#[tokio::test]
async fn key_that_no_path_can_hold_is_not_sent() {
    let (_listener, url) = listen().await;
    let error = client(&url).error("group", &"k".repeat(1 << 16)).await;
    assert_eq!(error.kind, PeerErrorKind::BadRequest);
}

/// Asks a peer that sends `reply`, and returns the error that it leads to.
async fn error_for(reply: &[u8]) -> PeerError {
    let url = replies(reply).await;
    client(&url).error("group", "key").await
}
