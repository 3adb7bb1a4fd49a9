//! Whole nodes of one process over a transport that carries purges, whose messages can be lost or held
//! back.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use carrotcache::peer::{Completion, Keys, Member, Purge, Purged, Reply, Step};
use carrotcache::{
    Answer, Group, GroupBuilder, Handler, Node, Owner, Peer, PeerError, PeerErrorKind, Picker,
    Request,
};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::rows::{Hand, Table};
use crate::transport::assert_sums;

/// What becomes of a message of a purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Arrives,
    /// It arrives, and its answer is held back until [`Cluster::let_go`].
    AnswerHeld,
    /// It is held back itself.
    Held,
    /// It arrives, and its answer does not.
    AnswerLost,
    Lost,
}

/// A message of a purge, as the transport sees it.
pub(crate) struct Sent<'a> {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) purge: &'a Purge,
}

impl Sent<'_> {
    pub(crate) fn is_close(&self) -> bool {
        matches!(self.purge.step, Step::Close { .. })
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.purge.step, Step::Open { .. })
    }

    pub(crate) fn is_tell(&self) -> bool {
        matches!(self.purge.step, Step::Tell { .. })
    }
}

/// A question of a node to a peer, whatever number of keys it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) keys: usize,
    pub(crate) is_for_stand_in: bool,
}

