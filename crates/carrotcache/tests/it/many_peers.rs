//! Many keys at once between nodes: one question to each owner, one load there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use carrotcache::peer::Completion;
use carrotcache::{
    Answer, BulkLoader, Group, GroupBuilder, Handler, Node, Owner, Peer, PeerErrorKind, Picker,
    Request,
};
use futures_util::FutureExt;
use futures_util::future::join_all;

use crate::bulk::{Rows, outcomes};
use crate::support::{Source, request, until};
use crate::transport::assert_sums;

/// Nodes that hand each other what was asked for at once; a key belongs to the node of its first
/// letter.
struct Cluster {
    groups: Vec<Group>,
    rows: Vec<Rows>,
    wires: Arc<Wires>,
}

#[derive(Default)]
struct Wires {
    nodes: OnceLock<Vec<Node>>,
    /// How many keys each question was for, by the node that was asked.
    asked: Mutex<Vec<(usize, usize)>>,
    is_cut: AtomicBool,
}

const LETTERS: &str = "abc";

impl Cluster {
    fn new(set: impl Fn(GroupBuilder, &Rows) -> GroupBuilder) -> Self {
        let wires = Arc::<Wires>::default();
        let rows: Vec<Rows> = LETTERS.chars().map(|_| Rows::default()).collect();
        let node = |me| Node::builder().peers(Letters { me, wires: Arc::clone(&wires) }).build();
        let nodes: Vec<Node> = (0..LETTERS.len()).map(node).collect();
        let groups = nodes.iter().zip(&rows);
        let groups = groups.map(|(node, rows)| set(node.group("numbers"), rows).build().unwrap());
        let groups = groups.collect();
        wires.nodes.set(nodes).ok().unwrap();
        Self { groups, rows, wires }
    }

    fn asked(&self) -> Vec<(usize, usize)> {
        let mut asked = self.wires.asked.lock().unwrap().clone();
        asked.sort_unstable();
        asked
    }
}

struct Letters {
    me: usize,
    wires: Arc<Wires>,
}

impl Picker for Letters {
    fn owner(&self, key: &str) -> Owner {
        let node = LETTERS.find(&key[..1]).unwrap();
        if node == self.me {
            return Owner::Local;
        }
        let label = LETTERS[node..=node].to_owned();
        // A handle of its own each time, as a transport may return it.
        Owner::Remote(Arc::new(Wire { label, node, wires: Arc::clone(&self.wires) }))
    }

    fn peers(&self) -> Vec<Arc<dyn Peer>> {
        Vec::new()
    }
}

struct Wire {
    label: String,
    node: usize,
    wires: Arc<Wires>,
}

impl Peer for Wire {
    fn label(&self) -> &str {
        &self.label
    }

    fn ask(&self, request: Request, completion: Completion) {
        self.ask_many(vec![(request, completion)]);
    }

    fn ask_many(&self, questions: Vec<(Request, Completion)>) {
        let (requests, completions): (Vec<_>, Vec<_>) = questions.into_iter().unzip();
        self.wires.asked.lock().unwrap().push((self.node, requests.len()));
        let wires = Arc::clone(&self.wires);
        let node = self.node;
        tokio::spawn(async move {
            if wires.is_cut.load(Ordering::SeqCst) {
                for completion in completions {
                    completion.tell(Err(PeerErrorKind::Unreachable.into()));
                }
                return;
            }
            let replies = wires.nodes.get().unwrap()[node].answer_many(requests);
            for (completion, reply) in completions.into_iter().zip(replies) {
                tokio::spawn(async move { completion.tell(reply.await) });
            }
        });
    }
}

#[tokio::test]
async fn each_owner_is_asked_once_and_loads_once() {
    let cluster = Cluster::new(|builder, rows| builder.bulk_loader(rows.clone()));
    let asked = ["b1", "a1", "c1", "b0", "a2", "c2", "b2", "b1"];
    let answers = cluster.groups[0].get_many(asked).await;
    let values: Vec<_> = asked.iter().map(|key| format!("{key}!")).collect();
    assert_eq!(outcomes(&answers), values);
    assert_eq!(cluster.asked(), [(1, 3), (2, 2)]);
    let calls: Vec<_> = cluster.rows.iter().map(Rows::calls).collect();
    let expected = [vec!["a1", "a2"], vec!["b0", "b1", "b2"], vec!["c1", "c2"]];
    assert_eq!(calls, expected.map(|keys| vec![keys]));
    let stats = cluster.groups[0].stats();
    assert_eq!((stats.peer_loads, stats.local_loads, stats.gets), (5, 2, 8));
    assert_eq!(cluster.groups[1].stats().server_requests, 3);
    cluster.groups.iter().for_each(|group| assert_sums(&group.stats()));
}

