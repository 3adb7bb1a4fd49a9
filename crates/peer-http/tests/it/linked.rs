//! Gets over links: what goes over them, what bounds them, and how they end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use carrotcache_peer_http::peer::{
    Answer, Completion, Entry, Handler, PeerError, PeerErrorKind, Reply, Request, ask as ask_peer,
};
use carrotcache_peer_http::{HttpPool, HttpPoolBuilder, LinkState, ServeError};
use tokio::io::AsyncWriteExt;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::fake::{FakePeer, Step};
use crate::links::Asking;
use crate::support::{
    Client, Counted, Echo, SOON, Served, ask, listen, pool_of, read_head, remote,
};

/// Has a value at hand for keys that begin with `hit`, and loads all others until it is told to end.
#[derive(Clone)]
struct Loads {
    under_way: Arc<Semaphore>,
    end: Arc<Semaphore>,
}

impl Loads {
    fn new() -> Self {
        Self { under_way: Arc::new(Semaphore::new(0)), end: Arc::new(Semaphore::new(0)) }
    }

    /// Waits until so many more loads have begun.
    async fn begun(&self, loads: u32) {
        let begun = timeout(SOON, self.under_way.acquire_many(loads)).await;
        begun.expect("they begin").expect("it is open").forget();
    }

    /// Lets so many loads end.
    fn end(&self, loads: usize) {
        self.end.add_permits(loads);
    }
}

impl Handler for Loads {
    fn answer(&self, request: Request) -> Reply {
        if let Some(answer) = self.at_hand(&request.group, &request.key) {
            return Reply::ready(Ok(answer));
        }
        let end = Arc::clone(&self.end);
        self.under_way.add_permits(1);
        Reply::pending(async move {
            end.acquire().await.expect("it is open").forget();
            Ok(Answer::new(request.key.to_string()))
        })
    }

    fn at_hand(&self, _: &str, key: &str) -> Option<Answer> {
        key.starts_with("hit").then(|| Answer::new(key.to_owned()))
    }
}

type Getting = JoinHandle<Result<Answer, PeerError>>;

/// Gets `key` in a task.
fn spawn_get(client: &Client, key: impl Into<String>) -> Getting {
    let (client, key) = (client.clone(), key.into());
    tokio::spawn(async move { client.get("g", &key, Some(SOON)).await })
}

async fn soon<T>(task: JoinHandle<T>) -> T {
    timeout(SOON, task).await.expect("in time").expect("no panic")
}

/// Returns what serves `handler`, and a pool that has a link to it.
async fn linked<H: Handler>(
    handler: H,
    configure: impl FnOnce(HttpPoolBuilder) -> HttpPoolBuilder,
) -> (Served, Asking) {
    let served = Served::start(handler, configure).await;
    let asking = Asking::of(served.pool.base_url());
    assert_eq!(asking.client.value("g", "hit").await, "hit");
    asking.until(|stats| stats.link == LinkState::Up).await;
    (served, asking)
}

#[tokio::test]
async fn hits_do_not_wait_for_loads() {
    let loads = Loads::new();
    let (_served, asking) = linked(loads.clone(), |builder| builder).await;
    let slow: Vec<_> = (0..128).map(|n| spawn_get(&asking.client, format!("slow {n}"))).collect();
    loads.begun(128).await;
    for number in 0..1_000 {
        let key = format!("hit {number}");
        assert_eq!(asking.client.value("g", &key).await, key.as_str());
    }
    assert_eq!(asking.stats().gets_in_flight, 128);
    loads.end(128);
    for (number, get) in slow.into_iter().enumerate() {
        assert_eq!(soon(get).await.expect("a value").entry, Entry::new(format!("slow {number}")));
    }
    assert_eq!(asking.stats().gets_in_flight, 0);
}

#[tokio::test]
async fn values_over_the_bound_of_a_link_come_over_http() {
    let (_served, asking) = linked(Echo::default(), |builder| builder).await;
    let before = asking.stats().bytes_received;
    for bytes in [(1 << 20) + 1, 1 << 20, (1 << 20) - 1] {
        let value = asking.client.value("bytes", &bytes.to_string()).await;
        assert!(value.len() == bytes && value.iter().all(|&byte| byte == 7), "{bytes} bytes");
    }
    let over_link = asking.stats().bytes_received - before;
    assert!((2 << 20..3 << 20).contains(&over_link), "two of the three: {over_link} bytes");
    assert_eq!(asking.stats().links_opened, 1);
}

