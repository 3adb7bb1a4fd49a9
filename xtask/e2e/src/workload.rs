//! Requests as real users make them: a few keys very often, most keys hardly ever.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use rand::SeedableRng;
use rand::distr::Distribution;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand_distr::Zipf;
use tokio::task::JoinSet;

use crate::node::api::Api;

/// How unequal the keys are: at 0.99 the most popular one of 150,000 gets 8 % of all requests.
const EXPONENT: f64 = 0.99;
/// The same keys in each run.
const SEED: u64 = 0x1F955;
/// Requests under way at any moment.
pub(crate) const CONCURRENCY: usize = 64;

/// Every character's key and name, in an order of popularity that has nothing to do with theirs.
pub(crate) struct Names {
    rows: Vec<(String, String)>,
    /// Which rows were drawn until now.
    drawn: Vec<bool>,
    draws: StdRng,
}

impl Names {
    /// Returns what the group `unicode` holds, from the same source.
    pub(crate) fn new() -> Self {
        let named = |c| {
            let name = unicode_names2::name(c)?.to_string();
            Some((format!("U+{:04X}", u32::from(c)), name))
        };
        let mut rows: Vec<_> = ('\0'..=char::MAX).filter_map(named).collect();
        let mut draws = StdRng::seed_from_u64(SEED);
        rows.shuffle(&mut draws);
        Self { drawn: vec![false; rows.len()], rows, draws }
    }

    /// Returns how many there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns `count` rows, drawn as a Zipf distribution has it.
    pub(crate) fn draw(&mut self, count: u64) -> Result<Vec<(String, String)>> {
        let zipf = Zipf::new(self.rows.len() as f64, EXPONENT)?;
        let mut rows = Vec::new();
        for _ in 0..count {
            // Ranks are whole numbers from 1 to the number of rows.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let at = zipf.sample(&mut self.draws) as usize - 1;
            self.drawn[at] = true;
            rows.push(self.rows[at].clone());
        }
        Ok(rows)
    }

    /// Returns up to `count` rows that were never drawn and that `wanted` holds for.
    pub(crate) fn fresh(
        &self,
        count: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<(String, String)> {
        let rows = self.rows.iter().zip(&self.drawn);
        let fresh = rows.filter(|((key, _), drawn)| !**drawn && wanted(key));
        fresh.map(|(row, _)| row.clone()).take(count).collect()
    }
}

/// What came of a run of requests.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) right: usize,
    pub(crate) wrong: usize,
    pub(crate) errors: Vec<String>,
    pub(crate) elapsed: Duration,
    latencies: Vec<Duration>,
}

impl Outcome {
    /// Returns the latency that `share` (0 to 1) of the requests did not exceed.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let at = (last as f64 * share) as usize;
        self.latencies.get(at).copied().unwrap_or_default()
    }

    /// Returns how many requests were answered in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// Returns whether every request was answered, and rightly.
    pub(crate) fn is_flawless(&self) -> bool {
        self.wrong == 0 && self.errors.is_empty()
    }

    fn note(&mut self, answer: Result<Vec<u8>>, name: &str, latency: Duration) {
        self.latencies.push(latency);
        match answer {
            Ok(value) if value == name.as_bytes() => self.right += 1,
            Ok(_) => self.wrong += 1,
            Err(error) => self.errors.push(format!("{error:#}")),
        }
    }

    fn merge(&mut self, mut other: Self) {
        self.right += other.right;
        self.wrong += other.wrong;
        self.errors.append(&mut other.errors);
        self.latencies.append(&mut other.latencies);
    }
}

/// Returns a bar for `length` requests; it is drawn only on a terminal.
pub(crate) fn progress(length: u64) -> ProgressBar {
    let template = "  {bar:40.yellow} {human_pos} of {human_len} requests, {eta} left";
    let style = ProgressStyle::with_template(template);
    let bar = ProgressBar::new(length);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// Returns how many different keys are among `rows`.
pub(crate) fn distinct(rows: &[(String, String)]) -> u64 {
    rows.iter().map(|(key, _)| key).collect::<HashSet<_>>().len() as u64
}

/// Asks the nodes in turn for the keys of `rows` and compares the answers with the names.
pub(crate) async fn run(
    apis: &[Api],
    rows: Vec<(String, String)>,
    progress: &ProgressBar,
) -> Outcome {
    let start = Instant::now();
    let shared = Arc::new((rows, AtomicUsize::new(0), apis.to_vec()));
    let mut workers = JoinSet::new();
    for _ in 0..CONCURRENCY {
        let (shared, progress) = (Arc::clone(&shared), progress.clone());
        workers.spawn(async move {
            let (rows, next, apis) = &*shared;
            let mut outcome = Outcome::default();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some((key, name)) = rows.get(at) else { return outcome };
                let start = Instant::now();
                let answer = apis[at % apis.len()].value("unicode", key).await;
                outcome.note(answer, name, start.elapsed());
                progress.inc(1);
            }
        });
    }
    let mut total = Outcome::default();
    workers.join_all().await.into_iter().for_each(|outcome| total.merge(outcome));
    total.latencies.sort_unstable();
    total.elapsed = start.elapsed();
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_keys_are_drawn_often_and_the_same_in_each_run() {
        let rows = Names::new().draw(2_000).unwrap();
        assert_eq!(rows, Names::new().draw(2_000).unwrap());
        let most_popular = &Names::new().rows[0];
        let times = rows.iter().filter(|row| *row == most_popular).count();
        assert!((80..=250).contains(&times), "{times}");
        assert!(distinct(&rows) > 500);
    }

    #[test]
    fn fresh_rows_are_wanted_and_were_not_drawn() {
        let mut names = Names::new();
        let drawn = names.draw(1_000).unwrap();
        let fresh = names.fresh(10, |key| key.ends_with('0'));
        assert_eq!(distinct(&fresh), 10);
        assert!(fresh.iter().all(|row| row.0.ends_with('0') && !drawn.contains(row)));
    }

    #[test]
    fn an_outcome_tells_right_wrong_and_failed_apart() {
        let mut outcome = Outcome::default();
        outcome.note(Ok(b"CARROT".to_vec()), "CARROT", Duration::from_millis(1));
        assert!(outcome.is_flawless());
        outcome.note(Ok(b"POTATO".to_vec()), "CARROT", Duration::from_millis(2));
        outcome.note(Err(anyhow::anyhow!("refused")), "CARROT", Duration::from_millis(3));
        assert_eq!((outcome.right, outcome.wrong), (1, 1));
        assert_eq!(outcome.errors, ["refused"]);
        assert_eq!(outcome.quantile(0.5), Duration::from_millis(2));
        assert!(!outcome.is_flawless());
    }
}
