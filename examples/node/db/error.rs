//! What can go wrong with a database, with the way out.

use std::error::Error;
use std::io;
use std::time::Duration;

/// Why a database cannot be opened. No text holds the password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum OpenError {
    /// The URL means no kind of database that is known.
    #[error("cannot open {url}: unknown scheme `{scheme}`; use sqlite:, mysql: or postgres:")]
    Scheme {
        /// What stands before the colon.
        scheme: String,
        /// The URL, without its password.
        url: String,
    },
    /// The SQLite file is not there and cannot be created.
    #[error("cannot create {url}; does its folder exist, and may it be written to?")]
    Create {
        /// The URL.
        url: String,
        /// What the system or SQLite said.
        source: Cause,
    },
    /// The database does not answer, or refuses.
    #[error("cannot open {url}; {way_out}")]
    Connect {
        /// The URL, without its password.
        url: String,
        /// What to look at first.
        way_out: &'static str,
        /// What the database or the network said.
        source: Cause,
    },
    /// The server took the connection or the file, and then said nothing.
    #[error("cannot open {url}: no answer within {limit:?}; is it the right host and port?")]
    TimedOut {
        /// The URL, without its password.
        url: String,
        /// How long it had.
        limit: Duration,
    },
    /// There is no table that could be a group.
    #[error("{url} has no table with the columns key and value; make one, such as: {create}")]
    NoTables {
        /// The URL, without its password.
        url: String,
        /// A statement that makes such a table.
        create: &'static str,
    },
}

impl OpenError {
    pub(super) fn connect(url: String, source: sqlx::Error) -> Self {
        let way_out = match &source {
            sqlx::Error::Configuration(_) => "is the URL well formed?",
            sqlx::Error::Io(cause) if cause.kind() == io::ErrorKind::ConnectionRefused => {
                "is the server running, and on this port?"
            }
            sqlx::Error::Io(_) => "can the server be reached from here?",
            sqlx::Error::Database(cause) => match cause.code().as_deref() {
                // MySQL's ER_ACCESS_DENIED_ERROR; PostgreSQL's class of failed authorisations.
                Some("28000" | "28P01") => "check the user and the password",
                // MySQL's ER_BAD_DB_ERROR; PostgreSQL's invalid_catalog_name.
                Some("42000" | "3D000") => "check the name of the database and the user's rights",
                // SQLite's "unable to open" and "not a database".
                Some("14") => "does the file exist, and may it be read?",
                Some("26") => "the file is no SQLite database",
                _ => "the database gives the reason",
            },
            _ => "the driver gives the reason",
        };
        Self::Connect { url, way_out, source: cause(source) }
    }
}

/// What the driver's error is about.
type Cause = Box<dyn Error + Send + Sync>;

/// Returns what is behind the driver's error, which repeats it in its own text.
fn cause(error: sqlx::Error) -> Cause {
    match error {
        sqlx::Error::Database(cause) => cause.into_error(),
        sqlx::Error::Io(cause) => cause.into(),
        other => other.into(),
    }
}

/// Why a value cannot be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum QueryError {
    /// There is no such table, or it had no key and value when the database was opened.
    #[error("no table with a key and a value is named `{table}`")]
    NoTable {
        /// The name.
        table: String,
    },
    /// The database failed, or the connection to it.
    #[error("the database failed")]
    Database(#[source] Cause),
    /// The answer took too long.
    #[error("the database did not answer within {limit:?}")]
    TimedOut {
        /// How long it may take.
        limit: Duration,
    },
}

impl From<sqlx::Error> for QueryError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(cause(error))
    }
}
