//! An owner in a process of its own, which is killed, stopped and started again under a thousand gets.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use carrotcache::peer::Owner as KeyOwner;
use carrotcache::peer_http::LinkState;
use carrotcache::{GetError, Group, HttpPool, Mirroring, Node};
use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

/// Long enough for a busy machine.
const SOON: Duration = Duration::from_secs(20);
/// More than the 750 ms after which an owner is known to be dead, less than the 5 s after which a get
/// over HTTP would time out.
const NOTICED: Duration = Duration::from_millis(3_500);
/// Where the owner is to listen, told to the process that it runs in.
const ADDRESS: &str = "CARROTCACHE_TEST_OWNER";

/// The owner: this test, run by another, in another process.
#[test]
#[ignore = "run by the other tests of this file, as a process of its own"]
fn owner_process() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let pool = HttpPool::builder(format!("http://{address}")).build().unwrap();
        let node = Node::builder().peers(pool.clone()).build();
        let load = |key: String| async move {
            if key.starts_with("slow") {
                std::future::pending::<()>().await;
            }
            Ok::<_, GetError>(Some(format!("{key} from the owner")))
        };
        node.group("g").max_loads(2_000).loader(load).build().unwrap();
        println!("\nowner at {address}");
        pool.serve(listener, node, std::future::pending()).await.unwrap();
    });
}

/// A process that owns keys. It ends with this.
struct Owner {
    process: Child,
    address: SocketAddr,
}

impl Owner {
    /// Starts an owner that listens at `address`.
    fn start(address: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::owner_process", "--ignored", "--nocapture"])
            .env(ADDRESS, address)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut lines = lines.map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("owner at ")?.parse().ok());
        // What it prints from here on is read by nobody, and it prints nothing.
        Self { process, address: address.expect("it tells its address") }
    }

    /// Sends a signal, such as `STOP`.
    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A node of this process, which asks the owner.
struct Asker {
    pool: HttpPool,
    group: Group,
}

impl Asker {
    fn of(owner: &Owner) -> Self {
        let own = "http://127.0.0.1:1".to_owned();
        let pool = HttpPool::builder(&own).build().unwrap();
        pool.set_peers([own, format!("http://{}", owner.address)]).unwrap();
        let node = Node::builder().peers(pool.clone()).build();
        let load = |key: String| async move { Ok::<_, GetError>(Some(format!("{key} from here"))) };
        let group = node.group("g").loader(load).mirroring(Mirroring::Never);
        Self { pool, group: group.build().unwrap() }
    }

    /// Returns so many keys of the owner's that begin with `prefix`.
    fn keys(&self, prefix: &str, count: usize) -> Vec<String> {
        let keys = (0..).map(|number| format!("{prefix} {number}"));
        let is_remote = |key: &String| matches!(self.pool.owner(key), KeyOwner::Remote(_));
        keys.filter(is_remote).take(count).collect()
    }

    fn in_flight(&self) -> u64 {
        self.pool.stats().peers[0].gets_in_flight
    }

    /// Waits until values come from the owner again, over a link.
    async fn until_linked(&self, prefix: &str) {
        let linked = async {
            for key in self.keys(prefix, 10_000) {
                let value = self.group.get(&key).await.unwrap();
                let is_linked = self.pool.stats().peers[0].link == LinkState::Up;
                if is_linked && value == *format!("{key} from the owner") {
                    return;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(SOON, linked).await.expect("a link");
    }

    /// Begins a thousand gets that the owner does not answer, does something to it, and checks that
    /// all of them end here soon. Returns how long the last one took after that.
    async fn lose_the_owner_under_a_thousand_gets(&self, lose: impl FnOnce()) -> Duration {
        let keys = self.keys("slow", 1_000);
        let gets = join_all(keys.iter().map(|key| self.group.get(key)));
        let losing = async {
            let under_way = async {
                while self.in_flight() < 1_000 {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(SOON, under_way).await.expect("they are under way");
            lose();
            Instant::now()
        };
        let (values, lost) = timeout(SOON, futures_util::future::join(gets, losing)).await.unwrap();
        for (key, value) in keys.iter().zip(values) {
            assert_eq!(value.unwrap(), *format!("{key} from here"));
        }
        assert_eq!(self.in_flight(), 0);
        lost.elapsed()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_gets_end_when_their_owner_is_killed_and_it_is_linked_when_it_is_back() {
    let mut owner = Owner::start("127.0.0.1:0");
    let asker = Asker::of(&owner);
    asker.until_linked("before").await;
    let kill = || owner.process.kill().unwrap();
    let took = asker.lose_the_owner_under_a_thousand_gets(kill).await;
    assert!(took < NOTICED, "{took:?}");
    let address = owner.address.to_string();
    drop(owner);
    let _again = Owner::start(&address);
    asker.until_linked("after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_gets_end_when_their_owner_is_stopped_and_it_is_linked_when_it_goes_on() {
    let owner = Owner::start("127.0.0.1:0");
    let asker = Asker::of(&owner);
    asker.until_linked("before").await;
    let took = asker.lose_the_owner_under_a_thousand_gets(|| owner.signal("STOP")).await;
    assert!(took < NOTICED, "{took:?}");
    owner.signal("CONT");
    asker.until_linked("after").await;
}
