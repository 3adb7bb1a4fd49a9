//! What the interface answers, right and wrong questions alike.

use super::process::start;
use super::sample::{Sample, value_of};

#[tokio::test]
async fn a_value_comes_as_bytes_of_the_default_group_or_of_the_named_one() {
    let sample = Sample::with_scores(["Tom", "a+b c/%", "汉字🥕"]).await;
    sample.execute("CREATE TABLE other(key TEXT PRIMARY KEY, value BLOB)").await;
    sample.execute("INSERT INTO other VALUES ('Tom', x'00ff')").await;
    let nodes = start(2, &sample.file(), &[]).await;
    for node in &nodes {
        for key in ["Tom", "a+b c/%", "汉字🥕"] {
            let answer = node.get(key).await;
            assert_eq!(answer, (200, value_of(key).into_bytes()), "{key}");
        }
        assert_eq!(node.get_of("other", "Tom").await, (200, vec![0, 0xff]));
    }
    let url = format!("http://{}/api?key=Tom", nodes[0].api);
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
}

#[tokio::test]
async fn several_keys_are_answered_together_in_their_order_each_by_itself() {
    let sample = Sample::with_scores(["Tom", "Jack"]).await;
    sample.execute("INSERT INTO scores VALUES ('bytes', x'00ff')").await;
    let nodes = start(2, &sample.file(), &[]).await;
    let long = "k".repeat(1_025);
    let path = format!("/api?key=Tom&key=Nobody&key=bytes&key={long}&key=Jack&key=Tom");
    for node in &nodes {
        let (status, body) = node.get_raw(&path).await;
        let text = String::from_utf8(body).unwrap();
        assert_eq!(status, 200, "{text}");
        let answers: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!([
            {"key": "Tom", "value": value_of("Tom")},
            {"key": "Nobody", "status": 404, "error": "nothing is stored under `Nobody`"},
            {"key": "bytes", "hex": "00ff"},
            {"key": long, "status": 400,
             "error": "the key has 1025 bytes, the group `scores` allows 1024"},
            {"key": "Jack", "value": value_of("Jack")},
            {"key": "Tom", "value": value_of("Tom")},
        ]);
        assert_eq!(answers, expected);
    }
    // Each row by one query, wherever it was loaded, and the one that is not there by two.
    let queries = nodes[0].queries().await + nodes[1].queries().await;
    assert_eq!(queries, 3 + 2);
}

#[tokio::test]
async fn values_that_are_too_large_together_are_refused() {
    let sample = Sample::with_scores([]).await;
    sample.execute("INSERT INTO scores VALUES ('large', zeroblob(2000000))").await;
    let node = start(1, &sample.file(), &[]).await.remove(0);
    let path = |count: usize| format!("/api?{}", vec!["key=large"; count].join("&"));
    assert_eq!(node.get_raw(&path(8)).await.0, 200);
    let (status, body) = node.get_raw(&path(9)).await;
    assert_eq!(status, 400);
    assert!(String::from_utf8(body).unwrap().contains("18000000 bytes"));
}

#[tokio::test]
async fn wrong_questions_are_refused_in_one_line_that_names_what_was_wrong() {
    let sample = Sample::with_scores([]).await;
    let node = &start(1, &sample.file(), &[]).await[0];
    let long = format!("/api?key={}", "k".repeat(1_025));
    let expected = [
        ("/api", 400, "`key`"),
        ("/api?key=", 400, "`key`"),
        ("/api?group=scores", 400, "`key`"),
        ("/api?key=%ff", 400, "UTF-8"),
        ("/api?key=Tom&key=", 400, "`key`"),
        ("/api?key=Tom&key=%ff", 400, "UTF-8"),
        (&long, 400, "1025"),
        ("/api?key=Nobody", 404, "`Nobody`"),
        ("/api?key=two%0Alines", 404, "`two lines`"),
        ("/api?key=U+1F955", 404, "%2B"),
        ("/api?key=Tom&group=none", 404, "`none`"),
        ("/api?key=Tom&group=", 404, "``"),
        ("/nothing", 404, "/stats"),
    ];
    for (path, expected, part) in expected {
        let (status, body) = node.get_raw(path).await;
        let text = String::from_utf8(body).unwrap();
        assert_eq!(status, expected, "{path}: {text}");
        assert!(text.contains(part), "{path}: {text}");
        assert_eq!(text.find('\n'), Some(text.len() - 1), "{path}: {text}");
    }
}

#[tokio::test]
async fn a_database_that_fails_is_a_502_on_every_node_until_it_is_mended() {
    let sample = Sample::with_scores(["Tom"]).await;
    let nodes = start(2, &sample.file(), &[]).await;
    sample.execute("ALTER TABLE scores RENAME TO hidden").await;
    for node in &nodes {
        let (status, body) = node.get("Tom").await;
        let text = String::from_utf8(body).unwrap();
        assert_eq!(status, 502, "{text}");
        assert!(text.contains("no such table: scores"), "{text}");
        assert_eq!(node.get_raw("/healthz").await.0, 200);
    }
    sample.execute("ALTER TABLE hidden RENAME TO scores").await;
    for node in &nodes {
        assert_eq!(node.get("Tom").await.0, 200);
        assert_eq!(node.count("/peer_errors").await, 0, "a verdict is no failure of the owner's");
    }
}

#[tokio::test]
async fn stats_have_every_counter_and_count_what_happened() {
    let sample = Sample::with_scores(["Tom"]).await;
    let node = &start(1, &sample.file(), &[]).await[0];
    for _ in 0..3 {
        node.get("Tom").await;
    }
    node.get("Nobody").await;
    let stats = node.stats().await;
    assert_eq!(stats["db_queries"], 2);
    let expected = [
        ("/gets", 4),
        ("/cache_hits", 2),
        ("/peer_loads", 0),
        ("/peer_errors", 0),
        ("/loads", 2),
        ("/loads_deduped", 2),
        ("/local_loads", 2),
        ("/local_load_errs", 0),
        ("/server_requests", 0),
        ("/main/items", 1),
        ("/main/gets", 4),
        ("/main/hits", 2),
        ("/main/evictions", 0),
        ("/hot/bytes", 0),
        ("/hot/items", 0),
        ("/hot/hits", 0),
        ("/hot/evictions", 0),
        ("/absent/items", 0),
        ("/absent/hits", 0),
        ("/loads_refused", 0),
        ("/waiting_loads", 0),
        ("/not_found", 1),
        ("/refreshes", 0),
        ("/removes", 0),
        ("/removes_incomplete", 0),
        ("/purges", 0),
        ("/owed", 0),
    ];
    for (counter, expected) in expected {
        assert_eq!(node.count(counter).await, expected, "{counter} in {stats}");
    }
    assert!(node.count("/main/bytes").await >= "Tom".len() as u64 + value_of("Tom").len() as u64);
    assert!(stats["groups"]["scores"]["hot"]["gets"].is_u64(), "{stats}");
}

#[tokio::test]
async fn a_budget_of_nothing_caches_nothing_and_everything_still_works() {
    let sample = Sample::with_scores(["Tom"]).await;
    let node = &start(1, &sample.file(), &[("--max-bytes", "0")]).await[0];
    for queries in 1..=3 {
        assert_eq!(node.get("Tom").await.0, 200);
        assert_eq!(node.queries().await, queries);
    }
    assert_eq!(node.count("/main/items").await, 0);
}
