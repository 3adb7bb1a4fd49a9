//! The sample data of a new database file: the classic scores, and the name of every character.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{Connection, QueryBuilder, Sqlite};

const SCORES: [(&str, &str); 5] =
    [("Tom", "630"), ("Jack", "589"), ("Sam", "567"), ("Lily", "589"), ("Pity", "567")];

/// Rows of one INSERT; SQLite takes at most 32,766 parameters, and two make a row.
const BATCH: usize = 1_000;

/// Creates `file` with the tables `scores` and `unicode`, unless someone else does meanwhile.
///
/// It is written under another name and then renamed, so that whoever finds it finds all of it. Of
/// several nodes that start at once the fastest wins, and the others use its file.
pub(crate) async fn create(file: &Path) -> Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let draft = tempfile::Builder::new()
        .prefix(".carrotcache-")
        // As readable as any new file, and not for us alone: the umask still applies.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    fill(draft.path()).await?;
    match draft.persist_noclobber(file) {
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome.map(drop).map_err(Into::into),
    }
}

async fn fill(file: &Path) -> Result<()> {
    // No one else knows the file and it is dropped if anything fails, so it needs no journal.
    let options = SqliteConnectOptions::new().filename(file).journal_mode(SqliteJournalMode::Off);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let mut transaction = connection.begin().await?;
    for table in ["scores", "unicode"] {
        QueryBuilder::<Sqlite>::new("CREATE TABLE ")
            .push(table)
            .push("(key TEXT PRIMARY KEY, value BLOB)")
            .build()
            .execute(&mut *transaction)
            .await?;
    }
    insert(&mut transaction, "scores", &SCORES).await?;
    for batch in character_names().chunks(BATCH) {
        insert(&mut transaction, "unicode", batch).await?;
    }
    transaction.commit().await?;
    connection.close().await.context("cannot close the file")
}

async fn insert<T: AsRef<str>>(
    connection: &mut SqliteConnection,
    table: &str,
    rows: &[(T, T)],
) -> Result<()> {
    let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO ");
    insert.push(table).push("(key, value) ").push_values(rows, |mut row, (key, value)| {
        row.push_bind(key.as_ref()).push_bind(value.as_ref().as_bytes());
    });
    insert.build().execute(connection).await?;
    Ok(())
}

/// Returns every character that has a name, as `U+1F955`, with its name, as `CARROT`.
fn character_names() -> Vec<(String, String)> {
    let named = |c| Some((format!("U+{:04X}", u32::from(c)), unicode_names2::name(c)?.to_string()));
    ('\0'..=char::MAX).filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_carrot_is_among_well_over_thirty_thousand_names() {
        let names = character_names();
        assert!(names.len() > 30_000, "{}", names.len());
        assert!(names.contains(&("U+1F955".to_owned(), "CARROT".to_owned())));
    }
}
