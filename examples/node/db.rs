//! The database behind the cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

use crate::seed;

/// Queries that run at the same time; more wait for their turn.
const CONNECTIONS: u32 = 8;

/// A database whose tables `NAME(key TEXT PRIMARY KEY, value BLOB)` are groups.
///
/// A clone shares the connections and the count of queries.
#[derive(Clone)]
pub(crate) struct Database {
    url: Arc<str>,
    pool: SqlitePool,
    delay: Duration,
    queries: Arc<AtomicU64>,
}

impl Database {
    /// Opens the database at `url`; a SQLite file that is not there is created with sample data.
    ///
    /// Each later query waits for `delay` first.
    ///
    /// # Errors
    ///
    /// Fails if the URL is none that is known, or if the database cannot be opened; the error names
    /// the URL.
    pub(crate) async fn open(url: &str, delay: Duration) -> Result<Self> {
        if !url.starts_with("sqlite:") || url.contains(":memory:") {
            bail!("--db {url}: expected sqlite:FILE");
        }
        let pool = open_sqlite(url).await.with_context(|| format!("--db {url}"))?;
        Ok(Self { url: url.into(), pool, delay, queries: Arc::default() })
    }

    /// Returns the names of the tables that have a `key` and a `value`.
    pub(crate) async fn tables(&self) -> Result<Vec<String>> {
        let tables = sqlx::query_scalar(
            "SELECT name FROM sqlite_schema AS tables
             WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
               AND 2 = (SELECT count(*) FROM pragma_table_info(tables.name)
                        WHERE lower(name) IN ('key', 'value'))
             ORDER BY name",
        );
        let tables = tables.fetch_all(&self.pool).await;
        tables.with_context(|| format!("--db {}: cannot list the tables", self.url))
    }

    /// Returns the value of `key` in `table`, or `None` if there is no such row or its value is NULL.
    pub(crate) async fn query(&self, table: &str, key: &str) -> sqlx::Result<Option<Vec<u8>>> {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        self.queries.fetch_add(1, Ordering::Relaxed);
        // A name cannot be bound as a parameter; quoted like this it cannot end the quotation. The
        // cast lets text and numbers be read like blobs.
        let table = table.replace('"', "\"\"");
        let sql = format!("SELECT CAST(value AS BLOB) FROM \"{table}\" WHERE key = ?");
        let row: Option<Option<Vec<u8>>> =
            sqlx::query_scalar(AssertSqlSafe(sql)).bind(key).fetch_optional(&self.pool).await?;
        Ok(row.flatten())
    }

    /// Returns how many values were asked of the database until now.
    pub(crate) fn queries(&self) -> u64 {
        self.queries.load(Ordering::Relaxed)
    }
}

async fn open_sqlite(url: &str) -> Result<SqlitePool> {
    let options: SqliteConnectOptions = url.parse()?;
    let file = options.get_filename().to_owned();
    if !file.try_exists()? {
        seed::create(&file).await.context("cannot create the file")?;
    }
    let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS);
    Ok(pool.connect_with(options.read_only(true)).await?)
}
