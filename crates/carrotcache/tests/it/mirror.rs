//! The hot cache: what gets in, and when it gives way.

use carrotcache::{Answer, Mirroring};

use crate::support::{Mesh, Source, request};

fn pair(mirroring: Mirroring, max_bytes: u64) -> Mesh {
    let sources = vec![Source::default(), Source::default()];
    Mesh::new(sources, |_, _| 1, move |builder| builder.mirroring(mirroring).max_bytes(max_bytes))
}

#[tokio::test]
async fn mirrored_values_are_served_without_asking_the_owner() {
    let mesh = pair(Mirroring::Always, 1 << 20);
    for _ in 0..5 {
        assert_eq!(mesh.groups[0].get("Tom").await.unwrap(), "Tom!");
    }
    assert_eq!(mesh.asked(1), 1);
    let stats = mesh.groups[0].stats();
    assert_eq!((stats.hot.items, stats.hot.hits, stats.mirrored, stats.main.items), (1, 4, 1, 0));
}

#[tokio::test]
async fn without_mirroring_each_get_asks_the_owner() {
    let mesh = pair(Mirroring::Never, 1 << 20);
    for _ in 0..5 {
        mesh.groups[0].get("Tom").await.unwrap();
    }
    assert_eq!(mesh.asked(1), 5);
    assert_eq!(mesh.groups[0].stats().hot.items, 0);
    assert_eq!(mesh.calls_for("Tom"), 1);
}

#[tokio::test]
async fn a_popular_key_is_mirrored_by_default() {
    let mesh = pair(Mirroring::default(), 1 << 20);
    for _ in 0..1_000 {
        mesh.groups[0].get("Tom").await.unwrap();
    }
    // That 1,000 fetches at one in ten all stay outside has a chance of 10⁻⁴⁶.
    assert_eq!(mesh.groups[0].stats().hot.items, 1);
    assert!(mesh.asked(1) < 1_000);
}

#[tokio::test]
async fn hot_gives_way_to_main_once_it_holds_more_than_an_eighth() {
    let sources = vec![Source::default(), Source::default()];
    // Node 0 owns the keys that start with `own`.
    let owner = |_: usize, key: &str| usize::from(!key.starts_with("own"));
    let mesh = Mesh::new(sources, owner, |builder| {
        builder.mirroring(Mirroring::Always).max_bytes(100_000)
    });
    let group = &mesh.groups[0];
    for i in 0..1_000 {
        group.get(&format!("hot-{i}")).await.unwrap();
    }
    assert!(group.stats().hot.bytes > 90_000, "alone, hot may fill the budget");
    for i in 0..1_000 {
        group.get(&format!("own-{i}")).await.unwrap();
    }
    let stats = group.stats();
    assert!(stats.hot.bytes <= stats.main.bytes / 8, "{stats:?}");
    assert!(stats.hot.items > 0, "an eighth is hot's to keep: {stats:?}");
    assert!(stats.bytes <= 100_000);
}

#[tokio::test]
async fn a_key_that_becomes_ours_leaves_hot() {
    let mesh = pair(Mirroring::Always, 1 << 20);
    mesh.groups[0].get("Tom").await.unwrap();
    // Another node's ring has made us the owner: it asks us, and hot has the answer.
    let asked = mesh.nodes[0].answer(request("numbers", "Tom")).await.unwrap();
    assert_eq!(asked, Answer::new("Tom!"));
    assert_eq!(mesh.sources[0].calls_for("Tom"), 0);
}

#[test]
fn a_node_that_has_moved_to_another_runtime_mirrors_as_before() {
    let dying = tokio::runtime::Runtime::new().unwrap();
    let mesh = dying.block_on(async { pair(Mirroring::Always, 1 << 20) });
    dying.block_on(mesh.groups[0].get("Tom")).unwrap();
    drop(dying);
    let surviving = tokio::runtime::Runtime::new().unwrap();
    for key in ["Jack", "Sam"] {
        assert_eq!(surviving.block_on(mesh.groups[0].get(key)).unwrap(), *format!("{key}!"));
    }
    let stats = mesh.groups[0].stats();
    assert_eq!((stats.hot.items, mesh.sources[1].calls_for("Sam")), (3, 1));
}
