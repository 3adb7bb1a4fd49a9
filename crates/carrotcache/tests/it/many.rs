//! Many keys at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use carrotcache::{GetError, Node};
use futures_util::FutureExt;
use futures_util::future::join_all;

use crate::bulk::{Rows, bulk_group, outcomes};
use crate::support::{Source, group_of, until};
use crate::transport::assert_sums;

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|key| key.to_string()).collect()
}

#[tokio::test]
async fn answers_come_in_the_order_asked_and_a_key_that_is_there_twice_is_loaded_once() {
    let source = Source::default();
    let group = group_of(source.clone());
    let answers = group.get_many(["b", "a", "missing", "b", "", "c"]).await;
    assert_eq!(outcomes(&answers), ["b!", "a!", "NotFound", "b!", "EmptyKey", "c!"]);
    assert_eq!((source.started(), source.calls_for("b")), (4, 1));
    let stats = group.stats();
    assert_eq!((stats.gets, stats.loads, stats.loads_deduped, stats.bulk_loads), (5, 5, 4, 0));
    assert_sums(&stats);
}

#[tokio::test]
async fn every_bad_key_has_its_own_error() {
    let group = group_of(Source::default());
    let long = "x".repeat(1_025);
    let answers = group.get_many(["", &long, "a"]).await;
    assert!(matches!(answers[0], Err(GetError::EmptyKey)));
    assert!(matches!(answers[1], Err(GetError::KeyTooLong { len: 1_025, max: 1_024, .. })));
    assert_eq!(answers[2].as_ref().unwrap(), "a!");
    assert!(group.get_many::<&str>([]).await.is_empty());
}

#[tokio::test]
async fn ten_thousand_keys_are_loaded_within_the_limits() {
    let running = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let counts = Arc::clone(&running);
    let loader = move |key: String| {
        let counts = Arc::clone(&counts);
        async move {
            let now = counts.0.fetch_add(1, Ordering::SeqCst) + 1;
            counts.1.fetch_max(now, Ordering::SeqCst);
            tokio::task::yield_now().await;
            counts.0.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, io::Error>(Some(key))
        }
    };
    let group = Node::new().group("numbers").loader(loader).max_loads(8).max_waiting_loads(1_000);
    let (group, keys) = (group.build().unwrap(), keys(10_000));
    assert_eq!(outcomes(&group.get_many(&keys).await), keys);
    assert_eq!(running.1.load(Ordering::SeqCst), 8);
    assert_sums(&group.stats());
}

#[tokio::test]
async fn ten_thousand_keys_are_ten_bulk_loads() {
    let rows = Rows::default();
    let group = bulk_group(&rows, |builder| builder);
    let values = keys(10_000).into_iter().map(|key| format!("{key}!"));
    assert_eq!(outcomes(&group.get_many(keys(10_000)).await), values.collect::<Vec<_>>());
    let sizes: Vec<_> = rows.calls().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1_000; 10]);
    assert_sums(&group.stats());
}

#[tokio::test]
async fn cached_keys_are_answered_at_once() {
    let group = group_of(Source::default());
    group.get_many(["a", "b"]).await;
    let answers = group.get_many(["b", "a"]).now_or_never().expect("nobody is waited for");
    assert_eq!(outcomes(&answers), ["b!", "a!"]);
}

