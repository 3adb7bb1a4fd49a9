//! The options that say what is kept, for how long, and how many loads there are at once.

use std::time::{Duration, Instant};

use super::process::{NodeProcess, start};
use super::sample::{Sample, value_of};

/// Asks until the answer is `value`, which takes as long as the old one lives.
async fn wait_for_value(node: &NodeProcess, key: &str, value: &str) {
    while node.get(key).await != (200, value.as_bytes().to_vec()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_value_is_loaded_anew_when_its_time_is_over() {
    let sample = Sample::with_scores(["Tom"]).await;
    for options in [
        &[("--time-to-live", "200ms")][..],
        &[("--time-to-live", "200ms"), ("--serve-stale", "1h")],
    ] {
        let node = &start(1, &sample.file(), options).await[0];
        let old = value_of("Tom");
        wait_for_value(node, "Tom", &old).await;
        sample.execute("UPDATE scores SET value = 'new'").await;
        wait_for_value(node, "Tom", "new").await;
        sample.execute(&format!("UPDATE scores SET value = '{old}'")).await;
    }
}

#[tokio::test]
async fn a_stale_value_is_answered_while_a_slow_database_is_asked() {
    let sample = Sample::with_scores(["Tom"]).await;
    let options = [("--time-to-live", "50ms"), ("--serve-stale", "1h"), ("--slow-db", "400ms")];
    let node = &start(1, &sample.file(), &options).await[0];
    let old = (200, value_of("Tom").into_bytes());
    assert_eq!(node.get("Tom").await, old);
    sample.execute("UPDATE scores SET value = 'new'").await;
    // No longer fresh from here on: were the query waited for, the first answer would be the new value.
    tokio::time::sleep(Duration::from_millis(60)).await;
    while node.count("/refreshes").await == 0 {
        assert_eq!(node.get("Tom").await, old);
    }
    wait_for_value(node, "Tom", "new").await;
}

#[tokio::test]
async fn absence_is_remembered_only_if_asked_for() {
    let sample = Sample::with_scores([]).await;
    for (options, queries) in [(&[][..], 3), (&[("--not-found-time-to-live", "1h")], 1)] {
        let node = &start(1, &sample.file(), options).await[0];
        for _ in 0..3 {
            assert_eq!(node.get("Nobody").await.0, 404);
        }
        assert_eq!(node.queries().await, queries, "{options:?}");
        assert_eq!(node.count("/absent/hits").await, 3 - queries, "{options:?}");
    }
}

#[tokio::test]
async fn loads_beyond_the_limit_wait_for_their_turn() {
    let delay = Duration::from_millis(100);
    let keys = ["Tom", "Jack", "Sam", "Lily"];
    let sample = Sample::with_scores(keys).await;
    let options = [("--max-loads", "1"), ("--slow-db", "100ms")];
    let node = &start(1, &sample.file(), &options).await[0];
    let begin = Instant::now();
    let answers =
        tokio::join!(node.get(keys[0]), node.get(keys[1]), node.get(keys[2]), node.get(keys[3]));
    let took = begin.elapsed();
    for (answer, key) in [answers.0, answers.1, answers.2, answers.3].into_iter().zip(keys) {
        assert_eq!(answer, (200, value_of(key).into_bytes()));
    }
    assert!(took >= 4 * delay, "four queries, one after the other, took {took:?}");
}
