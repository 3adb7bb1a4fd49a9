//! What `node` reads from a database, and how it makes one that is not there.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection};

use crate::db::Database;

async fn open(file: &Path) -> Database {
    Database::open(&url(file), Duration::ZERO).await.expect("the database opens")
}

fn url(file: &Path) -> String {
    format!("sqlite:{}", file.display())
}

/// Makes a file as someone else would, with other means.
async fn made_elsewhere(file: &Path, sql: &str) {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.expect("a new file");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("the statements run");
    connection.close().await.expect("the file closes");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_created_with_scores_and_names() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&folder.path().join("new.db")).await;
    assert_eq!(database.tables().collect::<Vec<_>>(), ["scores", "unicode"]);
    assert_eq!(database.query("scores", "Tom").await.unwrap().unwrap(), b"630");
    assert_eq!(database.query("unicode", "U+1F955").await.unwrap().unwrap(), b"CARROT");
    assert_eq!(database.query("scores", "Nobody").await.unwrap(), None);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_that_create_one_file_at_once_all_find_it_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new.db");
    let nodes = tokio::join!(open(&file), open(&file), open(&file));
    for database in [nodes.0, nodes.1, nodes.2] {
        let last = database.query("unicode", "U+E01EF").await.unwrap();
        assert_eq!(last.unwrap(), b"VARIATION SELECTOR-256");
    }
}

#[tokio::test]
async fn tables_of_key_and_value_are_groups_and_others_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("theirs.db");
    let sql = r#"
        CREATE TABLE plain(key TEXT PRIMARY KEY, value BLOB);
        CREATE TABLE "with ""quotes"" and ; -- blanks"(Key TEXT PRIMARY KEY, Value TEXT, more INT);
        CREATE TABLE other(id INTEGER PRIMARY KEY AUTOINCREMENT, value BLOB);
        INSERT INTO other(value) VALUES ('makes SQLite keep a table of its own');
    "#;
    made_elsewhere(&file, sql).await;
    let database = open(&file).await;
    let tables: Vec<_> = database.tables().collect();
    assert_eq!(tables, ["plain", "with \"quotes\" and ; -- blanks"]);
    assert_eq!(database.query(tables[1], "absent").await.unwrap(), None);
}

#[tokio::test]
async fn values_of_every_type_are_read_as_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("theirs.db");
    let sql = "
        CREATE TABLE t(key TEXT PRIMARY KEY, value BLOB);
        INSERT INTO t VALUES ('text', '汉字'), ('blob', x'00ff'), ('empty', ''), ('number', 7), ('null', NULL),
                             ('', 'of the empty key'), ('a''b', 'quoted');
    ";
    made_elsewhere(&file, sql).await;
    let database = open(&file).await;
    let expected: [(&str, Option<&[u8]>); 6] = [
        ("text", Some("汉字".as_bytes())),
        ("blob", Some(&[0, 0xff])),
        ("empty", Some(b"")),
        ("number", Some(b"7")),
        ("null", None),
        ("a'b", Some(b"quoted")),
    ];
    for (key, value) in expected {
        assert_eq!(database.query("t", key).await.unwrap().as_deref(), value, "{key}");
    }
}

#[tokio::test]
async fn each_query_is_counted_and_slowed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("theirs.db");
    made_elsewhere(&file, "CREATE TABLE t(key TEXT PRIMARY KEY, value BLOB)").await;
    let delay = Duration::from_millis(30);
    let database = Database::open(&url(&file), delay).await.unwrap();
    assert_eq!(database.queries(), 0);
    let start = Instant::now();
    database.query("t", "absent").await.unwrap();
    assert!(start.elapsed() >= delay);
    database.query("no_such_table", "absent").await.unwrap_err();
    assert_eq!(database.queries(), 1);
}

#[tokio::test]
async fn a_file_of_theirs_is_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("empty.db");
    std::fs::write(&file, "").unwrap();
    let Err(error) = Database::open(&url(&file), Duration::ZERO).await else {
        panic!("a database without a table was opened");
    };
    assert!(error.to_string().contains("CREATE TABLE"), "{error}");
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 0);
}

#[tokio::test]
async fn what_cannot_be_opened_is_an_error_that_names_the_url() {
    let folder = tempfile::tempdir().unwrap();
    let not_a_database = folder.path().join("letter.txt");
    std::fs::write(&not_a_database, "Dear reader, ".repeat(100)).unwrap();
    let no_folder = folder.path().join("absent/new.db");
    for url in ["mongodb:x", "sqlite::memory:", &url(&not_a_database), &url(&no_folder)] {
        let Err(error) = Database::open(url, Duration::ZERO).await else {
            panic!("{url} was opened");
        };
        let error = format!("{:#}", anyhow::Error::new(error));
        assert!(error.contains(url), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
