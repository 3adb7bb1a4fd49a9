//! Several processes on one ring.

use super::process::start;
use super::sample::{Sample, value_of};

fn hundred_keys() -> Vec<String> {
    (0..100).map(|number| format!("key {number}")).collect()
}

#[tokio::test]
async fn four_processes_answer_for_a_hundred_keys_with_one_query_each() {
    let keys = hundred_keys();
    let sample = Sample::with_scores(keys.iter().map(String::as_str)).await;
    let nodes = start(4, &sample.file(), &[]).await;
    for key in &keys {
        let ask = |at: usize| nodes[at].get(key);
        let answers = tokio::join!(ask(0), ask(1), ask(2), ask(3));
        let expected = (200, value_of(key).into_bytes());
        for answer in [answers.0, answers.1, answers.2, answers.3] {
            assert_eq!(answer, expected, "{key}");
        }
    }
    let mut queries = 0;
    for node in &nodes {
        assert!(node.queries().await > 0, "{} owns no key", node.url);
        assert_eq!(node.count("/peer_errors").await, 0, "{}", node.url);
        queries += node.queries().await;
    }
    assert_eq!(queries, 100);
}

#[tokio::test]
async fn the_others_answer_for_a_process_that_was_killed() {
    let keys = hundred_keys();
    let sample = Sample::with_scores(keys.iter().map(String::as_str)).await;
    let mut nodes = start(3, &sample.file(), &[]).await;
    nodes.remove(2).kill().await;
    let mut fallen_back = 0;
    for node in &nodes {
        for key in &keys {
            assert_eq!(node.get(key).await, (200, value_of(key).into_bytes()));
        }
        fallen_back += node.count("/peer_errors").await;
    }
    assert!(fallen_back > 0, "the killed node owned no key");
}

#[tokio::test]
async fn who_asks_at_the_same_moment_shares_one_query() {
    let sample = Sample::with_scores(["Tom"]).await;
    let nodes = start(3, &sample.file(), &[("--slow-db", "300ms")]).await;
    let ask = |at: usize| nodes[at % 3].get("Tom");
    let answers = tokio::join!(ask(0), ask(1), ask(2), ask(3), ask(4), ask(5));
    assert_eq!(answers.0, (200, value_of("Tom").into_bytes()));
    assert_eq!([&answers.1, &answers.2, &answers.3, &answers.4, &answers.5], [&answers.0; 5]);
    let queries = [nodes[0].queries().await, nodes[1].queries().await, nodes[2].queries().await];
    assert_eq!(queries.iter().sum::<u64>(), 1, "{queries:?}");
}

#[tokio::test]
async fn two_started_at_once_over_a_file_that_is_not_there_share_it() {
    let sample = Sample::absent();
    let nodes = start(2, &sample.file(), &[]).await;
    for node in &nodes {
        assert_eq!(node.get("Tom").await, (200, b"630".to_vec()));
        let carrot = node.get_of("unicode", "U+1F955").await;
        assert_eq!(carrot, (200, b"CARROT".to_vec()));
    }
    assert_eq!(nodes[0].queries().await + nodes[1].queries().await, 2);
}

#[tokio::test]
async fn the_peer_endpoint_speaks_groupcache_s_wire() {
    let sample = Sample::with_scores(["a b"]).await;
    let node = &start(1, &sample.file(), &[]).await[0];
    let client = reqwest::Client::new();
    let ask = async |path: &str| {
        let answer = client.get(format!("{}{path}", node.url)).send().await.unwrap();
        let header =
            |name| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let headers =
            [header("content-type"), header("carrotcache-outcome")].map(Option::unwrap_or_default);
        (answer.status().as_u16(), headers, answer.bytes().await.unwrap())
    };
    let (status, [kind, _], body) = ask("/_groupcache/scores/a+b").await;
    assert_eq!((status, kind.as_str()), (200, "application/x-protobuf"));
    // Field 1, of bytes, and its length.
    let mut expected = vec![0x0a, 12];
    expected.extend(value_of("a b").bytes());
    assert!(body.starts_with(&expected), "{body:?}");
    assert_eq!(ask("/_groupcache/none/a").await.0, 404);
    assert_eq!(ask("/_groupcache/scores/%zz").await.0, 400);
    let (status, [_, outcome], _) = ask("/_groupcache/scores/Nobody").await;
    assert_ne!(status, 200);
    assert_eq!(outcome, "not-found");
}
