//! What only a server can do: refuse, lose connections, hang, count.

use std::sync::Arc;
use std::time::{Duration, Instant};

use carrotcache::Node;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::refusals::{assert_mentions, refusal};
use super::{Fixture, Kind};
use crate::db::QueryError;

super::over_each_server!(
    a_wrong_password_is_refused,
    an_unknown_database_is_refused,
    cut_connections_heal,
    a_query_that_hangs_times_out,
    fifty_gets_of_one_key_cost_one_query,
);

async fn a_wrong_password_is_refused(kind: Kind) {
    let server = kind.server();
    let (front, host) = server.rsplit_once('@').unwrap();
    let user = front.rsplit_once(':').unwrap().0;
    let text = refusal(&format!("{user}:geheim@{host}/mysql")).await;
    assert_mentions(&text, &[&format!("{user}:***@{host}"), "check the user and the password"]);
}

async fn an_unknown_database_is_refused(kind: Kind) {
    let text = refusal(&format!("{}/no_such_database", kind.server())).await;
    assert_mentions(&text, &["no_such_database", "check the name of the database"]);
}

async fn cut_connections_heal(kind: Kind) {
    let mut fixture = Fixture::new(kind, "cut").await;
    fixture.table("t").await;
    fixture.row("t", "Tom", Some(b"630")).await;
    let database = fixture.open().await;
    for _ in 0..3 {
        assert_eq!(database.query("t", "Tom").await.unwrap().as_deref(), Some(&b"630"[..]));
        assert!(fixture.cut_connections().await > 0, "there was no connection to cut");
    }
    // One failure is allowed: the cut may be noticed only when the query is sent.
    if database.query("t", "Tom").await.is_err() {
        assert_eq!(database.query("t", "Tom").await.unwrap().as_deref(), Some(&b"630"[..]));
    }
}

async fn a_query_that_hangs_times_out(kind: Kind) {
    let mut fixture = Fixture::new(kind, "hangs").await;
    fixture.table("t").await;
    fixture.row("t", "Tom", Some(b"630")).await;
    let database = fixture.open().await;
    let (lock, unlock) = match kind {
        Kind::MySql => ("LOCK TABLES t WRITE", "UNLOCK TABLES"),
        _ => ("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE", "COMMIT"),
    };
    fixture.run(lock).await;
    let start = Instant::now();
    let error = database.query("t", "Tom").await.unwrap_err();
    assert!(matches!(error, QueryError::TimedOut { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10), "it took {:?}", start.elapsed());
    fixture.run(unlock).await;
    assert_eq!(database.query("t", "Tom").await.unwrap().as_deref(), Some(&b"630"[..]));
}

async fn fifty_gets_of_one_key_cost_one_query(kind: Kind) {
    let mut fixture = Fixture::new(kind, "fifty").await;
    fixture.table("counted").await;
    fixture.row("counted", "Tom", Some(b"630")).await;
    let database = fixture.open().await;
    let loader = {
        let database = database.clone();
        move |key: String| {
            let database = database.clone();
            async move { database.query("counted", &key).await }
        }
    };
    let group = Node::new().group("counted").loader(loader).build().unwrap();

    fixture.count_queries().await;
    let before = fixture.server_count("counted").await;
    let start = Arc::new(Barrier::new(50));
    let mut gets = JoinSet::new();
    for _ in 0..50 {
        let (group, start) = (group.clone(), start.clone());
        gets.spawn(async move {
            start.wait().await;
            group.get("Tom").await
        });
    }
    for value in gets.join_all().await {
        assert_eq!(value.unwrap(), "630");
    }
    assert_eq!(fixture.server_count("counted").await - before, 1);
    // The check can fail: a query past the cache is counted.
    database.query("counted", "Tom").await.unwrap();
    assert_eq!(fixture.server_count("counted").await - before, 2);
}
