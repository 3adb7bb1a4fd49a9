//! Whole nodes over links, with real sockets: slow loaders, circles of loaders, callers that leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use carrotcache::peer_http::{HttpPoolBuilder, LinkState};
use carrotcache::{GetError, Group, HttpPool, Mirroring, Node, NodeBuilder};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::Source;

/// Long enough for a busy machine, and far shorter than what these tests show not to happen.
const SOON: Duration = Duration::from_secs(20);

/// Nodes that have each other as peers.
pub(crate) struct Ring {
    pub(crate) pools: Vec<HttpPool>,
    pub(crate) nodes: Vec<Node>,
}

impl Ring {
    pub(crate) async fn start(count: usize) -> Self {
        Self::start_with(count, |_, pool| pool, |node| node).await
    }

    /// Starts nodes with the settings that the functions make.
    pub(crate) async fn start_with(
        count: usize,
        set_pool: impl Fn(usize, HttpPoolBuilder) -> HttpPoolBuilder,
        set_node: impl Fn(NodeBuilder) -> NodeBuilder,
    ) -> Self {
        let mut listeners = Vec::new();
        for _ in 0..count {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let url = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let urls: Vec<String> = listeners.iter().map(url).collect();
        let (mut pools, mut nodes) = (Vec::new(), Vec::new());
        for (index, (listener, url)) in listeners.into_iter().zip(&urls).enumerate() {
            let pool = set_pool(index, HttpPool::builder(url)).build().unwrap();
            pool.set_peers(&urls).unwrap();
            let node = set_node(Node::builder().peers(pool.clone())).build();
            tokio::spawn(pool.serve(listener, node.clone(), std::future::pending()));
            pools.push(pool);
            nodes.push(node);
        }
        Self { pools, nodes }
    }

    /// Gives each node a group that loads from `source`, without mirroring.
    fn groups(&self, source: &Source) -> Vec<Group> {
        let group = |node: &Node| {
            let group = node.group("g").loader(source.clone()).mirroring(Mirroring::Never);
            group.build().unwrap()
        };
        self.nodes.iter().map(group).collect()
    }

    /// Checks that nothing is left of what was asked.
    async fn assert_at_rest(&self) {
        let in_flight = |pool: &HttpPool| {
            pool.stats().peers.iter().map(|peer| peer.gets_in_flight).sum::<u64>()
        };
        let rest = async {
            while self.pools.iter().map(in_flight).sum::<u64>() > 0 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(SOON, rest).await.expect("no get is in flight");
    }

    fn has_link(&self, from: usize) -> bool {
        self.pools[from].stats().peers.iter().any(|peer| peer.link == LinkState::Up)
    }
}

/// Returns keys that `node` has to ask another for.
fn remote_keys(pool: &HttpPool, count: usize) -> Vec<String> {
    let is_remote = |key: &String| matches!(pool.owner(key), carrotcache::peer::Owner::Remote(_));
    (0..).map(|number| format!("key {number}")).filter(is_remote).take(count).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loader_slower_than_every_timeout_of_the_peers_is_run_once() {
    let hasty = |node: NodeBuilder| node.peer_timeout(Duration::from_millis(100));
    let ring = Ring::start_with(4, |_, pool| pool, hasty).await;
    let source = Source::taking(Duration::from_secs(1));
    let groups = ring.groups(&source);
    // A cold start: of many keys at once, and of one of them on all nodes.
    let mut gets = JoinSet::new();
    for group in &groups {
        for number in 0..50 {
            let group = group.clone();
            gets.spawn(async move { (number, group.get(&format!("key {number}")).await) });
        }
    }
    while let Some(got) = gets.join_next().await {
        let (number, value) = got.unwrap();
        assert_eq!(value.unwrap(), *format!("key {number}!"));
    }
    for number in 0..50 {
        assert_eq!(source.calls_for(&format!("key {number}")), 1, "key {number}");
    }
    ring.assert_at_rest().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loaders_that_ask_each_other_in_one_direction_never_wait_in_a_circle() {
    const PAGES: usize = 1_000;
    let ring = Ring::start(2).await;
    let loads = Arc::new(AtomicUsize::new(0));
    let mut pages = Vec::new();
    for node in &ring.nodes {
        let counted = Arc::clone(&loads);
        let user = move |key: String| {
            counted.fetch_add(1, Ordering::Relaxed);
            async move { Ok::<_, GetError>(Some(format!("user {key}"))) }
        };
        let users = node.group("users").loader(user).build().unwrap();
        let counted = Arc::clone(&loads);
        let page = move |key: String| {
            counted.fetch_add(1, Ordering::Relaxed);
            let users = users.clone();
            async move {
                let user = users.get(&key).await?;
                Ok::<_, GetError>(Some(format!("page of {}", user.as_str().unwrap())))
            }
        };
        pages.push(node.group("pages").loader(page).build().unwrap());
    }
    let begin = Instant::now();
    let mut gets = JoinSet::new();
    for (node, pages) in pages.iter().enumerate() {
        for number in 0..PAGES {
            let pages = pages.clone();
            let key = format!("{node} {number}");
            gets.spawn(async move { (pages.get(&key).await, key) });
        }
    }
    while let Some(got) = gets.join_next().await {
        let (value, key) = got.unwrap();
        assert_eq!(value.unwrap(), *format!("page of user {key}"));
    }
    // Were there a circle, the peer timeout of five seconds would have broken it, by second loads.
    assert_eq!(loads.load(Ordering::Relaxed), 2 * 2 * PAGES);
    assert!(begin.elapsed() < SOON);
    ring.assert_at_rest().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hits_of_an_owner_do_not_wait_for_its_loads() {
    let ring = Ring::start(2).await;
    let source = Source::gated();
    let groups = ring.groups(&source);
    let keys = remote_keys(&ring.pools[0], 201);
    let (hit, slow) = keys.split_first().unwrap();
    source.release(1);
    assert_eq!(groups[0].get(hit).await.unwrap(), *format!("{hit}!"));
    let mut gets = JoinSet::new();
    for key in slow {
        let (group, key) = (groups[0].clone(), key.clone());
        gets.spawn(async move { group.get(&key).await });
    }
    crate::support::until(|| source.started() == 201).await;
    for _ in 0..1_000 {
        assert_eq!(timeout(SOON, groups[0].get(hit)).await.unwrap().unwrap(), *format!("{hit}!"));
    }
    source.release(200);
    while let Some(got) = gets.join_next().await {
        got.unwrap().unwrap();
    }
    ring.assert_at_rest().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_gets_that_are_dropped_leave_nothing_behind() {
    let ring = Ring::start(2).await;
    let source = Source::taking(Duration::from_millis(1));
    let groups = ring.groups(&source);
    let keys = remote_keys(&ring.pools[0], 100);
    // A small generator of Marsaglia's: where a run drops is all that it decides.
    let mut random = 0x2545_F491_u32;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        random
    };
    let mut gets = JoinSet::new();
    for _ in 0..10_000 {
        let (group, key) = (groups[0].clone(), keys[next() as usize % keys.len()].clone());
        let patience = Duration::from_micros(u64::from(next() % 3_000));
        gets.spawn(async move { drop(timeout(patience, group.get(&key)).await) });
        if next().is_multiple_of(8) {
            tokio::task::yield_now().await;
        }
    }
    while let Some(got) = gets.join_next().await {
        got.unwrap();
    }
    ring.assert_at_rest().await;
    for key in &keys {
        assert_eq!(groups[0].get(key).await.unwrap(), *format!("{key}!"));
        assert_eq!(source.calls_for(key), 1, "{key}");
    }
    ring.assert_at_rest().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_links_is_a_peer_like_any_other() {
    let ring = Ring::start_with(3, |index, pool| pool.link(index != 0), |node| node).await;
    let source = Source::default();
    let groups = ring.groups(&source);
    for number in 0..100 {
        for group in &groups {
            let key = format!("key {number}");
            assert_eq!(group.get(&key).await.unwrap(), *format!("{key}!"));
        }
    }
    assert_eq!(source.started(), 100);
    let states: Vec<Vec<LinkState>> = ring.pools.iter().map(states).collect();
    assert_eq!(states[0], [LinkState::Off, LinkState::Off]);
    for states in &states[1..] {
        assert!(states.contains(&LinkState::Up), "{states:?}");
        assert!(states.iter().any(|state| matches!(state, LinkState::Plain { .. })), "{states:?}");
    }
}

fn states(pool: &HttpPool) -> Vec<LinkState> {
    pool.stats().peers.into_iter().map(|peer| peer.link).collect()
}

#[tokio::test]
async fn everything_means_the_same_over_a_link_and_over_http() {
    for links in [true, false] {
        let ring = Ring::start_with(2, |_, pool| pool.link(links), |node| node).await;
        let load = |key: String| async move {
            match key.rsplit(' ').next().unwrap() {
                "absent" => Ok(None),
                "failing" => Err("no disk"),
                bytes => Ok(Some(vec![7_u8; bytes.parse().unwrap()])),
            }
        };
        let groups: Vec<Group> = (ring.nodes.iter())
            .map(|node| node.group("g").loader(load).mirroring(Mirroring::Never).build().unwrap())
            .collect();
        let key = |what: &str| {
            let is_remote = |key: &String| {
                matches!(ring.pools[0].owner(key), carrotcache::peer::Owner::Remote(_))
            };
            (0..).map(|number| format!("{number} {what}")).find(is_remote).unwrap()
        };
        let asker = &groups[0];
        for bytes in [0, 1, 100, 5_000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20] {
            let value = asker.get(&key(&bytes.to_string())).await.unwrap();
            assert_eq!(value.len(), bytes, "links: {links}");
        }
        assert!(asker.get(&key("absent")).await.unwrap_err().is_not_found());
        let failed = asker.get(&key("failing")).await.unwrap_err();
        assert!(matches!(failed, GetError::LoadFailed { .. }), "{failed:?}");
        let only_here = ring.nodes[0].group("only here").loader(load).build().unwrap();
        assert_eq!(only_here.get(&key("3")).await.unwrap(), [7; 3]);
        assert_eq!(only_here.stats().peer_errors, 1, "the owner has no such group");
        assert_eq!((asker.stats().peer_errors, asker.stats().local_loads), (0, 0));
        assert_eq!(ring.has_link(0), links);
    }
}

#[tokio::test]
async fn a_value_that_came_over_a_link_is_mirrored_though_its_caller_has_left() {
    let ring = Ring::start(2).await;
    let source = Source::gated();
    let groups: Vec<Group> = (ring.nodes.iter())
        .map(|node| {
            let always = Mirroring::OneIn(std::num::NonZeroU32::MIN);
            node.group("g").loader(source.clone()).mirroring(always).build().unwrap()
        })
        .collect();
    let key = remote_keys(&ring.pools[0], 1).remove(0);
    let left = timeout(Duration::from_millis(20), groups[0].get(&key)).await;
    assert!(left.is_err(), "the load is held");
    source.release(1);
    crate::support::until(|| groups[0].stats().mirrored == 1).await;
    assert_eq!(groups[0].get_cached(&key).unwrap(), *format!("{key}!"));
    ring.assert_at_rest().await;
}

#[test]
fn a_node_asks_over_one_link_whatever_runtime_its_callers_are_on() {
    let home = Runtime::new().unwrap();
    let ring = home.block_on(Ring::start(2));
    let source = Source::gated();
    let groups = ring.groups(&source);
    let keys = remote_keys(&ring.pools[0], 3);
    let other = Runtime::new().unwrap();
    source.release(2);
    let get = |key: &str| {
        let (group, key) = (groups[0].clone(), key.to_owned());
        async move { group.get(&key).await }
    };
    home.block_on(get(&keys[0])).unwrap();
    other.block_on(get(&keys[1])).unwrap();
    futures_util::FutureExt::now_or_never(get(&keys[1]));
    assert_eq!(ring.pools[0].stats().peers[0].links_opened, 1);
    // The home ends under a get that another runtime waits for, which then starts anew on its own.
    let under_way = other.spawn(get(&keys[2]));
    home.block_on(crate::support::until(|| source.started() == 3));
    home.shutdown_background();
    source.release(2);
    let value = other.block_on(async { timeout(SOON, under_way).await.unwrap().unwrap() });
    assert_eq!(value.unwrap(), *format!("{}!", keys[2]));
}
