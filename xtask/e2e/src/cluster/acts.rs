//! The play: what the cluster is made to do, and what is claimed of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use carrotcache_consistenthash::Ring;
use tokio::time::sleep;

use super::counts::Counts;
use super::nodes::Cluster;
use super::table::{self, grouped};
use crate::node::Node;
use crate::node::api::Api;
use crate::report::Report;
use crate::workload::{self, CONCURRENCY, Names, Outcome};

/// Keys, never asked for before, that are asked for when a node is back, to see who loads them.
const FRESH_KEYS: usize = 100;
/// Others try a node that was dead only now and then, at first. More keys of it than that may take.
const PROBES: usize = 400;
const PROBE_EVERY: Duration = Duration::from_millis(200);
/// Errors of one kind that are worth showing.
const SHOWN_ERRORS: usize = 3;

/// Says who takes part.
pub(super) fn introduce(cluster: &Cluster, delay: Duration, report: &Report) {
    for node in &cluster.nodes {
        report.note(&format!("{}, asked at http://{}", node.name(), node.api().address()));
    }
    let file = cluster.database();
    report.note(&format!("database {}, where a query takes {delay:?} more", file.display()));
}

/// The cluster, what it is asked for, and what is shown of it.
pub(super) struct Play {
    pub(super) cluster: Cluster,
    pub(super) names: Names,
    pub(super) report: Report,
}

impl Play {
    /// Act: three who want the same at the same moment.
    pub(super) async fn one_query_for_many(&mut self) -> Result<()> {
        self.report.part("Three ask for Tom at the same moment");
        let apis = self.cluster.apis();
        let before = Counts::of_all(&apis).await?;
        let ask = |at: usize| apis[at % apis.len()].value("scores", "Tom");
        let answers = tokio::join!(ask(0), ask(1), ask(2));
        let answers = [answers.0?, answers.1?, answers.2?];
        let counted = difference(&Counts::of_all(&apis).await?, &before);

        let texts = answers.each_ref().map(|answer| String::from_utf8_lossy(answer));
        let same = answers.iter().all(|answer| answer == b"630");
        self.report.claim(&format!("They were told {}", texts.join(", ")), same);
        let queries = counted.iter().map(|counts| counts.queries).sum::<u64>();
        let text = format!("It cost {}, made by {}", in_words(queries), self.who_queried(&counted));
        self.report.claim(&text, queries == 1);
        Ok(())
    }

    /// Act: many requests for a few popular keys and many rare ones.
    pub(super) async fn zipf(&mut self, requests: u64) -> Result<()> {
        let rows = self.names.draw(requests)?;
        let distinct = workload::distinct(&rows);
        let (all, asked) = (grouped(self.names.len() as u64), grouped(requests));
        self.report.part(&format!("{asked} requests for the names of {all} Unicode characters"));

        let apis = self.cluster.apis();
        let before = Counts::of_all(&apis).await?;
        let outcome = self.run(&apis, rows).await;
        let counts = Counts::of_all(&apis).await?;
        self.report.note(&summary(&outcome));
        let urls = self.cluster.urls();
        self.report.note(&table::of_nodes(&urls, &counts, &shares(&urls)?));

        self.claim_flawless("Every answer was the right name", &outcome);
        let queries = difference(&counts, &before).iter().map(|counts| counts.queries).sum::<u64>();
        let (made, keys) = (grouped(queries), grouped(distinct));
        let text =
            format!("{keys} different keys cost {made} queries: one each, in the whole cluster");
        self.report.claim(&text, queries == distinct);
        Ok(())
    }

    /// Act: the last node is killed under load, and comes back.
    pub(super) async fn a_node_dies_and_comes_back(&mut self, requests: u64) -> Result<()> {
        self.report.part("A node is killed, and comes back");
        let last = self.cluster.nodes.len() - 1;
        if last == 0 {
            self.report.note("Left out: it takes two nodes.");
            return Ok(());
        }
        let survivors = self.cluster.apis()[..last].to_vec();
        self.kill_under_load(last, &survivors, requests.div_ceil(2)).await?;
        let node = &mut self.cluster.nodes[last];
        node.start().await?;
        self.report.note(&format!("{} was started again", node.url()));
        self.take_keys_back(last, &survivors).await
    }

    async fn kill_under_load(&mut self, last: usize, apis: &[Api], requests: u64) -> Result<()> {
        let node = &mut self.cluster.nodes[last];
        let before: Counts = Counts::of_all(apis).await?.into_iter().sum();
        let rows = self.names.draw(requests)?;
        let progress = workload::progress(requests);
        let running = workload::run(apis, rows, &progress);
        let killed = kill_midway(node, &progress, requests);
        let (outcome, killed) = tokio::join!(running, killed);
        killed?;
        progress.finish_and_clear();
        let counted = Counts::of_all(apis).await?.into_iter().sum::<Counts>() - before;

        let (name, requests) = (node.url(), grouped(requests));
        self.report.note(&format!("{name} was killed amid {requests} requests to the others"));
        self.report.note(&summary(&outcome));
        let fallen = grouped(counted.peer_errors);
        self.report.note(&format!("{fallen} times it could not be asked, and others stood in"));
        self.claim_flawless("The requests went on without one error", &outcome);
        Ok(())
    }

