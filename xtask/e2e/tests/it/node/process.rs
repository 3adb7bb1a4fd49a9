//! Starts `node` processes and asks them.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Ports may be taken by others between our look and a node's start.
const TRIES: usize = 5;

/// A running node; dropping it kills it.
pub(super) struct NodeProcess {
    pub(super) url: String,
    pub(super) api: String,
    child: Child,
    // Held open, so that what the node prints has somewhere to go.
    _stdout: BufReader<ChildStdout>,
}

/// A status and a body.
pub(super) type Answer = (u16, Vec<u8>);

/// Returns the path of the program, which cargo puts beside the folder of the tests' programs.
pub(super) fn program() -> PathBuf {
    let own = std::env::current_exe().expect("a test has a path");
    let profile = own.parent().and_then(Path::parent).expect("target/PROFILE/deps/it");
    let program = profile.join("examples").join("node");
    assert!(program.is_file(), "first: cargo build --package examples --examples");
    program
}

/// Starts `count` nodes at once that are each other's peers, over the database at `file`.
pub(super) fn start(count: usize, file: &Path, options: &[&str]) -> Vec<NodeProcess> {
    start_as(count, file, |node, args| {
        let mut command = Command::new(node);
        command.args(args).args(options);
        command
    })
}

/// Starts nodes by the command that `as_command` makes of the program's path and its arguments.
pub(super) fn start_as(
    count: usize,
    file: &Path,
    as_command: impl Fn(&Path, &[String]) -> Command,
) -> Vec<NodeProcess> {
    for _ in 0..TRIES {
        let addresses = free_addresses(2 * count);
        let (peers, apis) = addresses.split_at(count);
        let urls: Vec<_> = peers.iter().map(|address| format!("http://{address}")).collect();
        let starting = urls.iter().zip(apis).map(|(url, api)| {
            let args = arguments(url, &urls.join(","), api, file);
            (url.clone(), api.clone(), spawn(as_command(&program(), &args)))
        });
        // All are spawned before the first is waited for.
        let starting: Vec<_> = starting.collect();
        let ready =
            starting.into_iter().map(|(url, api, child)| NodeProcess::ready(url, api, child));
        if let Some(nodes) = ready.collect() {
            return nodes;
        }
    }
    panic!("no node could be started in {TRIES} tries");
}

/// Returns what every node is started with.
pub(super) fn arguments(url: &str, peers: &str, api: &str, file: &Path) -> Vec<String> {
    let db = format!("sqlite:{}", file.display());
    let args = ["--addr", url, "--peers", peers, "--api", api, "--db", &db, "--log", "error"];
    args.map(str::to_owned).to_vec()
}

fn spawn(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).spawn().expect("the node starts")
}

/// Returns addresses on which nobody listened a moment ago.
pub(super) fn free_addresses(count: usize) -> Vec<String> {
    let listen = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let listeners: Vec<_> = (0..count).map(listen).collect();
    let address = |listener: &TcpListener| listener.local_addr().expect("an address").to_string();
    listeners.iter().map(address).collect()
}

impl NodeProcess {
    /// Waits until the node says that it listens, or returns `None` when it ends instead.
    fn ready(url: String, api: String, mut child: Child) -> Option<Self> {
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the pipe can be read");
        let node = Self { url, api, child, _stdout: stdout };
        line.contains(" ready: ").then_some(node)
    }

    /// Asks for a value of the default group.
    pub(super) async fn get(&self, key: &str) -> Answer {
        self.get_of("scores", key).await
    }

    /// Asks for a value of a group.
    pub(super) async fn get_of(&self, group: &str, key: &str) -> Answer {
        let request = reqwest::Client::new().get(format!("http://{}/api", self.api));
        read(request.query(&[("group", group), ("key", key)])).await
    }

    /// Asks for a path with its query, to the letter.
    pub(super) async fn get_raw(&self, path: &str) -> Answer {
        read(reqwest::Client::new().get(format!("http://{}{path}", self.api))).await
    }

    /// Returns what the node has counted.
    pub(super) async fn stats(&self) -> Value {
        let (status, body) = self.get_raw("/stats").await;
        assert_eq!(status, 200);
        serde_json::from_slice(&body).expect("/stats is JSON")
    }

    /// Returns one counter of the group `scores`, by its path, as `/main/items`.
    pub(super) async fn count(&self, counter: &str) -> u64 {
        let stats = self.stats().await;
        let found = stats["groups"]["scores"].pointer(counter).and_then(Value::as_u64);
        found.unwrap_or_else(|| panic!("{counter} is missing in {stats}"))
    }

    /// Returns how many queries the node has made.
    pub(super) async fn queries(&self) -> u64 {
        self.stats().await["db_queries"].as_u64().expect("db_queries is a number")
    }

    /// Waits until `counter` is at least `least`.
    pub(super) async fn wait_for(&self, counter: &str, least: u64) {
        while self.count(counter).await < least {
            tokio::task::yield_now().await;
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the process is there");
    }

    pub(super) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits until the process has ended.
    pub(super) async fn ended(mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            tokio::task::yield_now().await;
        }
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        // Fails when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn read(request: reqwest::RequestBuilder) -> Answer {
    let answer = request.send().await.expect("the node answers");
    let status = answer.status().as_u16();
    (status, answer.bytes().await.expect("the body is whole").into())
}
