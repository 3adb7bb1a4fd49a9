//! A list of peers in a file, which is read again.

use std::path::Path;

use e2e::node::Node;
use rustix::process::Signal;
use tempfile::TempDir;

use super::process::{NodeProcess, start_as};
use super::sample::{Sample, value_of};

/// Starts nodes with a list of peers in a file each, which names only the node itself.
async fn start_alone(count: usize, sample: &Sample, folder: &TempDir) -> Vec<NodeProcess> {
    start_as(count, &sample.file(), |node: Node| {
        let file = file_of(folder, node.url());
        std::fs::write(&file, format!("# alone\n\n  {}  \n", node.url())).expect("it is writable");
        node.without("--peers").with("--peers-file", &file).with("--log", "info")
    })
    .await
}

fn file_of(folder: &TempDir, url: &str) -> String {
    let name = url.replace(|sign: char| !sign.is_ascii_digit(), "-");
    folder.path().join(name).to_str().expect("the name is text").to_owned()
}

/// Replaces a file at once, as whoever cares for its readers does.
fn replace(file: &str, text: &str) {
    let new = format!("{file}.new");
    std::fs::write(&new, text).expect("it is writable");
    std::fs::rename(new, file).expect("it can be renamed");
}

async fn peers_of(node: &NodeProcess) -> usize {
    node.stats().await["peers"].as_object().expect("by their URLs").len()
}

async fn wait_until(node: &NodeProcess, has_said: &str) {
    while !node.output().contains(has_said) {
        assert_eq!(node.get_raw("/healthz").await.0, 200);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nodes_find_each_other_when_the_file_names_them() {
    let (sample, folder) = (Sample::with_scores(["Tom", "Jack", "Sam"]).await, TempDir::new());
    let folder = folder.expect("a folder");
    let nodes = start_alone(2, &sample, &folder).await;
    let all = format!("{}\n{}\n", nodes[0].url, nodes[1].url);
    for node in &nodes {
        assert_eq!(peers_of(node).await, 0);
        replace(&file_of(&folder, &node.url), &all);
    }
    for node in &nodes {
        while peers_of(node).await != 1 {
            tokio::task::yield_now().await;
        }
    }
    for key in ["Tom", "Jack", "Sam"] {
        for node in &nodes {
            assert_eq!(node.get(key).await, (200, value_of(key).into_bytes()));
        }
    }
    let queries = nodes[0].queries().await + nodes[1].queries().await;
    assert_eq!(queries, 3, "each key has one owner now");
}

#[tokio::test]
async fn a_list_that_is_no_good_changes_nothing_and_says_why() {
    let (sample, folder) = (Sample::with_scores(["Tom"]).await, TempDir::new());
    let folder = folder.expect("a folder");
    let node = start_alone(1, &sample, &folder).await.remove(0);
    let (url, file) = (node.url.clone(), file_of(&folder, &node.url));
    let bad = [
        (String::new(), "names no node"),
        ("# nobody\n".to_owned(), "names no node"),
        ("http://127.0.0.1:1".to_owned(), "missing from the list"),
        (format!("{url}\nhttp://127.0.0.1:1/"), "behind the host"),
        (format!("{url}\nhttp://LOCALHOST:1\nhttp://localhost:1"), "are one node"),
        ("x".repeat((1 << 20) + 1), "bytes"),
    ];
    for (text, part) in bad {
        replace(&file, &text);
        wait_until(&node, part).await;
        assert_eq!(peers_of(&node).await, 0);
    }
    std::fs::remove_file(&file).expect("it is there");
    wait_until(&node, "cannot read").await;
    assert_eq!(node.get("Tom").await.0, 200);
    // 10,000 nodes are many, and no mistake.
    let many: Vec<_> =
        (0..10_000).map(|at| format!("http://10.0.{}.{}\n", at / 250, at % 250)).collect();
    replace(&file, &format!("{url}\n{}", many.concat()));
    while peers_of(&node).await != 10_000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn sighup_has_it_read_again_at_once() {
    let (sample, folder) = (Sample::with_scores([]).await, TempDir::new());
    let folder = folder.expect("a folder");
    let node = start_alone(1, &sample, &folder).await.remove(0);
    node.signal(Signal::HUP);
    wait_until(&node, "the peers were read again").await;
    assert!(Path::new(&file_of(&folder, &node.url)).exists());
}
