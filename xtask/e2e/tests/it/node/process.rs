//! Starts `node` processes and asks them.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use e2e::node::addresses::{Addresses, Ports, on_free_addresses};
use e2e::node::{Node, start_all};
use e2e::programs::build_examples;
use reqwest::{Client, Method};
use rustix::process::Signal;
use serde_json::Value;

/// A running node; dropping it kills it.
pub(super) struct NodeProcess {
    pub(super) url: String,
    pub(super) api: String,
    node: Node,
}

/// A status and a body.
pub(super) type Answer = (u16, Vec<u8>);

/// Returns the path of the program, built if it has to be.
pub(super) fn program() -> PathBuf {
    let [program] = build_examples(["node"], false).expect("the example can be built");
    program
}

/// Returns a node that is not started, over the database at `file`.
pub(super) fn describe(program: &Path, addresses: &Addresses, at: usize, file: &Path) -> Node {
    let db = format!("sqlite:{}", file.display());
    let node = Node::new("node", program, addresses, at, &db).expect("a client can be made");
    node.with("--log", "error")
}

/// Starts `count` nodes at once that are each other's peers, over the database at `file`.
pub(super) async fn start(count: usize, file: &Path, options: &[(&str, &str)]) -> Vec<NodeProcess> {
    let with_options =
        |node| options.iter().fold(node, |node: Node, (name, value)| node.with(name, value));
    start_as(count, file, with_options).await
}

/// Starts nodes as `change` would have them.
pub(super) async fn start_as(
    count: usize,
    file: &Path,
    change: impl Fn(Node) -> Node,
) -> Vec<NodeProcess> {
    let program = program();
    let started = on_free_addresses(Ports::Any, count, async |addresses| {
        let describe = |at| change(describe(&program, addresses, at, file));
        let mut nodes: Vec<_> = (0..count).map(describe).collect();
        start_all(&mut nodes).await?;
        Ok(nodes)
    });
    let nodes = started.await.expect("the nodes start");
    nodes.into_iter().map(NodeProcess::new).collect()
}

impl NodeProcess {
    fn new(node: Node) -> Self {
        Self { url: node.url().to_owned(), api: node.api().address().to_owned(), node }
    }

    /// Asks for a value of the default group.
    pub(super) async fn get(&self, key: &str) -> Answer {
        self.get_of("scores", key).await
    }

    /// Asks for a value of a group.
    pub(super) async fn get_of(&self, group: &str, key: &str) -> Answer {
        let (status, body) = self.node.api().ask(group, key).await.expect("the node answers");
        (status.as_u16(), body)
    }

    /// Asks for a path with its query, to the letter.
    pub(super) async fn get_raw(&self, path: &str) -> Answer {
        let (status, body) = self.node.api().get(path).await.expect("the node answers");
        (status.as_u16(), body)
    }

    /// Writes a row of the default group; returns the status and the line of the answer.
    pub(super) async fn put(&self, key: &str, value: &str) -> (u16, String) {
        let (status, body) = self.node.api().put("scores", key, value).await.expect("it answers");
        (status.as_u16(), String::from_utf8(body).expect("text"))
    }

    /// Deletes a row of the default group.
    pub(super) async fn delete(&self, key: &str) -> (u16, String) {
        let (status, body) = self.node.api().delete("scores", key).await.expect("it answers");
        (status.as_u16(), String::from_utf8(body).expect("text"))
    }

    /// Writes to a path with its query, to the letter.
    pub(super) async fn put_raw(&self, path: &str, value: &str) -> (u16, String) {
        self.send_raw(Method::PUT, path, value).await
    }

    /// Deletes at a path with its query, to the letter.
    pub(super) async fn delete_raw(&self, path: &str) -> (u16, String) {
        self.send_raw(Method::DELETE, path, "").await
    }

    async fn send_raw(&self, method: Method, path: &str, body: &str) -> (u16, String) {
        let request = Client::new().request(method, format!("http://{}{path}", self.api));
        let answer = request.body(body.to_owned()).send().await.expect("the node answers");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    }

    /// Returns what the node has counted.
    pub(super) async fn stats(&self) -> Value {
        self.node.api().stats().await.expect("/stats is JSON")
    }

    /// Returns one counter, by its path, as `/main/items`, summed up over the groups.
    pub(super) async fn count(&self, counter: &str) -> u64 {
        self.node.api().count(counter).await.expect("each group has the counter")
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

    /// Returns the last lines that the process printed.
    pub(super) fn output(&self) -> String {
        self.node.output()
    }

    pub(super) fn signal(&self, signal: Signal) {
        self.node.signal(signal).expect("the process is there");
    }

    pub(super) fn id(&self) -> u32 {
        self.node.id().expect("the process is there")
    }

    /// Kills the process and waits until it is gone.
    pub(super) async fn kill(mut self) {
        self.node.kill().await.expect("the process is there");
    }

    /// Waits until the process has ended.
    pub(super) async fn ended(mut self) -> ExitStatus {
        self.node.ended().await.expect("a child can be waited for")
    }

    /// Waits until the process has ended. Returns the last lines that it printed, too.
    pub(super) async fn ended_with_output(mut self) -> (ExitStatus, String) {
        let status = self.node.ended().await.expect("a child can be waited for");
        (status, self.node.output())
    }
}