#[tokio::test]
async fn the_gets_of_a_cold_start_share_one_connection() {
    let patient = |builder: HttpPoolBuilder| {
        builder.head_timeout(SOON).idle_connection_timeout(SOON).max_accepted(1)
    };
    let served = Served::start(Echo::default(), patient).await;
    let asking = Asking::of(served.pool.base_url());
    let gets: Vec<_> = (0..500).map(|n| spawn_get(&asking.client, n.to_string())).collect();
    for (number, get) in gets.into_iter().enumerate() {
        assert_eq!(soon(get).await.expect("a value").entry, Entry::new(number.to_string()));
    }
    assert_eq!(asking.stats().links_opened, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gets_that_found_no_connection_go_over_the_link_that_came_late() {
    let loads = Loads::new();
    let served = Served::start(loads.clone(), |builder| builder).await;
    // Its first connection goes on when it is told to.
    let (listener, url) = listen().await;
    let (address, go_on) = (served.address(), Arc::new(Semaphore::new(0)));
    let held = Arc::clone(&go_on);
    tokio::spawn(async move {
        let mut is_first = true;
        while let Ok((mut near, _)) = listener.accept().await {
            let held = std::mem::take(&mut is_first).then(|| Arc::clone(&held));
            tokio::spawn(async move {
                if let Some(held) = held {
                    held.acquire().await.expect("it is open").forget();
                }
                let mut far = tokio::net::TcpStream::connect(address).await.expect("the owner");
                drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
            });
        }
    });
    let asking = Asking::of(&url);
    let gets: Vec<_> = (0..400).map(|n| spawn_get(&asking.client, n.to_string())).collect();
    // As many go over HTTP as there are connections, when they have waited for the link long enough.
    loads.begun(127).await;
    go_on.add_permits(1);
    loads.begun(400 - 127).await;
    loads.end(400);
    for (number, get) in gets.into_iter().enumerate() {
        assert_eq!(soon(get).await.expect("a value").entry, Entry::new(number.to_string()));
    }
    assert_eq!(asking.link(), LinkState::Up);
}

#[tokio::test]
async fn a_loading_owner_is_waited_for_and_a_silent_one_is_not() {
    let loads = Loads::new();
    let (_served, asking) = linked(loads.clone(), |builder| builder).await;
    let deadline = Instant::now() + SOON;
    let request = Request::new("g", "slow", deadline).with_max_silence(Duration::from_millis(1));
    let client = asking.client.clone();
    let get = tokio::spawn(async move { ask_peer(&*client.0, request).await });
    loads.begun(1).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    loads.end(1);
    assert_eq!(soon(get).await.expect("a value").entry, Entry::new("slow"));
}

#[tokio::test]
async fn a_get_beyond_the_bound_in_flight_fails_at_once() {
    let loads = Loads::new();
    let served = Served::start(loads.clone(), |builder| builder).await;
    let pool = pool_of(served.pool.base_url(), |builder| builder.max_gets_in_flight(2));
    let client = remote(&pool);
    assert_eq!(client.value("g", "hit").await, "hit");
    let gets = [spawn_get(&client, "a"), spawn_get(&client, "b")];
    loads.begun(2).await;
    let error = client.error("g", "hit").await;
    assert_eq!(error.kind, PeerErrorKind::Unreachable);
    assert_eq!(error.causes(), "2 gets are under way to it");
    loads.end(2);
    for get in gets {
        soon(get).await.expect("a value");
    }
    assert_eq!(client.value("g", "hit").await, "hit");
}

#[tokio::test]
async fn a_load_beyond_the_bound_of_a_link_is_refused_and_hits_are_not() {
    let loads = Loads::new();
    let (_served, asking) = linked(loads.clone(), |builder| builder.max_link_loads(1)).await;
    let get = spawn_get(&asking.client, "a");
    loads.begun(1).await;
    assert_eq!(asking.client.error("g", "b").await.kind, PeerErrorKind::Overloaded);
    assert_eq!(asking.client.value("g", "hit").await, "hit");
    loads.end(1);
    soon(get).await.expect("a value");
}

#[tokio::test]
async fn drain_answers_what_is_under_way() {
    let loads = Loads::new();
    let (served, asking) = linked(loads.clone(), |builder| builder).await;
    let gets: Vec<_> = (0..200).map(|n| spawn_get(&asking.client, n.to_string())).collect();
    loads.begun(200).await;
    let serving = served.stop();
    // The asker has been told not to ask for more over this link.
    asking.until(|stats| stats.link != LinkState::Up || stats.gets_in_flight == 200).await;
    loads.end(200);
    for (number, get) in gets.into_iter().enumerate() {
        assert_eq!(soon(get).await.expect("a value").entry, Entry::new(number.to_string()));
    }
    assert_eq!(soon(serving).await, Ok(()));
    asking.until(|stats| stats.link == LinkState::Down && stats.gets_in_flight == 0).await;
}

#[tokio::test]
async fn drain_cuts_links_that_do_not_end_and_tells() {
    let loads = Loads::new();
    let after = Duration::from_millis(20);
    let (served, asking) = linked(loads.clone(), |builder| builder.drain_timeout(after)).await;
    let get = spawn_get(&asking.client, "never");
    loads.begun(1).await;
    let ended = soon(served.stop()).await;
    assert_eq!(ended, Err(ServeError::DrainTimedOut { connections: 1, after }));
    assert_eq!(soon(get).await.expect_err("it was cut").kind, PeerErrorKind::Truncated);
}

#[tokio::test]
async fn a_restarted_owner_is_linked_again() {
    let (listener, url) = listen().await;
    let address = listener.local_addr().expect("an address");
    let served = Served::start_at((listener, url.clone()), Echo::default(), |builder| builder);
    let asking = Asking::of(&url);
    assert_eq!(asking.client.value("g", "a").await, "a");
    assert_eq!(soon(served.stop()).await, Ok(()));
    asking.until(|stats| stats.link == LinkState::Down).await;
    let error = asking.client.error("g", "a").await;
    assert_eq!(error.kind, PeerErrorKind::Unreachable, "nobody is there");
    let listener = tokio::net::TcpListener::bind(address).await.expect("the same port");
    let _again = Served::start_at((listener, url), Echo::default(), |builder| builder);
    let value = async {
        // The first gets may go over HTTP, until a link is asked for again.
        while asking.link() != LinkState::Up {
            assert_eq!(asking.client.value("g", "a").await, "a");
        }
    };
    timeout(SOON, value).await.expect("a link");
    assert_eq!(asking.stats().links_opened, 2);
}

#[tokio::test]
async fn a_peer_that_leaves_the_pool_takes_its_link_along() {
    let loads = Loads::new();
    let served = Served::start(loads.clone(), |builder| builder).await;
    // Unless it is remembered for a while.
    let pool = pool_of(served.pool.base_url(), |builder| builder.hand_off(Duration::ZERO));
    let client = remote(&pool);
    assert_eq!(client.value("g", "hit").await, "hit");
    let asking = Asking { pool, client };
    asking.until(|stats| stats.link == LinkState::Up).await;
    let get = spawn_get(&asking.client, "slow");
    loads.begun(1).await;
    let Asking { pool, client } = asking;
    pool.set_peers(["http://own.invalid"]).expect("a set");
    drop(client);
    assert_eq!(served.pool.stats().links_served, 1, "a get is under way");
    loads.end(1);
    assert_eq!(soon(get).await.expect("a value").entry, Entry::new("slow"));
    until_served(&served.pool, 0).await;
}

/// Waits until the pool serves so many links.
async fn until_served(pool: &HttpPool, links: u64) {
    let so = async {
        while pool.stats().links_served != links {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, so).await.expect("so many links");
}

#[tokio::test]
async fn a_link_that_rests_gives_up_its_place_and_one_in_use_does_not() {
    let loads = Loads::new();
    let patient = |builder: HttpPoolBuilder| {
        builder.head_timeout(SOON).idle_connection_timeout(SOON).max_accepted(1)
    };
    let (served, asking) = linked(loads.clone(), patient).await;
    let get = spawn_get(&asking.client, "slow");
    loads.begun(1).await;
    let mut stream = served.connect().await;
    let waits = tokio::spawn(async move { ask(&mut stream, "/_groupcache/g/slow").await.1 });
    // A link on which a load is under way stays, for longer than one has to rest.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(!get.is_finished() && !waits.is_finished());
    loads.end(2);
    assert_eq!(soon(get).await.expect("a value").entry, Entry::new("slow"));
    assert_eq!(soon(waits).await, b"\x0a\x04slow");
    asking.until(|stats| stats.link == LinkState::Down).await;
    // And comes back, since the other connection rests now.
    assert_eq!(asking.client.value("g", "hit").await, "hit");
}

#[test]
fn a_pool_that_moves_to_another_runtime_opens_another_link() {
    let loads = Loads::new();
    let owner = Runtime::new().expect("a runtime");
    let served = owner.block_on(Served::start(loads.clone(), |builder| builder));
    let asking = Asking::of(served.pool.base_url());
    let get = || asking.client.get("g", "hit", None);

    let first = Runtime::new().expect("a runtime");
    first.block_on(get()).expect("a value");
    let under_way = first.spawn({
        let client = asking.client.clone();
        async move { client.get("g", "slow", None).await }
    });
    first.block_on(loads.begun(1));
    let second = Runtime::new().expect("a runtime");
    for _ in 0..3 {
        second.block_on(get()).expect("a value");
        first.block_on(get()).expect("a value");
    }
    assert_eq!(asking.stats().links_opened, 2);
    first.shutdown_background();
    second.block_on(get()).expect("a value");
    assert!(second.block_on(under_way).is_err(), "it ended with its runtime");
    second.block_on(until_served(&served.pool, 1));
    assert_eq!(asking.stats().gets_in_flight, 0);
}

#[tokio::test]
async fn the_gets_of_a_runtime_that_ends_are_told() {
    let loads = Loads::new();
    let served = Served::start(loads.clone(), |builder| builder).await;
    let asking = Asking::of(served.pool.base_url());
    let other = Runtime::new().expect("a runtime");
    // Asked on the other runtime, awaited on this one.
    let (tell, told) = tokio::sync::oneshot::channel();
    let entered = other.enter();
    let request = Request::new("g", "slow", Instant::now() + SOON);
    let tell = move |answer| drop(tell.send(answer));
    asking.client.0.ask(request, Completion::new(tell));
    drop(entered);
    loads.begun(1).await;
    other.shutdown_background();
    let answer = timeout(SOON, told).await.expect("in time").expect("it is told");
    assert_eq!(answer.expect_err("no answer").kind, PeerErrorKind::Dropped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_sends_without_end_makes_no_get_outlive_its_time() {
    let agreed = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                   upgrade: carrotcache/1\r\n\r\n";
    // A refusal, of the shortest text, of a get that nobody waits for.
    let flood = [1, 0, 0, 0, 17, 0, 4, 0, 0xff, 0xff, 0xff, 0, 7, 0, 0, 0, b'x'];
    let hello = Step::Send([&agreed[..], &hello()].concat());
    let peer = FakePeer::start(vec![vec![Step::Request, hello, Step::Endless(flood.into())]]).await;
    let asking = Asking::of(&peer.url);
    let get = asking.client.get("g", "k", Some(Duration::from_millis(500)));
    let error = timeout(SOON, get).await.expect("in time").expect_err("no answer");
    assert_eq!(error.kind, PeerErrorKind::TimedOut);
}

/// Returns a HELLO with large bounds.
fn hello() -> Vec<u8> {
    let mut frame = vec![32, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0];
    frame.extend([0; 20]);
    frame.extend([0xff, 0xff, 0x0f, 0, 0xff, 0xff, 0x0f, 0]);
    frame
}

#[tokio::test]
async fn an_asker_that_never_reads_is_cut_and_holds_little_meanwhile() {
    let counted = Counted::default();
    let configure = |builder: HttpPoolBuilder| builder.write_timeout(Duration::from_millis(300));
    let served = Served::start(counted.clone(), configure).await;
    let mut stream = served.connect().await;
    let request = "GET /_groupcache/g/1 HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\n\
                   upgrade: carrotcache/1\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101"));
    // HELLO, with large bounds, and then gets of 64 KiB each without end.
    let mut frames = hello();
    for slot in 0..10_000_u32 {
        frames.extend([10, 0, 0, 0, 2, 0, 1, 0]);
        frames.extend(slot.to_le_bytes());
        frames.extend([9, 0, 0, 0]);
        frames.extend(*b"\0\0\0\0g65536");
    }
    until_served(&served.pool, 1).await;
    let mut most = 0;
    let sending = async {
        drop(stream.write_all(&frames).await);
        std::future::pending::<()>().await;
    };
    let watching = async {
        loop {
            most = most.max(counted.bytes());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = until_served(&served.pool, 0) => {}
        () = sending => {}
        () = watching => {}
    }
    assert!(most < 16 << 20, "{most} bytes were held for it");
    counted.all_dropped().await;
}
