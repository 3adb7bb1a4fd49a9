//! More of the play: a row that changes, and a database that is protected from what is not there and
//! from what has just expired.

use std::time::Duration;

use anyhow::Result;

use super::acts::{Play, difference, in_words};
use super::counts::Counts;
use super::table::grouped;
use crate::node;
use crate::node::api::Api;
use crate::workload::Outcome;

/// How many requests there are for what is not there, and for what has just expired.
const REQUESTS: usize = 5_000;
/// How many different keys are asked for that are not there.
const ABSENT_KEYS: usize = 50;
/// How long a value lives in the last act, in which it expires.
const TIME_TO_LIVE: Duration = Duration::from_secs(5);
/// Less than the shortest life of a value: the jitter cuts up to a tenth off, and a refresh comes
/// somewhat early.
const SHORTEST_LIFE: Duration = Duration::from_secs(4);
/// A row that is there, with its name.
const CARROT: (&str, &str) = ("U+1F955", "CARROT");

impl Play {
    /// Act: a row is updated through one node while all hold it.
    pub(super) async fn a_row_is_updated(&mut self) -> Result<()> {
        self.report.part("A row is updated");
        let apis = self.cluster.apis();
        let old = tell_all(&apis).await?;
        self.report.note(&format!("Tom has {}, as every node knows", old.join(", ")));
        let before = Counts::of_all(&apis).await?;
        let (status, _) = apis[0].put("scores", "Tom", "631").await?;
        let first = self.cluster.nodes[0].url();
        let text = format!("PUT at {first} wrote 631 and had all nodes forget: {status}");
        self.report.claim(&text, status.as_u16() == 204);

        let new = tell_all(&apis).await?;
        let text = format!("Asked at once, the nodes said {}", new.join(", "));
        self.report.claim(&text, new.iter().all(|value| value == "631"));
        let queries = queries(&apis, &before).await?;
        self.report.claim(&format!("It cost {}", in_words(queries)), queries == 1);
        Ok(())
    }

    /// Act: many requests for what is not there, then for what has just expired.
    pub(super) async fn the_database_is_protected(&mut self) -> Result<()> {
        self.report.part("What is not there, and what has just expired");
        let life = format!("{}s", TIME_TO_LIVE.as_secs());
        self.start_again_with(&[("--time-to-live", &life), ("--not-found-time-to-live", "1h")])
            .await?;
        self.absent_keys().await?;
        self.an_expired_key().await
    }

    async fn absent_keys(&mut self) -> Result<()> {
        let apis = self.cluster.apis();
        let rows = (0..REQUESTS).map(|at| (format!("absent {}", at % ABSENT_KEYS), String::new()));
        let before = Counts::of_all(&apis).await?;
        let outcome = self.run(&apis, rows.collect()).await;
        let queries = queries(&apis, &before).await?;
        let (asked, keys) = (grouped(REQUESTS as u64), ABSENT_KEYS);
        let text = format!("{asked} requests for {keys} keys that are not there were answered so");
        self.report.claim(&text, all_not_found(&outcome));
        let text = format!("They cost {}: one each", in_words(queries));
        self.report.claim(&text, queries == ABSENT_KEYS as u64);
        Ok(())
    }

    async fn an_expired_key(&mut self) -> Result<()> {
        let apis = self.cluster.apis();
        let (key, name) = CARROT;
        apis[0].value("unicode", key).await?;
        // Nothing is waited for but the end of its life.
        tokio::time::sleep(TIME_TO_LIVE).await;
        let before = Counts::of_all(&apis).await?;
        let rows = vec![(key.to_owned(), name.to_owned()); REQUESTS];
        let outcome = self.run(&apis, rows).await;
        let queries = queries(&apis, &before).await?;
        let asked = grouped(REQUESTS as u64);
        let text =
            format!("{asked} requests for a key that had just expired were answered rightly");
        self.claim_flawless(&text, &outcome);
        // On a slow machine the requests take so long that it expires again.
        let lives = 1 + outcome.elapsed.as_secs() / SHORTEST_LIFE.as_secs();
        let text = format!("They cost {}, of {lives} at most", in_words(queries));
        self.report.claim(&text, (1..=lives).contains(&queries));
        Ok(())
    }

    /// Stops all nodes and starts them again, with empty caches and more options.
    async fn start_again_with(&mut self, options: &[(&str, &str)]) -> Result<()> {
        for node in &mut self.cluster.nodes {
            node.stop().await?;
        }
        let stopped = std::mem::take(&mut self.cluster.nodes).into_iter();
        let changed = stopped.map(|node| {
            options.iter().fold(node, |node, (option, value)| node.with(option, value))
        });
        self.cluster.nodes = changed.collect();
        node::start_all(&mut self.cluster.nodes).await?;
        let words = options.iter().map(|(option, value)| format!("{option} {value}"));
        let words = words.collect::<Vec<_>>().join(" ");
        self.report.note(&format!("The nodes were started again with {words}"));
        Ok(())
    }
}

/// Asks each node for Tom.
async fn tell_all(apis: &[Api]) -> Result<Vec<String>> {
    let mut values = Vec::new();
    for api in apis {
        let value = api.value("scores", "Tom").await?;
        values.push(String::from_utf8_lossy(&value).into_owned());
    }
    Ok(values)
}

/// Returns how many queries all nodes have made since `before`.
async fn queries(apis: &[Api], before: &[Counts]) -> Result<u64> {
    let counted = difference(&Counts::of_all(apis).await?, before);
    Ok(counted.iter().map(|counts| counts.queries).sum())
}

fn all_not_found(outcome: &Outcome) -> bool {
    let said_so = outcome.errors.iter().filter(|error| error.contains(" answers 404 "));
    said_so.count() == REQUESTS && outcome.right + outcome.wrong == 0
}
