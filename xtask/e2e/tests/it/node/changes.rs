//! Rows that are written and deleted through a node, and what all nodes answer then.

use super::process::{NodeProcess, start};
use super::sample::{Sample, value_of};

/// Asserts what every node answers for a key.
async fn assert_all_answer(nodes: &[NodeProcess], key: &str, expected: Option<&str>) {
    for node in nodes {
        let (status, body) = node.get(key).await;
        let value = (status == 200).then(|| String::from_utf8(body).expect("text"));
        assert_eq!(value.as_deref(), expected, "{key} at {} with {status}", node.url);
        assert!(status == 200 || status == 404, "{status}");
    }
}

#[tokio::test]
async fn a_row_that_is_written_is_answered_by_every_node_at_once() {
    let keys = ["Tom", "a+b c/%", "汉字🥕"];
    let sample = Sample::with_scores(keys).await;
    let nodes = start(3, &sample.file(), &[("--not-found-time-to-live", "1h")]).await;
    for (at, key) in keys.into_iter().enumerate() {
        assert_all_answer(&nodes, key, Some(&value_of(key))).await;
        for round in 0..3 {
            let value = format!("{key} {round}");
            assert_eq!(nodes[(at + round) % 3].put(key, &value).await, (204, String::new()));
            assert_all_answer(&nodes, key, Some(&value)).await;
        }
        assert_eq!(nodes[at].delete(key).await, (204, String::new()));
        assert_all_answer(&nodes, key, None).await;
        // Its absence is remembered, and forgotten like a value.
        assert_eq!(nodes[at].put(key, "back").await, (204, String::new()));
        assert_all_answer(&nodes, key, Some("back")).await;
    }
    assert_eq!(nodes[0].delete("never there").await, (204, String::new()));
}

#[tokio::test]
async fn a_wrong_change_is_refused_in_one_line_and_changes_nothing() {
    let sample = Sample::with_scores(["Tom"]).await;
    let nodes = start(1, &sample.file(), &[]).await;
    let long = format!("/api?key={}", "k".repeat(1_025));
    let expected = [
        ("/api", 400, "`key`"),
        ("/api?key=", 400, "`key`"),
        ("/api?key=%ff", 400, "UTF-8"),
        ("/api?key=Tom&key=Jack", 400, "more than once"),
        (&long, 400, "1025"),
        ("/api?key=Tom&group=none", 404, "`none`"),
    ];
    for (path, expected, part) in expected {
        for (status, text) in [nodes[0].put_raw(path, "x").await, nodes[0].delete_raw(path).await] {
            assert_eq!(status, expected, "{path}: {text}");
            assert!(text.contains(part), "{path}: {text}");
            assert_eq!(text.find('\n'), Some(text.len() - 1), "{path}: {text}");
        }
    }
    // One byte over the limit, so that the node has read it all when it refuses. Its connection ends
    // all the same, and is not one that is used again here.
    let large = "x".repeat((2 << 20) + 1);
    let (status, text) = nodes[0].put_raw("/api?key=Tom", &large).await;
    assert_eq!((status, text.find('\n')), (413, Some(text.len() - 1)), "{text}");
    assert_all_answer(&nodes, "Tom", Some(&value_of("Tom"))).await;
}

#[tokio::test]
async fn a_row_that_the_database_refuses_is_a_502() {
    let sample = Sample::with_scores(["Tom"]).await;
    let nodes = start(1, &sample.file(), &[]).await;
    sample.execute("ALTER TABLE scores RENAME TO hidden").await;
    for (status, text) in [nodes[0].put("Tom", "x").await, nodes[0].delete("Tom").await] {
        assert_eq!(status, 502, "{text}");
        assert!(text.contains("no such table: scores"), "{text}");
    }
}

#[tokio::test]
async fn a_remove_that_does_not_reach_a_node_is_a_202_that_names_it() {
    let sample = Sample::with_scores(["Tom"]).await;
    let mut nodes = start(3, &sample.file(), &[]).await;
    assert_all_answer(&nodes, "Tom", Some(&value_of("Tom"))).await;
    let dead = nodes.remove(1);
    let url = dead.url.clone();
    dead.kill().await;
    let (status, text) = nodes[0].put("Tom", "631").await;
    assert_eq!(status, 202, "{text}");
    assert!(text.contains(&url), "{text}");
    assert!(nodes.iter().all(|node| !text.contains(&node.url)), "{text}");
    assert_eq!(text.find('\n'), Some(text.len() - 1), "{text}");
    assert_all_answer(&nodes, "Tom", Some("631")).await;
}
