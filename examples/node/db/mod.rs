//! The database behind the groups: each table `NAME(key, value)` is the group `NAME`.
//!
//! A [`Database`] is opened once and shared: its pool hands a connection to each query, replaces the
//! ones that were lost, and bounds how many there are. That is all a loader needs:
//!
//! ```ignore
//! let database = Database::open("postgres://app@db.example/shop", Duration::ZERO).await?;
//! let loader = move |key: String| {
//!     let database = database.clone();
//!     async move { database.query("scores", &key).await }
//! };
//! ```

mod dialect;
mod error;
mod url;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlPool};
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqlSafeStr, SqlStr};
use tokio::time::{sleep, timeout};

use crate::seed;
use dialect::{Change, Dialect};
pub(crate) use error::{OpenError, QueryError};

/// How many connections a node holds at most. Queries beyond that wait for one.
const MAX_CONNECTIONS: u32 = 8;
/// How long a connection may take to come, from the server or from the pool.
const CONNECT_TIME: Duration = Duration::from_secs(3);
/// How long an answer may take, the wait for a connection included.
const QUERY_TIME: Duration = Duration::from_secs(5);

/// A SQLite, MySQL, MariaDB or PostgreSQL database, ready to be asked.
///
/// A clone shares the connections and the count of queries.
#[derive(Clone)]
pub(crate) struct Database(Arc<Inner>);

struct Inner {
    pool: Pool,
    /// By the name of the table.
    tables: BTreeMap<String, Statements>,
    delay: Duration,
    queries: AtomicU64,
}

impl Database {
    /// Opens the database at `url` and finds its tables; a SQLite file that is not there is created
    /// with sample data.
    ///
    /// Each later query waits for `delay` first.
    ///
    /// # Errors
    ///
    /// When the scheme is not known, the server does not answer or refuses, or there is no table
    /// with the columns `key` and `value`. The error names the URL, without its password, and the
    /// way out.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; connections made so far are closed.
    pub(crate) async fn open(url: &str, delay: Duration) -> Result<Self, OpenError> {
        let masked = url::masked(url);
        let scheme = url::scheme(url);
        let Some(dialect) = Dialect::of(scheme) else {
            return Err(OpenError::Scheme { scheme: scheme.to_owned(), url: masked });
        };
        if dialect == Dialect::Sqlite {
            let create = |source: anyhow::Error| OpenError::Create {
                url: masked.clone(),
                source: source.into(),
            };
            create_sqlite(url).await.map_err(create)?;
        }
        let (pool, tables) = match timeout(CONNECT_TIME, connect(dialect, url)).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(source)) => return Err(OpenError::connect(masked, source)),
            Err(_) => return Err(OpenError::TimedOut { url: masked, limit: CONNECT_TIME }),
        };
        if tables.is_empty() {
            return Err(OpenError::NoTables { url: masked, create: dialect.example_table() });
        }
        let tables = tables.into_iter().map(|(name, value_type)| {
            let statements = Statements::new(dialect, &name, &value_type);
            (name, statements)
        });
        let (tables, queries) = (tables.collect(), AtomicU64::new(0));
        Ok(Self(Arc::new(Inner { pool, tables, delay, queries })))
    }

    /// Returns the names of the tables that have a `key` and a `value`, sorted.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &str> {
        self.0.tables.keys().map(String::as_str)
    }

    /// Returns the value of `key` in `table`, or `None` if there is no such row or its value is NULL.
    ///
    /// # Errors
    ///
    /// When there is no such table, the database fails, or no answer came in time. The next call
    /// tries again, over a new connection where the old one was lost.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the query may run to its end on the server.
    pub(crate) async fn query(
        &self,
        table: &str,
        key: &str,
    ) -> Result<Option<Vec<u8>>, QueryError> {
        let Some(Statements { select, .. }) = self.0.tables.get(table) else {
            return Err(QueryError::NoTable { table: table.to_owned() });
        };
        if !self.0.delay.is_zero() {
            sleep(self.0.delay).await;
        }
        self.0.queries.fetch_add(1, Ordering::Relaxed);
        match timeout(QUERY_TIME, self.0.pool.fetch(select.clone(), key)).await {
            Ok(fetched) => Ok(fetched?),
            Err(_) => Err(QueryError::TimedOut { limit: QUERY_TIME }),
        }
    }

    /// Returns how many values were asked of the database until now.
    pub(crate) fn queries(&self) -> u64 {
        self.0.queries.load(Ordering::Relaxed)
    }
}

