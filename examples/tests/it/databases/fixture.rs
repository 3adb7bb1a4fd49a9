//! A database of a test's own, on the kind of server that the test is for.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection, SqliteConnection};
use tempfile::TempDir;

use crate::db::Database;

/// A kind of database to test with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sqlite,
    MySql,
    Postgres,
}

impl Kind {
    /// Returns the URL of the server, which `cargo xtask databases` gives.
    pub(super) fn server(self) -> String {
        let name = match self {
            Self::Sqlite => panic!("SQLite has no server"),
            Self::MySql => "CARROTCACHE_TEST_MYSQL",
            Self::Postgres => "CARROTCACHE_TEST_POSTGRES",
        };
        std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: cargo xtask databases"))
    }
}

/// An empty database, and a connection to it beside the ones under test.
pub(super) struct Fixture {
    pub(super) kind: Kind,
    pub(super) url: String,
    admin: Admin,
    _folder: TempDir,
}

enum Admin {
    Sqlite(SqliteConnection),
    MySql(MySqlConnection),
    Postgres(PgConnection),
}

impl Fixture {
    /// Makes the database `name`, anew if a test before this one left it.
    pub(super) async fn new(kind: Kind, name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if kind == Kind::Sqlite {
            let url = format!("sqlite:{}", folder.path().join(name).display());
            let admin = Admin::connect(kind, &format!("{url}?mode=rwc")).await;
            return Self { kind, url, admin, _folder: folder };
        }
        let server = kind.server();
        let system = if kind == Kind::MySql { "mysql" } else { "postgres" };
        let mut admin = Admin::connect(kind, &format!("{server}/{system}")).await;
        admin.run(&format!("DROP DATABASE IF EXISTS {name}")).await;
        let charset = if kind == Kind::MySql { "CHARSET utf8mb4" } else { "" };
        admin.run(&format!("CREATE DATABASE {name} {charset}")).await;
        let url = format!("{server}/{name}");
        Self { kind, admin: Admin::connect(kind, &url).await, url, _folder: folder }
    }

    /// Makes the table `name` for keys and values of any bytes the kind can hold.
    pub(super) async fn table(&mut self, name: &str) {
        let columns = match self.kind {
            Kind::Sqlite => "key TEXT PRIMARY KEY, value BLOB",
            Kind::MySql => "`key` VARBINARY(1024) PRIMARY KEY, `value` LONGBLOB",
            Kind::Postgres => "key TEXT PRIMARY KEY, value BYTEA",
        };
        self.run(&format!("CREATE TABLE {name} ({columns})")).await;
    }

    /// Adds a row; no value means NULL.
    pub(super) async fn row(&mut self, table: &str, key: &str, value: Option<&[u8]>) {
        let key = match self.kind {
            Kind::Sqlite => format!("CAST(X'{}' AS TEXT)", hex(key.as_bytes())),
            Kind::MySql => format!("X'{}'", hex(key.as_bytes())),
            Kind::Postgres => format!(r"convert_from('\x{}', 'UTF8')", hex(key.as_bytes())),
        };
        let value = match (self.kind, value) {
            (_, None) => "NULL".to_owned(),
            (Kind::Postgres, Some(value)) => format!(r"'\x{}'", hex(value)),
            (_, Some(value)) => format!("X'{}'", hex(value)),
        };
        self.run(&format!("INSERT INTO {table} VALUES ({key}, {value})")).await;
    }

    /// Runs any statement, beside the database under test.
    pub(super) async fn run(&mut self, statement: &str) {
        self.admin.run(statement).await;
    }

    /// Lets the server count queries, if it does not always.
    pub(super) async fn count_queries(&mut self) {
        if self.kind == Kind::Postgres {
            self.run("CREATE EXTENSION pg_stat_statements").await;
        }
    }

    /// Returns how many queries over `table` the server itself has run since it counts.
    pub(super) async fn server_count(&mut self, table: &str) -> i64 {
        match &mut self.admin {
            Admin::Sqlite(_) => panic!("SQLite does not count"),
            // Nobody else uses the server, and this very statement is no SELECT.
            Admin::MySql(admin) => {
                let (_, count): (String, String) =
                    sqlx::query_as("SHOW GLOBAL STATUS LIKE 'Com_select'")
                        .fetch_one(admin)
                        .await
                        .unwrap();
                count.parse().unwrap()
            }
            Admin::Postgres(admin) => sqlx::query_scalar(
                "SELECT COALESCE(SUM(calls), 0)::bigint FROM pg_stat_statements
                 WHERE query LIKE 'SELECT%FROM \"' || $1 || '\"%'",
            )
            .bind(table)
            .fetch_one(admin)
            .await
            .unwrap(),
        }
    }

    /// Cuts every connection to the database but this fixture's own.
    pub(super) async fn cut_connections(&mut self) -> usize {
        match &mut self.admin {
            Admin::Sqlite(_) => panic!("SQLite has no connections"),
            Admin::MySql(admin) => {
                let ids: Vec<i64> = sqlx::query_scalar(
                    "SELECT CAST(id AS SIGNED) FROM information_schema.processlist
                     WHERE db = DATABASE() AND id <> CONNECTION_ID()",
                )
                .fetch_all(&mut *admin)
                .await
                .unwrap();
                for id in &ids {
                    let kill = AssertSqlSafe(format!("KILL {id}"));
                    sqlx::raw_sql(kill).execute(&mut *admin).await.unwrap();
                }
                ids.len()
            }
            Admin::Postgres(admin) => {
                let cut: Vec<bool> = sqlx::query_scalar(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE datname = current_database() AND pid <> pg_backend_pid()",
                )
                .fetch_all(admin)
                .await
                .unwrap();
                cut.len()
            }
        }
    }

    /// Opens the database under test.
    pub(super) async fn open(&self) -> Database {
        Database::open(&self.url, Duration::ZERO).await.unwrap()
    }
}

impl Admin {
    async fn connect(kind: Kind, url: &str) -> Self {
        match kind {
            Kind::Sqlite => Self::Sqlite(SqliteConnection::connect(url).await.unwrap()),
            Kind::MySql => Self::MySql(MySqlConnection::connect(url).await.unwrap()),
            Kind::Postgres => Self::Postgres(PgConnection::connect(url).await.unwrap()),
        }
    }

    async fn run(&mut self, statement: &str) {
        let statement = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
        match self {
            Self::Sqlite(admin) => drop(statement.execute(admin).await.unwrap()),
            Self::MySql(admin) => drop(statement.execute(admin).await.unwrap()),
            Self::Postgres(admin) => drop(statement.execute(admin).await.unwrap()),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
