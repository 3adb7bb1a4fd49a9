//! Makes a database for the example `node` out of a text file.
//!
//! ```text
//! printf '"scores"\t"Tom"\t"630"\n"fruit"\t"U+1F955"\t"\\xf0\\x9f\\xa5\\x95"\n' > data.txt
//! cargo run --example import -- data.txt data.db
//! cargo run --example node -- --db sqlite:data.db --addr http://127.0.0.1:8001 \
//!     --peers http://127.0.0.1:8001 --api 127.0.0.1:9999
//! ```
//!
//! A line is a row: group, key and value, each in quotes as in Go or in C (`\"`, `\\`, `\n`, `\t`,
//! `\x00` to `\xff`), so that any byte has its place. Each group becomes a table.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{AssertSqlSafe, Connection};

/// Makes a SQLite database for the example `node` out of lines of "group", "key", "value"
#[derive(Parser)]
struct Args {
    /// The text to read
    text: PathBuf,
    /// The database to make; it must not be there yet
    database: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let Args { text, database } = Args::parse();
    ensure!(!database.exists(), "{} is there already", database.display());
    let lines = BufReader::new(File::open(&text).with_context(|| text.display().to_string())?);
    let rows = import(lines, &database).await.with_context(|| text.display().to_string())?;
    println!("{rows} rows are in {}", database.display());
    Ok(())
}

async fn import(lines: impl BufRead, database: &Path) -> Result<usize> {
    let options = SqliteConnectOptions::new().filename(database).create_if_missing(true);
    let options = options.journal_mode(SqliteJournalMode::Off);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let mut transaction = connection.begin().await?;
    let (mut tables, mut rows) = (BTreeSet::new(), 0);
    for line in lines.lines() {
        rows += 1;
        let [group, key, value] = fields(&line?).with_context(|| format!("line {rows}"))?;
        let [group, key] = [group, key].map(String::from_utf8);
        let (group, key) = (group?.replace('"', "\"\""), key?);
        if !tables.contains(&group) {
            let create = format!("CREATE TABLE \"{group}\"(key TEXT PRIMARY KEY, value BLOB)");
            sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut *transaction).await?;
            tables.insert(group.clone());
        }
        let insert = format!("INSERT INTO \"{group}\" VALUES (?, ?)");
        let insert = sqlx::query(AssertSqlSafe(insert)).bind(key).bind(value);
        insert.execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    connection.close().await?;
    Ok(rows)
}

/// Reads the three fields of a line.
fn fields(line: &str) -> Result<[Vec<u8>; 3]> {
    let mut fields = line.split('\t').map(unquoted);
    let mut next = || fields.next().flatten().context("expected \"group\", \"key\" and \"value\"");
    let read = [next()?, next()?, next()?];
    ensure!(next().is_err(), "expected three fields and found more");
    Ok(read)
}

/// Reads a string in quotes, or returns `None` if it is not one.
fn unquoted(text: &str) -> Option<Vec<u8>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let (mut bytes, mut read) = (Vec::with_capacity(inner.len()), inner.bytes());
    while let Some(byte) = read.next() {
        bytes.push(match byte {
            b'"' => return None,
            b'\\' => match read.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => {
                    let mut digit = || char::from(read.next()?).to_digit(16);
                    u8::try_from(digit()? * 16 + digit()?).ok()?
                }
                byte @ (b'"' | b'\\') => byte,
                _ => return None,
            },
            byte => byte,
        });
    }
    Some(bytes)
}
