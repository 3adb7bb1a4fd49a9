//! Looks at former owners, and what a node that drains does.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use carrotcache::peer::{Completion, Fate, Keys, Member, Purge, Purged, Step};
use carrotcache::{
    Answer, Entry, Group, GroupBuilder, Handler, Node, Owner, Peer, PeerErrorKind, Picker, Request,
};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::rows::{Hand, Table};
use crate::support::{request, until};
use crate::transport::assert_sums;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// What a former owner does when it is looked at.
#[derive(Clone)]
enum Does {
    /// It has every key, as it is in this entry.
    Has(Entry),
    /// It has nothing.
    HasNone,
    /// It answers when the test does, by [`Former::told`].
    Waits,
    /// It cannot be reached.
    Fails,
}

/// The former owner of all keys, which a node asks to look and to forget.
struct Former {
    does: Mutex<Does>,
    incarnation: AtomicU64,
    /// The keys that it was looked at for.
    looked: Mutex<Vec<String>>,
    told: Mutex<Vec<Completion>>,
    /// Whether it cannot be told to forget.
    is_away: AtomicBool,
    /// Whether it is the present owner of all keys, and cannot be asked.
    is_owner: AtomicBool,
    changes: AtomicU64,
}

impl Former {
    fn new(does: Does) -> Arc<Self> {
        Arc::new(Self {
            does: Mutex::new(does),
            incarnation: AtomicU64::new(7),
            looked: Mutex::default(),
            told: Mutex::default(),
            is_away: AtomicBool::new(false),
            is_owner: AtomicBool::new(false),
            changes: AtomicU64::new(1),
        })
    }

    fn does(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    fn looks(&self) -> usize {
        self.looked.lock().unwrap().len()
    }

    /// Answers the look that has waited for longest.
    fn tell(&self, value: &str) {
        let completion = self.told.lock().unwrap().remove(0);
        completion.tell(Ok(Answer::new(value.to_owned())));
    }

    /// A group of a node that has come to own all keys.
    fn group(
        self: &Arc<Self>,
        table: &Table,
        hand: &Hand,
        configure: impl FnOnce(GroupBuilder) -> GroupBuilder,
    ) -> Group {
        let picker = Owns(Arc::clone(self));
        let node = Node::builder().peers(picker).clock(hand.clock(Duration::ZERO)).build();
        configure(node.group("rows").loader(table.clone())).build().unwrap()
    }
}

impl Peer for Former {
    fn label(&self) -> &'static str {
        "former"
    }

    fn ask(&self, _request: Request, completion: Completion) {
        completion.tell(Err(PeerErrorKind::Unreachable.into()));
    }

    fn look(&self, request: Request, completion: Completion) {
        self.looked.lock().unwrap().push(request.key.to_string());
        let incarnation = self.incarnation.load(Ordering::SeqCst);
        match self.does.lock().unwrap().clone() {
            Does::Has(entry) => {
                completion.tell(Ok(Answer::new(entry).with_incarnation(incarnation)));
            }
            Does::HasNone => completion.tell(Err(PeerErrorKind::NotCached.into())),
            Does::Fails => completion.tell(Err(PeerErrorKind::Unreachable.into())),
            Does::Waits => self.told.lock().unwrap().push(completion),
        }
    }

    fn purge(&self, purge: Purge, completion: Completion<Purged>) {
        if self.is_away.load(Ordering::SeqCst) {
            return completion.tell(Err(PeerErrorKind::Unreachable.into()));
        }
        let fate = match purge.step {
            Step::Close { .. } => Fate::Closed { token: 1 },
            Step::Open { .. } => Fate::Opened { stood: true, kept: false },
            Step::Tell { .. } => Fate::Told,
        };
        completion.tell(Ok(Purged::new(self.incarnation.load(Ordering::SeqCst), fate)));
    }
}

/// The transport of a node that owns all keys, which another owned before.
struct Owns(Arc<Former>);

impl Picker for Owns {
    fn owner(&self, _key: &str) -> Owner {
        match self.0.is_owner.load(Ordering::SeqCst) {
            true => Owner::Remote(Arc::clone(&self.0) as _),
            false => Owner::Local,
        }
    }

