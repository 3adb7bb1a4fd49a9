//! The bulk loader: what it is called with, and what comes of its answers.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use carrotcache::{BulkLoader, ByteView, GetError, Group, GroupBuilder, Loaded, Node};
use futures_util::FutureExt;
use tokio::sync::Semaphore;

use crate::support::{Source, until};
use crate::transport::assert_sums;

/// A bulk loader that answers `{key}!`, notes what it was called with, and can be held.
///
/// Of keys that begin with `missing` it knows nothing, and `bad` ones fail by themselves. If one is
/// called `failing`, `panicking` or `endless`, that befalls them all.
#[derive(Clone, Default)]
pub(crate) struct Rows {
    calls: Arc<Mutex<Vec<Vec<String>>>>,
    running: Arc<AtomicUsize>,
    most_running: Arc<AtomicUsize>,
    gate: Option<Arc<Semaphore>>,
}

impl Rows {
    /// Rows whose calls wait until they are released.
    pub(crate) fn gated() -> Self {
        Self { gate: Some(Arc::new(Semaphore::new(0))), ..Self::default() }
    }

    pub(crate) fn release(&self, calls: usize) {
        self.gate.as_ref().unwrap().add_permits(calls);
    }

    /// Returns the keys of each call, in order.
    pub(crate) fn calls(&self) -> Vec<Vec<String>> {
        let mut calls = self.calls.lock().unwrap().clone();
        calls.iter_mut().for_each(|keys| keys.sort());
        calls
    }

    /// Returns how often a key was asked for.
    pub(crate) fn calls_for(&self, key: &str) -> usize {
        self.calls().iter().flatten().filter(|of| *of == key).count()
    }

    /// Returns the most calls that ever ran at the same time.
    pub(crate) fn most_running(&self) -> usize {
        self.most_running.load(Ordering::SeqCst)
    }
}

impl BulkLoader for Rows {
    type Value = Loaded;
    type Answer = HashMap<String, Loaded>;
    type Error = io::Error;