#[tokio::test]
async fn ten_thousand_keys_of_a_peer_are_asked_for_by_the_thousand() {
    let cluster = Cluster::new(|builder, rows| builder.bulk_loader(rows.clone()));
    let keys: Vec<_> = (0..10_000).map(|key| format!("b{key}")).collect();
    let answers = cluster.groups[0].get_many(&keys).await;
    assert!(
        answers
            .iter()
            .zip(&keys)
            .all(|(answer, key)| *answer.as_ref().unwrap() == *format!("{key}!"))
    );
    assert_eq!(cluster.asked(), [(1, 1_000); 10]);
    assert_eq!(cluster.rows[1].calls().len(), 10);
}

#[tokio::test]
async fn an_owner_that_cannot_be_asked_costs_one_bulk_load_here() {
    let cluster = Cluster::new(|builder, rows| builder.bulk_loader(rows.clone()));
    cluster.wires.is_cut.store(true, Ordering::SeqCst);
    let answers = cluster.groups[0].get_many(["b1", "a1", "b2", "b bad"]).await;
    assert_eq!(outcomes(&answers), ["b1!", "a1!", "b2!", "b bad!"]);
    assert_eq!(cluster.rows[0].calls(), [vec!["a1"], vec!["b bad", "b1", "b2"]]);
    let stats = cluster.groups[0].stats();
    assert_eq!((stats.peer_errors, stats.local_loads, stats.bulk_loads), (3, 4, 2));
    assert_eq!((stats.hot.items, stats.main.items), (3, 1), "what is another's is kept in hot");
    assert_sums(&stats);
}

#[tokio::test]
async fn without_a_bulk_loader_an_owner_that_cannot_be_asked_costs_a_load_a_key() {
    let source = Source::default();
    let cluster = Cluster::new(|builder, _| builder.loader(source.clone()));
    cluster.wires.is_cut.store(true, Ordering::SeqCst);
    let answers = cluster.groups[0].get_many(["b1", "b2"]).await;
    assert_eq!(outcomes(&answers), ["b1!", "b2!"]);
    assert_eq!(source.started(), 2);
    assert_sums(&cluster.groups[0].stats());
}

#[tokio::test]
async fn forwards_of_a_batch_and_of_gets_join_each_other() {
    let rows = Rows::gated();
    let cluster = Cluster::new(|builder, _| builder.bulk_loader(rows.clone()));
    let group = &cluster.groups[0];
    let (get, many, late) = (group.get("b1"), group.get_many(["b2", "b1"]), group.get("b2"));
    tokio::pin!(get, many, late);
    assert!((&mut get).now_or_never().is_none());
    assert!((&mut many).now_or_never().is_none());
    assert!((&mut late).now_or_never().is_none());
    rows.release(2);
    let (get, many, late) = tokio::join!(get, many, late);
    assert_eq!((get.unwrap(), late.unwrap()), ("b1!".into(), "b2!".into()));
    assert_eq!(outcomes(&many), ["b2!", "b1!"]);
    assert_eq!(cluster.asked(), [(1, 1), (1, 1)]);
    assert_eq!(rows.calls().len(), 2);
}

#[tokio::test]
async fn many_within_a_load_do_not_wait_for_what_is_queued_at_their_owner() {
    let busy = Rows::gated();
    // The loader of `outer` gets a key of `b`; that of `busy` is held and has the one permit of `b`.
    let outer: Arc<OnceLock<Group>> = Arc::default();
    let cluster = Cluster::new(|builder, rows| {
        let (outer, busy) = (Arc::clone(&outer), busy.clone());
        let loader = move |key: String| {
            let (outer, busy) = (Arc::clone(&outer), busy.clone());
            async move {
                match &*key {
                    "a outer" => {
                        let inner = outer.get().unwrap().get_many(["b1"]).await.pop().unwrap();
                        Ok::<_, std::io::Error>(inner.ok())
                    }
                    _ => {
                        busy.load_many(vec![key]).await?;
                        Ok(None)
                    }
                }
            }
        };
        builder.loader(loader).bulk_loader(rows.clone()).max_loads(1)
    });
    let (asker, owner) = (&cluster.groups[0], &cluster.groups[1]);
    outer.set(asker.clone()).ok().unwrap();
    let held = owner.get("b busy");
    let queued = asker.get_many(["b1", "b2"]);
    tokio::pin!(held, queued);
    assert!((&mut held).now_or_never().is_none());
    assert!((&mut queued).now_or_never().is_none());
    until(|| owner.stats().waiting_loads == 1).await;
    assert_eq!(asker.get("a outer").await.unwrap(), "b1!");
    assert_eq!(outcomes(&queued.await), ["b1!", "b2!"]);
    assert_eq!(cluster.rows[1].calls(), [["b1", "b2"]]);
    assert_eq!(cluster.asked(), [(1, 1), (1, 2)]);
    busy.release(1);
    held.await.unwrap_err();
    cluster.groups.iter().for_each(|group| assert_sums(&group.stats()));
}

