//! A rolling restart of five nodes over real sockets, with gets throughout.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use carrotcache::peer_http::ServeError;
use carrotcache::{Group, HttpPool, Mirroring, Node};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::support::{Source, until};

const NODES: usize = 5;
const KEYS: usize = 400;
/// How many ask at a time.
const USERS: usize = 4;
/// Long enough for a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// One process of a node: it shares nothing with the others but the loader.
struct Process {
    runtime: Runtime,
    pool: HttpPool,
    node: Node,
    group: Group,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), ServeError>>,
}

impl Process {
    /// Starts one at `url`, which knows the nodes at `urls`.
    async fn start(url: &str, urls: &[String], source: &Source, hand_off: Duration) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let address = url.strip_prefix("http://").unwrap().to_owned();
        let pool = HttpPool::builder(url).hand_off(hand_off).build().unwrap();
        pool.set_peers(urls).unwrap();
        let node = Node::builder().peers(pool.clone()).runtime(runtime.handle().clone()).build();
        // Without copies, so that a key is where its owner is, or nowhere.
        let group = node.group("g").loader(source.clone()).mirroring(Mirroring::Never);
        let group = group.build().unwrap();
        let (stop, stopped) = oneshot::channel();
        let (serving, handler) = (pool.clone(), node.clone());
        let listener = runtime.spawn(TcpListener::bind(address)).await.unwrap().unwrap();
        let served = runtime.spawn(async move {
            serving.serve(listener, handler, async move { drop(stopped.await) }).await
        });
        Self { runtime, pool, node, group, stop, served }
    }

    /// Ends it as a process ends whose shutdown was asked for.
    async fn end(self) {
        self.stop.send(()).expect("it serves");
        timeout(SOON, self.served).await.expect("it ends").unwrap().expect("nothing is cut");
        self.runtime.shutdown_background();
    }
}

/// What users ask, and what came of it.
#[derive(Default)]
struct Load {
    /// The groups of the nodes that are ready.
    ready: RwLock<Vec<Group>>,
    asked: AtomicUsize,
    failed: AtomicUsize,
    is_over: AtomicBool,
}

impl Load {
    /// Asks for all keys, again and again, each at another of the nodes that are ready.
    async fn go_on(self: Arc<Self>) {
        while !self.is_over.load(Ordering::Relaxed) {
            let number = self.asked.fetch_add(1, Ordering::Relaxed);
            let group = {
                let ready = self.ready.read().unwrap();
                // Another node for the same key each round.
                ready[(number + number / KEYS) % ready.len()].clone()
            };
            let key = format!("key {}", number % KEYS);
            if group.get(&key).await.is_err() {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Waits until every key has been asked for at least `times` times more.
    async fn goes_through_all(&self, times: usize) {
        let until = self.asked.load(Ordering::Relaxed) + USERS + times * KEYS;
        let so = async {
            while self.asked.load(Ordering::Relaxed) < until {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(SOON, so).await.expect("the users go on");
    }

    fn choose_among(&self, processes: &[Option<Process>]) {
        let ready = processes.iter().flatten().filter(|process| process.node.is_ready());
        *self.ready.write().unwrap() = ready.map(|process| process.group.clone()).collect();
    }
}

/// What a rolling restart has cost.
struct Cost {
    loads_a_key: f64,
    failed: usize,
}

/// Restarts five nodes one after the other, with gets throughout.
async fn roll(hand_off: Duration) -> Cost {
    let (source, load) = (Source::default(), Arc::new(Load::default()));
    let mut urls = Vec::new();
    for _ in 0..NODES {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        urls.push(format!("http://{}", free.local_addr().unwrap()));
    }
    let mut processes = Vec::new();
    for url in &urls {
        processes.push(Some(Process::start(url, &urls, &source, hand_off).await));
    }
    load.choose_among(&processes);
    let mut users = JoinSet::new();
    (0..USERS).for_each(|_| drop(users.spawn(Arc::clone(&load).go_on())));
    load.goes_through_all(2).await;
    for index in 0..NODES {
        // Not ready: nobody sends it requests any more. Then it is taken off the lists of the others,
        // for whom it still answers, and ends.
        let leaving = processes[index].take().expect("it runs");
        leaving.node.drain();
        load.choose_among(&processes);
        let others: Vec<_> = urls.iter().filter(|url| **url != urls[index]).collect();
        for process in processes.iter().flatten() {
            process.pool.set_peers(&others).unwrap();
        }
        load.goes_through_all(2).await;
        leaving.end().await;
        load.goes_through_all(1).await;
        // It comes back with an empty cache.
        processes[index] = Some(Process::start(&urls[index], &urls, &source, hand_off).await);
        for process in processes.iter().flatten() {
            process.pool.set_peers(&urls).unwrap();
        }
        load.choose_among(&processes);
        load.goes_through_all(2).await;
    }
    load.is_over.store(true, Ordering::Relaxed);
    users.join_all().await;
    for process in processes.into_iter().flatten() {
        process.end().await;
    }
    #[expect(clippy::cast_precision_loss, reason = "there are thousands")]
    let loads_a_key = source.started() as f64 / KEYS as f64;
    Cost { loads_a_key, failed: load.failed.load(Ordering::Relaxed) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_of_five_nodes_costs_hardly_a_load_and_no_error() {
    let with = roll(Duration::from_secs(60)).await;
    let without = roll(Duration::ZERO).await;
    let figures = format!(
        "{:.2} loads a key with looks at former owners, {:.2} without; {} and {} gets failed",
        with.loads_a_key, without.loads_a_key, with.failed, without.failed
    );
    println!("{figures}");
    assert_eq!(with.failed, 0, "{figures}");
    assert!(with.loads_a_key <= 1.15, "{figures}");
    assert!(without.loads_a_key > 1.5, "looks are what spares the loads: {figures}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remove_reaches_a_node_that_leaves_and_does_not_name_one_that_has_ended() {
    let (source, minute) = (Source::default(), Duration::from_secs(60));
    let mut urls = Vec::new();
    for _ in 0..3 {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        urls.push(format!("http://{}", free.local_addr().unwrap()));
    }
    let mut processes = Vec::new();
    for url in &urls {
        processes.push(Process::start(url, &urls, &source, minute).await);
    }
    let [stays, leaves, ends] = <[Process; 3]>::try_from(processes).ok().unwrap();
    let key = (0..).map(|number| format!("key {number}"));
    let is_owned = |key: &String| stays.group.owner(key).as_deref() == Some(&urls[1]);
    let key = key.into_iter().find(is_owned).unwrap();
    assert_eq!(leaves.group.get(&key).await.unwrap(), format!("{key}!"));
    stays.group.remove("all have met").await.unwrap();

    stays.pool.set_peers(&urls[..1]).unwrap();
    stays.group.remove(&key).await.expect("both are there");
    assert!(leaves.group.peek(&key).is_none(), "it has heard of it");
    // Without a goodbye, as when it is killed.
    let runtime = ends.runtime;
    // Until the last of its tasks is gone, and its connections with it.
    let shut_down = move || runtime.shutdown_timeout(Duration::from_secs(60));
    tokio::task::spawn_blocking(shut_down).await.unwrap();
    until(|| std::net::TcpStream::connect(urls[2].strip_prefix("http://").unwrap()).is_err()).await;
    stays.group.remove(&key).await.expect("it is no peer any more");
    leaves.end().await;
    stays.end().await;
}
