//! How a node under test is told what to do: a line each way over a connection.

use std::io;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// What a node is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// The version of a row, by the cache.
    Get(u64),
    /// To count a row's version up, to commit that, and to remove the row from the cache.
    Update(u64),
    /// To let no peer in for so many milliseconds, and to go on otherwise.
    Deafen(u64),
}

impl Ask {
    pub(super) fn to_line(self) -> String {
        match self {
            Self::Get(row) => format!("get {row}\n"),
            Self::Update(row) => format!("update {row}\n"),
            Self::Deafen(millis) => format!("deafen {millis}\n"),
        }
    }

    pub(super) fn parse(line: &str) -> Result<Self> {
        match line.split_once(' ').context("a word is missing")? {
            ("get", row) => Ok(Self::Get(row.parse()?)),
            ("update", row) => Ok(Self::Update(row.parse()?)),
            ("deafen", millis) => Ok(Self::Deafen(millis.parse()?)),
            (other, _) => bail!("`{other}` is not known"),
        }
    }
}

/// What a node answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Value(u64),
    /// The row has this version, and no other is read anywhere.
    Removed(u64),
    /// The same, but for these nodes, and for this time.
    Incomplete {
        version: u64,
        stale: Duration,
        unreached: Vec<String>,
    },
    /// The row has a new version, of which nothing is promised.
    Unsettled,
    Deaf,
    Failed(String),
}

impl Answer {
    pub(super) fn to_line(&self) -> String {
        match self {
            Self::Value(version) => format!("value {version}\n"),
            Self::Removed(version) => format!("removed {version}\n"),
            Self::Incomplete { version, stale, unreached } => {
                format!("incomplete {version} {} {}\n", stale.as_millis(), unreached.join(","))
            }
            Self::Unsettled => "unsettled \n".to_owned(),
            Self::Deaf => "deaf \n".to_owned(),
            Self::Failed(error) => format!("failed {}\n", error.replace('\n', " ")),
        }
    }

    pub(super) fn parse(line: &str) -> Result<Self> {
        let (word, rest) = line.split_once(' ').context("a word is missing")?;
        Ok(match word {
            "value" => Self::Value(rest.parse()?),
            "removed" => Self::Removed(rest.parse()?),
            "incomplete" => {
                let words: Vec<_> = rest.split(' ').collect();
                let [version, millis, unreached] = words[..] else { bail!("not whole: {line}") };
                Self::Incomplete {
                    version: version.parse()?,
                    stale: Duration::from_millis(millis.parse()?),
                    unreached: unreached.split(',').map(str::to_owned).collect(),
                }
            }
            "unsettled" => Self::Unsettled,
            "deaf" => Self::Deaf,
            "failed" => Self::Failed(rest.to_owned()),
            other => bail!("`{other}` is no answer"),
        })
    }
}

/// A connection to a node, on which one thing is asked at a time.
pub(super) struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Connects to a node.
    ///
    /// # Errors
    ///
    /// When nobody listens there.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(super) async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Asks, and waits for the answer for as long as the node lives.
    ///
    /// Returns `None` if the node ended meanwhile.
    ///
    /// # Errors
    ///
    /// When what comes is no answer.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, the connection is of no more use.
    pub(super) async fn ask(&mut self, ask: Ask) -> Result<Option<Answer>> {
        let mut line = String::new();
        let sent = self.0.get_mut().write_all(ask.to_line().as_bytes()).await;
        if sent.is_err() || self.0.read_line(&mut line).await.is_err() {
            return Ok(None);
        }
        // What a killed node leaves may be part of a line.
        line.strip_suffix('\n').map(Answer::parse).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for ask in [Ask::Get(7), Ask::Update(63), Ask::Deafen(900)] {
            assert_eq!(Ask::parse(ask.to_line().trim_end_matches('\n')).unwrap(), ask);
        }
        let unreached = vec!["http://a".to_owned(), "http://b".to_owned()];
        let stale = Duration::from_millis(1_500);
        let answers = [
            Answer::Value(3),
            Answer::Removed(4),
            Answer::Incomplete { version: 5, stale, unreached },
            Answer::Unsettled,
            Answer::Deaf,
            Answer::Failed("the row is gone".to_owned()),
        ];
        for answer in answers {
            assert_eq!(Answer::parse(answer.to_line().trim_end_matches('\n')).unwrap(), answer);
        }
    }

    #[test]
    fn what_is_not_whole_is_an_error() {
        for line in ["", "value", "value x", "incomplete 1 2", "something else"] {
            assert!(Answer::parse(line).is_err(), "{line}");
            assert!(Ask::parse(line).is_err(), "{line}");
        }
    }
}
