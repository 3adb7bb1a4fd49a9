//! What `--db` may name that cannot be opened: each error names the URL and the way out, in one line
//! and without the password.

use std::net::TcpListener;
use std::time::Duration;

use super::{Fixture, Kind};
use crate::db::Database;

super::over_each_kind!(a_database_without_a_table_is_refused);

/// Returns the error of opening `url`, with its causes, as `node` prints it.
pub(super) async fn refusal(url: &str) -> String {
    let Err(error) = Database::open(url, Duration::ZERO).await else {
        panic!("{url} was opened");
    };
    let text = format!("{:#}", anyhow::Error::new(error));
    assert!(!text.contains('\n'), "{text:?} is more than one line");
    assert!(!text.contains("geheim"), "{text:?} tells the password");
    text
}

pub(super) fn assert_mentions(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{text:?} does not mention {part:?}");
    }
}

#[tokio::test]
async fn an_unknown_scheme_is_refused() {
    let text = refusal("redis://app:geheim@localhost/0").await;
    assert_mentions(&text, &["redis://app:***@localhost/0", "`redis`", "sqlite:", "mysql:"]);
    assert_mentions(&refusal("scores.db").await, &["scores.db", "sqlite:"]);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_refused() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for scheme in ["mysql", "postgres"] {
        let text = refusal(&format!("{scheme}://app:geheim@127.0.0.1:{port}/shop")).await;
        let url = format!("{scheme}://app:***@127.0.0.1:{port}/shop");
        assert_mentions(&text, &[&url, "is the server running", "refused"]);
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_refused() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mysql://app:geheim@{}/shop", silent.local_addr().unwrap());
    assert_mentions(&refusal(&url).await, &["mysql://app:***@", "no answer within"]);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "no database at all, but long enough to be looked at as one").unwrap();
    let text = refusal(&format!("sqlite:{}", path.display())).await;
    assert_mentions(&text, &["notes.txt", "no SQLite database"]);
}

async fn a_database_without_a_table_is_refused(kind: Kind) {
    let mut fixture = Fixture::new(kind, "no_table").await;
    fixture.run("CREATE TABLE other (id INTEGER PRIMARY KEY, value TEXT)").await;
    let text = refusal(&fixture.url).await;
    assert_mentions(&text, &["no table with the columns key and value", "CREATE TABLE"]);
}
