//! What a transport gets of a node before it makes a request of the names.

use carrotcache::{Answer, Group, Handler, Mirroring, Node, PeerError, PeerErrorKind, Stats};

use crate::support::{Mesh, Source, request};
use crate::transport::assert_sums;

/// Asks a node as a transport does that has names it need not copy.
async fn ask_at_hand_first(node: &Node, group: &str, key: &str) -> Result<Answer, PeerError> {
    match node.at_hand(group, key) {
        Some(answer) => Ok(answer),
        None => node.answer(request(group, key)).await,
    }
}

/// Two nodes, of which the first has `main-1` and `main-2` in main, and `hot-1` and `hot-2` in hot.
async fn filled() -> Mesh {
    let owner = |_: usize, key: &str| usize::from(key.starts_with("hot"));
    let sources = vec![Source::default(), Source::default()];
    let mesh = Mesh::new(sources, owner, |builder| builder.mirroring(Mirroring::Always));
    for key in ["main-1", "main-2", "hot-1", "hot-2"] {
        mesh.groups[0].get(key).await.unwrap();
    }
    mesh
}

#[tokio::test]
async fn what_main_or_hot_holds_is_at_hand_and_nothing_else() {
    let mesh = filled().await;
    let node = &mesh.nodes[0];
    assert_eq!(node.at_hand("numbers", "main-1"), Some(Answer::new("main-1!")));
    assert_eq!(node.at_hand("numbers", "hot-1"), Some(Answer::new("hot-1!")));
    let before = mesh.groups[0].stats();
    assert_eq!(node.at_hand("numbers", "main-3"), None);
    assert_eq!(node.at_hand("numbers", ""), None);
    assert_eq!(node.at_hand("numbers", &"k".repeat(1025)), None);
    assert_eq!(node.at_hand("letters", "main-1"), None);
    assert_eq!(node.at_hand("", "main-1"), None);
    assert_eq!(mesh.groups[0].stats(), before, "what is not there counts as nothing");
    assert_eq!(mesh.sources[0].calls_for("main-3"), 0, "and is not loaded");
}

#[tokio::test]
async fn why_something_is_not_at_hand_is_what_answer_says() {
    let mesh = filled().await;
    let too_long = "k".repeat(1025);
    for (group, key, kind) in [
        ("numbers", "", PeerErrorKind::BadRequest),
        ("numbers", &too_long, PeerErrorKind::BadRequest),
        ("letters", "main-1", PeerErrorKind::NoSuchGroup),
    ] {
        let error = ask_at_hand_first(&mesh.nodes[0], group, key).await.unwrap_err();
        assert_eq!(error.kind, kind, "{group}/{key}");
    }
}

/// Whichever way a transport asks, what a node counts is the same.
#[tokio::test]
async fn a_request_counts_once_whether_or_not_at_hand_is_asked_first() {
    let (one, other) = (filled().await, filled().await);
    let too_long = "k".repeat(1025);
    let keys =
        ["main-1", "hot-1", "new", "main-1", "new", "missing", "missing", "", &too_long, "hot-2"];
    for key in keys {
        let (first, second) = (&one.nodes[0], other.nodes[0].answer(request("numbers", key)));
        let (first, second) = (ask_at_hand_first(first, "numbers", key).await, second.await);
        assert_eq!(first.ok(), second.ok(), "{key}");
    }
    let (one, other) = (one.groups[0].stats(), other.groups[0].stats());
    assert_eq!(one, other);
    assert_eq!(one.server_requests, 8, "all but the empty key and the one that is too long");
    // Four filled the caches. Of these eight, "new" misses once, and "missing" is never kept.
    assert_eq!((one.gets, one.loads, one.main.hits, one.hot.hits), (4 + 8, 4 + 3, 3, 2));
    assert_eq!(one.main.gets, one.gets, "each get asks main once");
    assert_eq!(one.hot.gets, one.gets - one.main.hits, "and hot if main has nothing");
    assert_sums(&one);
}

#[tokio::test]
async fn what_is_taken_at_hand_counts_as_used() {
    let node = Node::new();
    // Some 5,000 entries: many in each of the cache's shards, however many these are.
    let group = node.group("g").max_bytes(800_000).loader(Source::default()).build().unwrap();
    let get_all = async |prefix: &str, count: usize| {
        for number in 0..count {
            group.get(&format!("{prefix}-{number}")).await.unwrap();
        }
    };
    let held = |prefix: &str| {
        let keys = (0..100).map(|number| format!("{prefix}-{number}"));
        keys.filter(|key| group.get_cached(key).is_some()).count()
    };
    get_all("used", 100).await;
    get_all("unused", 100).await;
    for number in 0..100 {
        assert!(node.at_hand("g", &format!("used-{number}")).is_some());
    }
    // A quarter of all that was held has to leave, the oldest first.
    get_all("more", 6_000).await;
    assert!(held("used") > 90, "{} of 100 that were used are held", held("used"));
    assert!(held("unused") < 10, "{} of 100 that were not are held", held("unused"));
}

/// Entries leave between a look at hand and the request that follows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn counts_are_exact_while_entries_come_and_go() {
    const TASKS: usize = 4;
    const REQUESTS: usize = 3_000;
    let owner = |_: usize, key: &str| key.len() % 2;
    let sources = vec![Source::default(), Source::default()];
    let mesh = Mesh::new(sources, owner, |b| b.mirroring(Mirroring::Always).max_bytes(20 * 160));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (node, group) = (mesh.nodes[0].clone(), mesh.groups[0].clone());
            tokio::spawn(async move { ask_and_get(&node, &group, task, REQUESTS).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let stats: Stats = mesh.groups[0].stats();
    assert_eq!(stats.server_requests, (TASKS * REQUESTS) as u64);
    assert_eq!(stats.gets, 2 * stats.server_requests, "as many gets came from here");
    assert_eq!((stats.main.gets, stats.hot.gets), (stats.gets, stats.gets - stats.main.hits));
    assert!(stats.hot.hits > 0 && stats.hot.evictions > 0 && stats.main.hits > 0, "{stats:?}");
    assert_sums(&stats);
}

/// Asks a node as its peers do, and gets other keys of its group in between.
async fn ask_and_get(node: &Node, group: &Group, task: usize, requests: usize) {
    for number in 0..requests {
        let step = number * 7 + task;
        let (asked, got) = (format!("{}", step % 40), format!("{}", step * 3 % 40));
        let answer = ask_at_hand_first(node, "numbers", &asked).await.unwrap();
        assert_eq!(answer, Answer::new(format!("{asked}!")));
        assert_eq!(group.get(&got).await.unwrap(), *format!("{got}!"));
    }
}
