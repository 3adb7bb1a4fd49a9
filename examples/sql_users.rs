//! Rows of a table, cached as JSON by their primary key, and what to do when a row changes.
//!
//! ```text
//! cargo run --example sql_users
//! ```
//!
//! # What to do after an UPDATE
//!
//! A cached value is never changed: a key stands for one value for as long as any node holds it. So
//! let the key say what the value depends on. Two ways cover most tables:
//!
//! - **The version is in the key** ([`Users::get`]). The row has a `version` that each UPDATE counts
//!   up, and the key is `42@7`. Whoever knows the current version, from the list it shows, from the
//!   session, from the UPDATE itself, reads the current row; nobody ever reads a stale one. The old
//!   version is asked for no more and gives way to others by itself.
//! - **The time is in the key** ([`Users::get_recent`]). Where a value may be some seconds old, the
//!   key is `42~` and the number of the current ten seconds: each row is fetched anew once in that
//!   time by the whole cluster, and no reader needs to know a version. The offset by key keeps all
//!   rows from being fetched at the same moment.
//!
//! Which to take: the first where stale data is wrong, the second where it is merely old.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use carrotcache::{GetError, Group, Node};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};

/// How old a value from [`Users::get_recent`] may be.
const RECENT: Duration = Duration::from_secs(10);

/// A row of the table.
#[derive(Debug, Serialize, Deserialize, sqlx::FromRow)]
struct User {
    id: i64,
    name: String,
    email: String,
    age: i64,
    version: i64,
}

/// The table, read through the cache and written past it.
struct Users {
    // With a server this is a `MySqlPool`, or a `PgPool` and `$1` for each `?`; nothing else changes.
    pool: SqlitePool,
    cached: Group,
}

impl Users {
    fn new(node: &Node, pool: SqlitePool) -> anyhow::Result<Self> {
        // The pool is made once; each load borrows a connection from it.
        let shared = pool.clone();
        let loader = move |key: String| {
            let pool = shared.clone();
            async move { load(&pool, &key).await }
        };
        let cached = node.group("users").max_bytes(16 << 20).loader(loader).build()?;
        Ok(Self { pool, cached })
    }

    /// Returns this version of a row, or `None` if the row has another version or is gone.
    async fn get(&self, id: i64, version: i64) -> anyhow::Result<Option<User>> {
        self.read(&format!("{id}@{version}")).await
    }

    /// Returns a row as it is now or was at most [`RECENT`] ago.
    async fn get_recent(&self, id: i64) -> anyhow::Result<Option<User>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let period = (now + id.unsigned_abs()) / RECENT.as_secs();
        self.read(&format!("{id}~{period}")).await
    }

    async fn read(&self, key: &str) -> anyhow::Result<Option<User>> {
        match self.cached.get(key).await {
            Ok(view) => Ok(Some(serde_json::from_slice(&view)?)),
            Err(GetError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes a row and returns its new version. Nothing needs to be told to the cache.
    async fn rename(&self, id: i64, name: &str) -> anyhow::Result<i64> {
        let update =
            "UPDATE users SET name = ?, version = version + 1 WHERE id = ? RETURNING version";
        let version = sqlx::query_scalar(update).bind(name).bind(id).fetch_optional(&self.pool);
        version.await?.with_context(|| format!("there is no user {id}"))
    }
}

/// The loader: one query. A missing row is `None`; a failed query is an error that everyone who
/// waits for the key gets, and the next call tries again.
async fn load(pool: &SqlitePool, key: &str) -> anyhow::Result<Option<Vec<u8>>> {
    println!("  (query: {key})");
    let (id, version) = match key.split_once('@') {
        Some((id, version)) => (id, Some(version.parse::<i64>()?)),
        None => (key.split('~').next().unwrap_or(key), None),
    };
    let select = "SELECT id, name, email, age, version FROM users WHERE id = ?";
    let user: Option<User> =
        sqlx::query_as(select).bind(id.parse::<i64>()?).fetch_optional(pool).await?;
    // Under a version's key stands that version or nothing: the row may have changed meanwhile.
    let wanted = user.filter(|user| version.is_none_or(|version| user.version == version));
    Ok(wanted.as_ref().map(serde_json::to_vec).transpose()?)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let users = Arc::new(Users::new(&Node::new(), sample().await?)?);

    println!("twenty ask for user 1 at the same moment:");
    let asking = (0..20).map(|_| {
        let users = users.clone();
        tokio::spawn(async move { users.get(1, 1).await })
    });
    for answer in asking.collect::<Vec<_>>() {
        ensure!(answer.await??.is_some_and(|user| user.name == "Tom"));
    }

    println!("user 1 is renamed; who knows the new version reads the new name:");
    let version = users.rename(1, "Thomas").await?;
    let renamed = users.get(1, version).await?.context("the new version is not there")?;
    println!("  {renamed:?}");

    println!("where ten seconds do not matter, no version is needed:");
    for _ in 0..2 {
        let recent = users.get_recent(2).await?.context("user 2 is not there")?;
        println!("  {recent:?}");
    }

    println!("a row that is not there is no error:");
    println!("  {:?}", users.get(99, 1).await?);
    println!("{} queries for {} gets", users.cached.stats().local_loads, users.cached.stats().gets);
    Ok(())
}

/// Makes a table to play with, in memory.
async fn sample() -> anyhow::Result<SqlitePool> {
    // In memory each connection has a database of its own, so one is all there is.
    let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await?;
    let statements = "
        CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL,
                            age INTEGER NOT NULL, version INTEGER NOT NULL DEFAULT 1);
        INSERT INTO users (name, email, age) VALUES
            ('Tom', 'tom@example.com', 63), ('Jack', 'jack@example.com', 58);
    ";
    sqlx::raw_sql(statements).execute(&pool).await?;
    Ok(pool)
}