    async fn load_many(&self, keys: Vec<String>) -> io::Result<HashMap<String, Loaded>> {
        self.calls.lock().unwrap().push(keys.clone());
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_running.fetch_max(running, Ordering::SeqCst);
        match &self.gate {
            Some(gate) => gate.acquire().await.unwrap().forget(),
            None => tokio::task::yield_now().await,
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        let is_there = |name: &str| keys.iter().any(|key| key == name);
        if is_there("failing") {
            return Err(io::Error::other("the database is away"));
        }
        assert!(!is_there("panicking"), "no such luck");
        if is_there("endless") {
            std::future::pending::<()>().await;
        }
        let row = |key: String| match key.starts_with("bad") {
            true => (key, Loaded::from(Err::<String, _>("the row is broken"))),
            false => (key.clone(), Loaded::from(Ok::<_, io::Error>(format!("{key}!")))),
        };
        Ok(keys.into_iter().filter(|key| !key.starts_with("missing")).map(row).collect())
    }
}

/// A group `numbers` on a node that is alone, which has a bulk loader alone.
pub(crate) fn bulk_group(rows: &Rows, set: impl Fn(GroupBuilder) -> GroupBuilder) -> Group {
    set(Node::new().group("numbers").bulk_loader(rows.clone())).build().unwrap()
}

/// Returns how each key fared, in a word or as its value.
pub(crate) fn outcomes(answers: &[Result<ByteView, GetError>]) -> Vec<String> {
    let outcome = |answer: &Result<ByteView, GetError>| match answer {
        Ok(value) => value.as_str().unwrap().to_owned(),
        Err(error) => format!("{error:?}").split([' ', '{']).next().unwrap().to_owned(),
    };
    answers.iter().map(outcome).collect()
}

#[tokio::test]
async fn all_that_is_missed_is_one_call_and_what_is_cached_is_not_part_of_it() {
    let rows = Rows::default();
    let group = bulk_group(&rows, |builder| builder.loader(Source::default()));
    group.get("b").await.unwrap();
    let answers = group.get_many(["c", "b", "a", "c"]).await;
    assert_eq!(outcomes(&answers), ["c!", "b!", "a!", "c!"]);
    assert_eq!(rows.calls(), [["a", "c"]]);
    let stats = group.stats();
    assert_eq!((stats.gets, stats.loads, stats.loads_deduped), (5, 4, 3), "`c` is there twice");
    assert_eq!((stats.local_loads, stats.bulk_loads), (3, 1));
    assert_sums(&stats);
}

#[tokio::test]
async fn a_group_may_do_without_a_loader_of_single_keys() {
    let rows = Rows::default();
    let group = bulk_group(&rows, |builder| builder);
    assert_eq!(group.get("a").await.unwrap(), "a!");
    assert!(group.get("missing").await.unwrap_err().is_not_found());
    assert!(matches!(group.get("bad").await, Err(GetError::LoadFailed { .. })));
    assert_eq!(rows.calls(), [["a"], ["missing"], ["bad"]]);
    let stats = group.stats();
    assert_eq!((stats.bulk_loads, stats.local_loads, stats.local_load_errs), (3, 2, 1));
    assert_sums(&stats);
}

#[tokio::test]
async fn with_both_loaders_a_get_is_for_the_one_and_many_for_the_other() {
    let (source, rows) = (Source::default(), Rows::default());
    let group = bulk_group(&rows, |builder| builder.loader(source.clone()));
    group.get("a").await.unwrap();
    group.get_many(["b"]).await.pop().unwrap().unwrap();
    assert_eq!(
        (source.calls_for("a"), source.started(), rows.calls()),
        (1, 1, vec![vec!["b".into()]])
    );
}

#[tokio::test]
async fn what_goes_wrong_with_one_key_touches_no_other() {
    let rows = Rows::default();
    let group = bulk_group(&rows, |builder| builder);
    let answers = group.get_many(["a", "bad", "missing", "b"]).await;
    assert_eq!(outcomes(&answers), ["a!", "LoadFailed", "NotFound", "b!"]);
    let error = answers[1].as_ref().unwrap_err();
    assert_eq!(std::error::Error::source(error).unwrap().to_string(), "the row is broken");
    let stats = group.stats();
    assert_eq!((stats.local_loads, stats.local_load_errs, stats.not_found), (3, 1, 1));
    assert_eq!(stats.main.items, 2);
    assert_sums(&stats);
}

#[tokio::test(start_paused = true)]
async fn what_befalls_the_call_befalls_each_of_its_keys() {
    for (key, outcome) in
        [("failing", "LoadFailed"), ("panicking", "LoadPanicked"), ("endless", "TimedOut")]
    {
        let rows = Rows::default();
        let group = bulk_group(&rows, |builder| builder);
        let answers = group.get_many(["a", key, "b"]).await;
        assert_eq!(outcomes(&answers), [outcome; 3]);
        let stats = group.stats();
        assert_eq!((stats.local_load_errs, stats.bulk_loads), (3, 1), "{key}");
        assert_sums(&stats);
        // The keys can be tried again at once.
        assert_eq!(outcomes(&group.get_many(["a", "b"]).await), ["a!", "b!"]);
    }
}

#[tokio::test]
async fn an_answer_is_matched_by_key_whatever_else_is_in_it() {
    let answer = [("b", "1"), ("unasked", "2"), ("a", "3"), ("b", "4")];
    let loader = move |_: Vec<String>| async move {
        let pairs = answer.iter().map(|(key, value)| ((*key).to_owned(), *value));
        Ok::<Vec<_>, io::Error>(pairs.collect())
    };
    let group = Node::new().group("numbers").bulk_loader(loader).build().unwrap();
    assert_eq!(outcomes(&group.get_many(["a", "b", "c"]).await), ["3", "4", "NotFound"]);
    assert!(group.get_cached("unasked").is_none(), "nobody asked for it");
    assert_eq!(group.get("b").await.unwrap(), "4");
    let alone = Node::new().group("numbers").bulk_loader(loader).build().unwrap();
    assert_eq!(alone.get("b").await.unwrap(), "4", "the last counts for a single key too");
}

#[tokio::test]
async fn a_bulk_load_takes_one_permit_and_its_keys_are_refused_together() {
    let rows = Rows::gated();
    let group = bulk_group(&rows, |builder| builder.max_loads(1).max_waiting_loads(1));
    let get_many = |keys: [&'static str; 2]| {
        let group = group.clone();
        tokio::spawn(async move { outcomes(&group.get_many(keys).await) })
    };
    let first = get_many(["a", "b"]);
    until(|| rows.calls().len() == 1).await;
    let second = get_many(["c", "d"]);
    until(|| group.stats().waiting_loads == 1).await;
    assert_eq!(get_many(["e", "f"]).await.unwrap(), ["Overloaded"; 2]);
    assert_eq!(rows.calls().len(), 1, "the second waits for its turn");
    rows.release(2);
    assert_eq!(first.await.unwrap(), ["a!", "b!"]);
    assert_eq!(second.await.unwrap(), ["c!", "d!"]);
    let stats = group.stats();
    assert_eq!((stats.loads_refused, stats.local_loads, stats.bulk_loads), (2, 4, 2));
    assert_eq!((rows.most_running(), stats.waiting_loads), (1, 0));
    assert_sums(&stats);
}

#[tokio::test(start_paused = true)]
async fn a_bulk_load_waits_for_its_turn_no_longer_than_a_load_may_take() {
    let rows = Rows::gated();
    let timeout = Duration::from_secs(3);
    let group = bulk_group(&rows, |builder| builder.max_loads(1).load_timeout(timeout));
    let first = group.get_many(["a", "b"]);
    let second = async {
        until(|| rows.calls().len() == 1).await;
        group.get_many(["c", "d"]).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(
        (outcomes(&first), outcomes(&second)),
        (vec!["TimedOut".into(); 2], vec!["Overloaded".into(); 2])
    );
    assert_sums(&group.stats());
}

#[tokio::test]
async fn a_bulk_load_that_everybody_has_left_does_not_run_when_its_turn_comes() {
    let rows = Rows::gated();
    let group = bulk_group(&rows, |builder| builder.max_loads(1));
    let first = group.get_many(["a"]);
    tokio::pin!(first);
    assert!((&mut first).now_or_never().is_none());
    assert!(group.get_many(["b", "c"]).now_or_never().is_none(), "it is dropped here");
    until(|| group.stats().waiting_loads == 1).await;
    rows.release(1);
    assert_eq!(outcomes(&first.await), ["a!"]);
    until(|| group.stats().waiting_loads == 0).await;
    assert_eq!(rows.calls(), [["a"]]);
    let stats = group.stats();
    assert_eq!(stats.loads_refused, 2);
    assert_sums(&stats);
    rows.release(1);
    assert_eq!(outcomes(&group.get_many(["b"]).await), ["b!"]);
}

/// A group whose loads of keys that begin with `outer` get the `inner` ones within, by `get_many`.
fn nested_group(rows: &Rows, inner: &'static [&'static str]) -> (Group, Node) {
    let node = Node::new();
    let (again, rows) = (node.clone(), rows.clone());
    let loader = move |keys: Vec<String>| {
        let (node, rows) = (again.clone(), rows.clone());
        async move {
            if keys.iter().any(|key| key.starts_with("outer")) {
                let inner = node.find("nested").unwrap().get_many(inner).await;
                let inner = outcomes(&inner).join(" ");
                let answers = keys
                    .into_iter()
                    .map(|key| (key, Loaded::from(Ok::<_, GetError>(inner.clone()))));
                return Ok(answers.collect());
            }
            rows.load_many(keys).await
        }
    };
    let group = node.group("nested").max_loads(1).bulk_loader(loader).build().unwrap();
    (group, node)
}

#[tokio::test]
async fn a_bulk_load_within_a_bulk_load_needs_no_permit() {
    let rows = Rows::default();
    let (group, _node) = nested_group(&rows, &["a", "b"]);
    let answers = group.get_many(["outer 1", "outer 2"]).await;
    assert_eq!(outcomes(&answers), ["a! b!"; 2]);
    assert_eq!(rows.calls(), [["a", "b"]]);
}

#[tokio::test]
async fn whoever_waits_for_one_key_within_a_load_makes_the_whole_bulk_load_go() {
    let rows = Rows::default();
    let gate = Arc::new(Semaphore::new(0));
    let node = Node::new();
    let loader = {
        let (node, gate) = (node.clone(), Arc::clone(&gate));
        move |_: String| {
            let (group, gate) = (node.find("nested").unwrap(), Arc::clone(&gate));
            async move {
                gate.acquire().await.unwrap().forget();
                group.get_many(["a"]).await.pop().unwrap().map(Some)
            }
        }
    };
    let group = node.group("nested").max_loads(1).loader(loader).bulk_loader(rows.clone());
    let group = group.build().unwrap();
    let outer = group.get("outer");
    let queued = group.get_many(["a", "b"]);
    tokio::pin!(outer, queued);
    assert!((&mut outer).now_or_never().is_none(), "it has the one permit");
    assert!((&mut queued).now_or_never().is_none());
    until(|| group.stats().waiting_loads == 1).await;
    gate.add_permits(1);
    let (outer, queued) = tokio::join!(outer, queued);
    assert_eq!(
        (outer.unwrap().as_str().unwrap(), outcomes(&queued)),
        ("a!", vec!["a!".into(), "b!".into()])
    );
    assert_eq!(rows.calls(), [["a", "b"]]);
    assert_sums(&group.stats());
}

#[tokio::test]
async fn a_bulk_load_that_asks_for_its_own_key_is_told_so() {
    let rows = Rows::default();
    let (group, _node) = nested_group(&rows, &["a", "outer 2"]);
    let answers = group.get_many(["outer 1", "outer 2"]).await;
    assert_eq!(outcomes(&answers), ["a! Reentrant"; 2]);
}

#[tokio::test]
async fn a_key_that_is_removed_while_the_bulk_load_runs_is_not_kept_and_the_others_are() {
    let rows = Rows::gated();
    let group = bulk_group(&rows, |builder| builder);
    let early = group.get_many(["a", "b", "c"]);
    tokio::pin!(early);
    assert!((&mut early).now_or_never().is_none());
    group.remove("b").await.unwrap();
    let late = group.get("b");
    tokio::pin!(late);
    assert!((&mut late).now_or_never().is_none(), "it does not join what began before the remove");
    rows.release(1);
    assert_eq!(outcomes(&early.await), ["a!", "b!", "c!"]);
    assert!(group.peek("a").is_some() && group.peek("c").is_some());
    assert!(group.peek("b").is_none());
    rows.release(1);
    assert_eq!(late.await.unwrap(), "b!");
    assert_eq!((rows.calls_for("a"), rows.calls_for("b")), (1, 2));
    assert_sums(&group.stats());
}

#[tokio::test]
async fn times_to_live_hold_for_each_key() {
    let now = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&now);
    let node =
        Node::builder().clock(move || Duration::from_secs(clock.load(Ordering::SeqCst))).build();
    let rows = Rows::default();
    let minute = Duration::from_secs(60);
    let group = node.group("numbers").bulk_loader(rows.clone()).jitter(0.0);
    let group = group.time_to_live(minute).stale_if_error(minute).not_found_time_to_live(minute);
    let group = group.build().unwrap();
    group.get_many(["a", "b", "missing"]).await;
    now.store(59, Ordering::SeqCst);
    group.get_many(["a", "b", "missing"]).await;
    assert_eq!(rows.calls().len(), 1, "what is not there is remembered too");
    now.store(60, Ordering::SeqCst);
    let answers = group.get_many(["a", "failing", "b", "missing"]).await;
    assert_eq!(
        outcomes(&answers),
        ["a!", "LoadFailed", "b!", "LoadFailed"],
        "what is stale will do"
    );
    let stats = group.stats();
    assert_eq!((rows.calls().len(), stats.stale_if_error), (2, 2));
    assert_sums(&stats);
}

