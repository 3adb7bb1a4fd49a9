//! The invariants of the design, by number. Cancellation and panics (6, 7) have a module of their
//! own, the owner's verdict (10) stands in `peers`, what comes from the network (9) in `bad_input`
//! and `http`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use carrotcache::byteview::ByteView;
use carrotcache::{Group, Mirroring, Node};
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::support::{Mesh, Source, Wire, group_of};
use crate::transport::assert_sums;

const SECOND: Duration = Duration::from_secs(1);

/// Gets made-up keys of a small range from all nodes at once.
async fn storm(groups: &[Group], gets: usize, distinct: usize) {
    let tasks: Vec<_> = (0..4)
        .map(|task| {
            let groups = groups.to_vec();
            tokio::spawn(async move {
                let mut state = task as u64 + 1;
                for _ in 0..gets {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let key = format!("key-{}", (state >> 33) as usize % distinct);
                    let group = &groups[(state >> 20) as usize % groups.len()];
                    assert_eq!(group.get(&key).await.unwrap(), *format!("{key}!"));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn invariant_1_a_value_is_what_the_loader_made_for_that_key() {
    let sources: Vec<_> = (0..3).map(|_| Source::default()).collect();
    let owner = |_: usize, key: &str| crate::support::owner_by_sum(key, 3);
    // A budget for a fraction of the keys, so that values come and go in both caches.
    let mesh = Mesh::new(sources, owner, |b| b.mirroring(Mirroring::Always).max_bytes(16 << 10));
    mesh.set_down(1, true);
    storm(&mesh.groups, 500, 400).await;
    mesh.set_down(1, false);
    storm(&mesh.groups, 500, 400).await;
    for stats in mesh.groups.iter().map(Group::stats) {
        assert_sums(&stats);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn invariant_2_one_load_at_a_time_for_a_key_over_all_nodes() {
    let mesh = Mesh::agreeing(3);
    storm(&mesh.groups, 500, 100).await;
    assert!(mesh.sources.iter().all(|source| source.most_running() <= 1));
    let loads: usize = mesh.sources.iter().map(Source::started).sum();
    assert_eq!(loads, 100, "each key was loaded once, by its owner alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn invariant_2_holds_for_a_key_that_is_never_kept() {
    let source = Source::default();
    let group = Node::new().group("g").max_bytes(0).loader(source.clone()).build().unwrap();
    storm(&[group], 500, 3).await;
    assert_eq!(source.most_running(), 1);
}

#[tokio::test(start_paused = true)]
async fn invariant_2_holds_for_loads_that_take_longer_than_a_peer_may_be_silent() {
    for time in [6 * SECOND, 29 * SECOND] {
        let sources = (0..4).map(|_| Source::taking(time)).collect();
        let mesh = Mesh::over(Wire::TellsOfLoads, sources, |_, _| 3, |builder| builder);
        let started = Instant::now();
        for value in join_all(mesh.groups.iter().map(|group| group.get("Tom"))).await {
            assert_eq!(value.unwrap(), "Tom!");
        }
        assert_eq!(started.elapsed(), time);
        assert_eq!(mesh.calls_for("Tom"), 1, "loaded once over all nodes, in {time:?}");
        for stats in mesh.groups.iter().map(Group::stats) {
            assert_eq!(stats.peer_errors, 0);
            assert_sums(&stats);
        }
    }
}

/// A page is loaded by one node from a part, which is loaded by the other, and so across both ways.
#[tokio::test(start_paused = true)]
async fn invariant_3_loaders_that_call_back_in_one_direction_do_not_wait_in_a_circle() {
    const KEYS: usize = 2 * 1_000;
    let number = |key: &str| key.split_once('-').unwrap().1.parse::<usize>().unwrap();
    let owner = move |_: usize, key: &str| (number(key) + usize::from(key.starts_with("part"))) % 2;
    let sources = (0..2).map(|_| Source::taking(6 * SECOND)).collect();
    // As many loads at once as there are keys, so that none waits for its turn either.
    let mesh = Mesh::over(Wire::TellsOfLoads, sources, owner, |builder| builder.max_loads(KEYS));
    let loads = Arc::new(AtomicUsize::new(0));
    let pages: Vec<_> = (mesh.nodes.iter().zip(&mesh.groups))
        .map(|(node, parts)| {
            let (parts, loads) = (parts.clone(), Arc::clone(&loads));
            let loader = move |key: String| {
                loads.fetch_add(1, Ordering::SeqCst);
                let parts = parts.clone();
                async move { parts.get(&key.replace("page", "part")).await.map(Some) }
            };
            node.group("pages").max_loads(KEYS).loader(loader).build().unwrap()
        })
        .collect();

    let started = Instant::now();
    let gets = (0..KEYS).flat_map(|number| pages.iter().map(move |pages| (number, pages)));
    let gets = gets.map(|(number, pages)| async move {
        assert_eq!(pages.get(&format!("page-{number}")).await.unwrap(), *format!("part-{number}!"));
    });
    join_all(gets).await;
    assert_eq!(started.elapsed(), 6 * SECOND, "none waited for another");
    assert_eq!(loads.load(Ordering::SeqCst), KEYS, "each page was loaded once");
    let parts: usize = mesh.sources.iter().map(Source::started).sum();
    assert_eq!(parts, KEYS, "each part was loaded once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn invariant_3_nodes_that_take_each_other_for_the_owner_both_answer() {
    let sources = vec![Source::default(), Source::default()];
    let mesh = Mesh::new(sources, |asker, _| 1 - asker, |builder| builder);
    for i in 0..200 {
        let key = format!("key-{i}");
        let both = async { tokio::join!(mesh.groups[0].get(&key), mesh.groups[1].get(&key)) };
        let (one, two) = tokio::time::timeout(Duration::from_secs(30), both).await.unwrap();
        assert_eq!(
            (one.unwrap(), two.unwrap()),
            (format!("{key}!").into(), format!("{key}!").into())
        );
    }
    let hops: usize = (0..2).map(|node| mesh.asked(node)).sum();
    assert!(hops <= 400, "each get crossed to the other node once at most, not {hops} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn invariant_4_charges_never_exceed_max_bytes_at_any_moment() {
    const MAX: u64 = 20_000;
    let sources = vec![Source::default(), Source::default()];
    let owner = |_: usize, key: &str| crate::support::owner_by_sum(key, 2);
    let mesh = Mesh::new(sources, owner, |b| b.mirroring(Mirroring::Always).max_bytes(MAX));
    let done = Arc::new(AtomicBool::new(false));
    let watcher = std::thread::spawn({
        let (group, done) = (mesh.groups[0].clone(), Arc::clone(&done));
        move || {
            let mut most = 0;
            while !done.load(Ordering::SeqCst) {
                most = most.max(group.stats().bytes);
            }
            most
        }
    });
    storm(&mesh.groups, 2_000, 1_000).await;
    done.store(true, Ordering::SeqCst);
    let most = watcher.join().unwrap();
    assert!(most <= MAX, "{most} bytes were held, {MAX} are allowed");
    let stats = mesh.groups[0].stats();
    assert!(stats.bytes > MAX / 2, "the budget was put to use");
    assert_eq!(stats.bytes, stats.main.bytes + stats.hot.bytes);
}

/// A value that looks into the cache when it is dropped.
struct Reentrant(Group);

impl AsRef<[u8]> for Reentrant {
    fn as_ref(&self) -> &[u8] {
        b"reentrant"
    }
}

impl Drop for Reentrant {
    fn drop(&mut self) {
        let _ = self.0.get_cached("key-1");
        let _ = self.0.stats();
    }
}

#[tokio::test]
async fn invariant_5_no_lock_is_held_over_a_values_drop() {
    let node = Node::new();
    let again = node.clone();
    let loader = move |_: String| {
        let group = again.find("reentrant").unwrap();
        let value = bytes::Bytes::from_owner(Reentrant(group));
        async move { Ok::<_, std::io::Error>(Some(ByteView::from(value))) }
    };
    let group = node.group("reentrant").max_bytes(1_000).loader(loader).build().unwrap();
    for i in 0..100 {
        assert_eq!(group.get(&format!("key-{}", i % 10)).await.unwrap(), "reentrant");
    }
}

#[tokio::test]
async fn invariant_8_two_nodes_of_one_process_are_strangers() {
    let (one, two) = (Source::default(), Source::default());
    let (first, second) = (group_of(one.clone()), group_of(two.clone()));
    first.get("Tom").await.unwrap();
    assert!(second.get_cached("Tom").is_none());
    second.get("Tom").await.unwrap();
    assert_eq!((one.started(), two.started()), (1, 1));
}
