//! Many keys at once, and values that change, between whole nodes over links with real sockets.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use carrotcache::peer_http::{HttpPoolBuilder, LinkState};
use carrotcache::{Group, HttpPool, Mirroring, RemoveError};
use tokio::time::{sleep, timeout};

use crate::links::Ring;

/// Long enough for a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// Rows that change, and how often they were loaded.
#[derive(Clone, Default)]
struct Rows {
    version: Arc<AtomicUsize>,
    loads: Arc<AtomicUsize>,
    batches: Arc<Mutex<Vec<usize>>>,
}

impl Rows {
    /// Gives each node a group that mirrors whatever it gets.
    fn groups(&self, ring: &Ring) -> Vec<Group> {
        let group = |node: &carrotcache::Node| {
            let (one, many) = (self.clone(), self.clone());
            let load = move |key: String| {
                one.loads.fetch_add(1, Ordering::SeqCst);
                let value = one.value(&key);
                async move { Ok::<_, Infallible>(Some(value)) }
            };
            let load_many = move |keys: Vec<String>| {
                many.batches.lock().unwrap().push(keys.len());
                let values = keys.into_iter().map(|key| (key.clone(), many.value(&key)));
                let values: HashMap<_, _> = values.collect();
                async move { Ok::<_, Infallible>(values) }
            };
            let group = node.group("rows").loader(load).bulk_loader(load_many);
            group.mirroring(Mirroring::Always).build().unwrap()
        };
        ring.nodes.iter().map(group).collect()
    }

    fn value(&self, key: &str) -> String {
        format!("{key} {}", self.version.load(Ordering::SeqCst))
    }

    fn update(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
    }
}

/// Gets a key on all nodes.
async fn get_everywhere(groups: &[Group], key: &str) -> Vec<String> {
    let mut values = Vec::new();
    for group in groups {
        values.push(String::from_utf8(group.get(key).await.unwrap().to_vec()).unwrap());
    }
    values
}

