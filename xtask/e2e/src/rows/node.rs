//! The node under test: a process of a cluster whose rows are in a SQLite file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use carrotcache::{Group, HttpPool, Node, RemoveError};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::wire::{Answer, Ask};

/// Short, so that what a remove did not reach is promised to end during a run.
const TIME_TO_LIVE: Duration = Duration::from_secs(2);
/// Part of that promise too.
const LOAD_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a load takes after it has read its row: so that many a row changes under a load.
const LOAD_PAUSE: Duration = Duration::from_millis(3);
/// Longer than any node is stopped, which may be in the midst of a transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// Be a node of a cluster whose rows change
#[derive(clap::Args)]
pub struct Args {
    /// Which of the URLs is this node's
    at: usize,
    /// Where it is told what to do
    control: String,
    /// The file of the rows
    database: PathBuf,
    /// By which the nodes know each other
    urls: Vec<String>,
    /// Say that rows are removed, and do not do it
    #[arg(long)]
    broken: bool,
}

/// Creates the file, with this many rows of version 1.
///
/// # Errors
///
/// When it cannot be written.
///
/// # Cancel safety
///
/// When it is dropped, the file may be there in part.
pub(super) async fn create(database: &Path, rows: u64) -> Result<()> {
    let pool = open(database, true).await?;
    // Readers do not wait for who writes, and see what was committed before they began.
    let mut transaction = pool.begin().await?;
    let table = "CREATE TABLE rows (id INTEGER PRIMARY KEY, version INTEGER NOT NULL)";
    sqlx::query(table).execute(&mut *transaction).await?;
    for row in 0..rows {
        let insert = sqlx::query("INSERT INTO rows VALUES (?, 1)").bind(row.cast_signed());
        insert.execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    pool.close().await;
    Ok(())
}

async fn open(database: &Path, is_new: bool) -> Result<SqlitePool> {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .create_if_missing(is_new)
        .journal_mode(SqliteJournalMode::Wal)
        // Processes are killed, and the machine is not: what they have written is there.
        .synchronous(SqliteSynchronous::Off)
        .busy_timeout(BUSY_TIMEOUT);
    let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await;
    pool.with_context(|| format!("cannot open {}", database.display()))
}

/// Serves until it is killed.
///
/// # Errors
///
/// When it cannot listen, or has no rows.
///
/// # Cancel safety
///
/// When it is dropped, what is under way is dropped too.
pub async fn run(args: &Args) -> Result<()> {
    let url = args.urls.get(args.at).context("no such node")?;
    let rows = open(&args.database, false).await?;
    let pool = HttpPool::builder(url).build()?;
    pool.set_peers(args.urls.iter().cloned())?;
    let node = Node::builder().peers(pool.clone()).build();
    let group = group(&node, &rows)?;
    let own = url.strip_prefix("http://").context("not an HTTP URL")?;
    let peers = TcpListener::bind(own).await.with_context(|| format!("cannot listen at {url}"))?;
    let control = TcpListener::bind(&args.control).await.context("cannot listen")?;
    let (deafen, deafened) = mpsc::channel(1);
    let table = Table { rows, group, broken: args.broken, deafen };
    tokio::select! {
        served = serve(peers, &pool, &node, deafened) => served,
        ended = obey(control, table) => ended,
    }
}

/// Serves peers, except for the times that come in.
async fn serve(
    mut peers: TcpListener,
    pool: &HttpPool,
    node: &Node,
    mut deafened: mpsc::Receiver<Duration>,
) -> Result<()> {
    let address = peers.local_addr()?;
    loop {
        tokio::select! {
            served = pool.serve(peers, node.clone(), std::future::pending()) => return Ok(served?),
            Some(time) = deafened.recv() => sleep(time).await,
        }
        peers = TcpListener::bind(address).await?;
    }
}

fn group(node: &Node, rows: &SqlitePool) -> Result<Group> {
    let rows = rows.clone();
    let loader = move |key: String| {
        let rows = rows.clone();
        async move {
            let row: i64 = key.parse()?;
            let select = sqlx::query_scalar("SELECT version FROM rows WHERE id = ?").bind(row);
            let version: Option<i64> = select.fetch_optional(&rows).await?;
            sleep(LOAD_PAUSE).await;
            anyhow::Ok(version.map(|version| version.to_string()))
        }
    };
    let group = node.group("rows").time_to_live(TIME_TO_LIVE).load_timeout(LOAD_TIMEOUT);
    Ok(group.loader(loader).build()?)
}

/// Does what it is told over each connection.
async fn obey(control: TcpListener, table: Table) -> Result<()> {
    loop {
        let (connection, _) = control.accept().await?;
        let table = table.clone();
        tokio::spawn(async move {
            // Who has gone is of no interest.
            drop(table.obey(connection).await);
        });
    }
}

/// The rows, read through the cache.
#[derive(Clone)]
struct Table {
    rows: SqlitePool,
    group: Group,
    broken: bool,
    deafen: mpsc::Sender<Duration>,
}

impl Table {
    async fn obey(self, mut connection: TcpStream) -> Result<()> {
        connection.set_nodelay(true)?;
        let (reader, mut writer) = connection.split();
        let mut lines = BufReader::new(reader).lines();
        while let Some(line) = lines.next_line().await? {
            let done = match Ask::parse(&line)? {
                Ask::Get(row) => self.get(row).await,
                Ask::Update(row) => self.update(row).await,
                Ask::Deafen(millis) => self.deafen(millis).await,
            };
            let answer = done.unwrap_or_else(|error| Answer::Failed(format!("{error:#}")));
            writer.write_all(answer.to_line().as_bytes()).await?;
        }
        Ok(())
    }

    async fn get(&self, row: u64) -> Result<Answer> {
        let value = self.group.get(&row.to_string()).await?;
        Ok(Answer::Value(std::str::from_utf8(&value)?.parse()?))
    }

    async fn deafen(&self, millis: u64) -> Result<Answer> {
        self.deafen.send(Duration::from_millis(millis)).await?;
        Ok(Answer::Deaf)
    }

    /// Updates a row, and removes it from the cache once that is committed.
    async fn update(&self, row: u64) -> Result<Answer> {
        let mut transaction = self.rows.begin_with("BEGIN IMMEDIATE").await?;
        let update = "UPDATE rows SET version = version + 1 WHERE id = ? RETURNING version";
        let update = sqlx::query_scalar::<_, i64>(update).bind(row.cast_signed());
        let version = update.fetch_one(&mut *transaction).await?.cast_unsigned();
        transaction.commit().await?;
        if self.broken {
            return Ok(Answer::Removed(version));
        }
        match self.group.remove(&row.to_string()).await {
            Ok(()) => Ok(Answer::Removed(version)),
            Err(RemoveError::Incomplete { unreached, stale_for_at_most, .. }) => {
                let stale = stale_for_at_most.context("a time to live bounds it")?;
                let unreached = unreached.iter().map(ToString::to_string).collect();
                Ok(Answer::Incomplete { version, stale, unreached })
            }
            Err(RemoveError::Unsettled { .. }) => Ok(Answer::Unsettled),
            Err(error) => Err(error.into()),
        }
    }
}
