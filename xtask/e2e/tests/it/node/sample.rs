//! Databases for tests.

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection};
use tempfile::TempDir;

/// A database in a folder of its own, which goes with it.
pub(super) struct Sample {
    folder: TempDir,
}

impl Sample {
    /// Returns the place of a database that is not there.
    pub(super) fn absent() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    /// Returns a small database with the table `scores`, in which the value of each key is
    /// [`value_of`] it.
    pub(super) async fn with_scores<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        let sample = Self::absent();
        sample.execute("CREATE TABLE scores(key TEXT PRIMARY KEY, value BLOB)").await;
        for key in keys {
            let (key, value) = (key.replace('\'', "''"), value_of(key).replace('\'', "''"));
            sample.execute(&format!("INSERT INTO scores VALUES ('{key}', '{value}')")).await;
        }
        sample
    }

    /// Returns the path of the file.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("sample.db")
    }

    /// Changes the database, as someone else would.
    pub(super) async fn execute(&self, sql: &str) {
        let mut connection = connect(&self.file()).await;
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        sql.execute(&mut connection).await.expect("the statement runs");
        connection.close().await.expect("the file closes");
    }
}

/// The value that a sample stores under `key`.
pub(super) fn value_of(key: &str) -> String {
    format!("value of {key}")
}

async fn connect(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    SqliteConnection::connect_with(&options).await.expect("the file opens")
}
