//! Our client against our server.

use std::time::Duration;

use carrotcache_peer_http::HttpPoolBuilder;
use carrotcache_peer_http::peer::{Entry, PeerErrorKind};

use crate::support::{Echo, Served, client_with};

#[tokio::test]
async fn value_arrives_as_the_handler_gave_it() {
    let client = Served::echo().await.client();
    let answer = client.get("scores", "Tom", None).await.expect("a value");
    assert_eq!(answer.entry, Entry::new("Tom"));
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[tokio::test]
async fn times_without_end_are_no_trouble() {
    let patient = |builder: HttpPoolBuilder| {
        let builder = builder.connect_timeout(Duration::MAX);
        let builder = builder.idle_timeout(Duration::MAX).head_timeout(Duration::MAX);
        let builder = builder.idle_connection_timeout(Duration::MAX).write_timeout(Duration::MAX);
        builder.max_time_left(Duration::MAX).drain_timeout(Duration::MAX)
    };
    let served = Served::start(Echo::default(), patient).await;
    let client = client_with(served.pool.base_url(), patient);
    for _ in 0..2 {
        let answer = client.get("scores", "Tom", Some(1_000 * YEAR)).await.expect("a value");
        assert_eq!(answer.entry, Entry::new("Tom"));
    }
    drop(client);
    served.stop().await.expect("no panic").expect("drained");
}

#[tokio::test]
async fn values_of_every_size_arrive_whole() {
    let client = Served::echo().await.client();
    for bytes in [0, 1, 127, 128, 4095, 4096, 4097, 65_536, 3 << 20] {
        assert_eq!(client.value("bytes", &bytes.to_string()).await, vec![7; bytes]);
    }
}

#[tokio::test]
async fn rate_arrives_with_the_value() {
    let client = Served::echo().await.client();
    let answer = client.get("qps", "Tom", None).await.expect("a value");
    assert_eq!((answer.entry, answer.minute_qps), (Entry::new("Tom"), Some(1.5)));
}

#[tokio::test]
async fn refusals_arrive_as_errors_of_their_kind_with_what_the_owner_said() {
    let client = Served::echo().await.client();
    for (group, kind, causes) in [
        ("no-such-group", PeerErrorKind::NoSuchGroup, "the peer has no such group"),
        ("timed-out", PeerErrorKind::TimedOut, "the peer did not answer in time"),
        ("load-failed", PeerErrorKind::LoadFailed, "why not"),
        ("overloaded", PeerErrorKind::Overloaded, "why not"),
        ("too-many-loads", PeerErrorKind::TooManyLoads, "why not"),
        ("invalid", PeerErrorKind::BadRequest, "why not"),
    ] {
        let error = client.error(group, "why not").await;
        assert_eq!((error.kind, &*error.causes()), (kind, causes), "{group}");
        assert_eq!(error.peer.as_deref(), Some(client.0.label()));
    }
}

#[tokio::test]
async fn the_answer_that_there_is_no_value_is_an_answer() {
    let client = Served::echo().await.client();
    let answer = client.get("not-found", "Tom", None).await.expect("an answer");
    assert_eq!(answer.entry, Entry::absent());
}

#[tokio::test]
async fn answers_that_take_a_while_arrive_as_those_at_hand() {
    let client = Served::echo().await.client();
    assert_eq!(client.value("later", "Tom").await, "Tom");
}

#[tokio::test]
async fn time_left_is_told_to_the_owner() {
    let client = Served::echo().await.client();
    let time_left = Some(Duration::from_secs(20));
    let answer = client.get("time-left", "Tom", time_left).await.expect("a value");
    assert_eq!(answer.entry, Entry::new("20"));
}

#[tokio::test]
async fn slow_owner_is_given_up_when_the_time_is_over() {
    let client = Served::echo().await.client();
    let time_left = Some(Duration::from_millis(20));
    let error = client.get("never", "Tom", time_left).await.expect_err("no value");
    assert_eq!(error.kind, PeerErrorKind::TimedOut);
}
