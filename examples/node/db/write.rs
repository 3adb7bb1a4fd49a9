//! Changes of rows.

use std::future::Future;

use sqlx::SqlStr;
use tokio::time::timeout;

use super::dialect::Change;
use super::{Database, Pool, QUERY_TIME, QueryError};

impl Database {
    /// Writes the row of `key` in `table`, and returns once it is committed.
    ///
    /// # Errors
    ///
    /// When there is no such table, the database fails or refuses, or no answer came in time. The row
    /// may then have been written all the same.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the row may have been written or not.
    pub(crate) async fn put(&self, table: &str, key: &str, value: &[u8]) -> Result<(), QueryError> {
        // Each statement commits by itself, and only one of them changes something. An INSERT that
        // updates would overwrite the row of "Tom" where a collation takes "tom" for it.
        in_time(async {
            if self.change(table, Change::Update, key, value).await? > 0 {
                return Ok(());
            }
            let inserted = self.change(table, Change::Insert, key, value).await;
            let is_taken = matches!(&inserted, Err(Failed::Sql(error)) if is_taken(error));
            // Somebody has inserted the row between the two, so there is one to update now.
            if is_taken && self.change(table, Change::Update, key, value).await? > 0 {
                return Ok(());
            }
            inserted.map(drop)
        })
        .await
    }

    /// Deletes the row of `key` in `table`, if there is one, and returns once that is committed.
    ///
    /// # Errors
    ///
    /// As those of [`put`](Self::put).
    ///
    /// # Cancel safety
    ///
    /// As that of [`put`](Self::put).
    pub(crate) async fn delete(&self, table: &str, key: &str) -> Result<(), QueryError> {
        in_time(async { self.change(table, Change::Delete, key, &[]).await.map(drop) }).await
    }

    /// Returns how many rows it found.
    async fn change(
        &self,
        table: &str,
        change: Change,
        key: &str,
        value: &[u8],
    ) -> Result<u64, Failed> {
        let statements = self.0.tables.get(table);
        let statements = statements.ok_or_else(|| Failed::NoTable(table.to_owned()))?;
        let statement = statements.of(change).clone();
        let value = (change != Change::Delete).then_some(value);
        // MySQL compares the key twice (see `Dialect::select`).
        let key_again = matches!(self.0.pool, Pool::MySql(_)) && change != Change::Insert;
        let key_again = key_again.then_some(key);
        self.0.pool.change(statement, value, key, key_again).await.map_err(Failed::Sql)
    }
}

impl Pool {
    async fn change(
        &self,
        statement: SqlStr,
        value: Option<&[u8]>,
        key: &str,
        key_again: Option<&str>,
    ) -> Result<u64, sqlx::Error> {
        // The same for each kind of pool, which have no type in common.
        macro_rules! rows {
            ($pool:expr) => {{
                let mut query = sqlx::query(statement);
                if let Some(value) = value {
                    query = query.bind(value);
                }
                query = query.bind(key);
                if let Some(key) = key_again {
                    query = query.bind(key);
                }
                query.execute($pool).await?.rows_affected()
            }};
        }
        Ok(match self {
            Self::Sqlite(pool) => rows!(pool),
            Self::MySql(pool) => rows!(pool),
            Self::Postgres(pool) => rows!(pool),
        })
    }
}

/// Why a statement did not run.
enum Failed {
    NoTable(String),
    Sql(sqlx::Error),
}

impl From<Failed> for QueryError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::NoTable(table) => Self::NoTable { table },
            Failed::Sql(error) => error.into(),
        }
    }
}

fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

async fn in_time(change: impl Future<Output = Result<(), Failed>>) -> Result<(), QueryError> {
    match timeout(QUERY_TIME, change).await {
        Ok(changed) => Ok(changed?),
        Err(_) => Err(QueryError::TimedOut { limit: QUERY_TIME }),
    }
}