#[tokio::test]
async fn requests_that_come_together_are_loaded_at_once_and_answered_each_when_it_is_there() {
    let (source, rows) = (Source::gated(), Rows::gated());
    let node = Node::new();
    let group = node.group("numbers").loader(source.clone()).bulk_loader(rows.clone());
    let group = group.build().unwrap();
    let slow = group.get("slow");
    tokio::pin!(slow);
    assert!((&mut slow).now_or_never().is_none());
    let asked = ["slow", "a", "", "missing", "a"].map(|key| request("numbers", key));
    let mut replies = node.answer_many(asked.to_vec()).into_iter();
    until(|| rows.calls().len() == 1).await;
    assert_eq!(rows.calls(), [["a", "missing"]], "what a get loads already is waited for");
    let slow_reply = replies.next().unwrap();
    tokio::pin!(slow_reply);
    rows.release(1);
    assert_eq!(replies.next().unwrap().await.unwrap(), Answer::new("a!"));
    assert_eq!(replies.next().unwrap().await.unwrap_err().kind, PeerErrorKind::BadRequest);
    assert!(replies.next().unwrap().await.unwrap().entry.value().is_none());
    assert_eq!(replies.next().unwrap().await.unwrap(), Answer::new("a!"));
    assert!((&mut slow_reply).now_or_never().is_none());
    source.release(1);
    assert_eq!(slow_reply.await.unwrap(), Answer::new("slow!"));
    let stats = group.stats();
    assert_eq!((stats.server_requests, stats.gets, stats.loads, stats.local_loads), (4, 5, 5, 3));
    assert_sums(&stats);
    // Now they are cached, and each is answered at once.
    let replies = node.answer_many(vec![request("numbers", "a"), request("numbers", "slow")]);
    assert!(replies.into_iter().all(|reply| reply.now_or_never().is_some()));
}

#[tokio::test]
async fn requests_within_loads_of_their_askers_do_not_wait_for_their_turn() {
    let rows = Rows::gated();
    let node = Node::new();
    let group = node.group("numbers").bulk_loader(rows.clone()).max_loads(1).build().unwrap();
    let first = group.get_many(["first"]);
    tokio::pin!(first);
    assert!((&mut first).now_or_never().is_none());
    let asked = ["a", "b", "c"].map(|key| request("numbers", key).with_nested(key != "b"));
    let replies = node.answer_many(asked.to_vec());
    until(|| rows.calls().len() == 2).await;
    assert_eq!(rows.calls()[1], ["a", "c"]);
    until(|| group.stats().waiting_loads == 1).await;
    rows.release(3);
    let answers = join_all(replies).await;
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
    assert_eq!(rows.calls()[2], ["b"]);
}

#[tokio::test]
async fn requests_for_several_groups_are_answered_each_by_its_own() {
    let node = Node::new();
    for name in ["one", "two"] {
        node.group(name).bulk_loader(Rows::default()).build().unwrap();
    }
    let asked = [("one", "a"), ("two", "b"), ("three", "c")];
    let replies = node.answer_many(asked.iter().map(|(group, key)| request(group, key)).collect());
    let answers = join_all(replies).await;
    assert_eq!(answers[0].as_ref().unwrap(), &Answer::new("a!"));
    assert_eq!(answers[1].as_ref().unwrap(), &Answer::new("b!"));
    assert_eq!(answers[2].as_ref().unwrap_err().kind, PeerErrorKind::NoSuchGroup);
    assert!(node.answer_many(Vec::new()).is_empty());
}
