//! Requests at an even rate, whatever becomes of them, and what became of them.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::cluster::GROUP;
use crate::node::api::Api;
use crate::workload::Names;

/// A key, and the value that is right.
pub(super) type Row = (String, String);

/// What came of one request.
pub(super) struct Sample {
    /// When it was sent, counted from the first.
    pub(super) at: Duration,
    pub(super) wait: Duration,
    /// Why it was not answered rightly.
    pub(super) error: Option<String>,
}

/// What came of all of them.
#[derive(Default)]
pub(super) struct Samples(Vec<Sample>);

/// Asks the nodes in turn for the rows in turn, so many a second, and waits for the last answer.
///
/// # Cancel safety
///
/// When the future is dropped, what is under way is given up.
pub(super) async fn ask(apis: &[Api], rows: &[Row], a_second: u32) -> Samples {
    ask_whom(|at| apis[at % apis.len()].clone(), rows, a_second).await
}

/// Asks for the rows in turn, each of whom `whom` says when it is sent.
///
/// # Cancel safety
///
/// As [`ask`].
pub(super) async fn ask_whom(whom: impl Fn(usize) -> Api, rows: &[Row], a_second: u32) -> Samples {
    let mut ticks = interval(Duration::from_secs(1) / a_second);
    // The rate is that of the clock, however late this task runs.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (start, mut asking) = (Instant::now(), JoinSet::new());
    for (at, (key, value)) in rows.iter().cloned().enumerate() {
        ticks.tick().await;
        let api = whom(at);
        let sent = start.elapsed();
        asking.spawn(async move {
            let begin = Instant::now();
            let error = match api.value(GROUP, &key).await {
                Ok(answer) if answer == value.as_bytes() => None,
                Ok(_) => Some(format!("a wrong value of {key}")),
                Err(error) => Some(format!("{error:#}")),
            };
            Sample { at: sent, wait: begin.elapsed(), error }
        });
    }
    Samples(asking.join_all().await)
}

impl Samples {
    /// Returns those that were sent after so long.
    pub(super) fn after(self, time: Duration) -> Self {
        Self(self.0.into_iter().filter(|sample| sample.at >= time).collect())
    }

    pub(super) fn errors(&self) -> usize {
        self.0.iter().filter(|sample| sample.error.is_some()).count()
    }

    /// Returns one of the errors, to be shown.
    pub(super) fn an_error(&self) -> Option<&str> {
        self.0.iter().find_map(|sample| sample.error.as_deref())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the wait, in milliseconds, that so many of a hundred did not exceed.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        let mut waits: Vec<_> = self.0.iter().map(|sample| sample.wait).collect();
        waits.sort_unstable();
        let at = (waits.len() * percent / 100).min(waits.len().saturating_sub(1));
        waits.get(at).map_or(0.0, |wait| wait.as_secs_f64() * 1e3)
    }

    /// Returns the longest wait, in milliseconds.
    pub(super) fn longest(&self) -> f64 {
        self.percentile(100)
    }
}

/// Rows that nobody has asked for yet, each to be asked for through several nodes.
pub(super) struct Fresh {
    rows: Vec<Row>,
}

impl Fresh {
    pub(super) fn new() -> Self {
        let names = Names::new();
        Self { rows: names.fresh(names.len(), |_| true) }
    }

    /// Returns the next `count` rows, each `times` in a row: nodes that are asked in turn are asked for
    /// the same row one after the other.
    pub(super) fn take(&mut self, count: usize, times: usize) -> Vec<Row> {
        let rows = self.rows.split_off(self.rows.len() - count);
        rows.into_iter().flat_map(|row| vec![row; times]).collect()
    }
}
