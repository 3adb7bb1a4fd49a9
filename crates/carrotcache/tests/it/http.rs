//! Nodes linked by HTTP.

use std::sync::Arc;
use std::time::Duration;

use carrotcache::{GetError, Group, HttpPool, Node};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::Source;

struct Cluster {
    members: Vec<Member>,
}

struct Member {
    group: Group,
    source: Source,
    pool: HttpPool,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

impl Cluster {
    async fn start(count: usize) -> Self {
        let mut listeners = Vec::new();
        for _ in 0..count {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let urls: Vec<String> = (listeners.iter())
            .map(|listener| format!("http://{}", listener.local_addr().unwrap()))
            .collect();
        let start = |(listener, url): (TcpListener, &String)| Member::start(listener, url, &urls);
        Self { members: listeners.into_iter().zip(&urls).map(start).collect() }
    }

    fn loads(&self) -> usize {
        self.members.iter().map(|member| member.source.started()).sum()
    }
}

impl Member {
    fn start(listener: TcpListener, url: &str, urls: &[String]) -> Self {
        let pool = HttpPool::builder(url).build().unwrap();
        pool.set_peers(urls).unwrap();
        let node = Node::builder().peers(pool.clone()).build();
        let source = Source::default();
        let group = node.group("numbers").loader(source.clone()).build().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move { drop(stopped.await) };
        let serving = pool.serve(listener, node, shutdown);
        let server = tokio::spawn(async move { serving.await.unwrap() });
        Self { group, source, pool, stop: Some(stop), server }
    }

