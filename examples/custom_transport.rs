//! Three nodes in one process, linked by channels in place of a network.
//!
//! A transport has three parts: who owns a key ([`Picker`]), how an owner is asked (a [`Peer`], here
//! made of an async function), and on the owner's side a loop that hands what arrives to
//! [`Node::answer`].
//!
//! ```text
//! cargo run --example custom_transport
//! ```

use std::convert::Infallible;
use std::sync::Arc;

use carrotcache::consistenthash::Ring;
use carrotcache::peer::peer_fn;
use carrotcache::{Answer, Group, Node, Owner, Peer, PeerError, PeerErrorKind, Picker, Request};
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

/// One node's links to all: the ring says who owns a key, the lines lead there.
struct Links {
    own: usize,
    ring: Ring,
    lines: Vec<Arc<dyn Peer>>,
}

impl Picker for Links {
    fn owner(&self, key: &str) -> Owner {
        match self.ring.get_index(key) {
            Some(owner) if owner != self.own => Owner::Remote(Arc::clone(&self.lines[owner])),
            _ => Owner::Local,
        }
    }

    fn peers(&self) -> Vec<Arc<dyn Peer>> {
        let others = self.lines.iter().enumerate().filter(|(node, _)| *node != self.own);
        others.map(|(_, line)| Arc::clone(line)).collect()
    }
}

/// What travels to an owner: the request, and where to send the answer.
type Call = (Request, oneshot::Sender<Result<Answer, PeerError>>);

/// Returns a way to ask the node `name`, and where what it is asked arrives.
fn line_to(name: &str) -> (Arc<dyn Peer>, mpsc::Receiver<Call>) {
    let (calls, inbox) = mpsc::channel::<Call>(64);
    let line = peer_fn(name, move |request| {
        let calls = calls.clone();
        async move {
            let gone = || PeerError::new(PeerErrorKind::Unreachable);
            let (answer, answered) = oneshot::channel();
            calls.send((request, answer)).await.map_err(|_| gone())?;
            answered.await.map_err(|_| gone())?
        }
    });
    (Arc::new(line), inbox)
}

/// The owner's side: each call in a task of its own, so that a slow load holds up no other.
async fn serve(node: Node, mut inbox: mpsc::Receiver<Call>) {
    while let Some((request, answer)) = inbox.recv().await {
        let reply = node.answer(request);
        // Sending fails when the asker has left; the value is cached all the same.
        tokio::spawn(async move { answer.send(reply.await) });
    }
}