#[tokio::test]
async fn gets_and_batches_join_each_other() {
    for is_bulk in [false, true] {
        let (source, rows) = (Source::gated(), Rows::gated());
        let group = bulk_group(&rows, |builder| builder.loader(source.clone()));
        let alone = group_of(source.clone());
        let group = if is_bulk { group } else { alone };
        let get = group.get("a");
        let many = group.get_many(["b", "a", "c"]);
        let (late, late_many) = (group.get("b"), group.get_many(["c", "a"]));
        tokio::pin!(get, many, late, late_many);
        assert!((&mut get).now_or_never().is_none());
        assert!((&mut many).now_or_never().is_none());
        assert!((&mut late).now_or_never().is_none());
        assert!((&mut late_many).now_or_never().is_none());
        source.release(3);
        rows.release(1);
        let (get, many, late, late_many) = tokio::join!(get, many, late, late_many);
        assert_eq!((get.unwrap(), late.unwrap()), ("a!".into(), "b!".into()));
        assert_eq!(outcomes(&many), ["b!", "a!", "c!"]);
        assert_eq!(outcomes(&late_many), ["c!", "a!"]);
        let stats = group.stats();
        assert_eq!((stats.loads, stats.local_loads), (7, 3), "each key was loaded once");
        assert_sums(&stats);
        if is_bulk {
            assert_eq!((source.started(), rows.calls()), (1, vec![vec!["b".into(), "c".into()]]));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn batches_of_the_same_keys_in_other_orders_do_not_wait_in_a_circle() {
    for is_bulk in [false, true] {
        let rows = Rows::default();
        let source = Source::default();
        let group = match is_bulk {
            true => bulk_group(&rows, |builder| builder),
            false => group_of(source.clone()),
        };
        for round in 0..100 {
            let forwards: Vec<_> = (0..20).map(|key| format!("{round} {key}")).collect();
            let backwards: Vec<_> = forwards.iter().rev().cloned().collect();
            let batches = (0..8).map(|batch| {
                let keys = if batch % 2 == 0 { forwards.clone() } else { backwards.clone() };
                let group = group.clone();
                tokio::spawn(async move { (group.get_many(&keys).await, keys) })
            });
            for batch in join_all(batches).await {
                let (answers, keys) = batch.unwrap();
                let values: Vec<_> = keys.iter().map(|key| format!("{key}!")).collect();
                assert_eq!(outcomes(&answers), values);
            }
        }
        let stats = group.stats();
        assert_eq!(stats.local_loads, 2_000, "each key was loaded once");
        assert_sums(&stats);
    }
}

#[tokio::test]
async fn a_batch_that_is_left_still_fills_the_cache() {
    for is_bulk in [false, true] {
        let (source, rows) = (Source::gated(), Rows::gated());
        let group = match is_bulk {
            true => bulk_group(&rows, |builder| builder),
            false => group_of(source.clone()),
        };
        assert!(group.get_many(["a", "b"]).now_or_never().is_none());
        source.release(2);
        rows.release(1);
        until(|| group.stats().main.items == 2).await;
        assert_eq!(outcomes(&group.get_many(["a", "b"]).await), ["a!", "b!"]);
        assert_eq!(group.stats().local_loads, 2);
    }
}

#[test]
fn a_batch_survives_the_runtime_that_its_loads_run_on() {
    let rows = Rows::gated();
    let dying = tokio::runtime::Runtime::new().unwrap();
    let node = Node::builder().runtime(dying.handle().clone()).build();
    let group = node.group("numbers").bulk_loader(rows.clone()).build().unwrap();
    let surviving = tokio::runtime::Runtime::new().unwrap();
    let many = surviving.spawn({
        let group = group.clone();
        async move { outcomes(&group.get_many(["a", "b"]).await) }
    });
    surviving.block_on(until(|| rows.calls().len() == 1));
    dying.shutdown_timeout(Duration::from_secs(10));
    surviving.block_on(until(|| rows.calls().len() == 2));
    rows.release(1);
    assert_eq!(surviving.block_on(many).unwrap(), ["a!", "b!"]);
    assert_eq!(rows.calls(), [["a", "b"], ["a", "b"]]);
    let stats = group.stats();
    assert_eq!((stats.local_load_errs, stats.local_loads), (2, 2));
    assert_sums(&stats);
}

#[test]
fn without_a_runtime_each_key_says_so() {
    let group = group_of(Source::default());
    let answers = group.get_many(["a", "", "b"]).now_or_never().unwrap();
    assert_eq!(outcomes(&answers), ["NoRuntime", "EmptyKey", "NoRuntime"]);
}

#[tokio::test]
async fn a_task_may_get_and_remove_keys_that_it_maps_as_it_goes() {
    let loader = |key: String| async move { Ok::<_, std::io::Error>(Some(key)) };
    let group = Node::new().group("numbers").loader(loader).build().unwrap();
    let task = tokio::spawn(async move {
        let ids = [1, 2, 3];
        let found = group.get_many(ids.iter().map(|id| format!("row {id}"))).await;
        let names: Vec<String> = ids.iter().map(|id| format!("row {id}")).collect();
        group.remove_many(names.iter().map(|name| name.as_str())).await.unwrap();
        (found.len(), group.stats().main.items)
    });
    assert_eq!(task.await.unwrap(), (3, 0));
}
