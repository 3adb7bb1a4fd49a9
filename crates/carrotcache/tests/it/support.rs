//! What the tests share: a loader that counts and can be held, and a mesh of nodes in one process.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use carrotcache::peer::{Completion, peer_fn};
use carrotcache::{
    Answer, Group, Loader, Node, Owner, Peer, PeerError, PeerErrorKind, Picker, Request,
};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// Answers every key with `{key}!`, counts its calls, and can be made to wait or to fail.
#[derive(Clone, Default)]
pub(crate) struct Source {
    shared: Arc<SourceState>,
}

struct SourceState {
    calls: Mutex<HashMap<String, usize>>,
    running: Mutex<HashMap<String, usize>>,
    most_running: AtomicUsize,
    started: AtomicUsize,
    gate: Semaphore,
    gated: AtomicBool,
    failing: AtomicBool,
    /// How long a load takes; no time at all if it is zero.
    time: Duration,
}

impl Default for SourceState {
    fn default() -> Self {
        Self {
            calls: Mutex::default(),
            running: Mutex::default(),
            most_running: AtomicUsize::new(0),
            started: AtomicUsize::new(0),
            gate: Semaphore::new(0),
            gated: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            time: Duration::ZERO,
        }
    }
}

impl Source {
    /// A source whose loads wait until [`release`](Self::release) lets them go on.
    pub(crate) fn gated() -> Self {
        let source = Self::default();
        source.shared.gated.store(true, Ordering::SeqCst);
        source
    }

    /// A source each of whose loads takes so long.
    pub(crate) fn taking(time: Duration) -> Self {
        Self { shared: Arc::new(SourceState { time, ..SourceState::default() }) }
    }

    pub(crate) fn release(&self, loads: usize) {
        self.shared.gate.add_permits(loads);
    }

    pub(crate) fn fail(&self, failing: bool) {
        self.shared.failing.store(failing, Ordering::SeqCst);
    }

    /// Loads that have begun, of all keys.
    pub(crate) fn started(&self) -> usize {
        self.shared.started.load(Ordering::SeqCst)
    }

    pub(crate) fn calls_for(&self, key: &str) -> usize {
        self.shared.calls.lock().unwrap().get(key).copied().unwrap_or(0)
    }

    /// The most loads of one key that ever ran at the same time.
    pub(crate) fn most_running(&self) -> usize {
        self.shared.most_running.load(Ordering::SeqCst)
    }
}

impl Loader for Source {
    type Value = String;
    type Error = io::Error;

    async fn load(&self, key: String) -> Result<Option<String>, io::Error> {
        let state = &*self.shared;
        *state.calls.lock().unwrap().entry(key.clone()).or_default() += 1;
        let running = {
            let mut running = state.running.lock().unwrap();
            let count = running.entry(key.clone()).or_default();
            *count += 1;
            *count
        };
        state.most_running.fetch_max(running, Ordering::SeqCst);
        state.started.fetch_add(1, Ordering::SeqCst);
        if state.gated.load(Ordering::SeqCst) {
            state.gate.acquire().await.unwrap().forget();
        } else {
            tokio::task::yield_now().await;
            if !state.time.is_zero() {
                tokio::time::sleep(state.time).await;
            }
        }
        *state.running.lock().unwrap().get_mut(&key).unwrap() -= 1;
        if state.failing.load(Ordering::SeqCst) {
            return Err(io::Error::other("the database is away"));
        }
        Ok((!key.starts_with("missing")).then(|| format!("{key}!")))
    }
}

/// A group `numbers` on a node that is alone.
pub(crate) fn group_of(loader: impl Loader) -> Group {
    Node::new().group("numbers").loader(loader).build().unwrap()
}

/// Waits for a condition that other tasks bring about.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

/// Nodes of one process that ask each other directly, each with its own opinion of who owns a key.
pub(crate) struct Mesh {
    pub(crate) nodes: Vec<Node>,
    pub(crate) groups: Vec<Group>,
    pub(crate) sources: Vec<Source>,
    wires: Arc<Wires>,
}

/// What a mesh is linked by.
#[derive(Clone, Copy)]
pub(crate) enum Wire {
    /// Nothing tells an owner that loads from one that is dead: `peer_fn`.
    Mute,
    /// Tells that an owner is at it, which is then waited for until the deadline.
    TellsOfLoads,
}

struct Wires {
    wire: Wire,
    nodes: OnceLock<Vec<Node>>,
    down: Vec<AtomicBool>,
    asked: Vec<AtomicUsize>,
}

impl Mesh {
    /// `owner(asker, key)` is the node that `asker` takes for the owner of `key`.
    pub(crate) fn new(
        sources: Vec<Source>,
        owner: impl Fn(usize, &str) -> usize + Clone + Send + Sync + 'static,
        configure: impl Fn(carrotcache::GroupBuilder) -> carrotcache::GroupBuilder,
    ) -> Self {
        Self::over(Wire::Mute, sources, owner, configure)
    }

