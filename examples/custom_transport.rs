//! Three nodes in one process, linked by channels in place of a network.
//!
//! A transport has three parts: who owns a key ([`PeerPicker`]), how an owner is asked
//! ([`PeerClient`]), and on the owner's side a loop that hands what arrives to [`Node::answer`].
//!
//! ```text
//! cargo run --example custom_transport
//! ```

use std::convert::Infallible;
use std::sync::Arc;

use carrotcache::consistenthash::Ring;
use carrotcache::{Group, Node, Owner, PeerAnswer, PeerClient, PeerError, PeerPicker, PeerRequest};
use tokio::sync::{mpsc, oneshot};

const NAMES: [&str; 3] = ["red", "green", "blue"];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let ring = Ring::new(NAMES)?;
    let (lines, inboxes): (Vec<_>, Vec<_>) = NAMES.iter().map(|name| line_to(name)).unzip();
    let mut groups = Vec::new();
    for (own, inbox) in inboxes.into_iter().enumerate() {
        let links = Links { own, ring: ring.clone(), lines: lines.clone() };
        let node = Node::builder().peers(links).build();
        groups.push(upper_case(&node, NAMES[own])?);
        tokio::spawn(serve(node, inbox));
    }

    for key in ["carrot", "parsley", "celery", "fennel"] {
        let owner = ring.get(key).unwrap_or("nobody");
        println!("{key} belongs to {owner}");
        for group in &groups {
            assert_eq!(group.get(key).await?, key.to_uppercase());
        }
    }
    for (name, stats) in NAMES.iter().zip(groups.iter().map(Group::stats)) {
        println!(
            "{name:5} loaded {} and asked peers {} times",
            stats.local_loads, stats.peer_loads
        );
    }
    Ok(())
}

/// Makes the group whose loader tells where it runs.
fn upper_case(node: &Node, name: &'static str) -> anyhow::Result<Group> {
    let load = move |key: String| async move {
        println!("  {name} loads {key}");
        Ok::<_, Infallible>(Some(key.to_uppercase()))
    };
    Ok(node.group("upper-case").loader(load).build()?)
}

/// What travels to an owner: the request, and where to send the answer.
struct Call {
    request: PeerRequest,
    answer: oneshot::Sender<Result<PeerAnswer, PeerError>>,
}

/// One node's links to all: the ring says who owns a key, the lines lead there.
struct Links {
    own: usize,
    ring: Ring,
    lines: Vec<Line>,
}

impl PeerPicker for Links {
    type Client = Line;

    fn pick(&self, key: &str) -> Owner<Line> {
        match self.ring.get_index(key) {
            Some(owner) if owner != self.own => Owner::Remote(self.lines[owner].clone()),
            _ => Owner::Local,
        }
    }
}

/// A way to ask one node.
#[derive(Clone)]
struct Line {
    name: Arc<str>,
    calls: mpsc::Sender<Call>,
}

fn line_to(name: &str) -> (Line, mpsc::Receiver<Call>) {
    let (calls, inbox) = mpsc::channel(64);
    (Line { name: name.into(), calls }, inbox)
}

impl PeerClient for Line {
    fn label(&self) -> &str {
        &self.name
    }

    async fn get(&self, request: PeerRequest) -> Result<PeerAnswer, PeerError> {
        let (answer, answered) = oneshot::channel();
        let gone = |()| PeerError::Unreachable { source: "the node is gone".into() };
        self.calls.send(Call { request, answer }).await.map_err(|_| gone(()))?;
        answered.await.map_err(|_| gone(()))?
    }
}

/// The owner's side: each call in a task of its own, so that a slow load holds up no other.
async fn serve(node: Node, mut inbox: mpsc::Receiver<Call>) {
    while let Some(Call { request, answer }) = inbox.recv().await {
        let node = node.clone();
        tokio::spawn(async move {
            // Fails when the asker has left; the value is cached all the same.
            let _ = answer.send(node.answer(request).await);
        });
    }
}
