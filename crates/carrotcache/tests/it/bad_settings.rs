//! Settings and keys that make no sense get a typed error that says what was wrong.

use std::time::Duration;

use carrotcache::{BuildGroupError, GroupBuilder, Node, RemoveError, SetError};

use crate::rows::Table;
use crate::support::{Source, group_of};

const SECOND: Duration = Duration::from_secs(1);

/// Returns the setting that `build` refuses, and the message.
fn refused(configure: impl FnOnce(GroupBuilder) -> GroupBuilder) -> (&'static str, String) {
    let builder = Node::new().group("rows").loader(Table::new());
    let error = configure(builder).build().unwrap_err();
    let BuildGroupError::Setting { setting, .. } = &error else { panic!("{error:?}") };
    (setting, error.to_string())
}

#[test]
fn a_jitter_that_is_no_part_is_refused() {
    for part in [-0.1, 1.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let (setting, message) = refused(|builder| builder.time_to_live(SECOND).jitter(part));
        assert_eq!(setting, "jitter", "{part}");
        assert_eq!(message, "the group `rows` cannot have jitter: it is a part, from 0 to 1");
    }
    for part in [0.0, -0.0, 0.5, 1.0] {
        let builder = Node::new().group("rows").loader(Table::new());
        builder.time_to_live(SECOND).jitter(part).build().unwrap();
    }
}

#[test]
fn max_loads_zero_is_refused_and_no_place_to_wait_is_not() {
    assert_eq!(refused(|builder| builder.max_loads(0)).0, "max_loads");
    let builder = Node::new().group("rows").loader(Table::new());
    builder.max_loads(1).max_waiting_loads(0).build().unwrap();
    let builder = Node::new().group("rows").loader(Table::new());
    builder.max_loads(usize::MAX).max_waiting_loads(usize::MAX).build().unwrap();
}

#[test]
fn stale_windows_without_a_time_to_live_are_refused() {
    assert_eq!(refused(|builder| builder.serve_stale(SECOND)).0, "serve_stale");
    let (setting, message) = refused(|builder| builder.stale_if_error(SECOND));
    assert_eq!(setting, "stale_if_error");
    assert!(message.ends_with("it needs a `time_to_live`, from whose end it counts"), "{message}");
    let builder = Node::new().group("rows").loader(Table::new()).time_to_live(SECOND);
    builder.serve_stale(Duration::MAX).stale_if_error(Duration::MAX).build().unwrap();
}

#[test]
fn settings_with_which_nothing_would_be_kept_or_found_are_refused() {
    let stale = |builder: GroupBuilder| builder.time_to_live(Duration::ZERO).serve_stale(SECOND);
    assert_eq!(refused(stale).0, "serve_stale");
    assert_eq!(refused(|builder| builder.max_key_bytes(0)).0, "max_key_bytes");
}

#[tokio::test]
async fn keys_that_no_group_takes_are_not_removed_or_set_either() {
    let group = group_of(Source::default());
    let long = "k".repeat(1025);
    assert!(matches!(group.remove("").await, Err(RemoveError::EmptyKey)));
    let error = group.remove(&long).await.unwrap_err();
    assert!(matches!(error, RemoveError::KeyTooLong { len: 1025, max: 1024, .. }));
    assert_eq!(error.to_string(), "the key has 1025 bytes, the group `numbers` allows 1024");

    let error = group.set("", "630").await.unwrap_err();
    assert!(matches!(error, SetError::Remove(RemoveError::EmptyKey)));
    assert_eq!(error.to_string(), "the key is empty");
    let error = group.set(&long, "630").await.unwrap_err();
    assert!(matches!(error, SetError::Remove(RemoveError::KeyTooLong { len: 1025, .. })));
    assert_eq!(group.stats().removes, 0);
}

#[tokio::test]
async fn of_many_keys_none_is_removed_if_one_is_no_key() {
    let group = group_of(Source::default());
    group.get("Tom").await.unwrap();
    let error = group.remove_many(["Tom", ""]).await.unwrap_err();
    assert!(matches!(error, RemoveError::EmptyKey));
    assert_eq!(group.peek("Tom").unwrap(), "Tom!");
    group.remove_many(Vec::<String>::new()).await.unwrap();
    assert_eq!(group.stats().removes, 0, "there was nothing to do");
}

#[tokio::test]
async fn a_key_that_nobody_has_is_removed_without_complaint() {
    let group = group_of(Source::default());
    group.remove("nobody").await.unwrap();
    group.remove("k".repeat(1024).as_str()).await.unwrap();
    group.clear().await.unwrap();
    assert_eq!(group.stats().removes, 3);
}