type Router = dyn Fn(&Sent<'_>) -> Way + Send + Sync;
type Configure = dyn Fn(GroupBuilder) -> GroupBuilder + Send + Sync;
type OwnerOf = dyn Fn(usize, &str) -> usize + Send + Sync;
type OrderOf = dyn Fn(&str) -> Vec<usize> + Send + Sync;

/// Nodes that have a group `rows` over one table.
pub(crate) struct Cluster {
    pub(crate) groups: Vec<Group>,
    pub(crate) table: Table,
    pub(crate) hand: Hand,
    pub(crate) wires: Arc<Wires>,
    configure: Box<Configure>,
    /// How many loads a node may run for others: of a hundred misses, and a second.
    budget: (u32, u32),
}

/// The transport of a [`Cluster`].
pub(crate) struct Wires {
    nodes: Mutex<Vec<Node>>,
    incarnations: Vec<AtomicU64>,
    is_down: Vec<AtomicBool>,
    is_plain: Vec<AtomicBool>,
    asked: Vec<AtomicUsize>,
    questions: Mutex<Vec<Asked>>,
    /// Which nodes a node does not ask.
    ejected: Mutex<Vec<Vec<usize>>>,
    /// Who is next for a key; nobody, unless set.
    order: Mutex<Arc<OrderOf>>,
    /// Whom each node takes for its peers.
    lists: Mutex<Vec<Vec<usize>>>,
    owner: Box<OwnerOf>,
    router: Mutex<Arc<Router>>,
    gate: Semaphore,
    held: AtomicUsize,
    hand: Hand,
    /// How long a request and an answer are on their way, on the clock that is moved by hand.
    delays: Mutex<(Duration, Duration)>,
    /// What was sent, one line each.
    log: Mutex<Vec<String>>,
}

impl Cluster {
    /// `count` nodes, all of whose keys belong to node `owner`.
    pub(crate) fn owned_by(
        owner: usize,
        count: usize,
        configure: impl Fn(GroupBuilder) -> GroupBuilder + Send + Sync + 'static,
    ) -> Self {
        Self::new(count, move |_, _| owner, configure)
    }

    /// `owner(asker, key)` is the node that `asker` takes for the owner of `key`.
    pub(crate) fn new(
        count: usize,
        owner: impl Fn(usize, &str) -> usize + Send + Sync + 'static,
        configure: impl Fn(GroupBuilder) -> GroupBuilder + Send + Sync + 'static,
    ) -> Self {
        let others = |me| (0..count).filter(move |other| *other != me).collect();
        let hand = Hand::new();
        let wires = Arc::new(Wires {
            nodes: Mutex::default(),
            incarnations: (0..count).map(|node| AtomicU64::new(100 + node as u64)).collect(),
            is_down: (0..count).map(|_| AtomicBool::new(false)).collect(),
            is_plain: (0..count).map(|_| AtomicBool::new(false)).collect(),
            asked: (0..count).map(|_| AtomicUsize::new(0)).collect(),
            questions: Mutex::default(),
            ejected: Mutex::new(vec![Vec::new(); count]),
            order: Mutex::new(Arc::new(|_: &str| Vec::new())),
            lists: Mutex::new((0..count).map(others).collect()),
            owner: Box::new(owner),
            router: Mutex::new(Arc::new(|_: &Sent<'_>| Way::Arrives)),
            gate: Semaphore::new(0),
            held: AtomicUsize::new(0),
            hand: hand.clone(),
            delays: Mutex::default(),
            log: Mutex::default(),
        });
        let (table, configure) = (Table::new(), Box::new(configure));
        let (groups, budget) = (Vec::new(), (20, 10));
        let mut cluster = Self { groups, table, hand, wires, configure, budget };
        for node in 0..count {
            let (node, group) = cluster.start(node);
            cluster.wires.nodes.lock().unwrap().push(node);
            cluster.groups.push(group);
        }
        cluster
    }

    fn start(&self, me: usize) -> (Node, Group) {
        let offset = Duration::from_secs(1_000 * me as u64);
        let picker = WiresPicker { me, wires: Arc::clone(&self.wires) };
        let (percent, per_second) = self.budget;
        let node = Node::builder().peers(picker).clock(self.hand.clock(offset));
        let node = node.loads_for_others(percent, per_second).build();
        let group = (self.configure)(node.group("rows").loader(self.table.clone()));
        let group = group.build().unwrap();
        (node, group)
    }

    /// Ends the process of a node, and starts another that has its label.
    pub(crate) fn restart(&mut self, me: usize) {
        let (node, group) = self.start(me);
        self.wires.incarnations[me].fetch_add(1_000, Ordering::SeqCst);
        self.wires.nodes.lock().unwrap()[me] = node;
        self.groups[me] = group;
    }

    /// Starts a node anew that may run so many loads for others: of a hundred misses, and a second.
    pub(crate) fn restart_with_budget(&mut self, me: usize, percent: u32, per_second: u32) {
        self.budget = (percent, per_second);
        self.restart(me);
    }

    pub(crate) fn node(&self, node: usize) -> Node {
        self.wires.node(node)
    }

    /// Has the nodes know who is next for a key.
    pub(crate) fn set_order(&self, order: impl Fn(&str) -> Vec<usize> + Send + Sync + 'static) {
        *self.wires.order.lock().unwrap() = Arc::new(order);
    }

    /// Changes which nodes a node does not ask.
    pub(crate) fn eject(&self, asker: usize, ejected: &[usize]) {
        self.wires.ejected.lock().unwrap()[asker] = ejected.to_vec();
    }

    /// Takes what nodes have asked each other until now.
    pub(crate) fn take_questions(&self) -> Vec<Asked> {
        std::mem::take(&mut self.wires.questions.lock().unwrap())
    }

    /// The node as its peers name it.
    pub(crate) fn member(&self, node: usize) -> Member {
        self.wires.member(node)
    }

    /// Cuts a node off, or links it again.
    pub(crate) fn set_down(&self, node: usize, is_down: bool) {
        self.wires.is_down[node].store(is_down, Ordering::SeqCst);
    }

    /// Makes a node one that cannot be told to forget, or can again.
    pub(crate) fn set_plain(&self, node: usize, is_plain: bool) {
        self.wires.is_plain[node].store(is_plain, Ordering::SeqCst);
    }

    /// Changes whom a node takes for its peers.
    pub(crate) fn list(&self, node: usize, peers: &[usize]) {
        self.wires.lists.lock().unwrap()[node] = peers.to_vec();
    }

    /// Decides what becomes of the messages of purges.
    pub(crate) fn route(&self, router: impl Fn(&Sent<'_>) -> Way + Send + Sync + 'static) {
        *self.wires.router.lock().unwrap() = Arc::new(router);
    }

    pub(crate) fn set_delays(&self, request: Duration, answer: Duration) {
        *self.wires.delays.lock().unwrap() = (request, answer);
    }

    /// How many messages and answers are held back.
    pub(crate) fn held(&self) -> usize {
        self.wires.held.load(Ordering::SeqCst)
    }

    /// Lets what is held back go its way.
    pub(crate) fn let_go(&self, messages: usize) {
        self.wires.gate.add_permits(messages);
    }

    /// How often other nodes asked this one.
    pub(crate) fn asked(&self, node: usize) -> usize {
        self.wires.asked[node].load(Ordering::SeqCst)
    }

    /// Takes what was sent of purges until now: `0>1 close Tom`.
    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.wires.log.lock().unwrap())
    }

    /// What each node returns for a key.
    pub(crate) async fn get_everywhere(&self, key: &str) -> Vec<String> {
        let mut values = Vec::new();
        for group in &self.groups {
            values.push(group.get(key).await.unwrap().as_str().unwrap().to_owned());
        }
        values
    }

    /// Checks the sums of all nodes.
    pub(crate) fn assert_sums(&self) {
        self.groups.iter().for_each(|group| assert_sums(&group.stats()));
    }
}

struct WiresPicker {
    me: usize,
    wires: Arc<Wires>,
}

impl Picker for WiresPicker {
    fn owner(&self, key: &str) -> Owner {
        let owner = (self.wires.owner)(self.me, key);
        if owner == self.me { Owner::Local } else { Owner::Remote(self.wires.peer(self.me, owner)) }
    }

    fn peers(&self) -> Vec<Arc<dyn Peer>> {
        let list = self.wires.lists.lock().unwrap()[self.me].clone();
        list.into_iter().map(|peer| self.wires.peer(self.me, peer)).collect()
    }

    fn next(&self, key: &str, failed: &str) -> Option<Owner> {
        let order = Arc::clone(&self.wires.order.lock().unwrap());
        let order = order(key);
        let at = order.iter().position(|node| format!("node {node}") == failed)?;
        let ejected = self.wires.ejected.lock().unwrap()[self.me].clone();
        let next = order[at + 1..].iter().find(|node| !ejected.contains(node))?;
        Some(match *next == self.me {
            true => Owner::Local,
            false => Owner::Remote(self.wires.peer(self.me, *next)),
        })
    }

    fn this_node(&self) -> Option<Member> {
        Some(self.wires.member(self.me))
    }
}

impl Wires {
    fn node(&self, node: usize) -> Node {
        self.nodes.lock().unwrap()[node].clone()
    }

    fn member(&self, node: usize) -> Member {
        let incarnation = self.incarnations[node].load(Ordering::SeqCst);
        Member { label: format!("node {node}").into(), incarnation }
    }

    fn peer(self: &Arc<Self>, from: usize, to: usize) -> Arc<dyn Peer> {
        Arc::new(WiresPeer { label: format!("node {to}"), from, to, wires: Arc::clone(self) })
    }

    fn check(&self, from: usize, to: usize) -> Result<(), PeerError> {
        let is_down = [from, to].iter().any(|node| self.is_down[*node].load(Ordering::SeqCst));
        if is_down { Err(PeerErrorKind::Unreachable.into()) } else { Ok(()) }
    }

    /// Hands requests to a node, in one message.
    fn hand_over(&self, from: usize, to: usize, requests: Vec<Request>) -> Vec<Reply> {
        self.asked[to].fetch_add(requests.len(), Ordering::SeqCst);
        if let Err(error) = self.check(from, to) {
            return requests.iter().map(|_| Reply::ready(Err(error.clone()))).collect();
        }
        self.hand.advance(self.delays.lock().unwrap().0);
        self.node(to).answer_many(requests)
    }

    async fn bring(&self, from: usize, to: usize, reply: Reply) -> Result<Answer, PeerError> {
        let answer = reply.await?;
        let back = self.delays.lock().unwrap().1;
        self.hand.advance(back);
        self.check(from, to)?;
        if self.is_plain[to].load(Ordering::SeqCst) {
            return Ok(answer);
        }
        Ok(answer.with_incarnation(self.member(to).incarnation))
    }

    async fn wait(&self) {
        self.held.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        self.held.fetch_sub(1, Ordering::SeqCst);
    }

    async fn purge(&self, from: usize, to: usize, purge: Purge) -> Result<Purged, PeerError> {
        let sent = Sent { from, to, purge: &purge };
        let router = Arc::clone(&self.router.lock().unwrap());
        let way = router(&sent);
        self.note(&sent);
        if self.is_plain[to].load(Ordering::SeqCst) {
            return Err(PeerErrorKind::Plain.into());
        }
        self.check(from, to)?;
        match way {
            Way::Lost => return Err(PeerErrorKind::TimedOut.into()),
            Way::Held => self.wait().await,
            _ => {}
        }
        let purged = self.node(to).purge(purge).await;
        match way {
            Way::AnswerLost => return Err(PeerErrorKind::TimedOut.into()),
            Way::AnswerHeld => self.wait().await,
            _ => {}
        }
        self.check(from, to)?;
        purged
    }

    fn note(&self, sent: &Sent<'_>) {
        let step = match &sent.purge.step {
            Step::Close { .. } => "close",
            Step::Open { value: None, .. } => "open",
            Step::Open { value: Some(_), .. } => "open with a value",
            Step::Tell { .. } => "tell",
        };
        let keys = match &sent.purge.keys {
            Keys::All => "all".to_owned(),
            Keys::These(keys) => keys.join(" "),
        };
        let line = format!("{}>{} {step} {keys}", sent.from, sent.to);
        self.log.lock().unwrap().push(line);
    }
}

struct WiresPeer {
    label: String,
    from: usize,
    to: usize,
    wires: Arc<Wires>,
}

impl Peer for WiresPeer {
    fn label(&self) -> &str {
        &self.label
    }

    fn ask(&self, request: Request, completion: Completion) {
        self.ask_many(vec![(request, completion)]);
    }

    fn ask_many(&self, questions: Vec<(Request, Completion)>) {
        let (from, to, wires) = (self.from, self.to, Arc::clone(&self.wires));
        let (requests, completions): (Vec<_>, Vec<_>) = questions.into_iter().unzip();
        if wires.ejected.lock().unwrap()[from].contains(&to) {
            let ejected = || Err(PeerErrorKind::Ejected.into());
            return completions.into_iter().for_each(|one| one.tell(ejected()));
        }
        let is_for_stand_in = requests.iter().any(|request| request.is_for_stand_in);
        let asked = Asked { from, to, keys: requests.len(), is_for_stand_in };
        wires.questions.lock().unwrap().push(asked);
        tokio::spawn(async move {
            let deadlines: Vec<_> = requests.iter().map(|request| request.deadline).collect();
            let replies = wires.hand_over(from, to, requests);
            for ((reply, deadline), completion) in
                replies.into_iter().zip(deadlines).zip(completions)
            {
                let wires = Arc::clone(&wires);
                tokio::spawn(async move {
                    let answer = wires.bring(from, to, reply);
                    let answer = timeout_at(Instant::from_std(deadline), answer).await;
                    completion.tell(answer.unwrap_or(Err(PeerErrorKind::TimedOut.into())));
                });
            }
        });
    }

    fn purge(&self, purge: Purge, completion: Completion<Purged>) {
        let (from, to, wires) = (self.from, self.to, Arc::clone(&self.wires));
        tokio::spawn(async move {
            let deadline = Instant::from_std(purge.deadline);
            let purged = timeout_at(deadline, wires.purge(from, to, purge)).await;
            completion.tell(purged.unwrap_or(Err(PeerErrorKind::TimedOut.into())));
        });
    }
}