/// What is said to the database about one table.
struct Statements {
    select: SqlStr,
    update: SqlStr,
    insert: SqlStr,
    delete: SqlStr,
}

impl Statements {
    fn new(dialect: Dialect, table: &str, value_type: &str) -> Self {
        // They hold nothing from outside but the table's name, which is quoted, and a type of the
        // server's own.
        let safe = |statement: String| AssertSqlSafe(Arc::<str>::from(statement)).into_sql_str();
        let change = |change| safe(dialect.change(change, table, value_type));
        Self {
            select: safe(dialect.select(table, value_type)),
            update: change(Change::Update),
            insert: change(Change::Insert),
            delete: change(Change::Delete),
        }
    }

    fn of(&self, change: Change) -> &SqlStr {
        match change {
            Change::Update => &self.update,
            Change::Insert => &self.insert,
            Change::Delete => &self.delete,
        }
    }
}

/// Creates the file that `url` names if it is not there, with sample data.
async fn create_sqlite(url: &str) -> anyhow::Result<()> {
    let options: SqliteConnectOptions = url.parse()?;
    let file = options.get_filename();
    // A database in memory would be another one for each connection, and is refused for being empty.
    if !url.contains(":memory:") && !file.try_exists()? {
        seed::create(file).await?;
    }
    Ok(())
}

/// Returns a pool, and the name and the type of the values of each table that can be a group.
async fn connect(
    dialect: Dialect,
    url: &str,
) -> Result<(Pool, Vec<(String, String)>), sqlx::Error> {
    let pool = Pool::connect(dialect, url).await?;
    let tables = pool.tables(dialect).await?;
    Ok((pool, tables))
}

/// One pool of connections, of the kind that the URL asks for.
enum Pool {
    Sqlite(SqlitePool),
    MySql(MySqlPool),
    Postgres(PgPool),
}

impl Pool {
    async fn connect(dialect: Dialect, url: &str) -> Result<Self, sqlx::Error> {
        Ok(match dialect {
            Dialect::Sqlite => Self::Sqlite(pool(url.parse::<SqliteConnectOptions>()?).await?),
            Dialect::MySql => Self::MySql(pool(url.parse::<MySqlConnectOptions>()?).await?),
            Dialect::Postgres => Self::Postgres(pool(url.parse::<PgConnectOptions>()?).await?),
        })
    }

    async fn tables(&self, dialect: Dialect) -> Result<Vec<(String, String)>, sqlx::Error> {
        let query = dialect.list_tables();
        match self {
            Self::Sqlite(pool) => sqlx::query_as(query).fetch_all(pool).await,
            Self::MySql(pool) => sqlx::query_as(query).fetch_all(pool).await,
            Self::Postgres(pool) => sqlx::query_as(query).fetch_all(pool).await,
        }
    }

    async fn fetch(&self, select: SqlStr, key: &str) -> Result<Option<Vec<u8>>, sqlx::Error> {
        let value: Option<Option<Vec<u8>>> = match self {
            Self::Sqlite(pool) => sqlx::query_scalar(select).bind(key).fetch_optional(pool).await?,
            // Twice: as the index compares it, and byte for byte (see `Dialect::select`).
            Self::MySql(pool) => {
                sqlx::query_scalar(select).bind(key).bind(key).fetch_optional(pool).await?
            }
            // PostgreSQL's text cannot hold this character: no row can have such a key, and the
            // server would call the question an error.
            Self::Postgres(_) if key.contains('\0') => None,
            Self::Postgres(pool) => {
                sqlx::query_scalar(select).bind(key).fetch_optional(pool).await?
            }
        };
        Ok(value.flatten())
    }
}

/// Returns a pool over a database that answered once.
async fn pool<DB: sqlx::Database>(options: OptionsOf<DB>) -> Result<sqlx::Pool<DB>, sqlx::Error> {
    // Asked without the pool first: the pool takes a refused connection for a server that is about
    // to start, and would report no more than its own timeout.
    options.connect().await?.close().await?;
    let pool = PoolOptions::new().max_connections(MAX_CONNECTIONS).acquire_timeout(CONNECT_TIME);
    Ok(pool.connect_lazy_with(options))
}

type OptionsOf<DB> = <<DB as sqlx::Database>::Connection as Connection>::Options;