#[test]
fn what_came_into_the_cache_before_the_bulk_load_began_is_not_loaded() {
    // Nobody drives the runtime yet, so the bulk load does not begin.
    let home = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let node = Node::builder().runtime(home.handle().clone()).build();
    let rows = Rows::default();
    let group = node.group("numbers").bulk_loader(rows.clone()).build().unwrap();
    let many = group.get_many(["a", "b"]);
    tokio::pin!(many);
    assert!((&mut many).now_or_never().is_none());
    group.set("a", "set").now_or_never().expect("a node alone asks nobody").unwrap();
    assert_eq!(outcomes(&home.block_on(many)), ["set", "b!"]);
    assert_eq!(rows.calls(), [["b"]]);
    let stats = group.stats();
    assert_eq!((stats.cache_hits, stats.loads_deduped), (1, 1));
    assert_sums(&stats);
}

#[test]
fn loads_whose_runtime_ends_while_they_wait_for_their_turn_keep_the_sums() {
    let rows = Rows::gated();
    // Of one thread: no caller gets another turn while the others are dropped, and starts anew.
    let dying = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let node = Node::builder().runtime(dying.handle().clone()).build();
    let group = node.group("numbers").bulk_loader(rows.clone()).max_loads(1).build().unwrap();
    let get_many = |keys: &'static [&'static str]| {
        let group = group.clone();
        dying.spawn(async move { group.get_many(keys).await })
    };
    drop(get_many(&["a", "b"]));
    dying.block_on(until(|| rows.calls().len() == 1));
    drop(get_many(&["c", "d"]));
    let single = group.clone();
    drop(dying.spawn(async move { single.get("e").await }));
    dying.block_on(until(|| group.stats().waiting_loads == 2));
    dying.shutdown_timeout(Duration::from_secs(10));
    let stats = group.stats();
    assert_eq!((stats.local_load_errs, stats.loads_refused, stats.waiting_loads), (2, 3, 0));
    assert_sums(&stats);
}