    async fn stop(&mut self) {
        drop(self.stop.take());
        (&mut self.server).await.unwrap();
    }
}

#[tokio::test]
async fn any_node_answers_for_any_key_and_each_is_loaded_once() {
    let cluster = Cluster::start(3).await;
    for i in 0..100 {
        let key = format!("key {i} +/%🥕");
        for member in &cluster.members {
            assert_eq!(member.group.get(&key).await.unwrap(), *format!("{key}!"));
        }
    }
    assert_eq!(cluster.loads(), 100);
    let errors: u64 = cluster.members.iter().map(|m| m.group.stats().peer_errors).sum();
    assert_eq!(errors, 0);
}

#[tokio::test]
async fn verdicts_cross_the_wire_and_are_final() {
    let cluster = Cluster::start(2).await;
    let asker = &cluster.members[0];
    let remote = (0..).map(|i| format!("missing-{i}"));
    let key = { remote }.find(|key| is_remote(&asker.pool, key)).unwrap();
    assert!(asker.group.get(&key).await.unwrap_err().is_not_found());
    let failing =
        (0..).map(|i| format!("key-{i}")).find(|key| is_remote(&asker.pool, key)).unwrap();
    cluster.members[1].source.fail(true);
    let error = asker.group.get(&failing).await.unwrap_err();
    assert!(matches!(error, GetError::LoadFailed { .. }));
    let verdict = std::error::Error::source(&error).unwrap();
    let peer = cluster.members[1].pool.base_url();
    assert_eq!(verdict.to_string(), format!("peer {peer} failed to load the key"));
    assert_eq!(verdict.source().unwrap().to_string(), "the database is away");
    assert_eq!(asker.source.started(), 0);
    assert_eq!(asker.group.stats().peer_errors, 0);
}

#[tokio::test]
async fn the_keys_of_a_node_that_stops_are_loaded_once_each_by_those_that_stand_in() {
    let mut cluster = Cluster::start(3).await;
    // The get that asks for a link goes over HTTP, which does not carry whom it is for.
    for key in 0..20 {
        for asker in [0, 1] {
            cluster.members[asker].group.get(&format!("warm {key}")).await.unwrap();
        }
    }
    let own = |cluster: &Cluster| -> u64 {
        [0, 1].map(|node| cluster.members[node].group.stats().main.items).iter().sum()
    };
    let (loads_before, own_before) = (cluster.loads(), own(&cluster));
    cluster.members[2].stop().await;
    let stopped = cluster.members[2].pool.base_url().to_owned();
    let owner = |key: &String| match cluster.members[0].pool.owner(key) {
        carrotcache::Owner::Remote(peer) => peer.label() == stopped,
        carrotcache::Owner::Local => false,
    };
    let keys: Vec<_> = (0..).map(|i| format!("key-{i}")).filter(owner).take(100).collect();
    for key in &keys {
        for asker in [0, 1, 0] {
            assert_eq!(cluster.members[asker].group.get(key).await.unwrap(), *format!("{key}!"));
        }
    }
    assert_eq!(cluster.loads() - loads_before, 100);
    let survivors = [0, 1].map(|node| cluster.members[node].group.stats());
    assert!(survivors.iter().all(|stats| stats.stand_in_loads > 0), "each asks for some keys");
    assert!(survivors[1].served_as_stand_in > 0, "and loads what node 0 asks for first");
    assert_eq!(own(&cluster), own_before, "over a link it is said that they are not its own");
}

#[tokio::test]
async fn a_node_that_stops_costs_no_error_and_gets_its_keys_back() {
    let mut cluster = Cluster::start(2).await;
    let stopped_url = cluster.members[1].pool.base_url().to_owned();
    let address = stopped_url.strip_prefix("http://").unwrap().to_owned();
    cluster.members[1].stop().await;
    let key_of = |prefix: &str| {
        let keys = (0..).map(|i| format!("{prefix}-{i}"));
        { keys }.find(|key| is_remote(&cluster.members[0].pool, key)).unwrap()
    };
    let (away, back) = (key_of("away"), key_of("back"));
    let asker = &cluster.members[0];
    assert_eq!(asker.group.get(&away).await.unwrap(), *format!("{away}!"));
    assert_eq!((asker.group.stats().peer_errors, asker.source.started()), (1, 1));

    let listener = TcpListener::bind(&address).await.unwrap();
    let urls = [asker.pool.base_url().to_owned(), stopped_url.clone()];
    let restarted = Member::start(listener, &stopped_url, &urls);
    assert_eq!(asker.group.get(&back).await.unwrap(), *format!("{back}!"));
    assert_eq!(restarted.source.calls_for(&back), 1);
    assert_eq!(asker.source.started(), 1);
}

#[tokio::test]
async fn rings_that_disagree_answer_within_their_timeouts() {
    // Each node's ring lists both, but under labels that give the key to the other one.
    let listeners = [
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    ];
    let ports = listeners.each_ref().map(|listener| listener.local_addr().unwrap().port());
    let names = ["127.0.0.1", "localhost"];
    let url = |name: usize, node: usize| format!("http://{}:{}", names[name], ports[node]);
    let mut listeners = listeners.into_iter();
    let members: Vec<Member> = (0..2)
        .map(|me| {
            let urls = [url(me, 0), url(me, 1)];
            Member::start(listeners.next().unwrap(), &urls[me], &urls)
        })
        .collect();
    let key = (0..10_000)
        .map(|i| format!("key-{i}"))
        .find(|key| members.iter().all(|member| is_remote(&member.pool, key)))
        .expect("the two rings differ in a quarter of the keys");
    let (one, two) = (members[0].group.get(&key), members[1].group.get(&key));
    let both = async { tokio::join!(one, two) };
    let (one, two) = tokio::time::timeout(Duration::from_secs(30), both).await.unwrap();
    assert_eq!((one.unwrap(), two.unwrap()), (format!("{key}!").into(), format!("{key}!").into()));
}

#[tokio::test]
async fn one_node_serves_all_its_groups() {
    let cluster = Cluster::start(2).await;
    let pool = &cluster.members[0].pool;
    let node = Arc::new(Node::builder().peers(pool.clone()).build());
    let other = node.group("other").loader(Source::default()).build().unwrap();
    // The other member has no such group: every key is answered here, without an error to the
    // caller.
    for i in 0..10 {
        other.get(&format!("key-{i}")).await.unwrap();
    }
    assert_eq!(other.stats().local_loads, 10);
}

/// The runtime has no I/O, which a node needs for its peers and nothing else.
#[test]
fn a_runtime_without_io_is_refused_in_words_where_peers_are_to_be_asked() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let own = "http://127.0.0.1:1";
    let pool = HttpPool::builder(own).build().unwrap();
    pool.set_peers([own, "http://127.0.0.1:2"]).unwrap();
    let source = Source::default();
    let node = Node::builder().peers(pool.clone()).build();
    let group = node.group("g").loader(source.clone()).build().unwrap();
    let key = |remote: bool| {
        let keys = (0..).map(|i| format!("key-{i}"));
        { keys }.find(|key| is_remote(&pool, key) == remote).unwrap()
    };
    for _ in 0..2 {
        let error = runtime.block_on(group.get(&key(true))).unwrap_err();
        let GetError::CannotAskPeers { source } = &error else { panic!("{error:?}") };
        assert!(source.causes().contains("enable_io"), "{}", source.causes());
    }
    assert_eq!(source.started(), 0);
    assert!(runtime.block_on(group.get(&key(false))).is_ok());
    crate::transport::assert_sums(&group.stats());
}

fn is_remote(pool: &HttpPool, key: &str) -> bool {
    matches!(pool.owner(key), carrotcache::Owner::Remote(_))
}