    /// As [`new`](Self::new), over wires of that kind.
    pub(crate) fn over(
        wire: Wire,
        sources: Vec<Source>,
        owner: impl Fn(usize, &str) -> usize + Clone + Send + Sync + 'static,
        configure: impl Fn(carrotcache::GroupBuilder) -> carrotcache::GroupBuilder,
    ) -> Self {
        let count = sources.len();
        let wires = Arc::new(Wires {
            wire,
            nodes: OnceLock::new(),
            down: (0..count).map(|_| AtomicBool::new(false)).collect(),
            asked: (0..count).map(|_| AtomicUsize::new(0)).collect(),
        });
        let nodes: Vec<Node> = (0..count)
            .map(|me| {
                let (owner, wires) = (owner.clone(), Arc::clone(&wires));
                Node::builder().peers(MeshPicker { me, owner, wires }).build()
            })
            .collect();
        let groups = (nodes.iter().zip(&sources))
            .map(|(node, source)| configure(node.group("numbers").loader(source.clone())))
            .map(|builder| builder.build().unwrap())
            .collect();
        wires.nodes.set(nodes.clone()).ok().unwrap();
        Self { nodes, groups, sources, wires }
    }

    /// Nodes that agree: a key belongs to the node that its bytes add up to.
    pub(crate) fn agreeing(count: usize) -> Self {
        let sources = (0..count).map(|_| Source::default()).collect();
        Self::new(sources, move |_, key| owner_by_sum(key, count), |builder| builder)
    }

    pub(crate) fn set_down(&self, node: usize, down: bool) {
        self.wires.down[node].store(down, Ordering::SeqCst);
    }

    /// How often other nodes asked this one.
    pub(crate) fn asked(&self, node: usize) -> usize {
        self.wires.asked[node].load(Ordering::SeqCst)
    }

    pub(crate) fn calls_for(&self, key: &str) -> usize {
        self.sources.iter().map(|source| source.calls_for(key)).sum()
    }
}

pub(crate) fn owner_by_sum(key: &str, count: usize) -> usize {
    key.bytes().map(usize::from).sum::<usize>() % count
}

/// A request that has five seconds left.
pub(crate) fn request(group: &str, key: &str) -> Request {
    request_with(group, key, Duration::from_secs(5))
}

/// A request that has `time_left`.
pub(crate) fn request_with(group: &str, key: &str, time_left: Duration) -> Request {
    Request::new(group, key, (Instant::now() + time_left).into_std())
}

struct MeshPicker<F> {
    me: usize,
    owner: F,
    wires: Arc<Wires>,
}

impl<F: Fn(usize, &str) -> usize + Send + Sync + 'static> Picker for MeshPicker<F> {
    fn owner(&self, key: &str) -> Owner {
        let owner = (self.owner)(self.me, key);
        if owner == self.me { Owner::Local } else { Owner::Remote(self.wires.peer(owner)) }
    }

    fn peers(&self) -> Vec<Arc<dyn Peer>> {
        let others = (0..self.wires.down.len()).filter(|&node| node != self.me);
        others.map(|node| self.wires.peer(node)).collect()
    }
}

impl Wires {
    /// Returns the way to ask `node`.
    fn peer(self: &Arc<Self>, node: usize) -> Arc<dyn Peer> {
        let (label, wires) = (format!("node {node}"), Arc::clone(self));
        match self.wire {
            Wire::TellsOfLoads => Arc::new(Patient { label, node, wires }),
            Wire::Mute => Arc::new(peer_fn(label, move |request| {
                let wires = Arc::clone(&wires);
                async move { wires.ask(node, request).await }
            })),
        }
    }

    async fn ask(&self, node: usize, request: Request) -> Result<Answer, PeerError> {
        self.asked[node].fetch_add(1, Ordering::SeqCst);
        if self.down[node].load(Ordering::SeqCst) {
            return Err(PeerError::new(PeerErrorKind::Unreachable).with_source("cable cut"));
        }
        self.nodes.get().unwrap()[node].answer(request).await
    }
}

/// Waits for a node until the deadline, as a transport does that hears of its loads.
struct Patient {
    label: String,
    node: usize,
    wires: Arc<Wires>,
}

impl Peer for Patient {
    fn label(&self) -> &str {
        &self.label
    }

    fn ask(&self, request: Request, completion: Completion) {
        let (node, wires) = (self.node, Arc::clone(&self.wires));
        tokio::spawn(async move {
            let deadline = Instant::from_std(request.deadline);
            let answer = timeout_at(deadline, wires.ask(node, request)).await;
            completion.tell(answer.unwrap_or(Err(PeerErrorKind::TimedOut.into())));
        });
    }
}