/// Returns keys that the first node asks the second for.
fn remote_keys(pool: &HttpPool, count: usize) -> Vec<String> {
    let is_remote = |key: &String| matches!(pool.owner(key), carrotcache::peer::Owner::Remote(_));
    (0..).map(|number| format!("key {number}")).filter(is_remote).take(count).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_keys_of_one_owner_are_one_bulk_load_there() {
    let ring = Ring::start(2).await;
    let rows = Rows::default();
    let groups = rows.groups(&ring);
    let keys = remote_keys(&ring.pools[0], 64);
    // The first get asks for the link, over which the others go together.
    groups[0].get(&keys[0]).await.unwrap();
    let link = async {
        while ring.pools[0].stats().peers.iter().all(|peer| peer.link != LinkState::Up) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, link).await.expect("a link");
    let values = groups[0].get_many(&keys).await;
    for (key, value) in keys.iter().zip(values) {
        assert_eq!(value.unwrap(), *format!("{key} 0"));
    }
    assert_eq!(*rows.batches.lock().unwrap(), [63], "one was loaded before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_batch_of_all_has_a_link_made_and_goes_over_it() {
    // On a busy machine a link may take longer than anybody waits for one.
    for _ in 0..20 {
        let ring = Ring::start(2).await;
        let rows = Rows::default();
        let groups = rows.groups(&ring);
        let keys = remote_keys(&ring.pools[0], 64);
        let values = groups[0].get_many(&keys).await;
        assert!(values.into_iter().all(|value| value.is_ok()));
        if *rows.batches.lock().unwrap() == [64] {
            return;
        }
    }
    panic!("the gets went one by one each time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_removed_on_one_node_is_gone_from_all() {
    let ring = Ring::start(3).await;
    let rows = Rows::default();
    let groups = rows.groups(&ring);
    for round in 0..30 {
        let remover = &groups[round % 3];
        assert_eq!(get_everywhere(&groups, "Tom").await, vec![rows.value("Tom"); 3]);
        rows.update();
        match round % 3 {
            0 => remover.remove("Tom").await.unwrap(),
            1 => remover.remove_many(["Tom", "Jack", "Tom"]).await.unwrap(),
            _ => remover.clear().await.unwrap(),
        }
        assert_eq!(get_everywhere(&groups, "Tom").await, vec![rows.value("Tom"); 3], "{round}");
    }
    for group in &groups {
        let stats = group.stats();
        assert_eq!((stats.closures, stats.owed), (0, 0));
    }
}

/// No link was open before: the set asks for them itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_is_set_is_loaded_by_nobody() {
    let ring = Ring::start(3).await;
    let rows = Rows::default();
    let groups = rows.groups(&ring);
    for setter in &groups {
        rows.update();
        setter.set("Tom", rows.value("Tom")).await.unwrap();
        assert_eq!(get_everywhere(&groups, "Tom").await, vec![rows.value("Tom"); 3]);
    }
    assert_eq!(rows.loads.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_links_is_named_and_forgets_what_it_removes_itself() {
    let ring = Ring::start_with(2, |index, pool| pool.link(index == 0), |node| node).await;
    let rows = Rows::default();
    let groups = rows.groups(&ring);
    get_everywhere(&groups, "Tom").await;
    rows.update();
    let error = groups[0].remove("Tom").await.unwrap_err();
    let RemoveError::Incomplete { unreached, plain, stale_for_at_most } = error else {
        panic!("{error}");
    };
    let peer = ring.pools[0].stats().peers[0].peer.clone();
    assert_eq!((unreached.len(), plain, stale_for_at_most), (0, vec![peer], None));
    assert!(groups[1].remove("Tom").await.is_err(), "it cannot tell the other");
    assert_eq!(groups[1].peek("Tom"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_does_not_let_the_remover_in_is_unreached_and_not_plain() {
    let secret = |index: usize, pool: HttpPoolBuilder| match index {
        1 => pool.secret("a-secret-that-only-this-one-has"),
        _ => pool,
    };
    let ring = Ring::start_with(2, secret, |node| node).await;
    let rows = Rows::default();
    let groups = rows.groups(&ring);
    let key = &remote_keys(&ring.pools[0], 1)[0];
    get_everywhere(&groups, key).await;
    rows.update();
    let RemoveError::Incomplete { unreached, plain, .. } = groups[0].remove(key).await.unwrap_err()
    else {
        panic!("it is incomplete");
    };
    let peer = ring.pools[0].stats().peers[0].peer.clone();
    assert_eq!((unreached, plain.len()), (vec![peer], 0));
    // Its owner has the old value still, and is not believed.
    assert_eq!(groups[1].peek(key).unwrap(), *format!("{key} 0"));
    assert_eq!(groups[0].get(key).await.unwrap(), *rows.value(key));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removes_that_are_called_together_travel_together() {
    let ring = Ring::start(3).await;
    let groups = Rows::default().groups(&ring);
    groups[0].remove("warm").await.unwrap();
    let before = groups[1].stats().purges;
    let keys: Vec<_> = (0..64).map(|number| format!("key {number}")).collect();
    let removes = keys.iter().map(|key| groups[0].remove(key));
    for removed in futures_util::future::join_all(removes).await {
        removed.unwrap();
    }
    let messages = groups[1].stats().purges - before;
    assert!(messages <= 8, "64 removes took {messages} messages to a peer");
}

/// More than a link takes at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_sets_and_clears_at_once_are_all_done() {
    let ring = Ring::start(2).await;
    let groups = Rows::default().groups(&ring);
    let changes = (0..200).map(|number| {
        let group = groups[0].clone();
        tokio::spawn(async move {
            match number % 10 {
                0 => group.clear().await.unwrap(),
                _ => group.set(&format!("key {number}"), "set").await.unwrap(),
            }
        })
    });
    for change in changes.collect::<Vec<_>>() {
        timeout(SOON, change).await.expect("in time").unwrap();
    }
    assert_eq!((groups[0].stats().owed, groups[1].stats().owed), (0, 0));
}