    fn peers(&self) -> Vec<Arc<dyn Peer>> {
        vec![Arc::clone(&self.0) as _]
    }

    fn former_owner(&self, _key: &str) -> Option<Arc<dyn Peer>> {
        Some(Arc::clone(&self.0) as _)
    }

    fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::SeqCst)
    }

    fn this_node(&self) -> Option<Member> {
        Some(Member { label: "this".into(), incarnation: 8 })
    }
}

fn same(group: GroupBuilder) -> GroupBuilder {
    group
}

#[tokio::test(start_paused = true)]
async fn what_the_former_owner_has_is_not_loaded_and_keeps_its_time() {
    let (table, hand) = (Table::new(), Hand::new());
    let former = Former::new(Does::Has(Entry::new("had").with_fresh_for(10 * SECOND)));
    let group = former.group(&table, &hand, |group| group.time_to_live(MINUTE));
    assert_eq!(group.get("Tom").await.unwrap(), "had");
    hand.advance(10 * SECOND - Duration::from_millis(1));
    assert_eq!(group.get("Tom").await.unwrap(), "had");
    assert_eq!((table.started(), former.looks()), (0, 1), "it is kept");
    former.does(Does::HasNone);
    hand.advance(Duration::from_millis(1));
    assert_eq!(group.get("Tom").await.unwrap(), "Tom v1", "its time is over");
    let stats = group.stats();
    assert_eq!((stats.looks, stats.handed_off, stats.local_loads), (2, 1, 1));
    assert_eq!((stats.main.items, stats.hot.items), (1, 0));
    assert_sums(&stats);
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_bounded_by_the_groups_time_to_live_and_what_is_no_fresh_value_is_not_taken() {
    let (table, hand) = (Table::new(), Hand::new());
    let former = Former::new(Does::Has(Entry::new("had")));
    let group = former.group(&table, &hand, |group| group.time_to_live(MINUTE));
    group.get("Tom").await.unwrap();
    hand.advance(MINUTE);
    assert!(group.peek("Tom").is_none());
    let stale = Entry::new("stale").with_fresh_for(Duration::ZERO).with_stale_for(MINUTE);
    for entry in [Entry::absent(), stale] {
        former.does(Does::Has(entry));
        table.update();
        let key = format!("key {}", former.looks());
        assert!(group.get(&key).await.unwrap().as_str().unwrap().starts_with("key"));
    }
    assert_eq!((group.stats().handed_off, table.started()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_look_takes_no_permit_and_all_who_ask_meanwhile_share_it() {
    let (table, hand, former) = (Table::new(), Hand::new(), Former::new(Does::Waits));
    let group = former.group(&table, &hand, |group| group.max_loads(1).max_waiting_loads(0));
    let get = |key: &'static str| {
        let group = group.clone();
        tokio::spawn(async move { group.get(key).await.unwrap() })
    };
    let looking = [get("Tom"), get("Tom"), get("Tom")];
    until(|| former.looks() == 1).await;
    former.does(Does::HasNone);
    assert_eq!(get("Jack").await.unwrap(), "Jack v1", "there is a permit, and no place to wait");
    former.tell("had");
    for got in looking {
        assert_eq!(got.await.unwrap(), "had");
    }
    assert_eq!((table.started(), former.looks()), (1, 2));
    assert_sums(&group.stats());
}

#[tokio::test(start_paused = true)]
async fn a_former_owner_that_is_silent_costs_three_loads_fifty_milliseconds_and_no_more() {
    let (table, hand, former) = (Table::new(), Hand::new(), Former::new(Does::Waits));
    let group = former.group(&table, &hand, same);
    for key in 0..10 {
        let begun = Instant::now();
        group.get(&key.to_string()).await.unwrap();
        let silence = if key < 3 { Duration::from_millis(50) } else { Duration::ZERO };
        // The timer of the runtime counts in whole milliseconds.
        assert!(begun.elapsed() <= silence + Duration::from_millis(1), "{:?}", begun.elapsed());
    }
    assert_eq!((former.looks(), table.started()), (3, 10));
    hand.advance(MINUTE);
    former.does(Does::Fails);
    group.get("later").await.unwrap();
    assert_eq!(former.looks(), 4, "it is tried again after a while");
    assert_sums(&group.stats());
}

#[tokio::test(start_paused = true)]
async fn looks_that_find_little_end_until_the_ring_changes() {
    let (table, hand, former) = (Table::new(), Hand::new(), Former::new(Does::HasNone));
    let group = former.group(&table, &hand, same);
    for key in 0..150 {
        group.get(&key.to_string()).await.unwrap();
    }
    assert_eq!((former.looks(), table.started()), (100, 150));
    former.changes.store(2, Ordering::SeqCst);
    former.does(Does::Has(Entry::new("had")));
    for key in 150..300 {
        assert_eq!(group.get(&key.to_string()).await.unwrap(), "had");
    }
    assert_eq!((former.looks(), table.started()), (250, 150));
}

#[tokio::test(start_paused = true)]
async fn a_look_that_a_remove_has_overtaken_is_kept_by_nobody() {
    let (table, hand, former) = (Table::new(), Hand::new(), Former::new(Does::Waits));
    let group = former.group(&table, &hand, same);
    let before = tokio::spawn({
        let group = group.clone();
        async move { group.get("Tom").await.unwrap() }
    });
    until(|| former.looks() == 1).await;
    group.remove("Tom").await.unwrap();
    former.does(Does::HasNone);
    let after = group.get("Tom").await.unwrap();
    former.tell("old");
    assert_eq!(before.await.unwrap(), "old", "it had asked before");
    assert_eq!(after, "Tom v1");
    assert_eq!(group.peek("Tom").unwrap(), "Tom v1");
}

#[tokio::test(start_paused = true)]
async fn a_former_owner_that_has_missed_a_remove_is_not_looked_at_and_a_new_one_is_not_believed() {
    let (table, hand) = (Table::new(), Hand::new());
    let former = Former::new(Does::Has(Entry::new("old")));
    let group = former.group(&table, &hand, same);
    former.is_away.store(true, Ordering::SeqCst);
    assert!(group.remove("Tom").await.is_err());
    assert_eq!(group.get("Tom").await.unwrap(), "Tom v1");
    assert_eq!(former.looks(), 0);

    former.is_away.store(false, Ordering::SeqCst);
    group.remove("Tom").await.unwrap();
    // There is time for it to be told, by both clocks.
    hand.advance(MINUTE);
    tokio::time::sleep(MINUTE).await;
    assert_eq!(group.stats().owed, 0);
    assert_eq!(group.get("Jack").await.unwrap(), "old", "it has been told");
    // Another process may have a value that was removed before it was known.
    former.incarnation.store(9, Ordering::SeqCst);
    assert_eq!(group.get("Sam").await.unwrap(), "Sam v1");
    assert_sums(&group.stats());
}

#[tokio::test(start_paused = true)]
async fn a_closed_key_is_neither_looked_for_nor_shown() {
    let (table, hand) = (Table::new(), Hand::new());
    let former = Former::new(Does::Has(Entry::new("had")));
    let node = Node::builder().peers(Owns(Arc::clone(&former))).clock(hand.clock(MINUTE)).build();
    let group = node.group("rows").loader(table).build().unwrap();
    group.get("Tom").await.unwrap();
    assert!(Handler::look(&node, "rows", "Tom").is_some());
    let deadline = (Instant::now() + MINUTE).into_std();
    let sender = Member { label: "former".into(), incarnation: 7 };
    let keys = Keys::These(vec!["Tom".into(), "Jack".into()]);
    let close = Purge::new("rows", keys, sender, Step::Close { attempt: 1 }, deadline);
    Handler::purge(&node, close).await.unwrap();
    let looks = former.looks();
    // What it loads now is not kept, and is not a former owner's.
    assert_eq!(group.get("Jack").await.unwrap(), "Jack v1");
    assert_eq!(former.looks(), looks);
    assert!(Handler::look(&node, "rows", "Tom").is_none());
    hand.advance(10 * SECOND);
    assert_eq!(group.get("Jack").await.unwrap(), "had", "the closure has lapsed");
}

#[tokio::test(start_paused = true)]
async fn a_load_because_the_owner_is_away_looks_nowhere_and_one_for_a_peer_at_the_owner() {
    let (table, hand) = (Table::new(), Hand::new());
    let former = Former::new(Does::Has(Entry::new("had")));
    former.is_owner.store(true, Ordering::SeqCst);
    let node = Node::builder().peers(Owns(Arc::clone(&former))).clock(hand.clock(MINUTE)).build();
    let group = node.group("rows").loader(table.clone()).build().unwrap();
    assert_eq!(group.get("Tom").await.unwrap(), "Tom v1");
    assert_eq!(former.looks(), 0);
    // A peer that asks here has another list: by that, this node is the owner now.
    let answer = node.answer(request("rows", "Jack")).await.unwrap();
    assert_eq!(answer.entry.into_value().unwrap(), "had");
    assert_eq!((former.looks(), table.started()), (1, 1));
    assert_sums(&group.stats());
}

#[tokio::test(start_paused = true)]
async fn a_batch_looks_for_its_keys_at_once_and_loads_the_rest_by_one_call() {
    let hand = Hand::new();
    let former = Former::new(Does::Waits);
    let node = Node::builder().peers(Owns(Arc::clone(&former))).clock(hand.clock(MINUTE)).build();
    let load_many = |keys: Vec<String>| async move {
        let values: HashMap<_, _> = keys.into_iter().map(|key| (key, "loaded")).collect();
        Ok::<_, Infallible>(values)
    };
    let group = node.group("rows").bulk_loader(load_many).build().unwrap();
    let getting = tokio::spawn({
        let group = group.clone();
        async move { group.get_many(["a", "b", "c"]).await }
    });
    until(|| former.looks() == 3).await;
    former.tell("had");
    former.told.lock().unwrap().remove(1).tell(Err(PeerErrorKind::NotCached.into()));
    former.told.lock().unwrap().remove(0).tell(Err(PeerErrorKind::NotCached.into()));
    let got: Vec<_> = getting.await.unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(got, ["had", "loaded", "loaded"]);
    let stats = group.stats();
    assert_eq!((stats.handed_off, stats.local_loads, stats.bulk_loads), (1, 2, 1));
    assert_sums(&stats);
}

#[tokio::test(start_paused = true)]
async fn a_look_is_shown_what_is_fresh_and_counts_as_nothing() {
    let cluster = Cluster::owned_by(0, 2, |group| {
        group.time_to_live(MINUTE).jitter(0.0).serve_stale(MINUTE).not_found_time_to_live(MINUTE)
    });
    cluster.get_everywhere("Tom").await;
    assert!(cluster.groups[0].get("missing").await.is_err());
    let before = [cluster.groups[0].stats(), cluster.groups[1].stats()];
    let node = cluster.node(0);
    let look = |key: &str| Handler::look(&node, "rows", key);
    cluster.hand.advance(10 * SECOND);
    let entry = look("Tom").expect("it has it").entry;
    assert_eq!(entry.fresh_for(), Some(50 * SECOND));
    assert_eq!(entry.into_value().unwrap(), "Tom v1");
    let nothing = ["missing", "Jack", ""].map(|key| look(key).is_none());
    assert!(nothing == [true; 3] && Handler::look(&node, "other", "Tom").is_none());
    cluster.hand.advance(50 * SECOND);
    assert!(look("Tom").is_none(), "it is stale");
    assert_eq!([cluster.groups[0].stats(), cluster.groups[1].stats()], before);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_drains_says_that_it_is_not_ready_and_goes_on() {
    let cluster = Cluster::owned_by(0, 2, same);
    let node = cluster.node(0);
    assert!(node.is_ready());
    let begun = Instant::now();
    node.drain_for(10 * SECOND).await;
    assert!(begun.elapsed() >= 10 * SECOND);
    assert!(!node.is_ready() && cluster.node(1).is_ready());
    assert_eq!(cluster.groups[1].get("Tom").await.unwrap(), "Tom v1", "it answers peers");
    assert_eq!(cluster.groups[0].get("Jack").await.unwrap(), "Jack v1");
    cluster.groups[0].remove("Tom").await.unwrap();
    node.clone().drain();
    assert!(!node.is_ready());
}
