//! Our client against our server.

use std::time::Duration;

use carrotcache_peer_http::{HttpPoolBuilder, PeerError};

use crate::support::{Echo, Served, client_with};

#[tokio::test]
async fn value_arrives_as_the_handler_gave_it() {
    let client = Served::echo().await.client();
    let answer = client.get("scores", "Tom", None).await.expect("a value");
    assert_eq!(answer.value, "Tom");
    assert_eq!(answer.minute_qps, None);
}

#[tokio::test]
async fn times_without_end_are_no_trouble() {
    let patient = |builder: HttpPoolBuilder| {
        let builder = builder.connect_timeout(Duration::MAX).attempt_timeout(Duration::MAX);
        let builder = builder.idle_timeout(Duration::MAX).header_read_timeout(Duration::MAX);
        builder.max_time_left(Duration::MAX).drain_timeout(Duration::MAX)
    };
    let served = Served::start(Echo::default(), patient).await;
    let client = client_with(served.pool.base_url(), patient);
    for _ in 0..2 {
        let answer = client.get("scores", "Tom", Some(Duration::MAX)).await.expect("a value");
        assert_eq!(answer.value, "Tom");
    }
    drop(client);
    served.stop().await.expect("no panic").expect("drained");
}

#[tokio::test]
async fn values_of_every_size_arrive_whole() {
    let client = Served::echo().await.client();
    for bytes in [0, 1, 127, 128, 4095, 4096, 4097, 65_536, 3 << 20] {
        let answer = client.get("bytes", &bytes.to_string(), None).await.expect("a value");
        assert_eq!(answer.value, vec![7; bytes]);
    }
}

#[tokio::test]
async fn rate_arrives_with_the_value() {
    let client = Served::echo().await.client();
    let answer = client.get("qps", "Tom", None).await.expect("a value");
    assert_eq!((answer.value.as_bytes(), answer.minute_qps), (&b"Tom"[..], Some(1.5)));
}

#[tokio::test]
async fn refusals_arrive_as_errors_of_their_kind() {
    let client = Served::echo().await.client();
    let get = async |group| client.get(group, "why not", None).await.expect_err("a refusal");
    assert!(matches!(get("not-found").await, PeerError::NotFound { .. }));
    assert!(matches!(get("no-such-group").await, PeerError::NoSuchGroup { .. }));
    assert!(matches!(get("timed-out").await, PeerError::TimedOut { .. }));
    let why = "why not".to_owned();
    assert!(
        matches!(get("load-failed").await, PeerError::LoadFailed { message, .. } if message == why)
    );
    assert!(
        matches!(get("overloaded").await, PeerError::Overloaded { message, .. } if message == why)
    );
    assert!(
        matches!(get("invalid").await, PeerError::BadRequest { message, .. } if message == why)
    );
}

#[tokio::test]
async fn time_left_is_told_to_the_owner() {
    let client = Served::echo().await.client();
    let time_left = Some(Duration::from_millis(1500));
    let answer = client.get("time-left", "Tom", time_left).await.expect("a value");
    let told = answer.value.as_str().expect("text").to_owned();
    assert!(told.starts_with("Some(1."), "{told}");
}

#[tokio::test]
async fn slow_owner_is_given_up_when_the_time_is_over() {
    let client = Served::echo().await.client();
    let time_left = Duration::from_millis(20);
    let error = client.get("never", "Tom", Some(time_left)).await.expect_err("no value");
    assert!(matches!(error, PeerError::TimedOut { after, .. } if after == time_left));
}