    async fn take_keys_back(&mut self, last: usize, survivors: &[Api]) -> Result<()> {
        let ring = Ring::new(self.cluster.urls())?;
        let of_it = |key: &str| ring.get_index(key) == Some(last);
        let mut fresh = self.names.fresh(FRESH_KEYS + PROBES, of_it);
        let probes = fresh.split_off(FRESH_KEYS.min(fresh.len()));
        self.wait_until_asked(last, survivors, &probes).await?;
        let count = fresh.len();
        let apis = self.cluster.apis();
        let before = Counts::of_all(&apis).await?;
        let outcome = workload::run(survivors, fresh, &workload::progress(0)).await;
        let counted = difference(&Counts::of_all(&apis).await?, &before);

        let (returned, others) = counted.split_last().context("no nodes")?;
        let others: Counts = others.iter().copied().sum();
        self.claim_flawless(
            &format!("Asked for {count} of its keys, the others were right"),
            &outcome,
        );
        let text = format!("It took its keys again: it loaded {} of them itself", returned.queries);
        let took = returned.queries == count as u64 && others.queries == 0;
        self.report.claim(&text, took && others.peer_errors == 0);
        Ok(())
    }

    /// Asks all others for keys of a node, each once, until each of them has found that it is back.
    async fn wait_until_asked(
        &mut self,
        node: usize,
        others: &[Api],
        rows: &[(String, String)],
    ) -> Result<()> {
        let (url, start) = (self.cluster.nodes[node].url().to_owned(), Instant::now());
        let mut rows = rows.iter();
        for api in others {
            while api.stats().await?["peers"][&url]["state"] != "healthy" {
                let (key, _) = rows.next().with_context(|| format!("{url} is not asked"))?;
                api.value("unicode", key).await?;
                sleep(PROBE_EVERY).await;
            }
        }
        let time = start.elapsed().as_secs_f64();
        self.report.note(&format!("After {time:.1} s all of the others asked it again"));
        Ok(())
    }

    pub(super) async fn run(&self, apis: &[Api], rows: Vec<(String, String)>) -> Outcome {
        let progress = workload::progress(rows.len() as u64);
        let outcome = workload::run(apis, rows, &progress).await;
        progress.finish_and_clear();
        outcome
    }

    pub(super) fn claim_flawless(&mut self, text: &str, outcome: &Outcome) {
        self.report.claim(text, outcome.is_flawless());
        if !outcome.is_flawless() {
            let (wrong, failed) = (outcome.wrong, outcome.errors.len());
            self.report.note(&format!("{wrong} answers were wrong, {failed} requests failed"));
            outcome.errors.iter().take(SHOWN_ERRORS).for_each(|error| self.report.note(error));
        }
    }

    fn who_queried(&self, counted: &[Counts]) -> String {
        let nodes = self.cluster.nodes.iter().zip(counted);
        let queried = nodes.filter(|(_, counts)| counts.queries > 0);
        queried.map(|(node, _)| node.url()).collect::<Vec<_>>().join(" and ")
    }
}

/// Kills a node once a third of the requests is made.
async fn kill_midway(
    node: &mut Node,
    progress: &indicatif::ProgressBar,
    requests: u64,
) -> Result<()> {
    while progress.position() < requests / 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    node.kill().await
}

/// Returns what each node has counted between two looks.
pub(super) fn difference(later: &[Counts], earlier: &[Counts]) -> Vec<Counts> {
    later.iter().zip(earlier).map(|(later, earlier)| *later - *earlier).collect()
}

/// Returns a number of queries as part of a sentence.
pub(super) fn in_words(queries: u64) -> String {
    let unit = if queries == 1 { "query" } else { "queries" };
    format!("{} {unit}", grouped(queries))
}

fn shares(urls: &[String]) -> Result<Vec<f64>> {
    let ring = Ring::new(urls)?;
    Ok(ring.shares().into_iter().map(|(_, share)| share).collect())
}

fn summary(outcome: &Outcome) -> String {
    format!(
        "{:.0} requests a second, {CONCURRENCY} at a time; half of them within {:.1} ms, 99 % within {:.1} ms",
        outcome.rate(),
        outcome.quantile(0.5).as_secs_f64() * 1e3,
        outcome.quantile(0.99).as_secs_f64() * 1e3,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_between_two_looks_is_told_by_node() {
        let counts = |queries| Counts { queries, ..Counts::default() };
        let difference = difference(&[counts(5), counts(7)], &[counts(2), counts(7)]);
        assert_eq!(difference, [counts(3), counts(0)]);
    }

    #[test]
    fn shares_are_in_the_order_of_the_nodes_and_make_a_whole() {
        let urls = [8001, 8002, 8003].map(|port| format!("http://127.0.0.1:{port}"));
        let shares = shares(&urls).unwrap();
        assert_eq!(shares.len(), 3);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{shares:?}");
        let alone = super::shares(&urls[..1]).unwrap();
        assert!((alone[0] - 1.0).abs() < 1e-9, "{alone:?}");
    }
}
