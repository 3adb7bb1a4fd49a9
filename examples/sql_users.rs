//! Rows of a table, cached as JSON by their primary key, and what to do when a row changes.
//!
//! ```text
//! cargo run --example sql_users
//! ```
//!
//! # What to do after an UPDATE
//!
//! - **Update, commit, remove** ([`Users::rename`]), in this order. Once the remove has returned, every
//!   get that begins later, on any node, returns the row as it was committed or newer. Were it removed
//!   before the commit, a get in between would load the old row again, and keep it.
//! - **A time to live** ends what no remove reached: a row that somebody changed past this program, or
//!   a node that was out of reach, which the error of the remove names.
//! - **The version in the key** ([`Users::get_version`]) needs neither. The row has a `version` that
//!   each UPDATE counts up, and the key is `42@7`: one value for good. Whoever knows the version, from
//!   the list it shows or from the UPDATE itself, never reads another. The old one is asked for no more
//!   and gives way to others by itself.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use carrotcache::{GetError, Group, Node, RemoveError};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};

/// How old a row can get that was changed and never removed.
const TIME_TO_LIVE: Duration = Duration::from_secs(60);

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
        let cached = node.group("users").max_bytes(16 << 20).time_to_live(TIME_TO_LIVE);
        let cached = cached.loader(loader).build()?;
        Ok(Self { pool, cached })
    }

    /// Returns a row as it is, or `None` if there is none.
    async fn get(&self, id: i64) -> anyhow::Result<Option<User>> {
        self.read(&id.to_string()).await
    }

    /// Returns this version of a row, or `None` if the row has another version or is gone.
    async fn get_version(&self, id: i64, version: i64) -> anyhow::Result<Option<User>> {
        self.read(&format!("{id}@{version}")).await
    }

    async fn read(&self, key: &str) -> anyhow::Result<Option<User>> {
        match self.cached.get(key).await {
            Ok(view) => Ok(Some(serde_json::from_slice(&view)?)),
            Err(GetError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes a row and returns its new version.
    async fn rename(&self, id: i64, name: &str) -> anyhow::Result<i64> {
        let mut transaction = self.pool.begin().await?;
        let update =
            "UPDATE users SET name = ?, version = version + 1 WHERE id = ? RETURNING version";
        let version: Option<i64> = sqlx::query_scalar(update)
            .bind(name)
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await?;
        let version = version.with_context(|| format!("there is no user {id}"))?;
        // What else belongs to the change stands here. If it fails, nothing was changed or removed.
        transaction.commit().await?;
        self.remove(id).await?;
        Ok(version)
    }

    /// Has every node forget a row that was changed.
    async fn remove(&self, id: i64) -> anyhow::Result<()> {
        match self.cached.remove(&id.to_string()).await {
            // The row is changed all the same. These nodes are told as soon as they are met again, and
            // may answer the old row until then: how long at most, the error says.
            Err(error @ RemoveError::Incomplete { .. }) => eprintln!("user {id} was {error}"),
            removed => removed?,
        }
        Ok(())
    }
}

/// The loader: one query. A missing row is `None`; a failed query is an error that everyone who
/// waits for the key gets, and the next call tries again.
async fn load(pool: &SqlitePool, key: &str) -> anyhow::Result<Option<Vec<u8>>> {
    println!("  (query: {key})");
    let (id, version) = match key.split_once('@') {
        Some((id, version)) => (id, Some(version.parse::<i64>()?)),
        None => (key, None),
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
        tokio::spawn(async move { users.get(1).await })
    });
    for answer in asking.collect::<Vec<_>>() {
        ensure!(answer.await??.is_some_and(|user| user.name == "Tom"));
    }

    println!("user 1 is renamed; whoever asks now reads the new name:");
    let version = users.rename(1, "Thomas").await?;
    let renamed = users.get(1).await?.context("user 1 is not there")?;
    println!("  {renamed:?}");
    ensure!(renamed.name == "Thomas");

    println!("who knows the version can ask for it, and needs no remove:");
    for version in [version - 1, version] {
        println!("  {:?}", users.get_version(1, version).await?);
    }

    println!("a row that is not there is no error:");
    println!("  {:?}", users.get(99).await?);
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
