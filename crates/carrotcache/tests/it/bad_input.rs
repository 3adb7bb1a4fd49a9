//! Bad input gets a typed error that says what was wrong.

use carrotcache::{Answer, BuildGroupError, GetError, MAX_GROUP_NAME_BYTES, Node, PeerErrorKind};

use crate::support::{Source, group_of, request};

#[tokio::test]
async fn an_empty_key_is_refused() {
    let source = Source::default();
    let error = group_of(source.clone()).get("").await.unwrap_err();
    assert!(matches!(error, GetError::EmptyKey));
    assert_eq!(error.to_string(), "the key is empty");
    assert_eq!(source.started(), 0);
}

#[tokio::test]
async fn a_key_over_the_limit_is_refused_and_one_at_the_limit_is_not() {
    let group = group_of(Source::default());
    group.get(&"k".repeat(1024)).await.unwrap();
    let error = group.get(&"k".repeat(1025)).await.unwrap_err();
    assert!(matches!(error, GetError::KeyTooLong { len: 1025, max: 1024, .. }));
    assert_eq!(error.to_string(), "the key has 1025 bytes, the group `numbers` allows 1024");
    assert_eq!(group.stats().gets, 1);
}

#[test]
fn a_group_name_is_checked() {
    let node = Node::new();
    let build = |name: &str| node.group(name).loader(Source::default()).build();
    assert_eq!(build("").unwrap_err(), BuildGroupError::EmptyName);
    let long = "g".repeat(MAX_GROUP_NAME_BYTES + 1);
    let error = build(&long).unwrap_err();
    assert_eq!(error, BuildGroupError::NameTooLong { name: long.clone(), max: 64 });
    assert_eq!(
        error.to_string(),
        format!("the group name `{long:.64}` has 65 bytes, 64 are allowed")
    );
    build(&long[1..]).unwrap();
    build("scores").unwrap();
    let error = build("scores").unwrap_err();
    assert_eq!(error, BuildGroupError::NameTaken { name: "scores".into() });
    assert_eq!(node.groups().len(), 2);
}

#[test]
fn of_groups_of_one_name_that_are_built_at_once_exactly_one_is_the_nodes() {
    const THREADS: usize = 8;
    let node = Node::new();
    let start = std::sync::Barrier::new(THREADS);
    let build = || {
        start.wait();
        node.group("scores").loader(Source::default()).build()
    };
    let built: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(build)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let refused = built.iter().filter_map(|group| group.as_ref().err());
    let taken = BuildGroupError::NameTaken { name: "scores".into() };
    assert!(refused.clone().all(|error| *error == taken));
    assert_eq!((refused.count(), node.groups().len()), (THREADS - 1, 1));
}

#[test]
fn the_groups_of_a_node_come_in_order_of_their_names() {
    let node = Node::new();
    for name in ["melon", "apple", "pear", "apples", "fig"] {
        node.group(name).loader(Source::default()).build().unwrap();
    }
    let groups = node.groups();
    let names: Vec<_> = groups.iter().map(carrotcache::Group::name).collect();
    assert_eq!(names, ["apple", "apples", "fig", "melon", "pear"]);
    assert_eq!(node.find("apples").unwrap().name(), "apples");
    assert!(node.find("grape").is_none());
}

#[test]
fn a_group_without_a_loader_is_refused() {
    let error = Node::new().group("scores").build().unwrap_err();
    assert_eq!(error, BuildGroupError::NoLoader { name: "scores".into() });
    assert!(error.to_string().contains("GroupBuilder::loader"));
}

#[tokio::test]
async fn with_max_bytes_zero_nothing_is_cached_and_everything_works() {
    let source = Source::default();
    let group = Node::new().group("none").max_bytes(0).loader(source.clone()).build().unwrap();
    for _ in 0..3 {
        assert_eq!(group.get("Tom").await.unwrap(), "Tom!");
    }
    assert_eq!(source.calls_for("Tom"), 3);
    let stats = group.stats();
    assert_eq!((stats.bytes, stats.main.items, stats.hot.items), (0, 0, 0));
}

#[tokio::test]
async fn peers_get_the_same_checks() {
    let node = Node::new();
    node.group("scores").loader(Source::default()).build().unwrap();
    let answer = |group: &str, key: &str| node.answer(request(group, key));
    assert_eq!(answer("scores", "").await.unwrap_err().kind, PeerErrorKind::BadRequest);
    let long = "k".repeat(1025);
    assert_eq!(answer("scores", &long).await.unwrap_err().kind, PeerErrorKind::BadRequest);
    let error = answer("nothing", "Tom").await.unwrap_err();
    assert_eq!(error.kind, PeerErrorKind::NoSuchGroup);
    assert_eq!(answer("scores", "Tom").await.unwrap(), Answer::new("Tom!"));
}
