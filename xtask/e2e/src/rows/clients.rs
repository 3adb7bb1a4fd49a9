//! Those who ask for rows and those who change them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use super::table::any_row;
use super::truth::Truth;
use super::wire::{Answer, Ask, Connection};

/// How long to wait before connecting again to a node that is down.
const RETRY: Duration = Duration::from_millis(20);
/// How far apart gets are which do not wait for those before. A node is stopped for up to 3 s,
/// so 300 of them may wait at once.
const VISITS: Duration = Duration::from_millis(10);
/// How long an updater waits at most before its next update: gets are to hit in between.
const PAUSE: Duration = Duration::from_millis(20);

/// How it went.
#[derive(Clone, Default)]
pub(super) struct Counts {
    pub(super) gets: u64,
    pub(super) failed_gets: u64,
    /// What the first get that failed was told.
    pub(super) failure: Option<String>,
    /// How many gets returned what was older than the latest, and was allowed to be.
    pub(super) allowed: u64,
    pub(super) ok: u64,
    pub(super) incomplete: u64,
    pub(super) unsettled: u64,
}

/// How it went, as far as it has come.
#[derive(Clone, Default)]
pub(super) struct Load(Arc<Mutex<Counts>>);

impl Load {
    /// Returns how it went until now.
    pub(super) fn counts(&self) -> Counts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Somebody who asks one node.
pub(super) struct Asker {
    pub(super) node: usize,
    pub(super) address: String,
    pub(super) truth: Truth,
    pub(super) load: Load,
    pub(super) rng: StdRng,
}

impl Asker {
    /// Asks one get after the other until it is dropped, whatever happens to the node.
    ///
    /// # Errors
    ///
    /// As soon as a value is older than was promised.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(super) async fn run(mut self) -> Result<()> {
        loop {
            match Connection::open(&self.address).await {
                Ok(connection) => self.ask_all_along(connection).await?,
                Err(_down) => sleep(RETRY).await,
            }
        }
    }

    /// Asks for one row after the other, for as long as the node lives.
    async fn ask_all_along(&mut self, mut connection: Connection) -> Result<()> {
        let mut is_alive = true;
        while is_alive {
            let row = any_row(&mut self.rng);
            is_alive = self.get(row, &mut connection).await?;
        }
        Ok(())
    }

    /// Asks by a connection each time, at steady intervals, until it is dropped, and for those rows
    /// first which the node may not know to be removed.
    ///
    /// So a node that was stopped finds gets of what it holds, and others had removed before they began.
    ///
    /// # Errors
    ///
    /// As soon as a value is older than was promised.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(super) async fn run_steadily(mut self) -> Result<()> {
        let (mut visits, mut ticks) = (JoinSet::new(), interval(VISITS));
        loop {
            tokio::select! {
                Some(visited) = visits.join_next() => visited??,
                _ = ticks.tick() => {
                    visits.spawn(self.another().visit());
                }
            }
        }
    }

    /// Returns one who asks the same node.
    fn another(&mut self) -> Self {
        let rng = StdRng::from_rng(&mut self.rng);
        let (truth, load) = (self.truth.clone(), self.load.clone());
        Self { node: self.node, address: self.address.clone(), truth, load, rng }
    }

    /// Asks once, if the node can be connected to.
    async fn visit(mut self) -> Result<()> {
        if let Ok(mut connection) = Connection::open(&self.address).await {
            let unsure = self.truth.unsure_rows(self.node, Instant::now());
            let row = unsure.choose(&mut self.rng).copied();
            let row = row.unwrap_or_else(|| any_row(&mut self.rng));
            self.get(row, &mut connection).await?;
        }
        Ok(())
    }

    /// Asks for a row. Returns whether the node still lives.
    async fn get(&self, row: u64, connection: &mut Connection) -> Result<bool> {
        // Taken before the get begins: what is promised while it is under way does not bind it.
        let floor = self.truth.floor(row, self.node, Instant::now());
        match connection.ask(Ask::Get(row)).await? {
            None => return Ok(false),
            Some(Answer::Value(version)) => {
                let is_old = self.truth.check(floor, version)?;
                self.load.count(|counts| {
                    counts.gets += 1;
                    counts.allowed += u64::from(is_old);
                });
            }
            Some(Answer::Failed(error)) => self.load.count(|counts| {
                counts.gets += 1;
                counts.failed_gets += 1;
                counts.failure.get_or_insert(error);
            }),
            Some(other) => bail!("not the answer to a get: {other:?}"),
        }
        Ok(true)
    }
}

/// Somebody who updates rows through one node or another.
pub(super) struct Updater {
    pub(super) addresses: Vec<String>,
    /// By which the nodes know each other.
    pub(super) labels: Vec<String>,
    pub(super) truth: Truth,
    pub(super) load: Load,
    pub(super) rng: StdRng,
}

impl Updater {
    /// Updates until it is dropped.
    ///
    /// # Errors
    ///
    /// When a node answers what makes no sense.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; an update under way is made all the same.
    pub(super) async fn run(mut self) -> Result<()> {
        loop {
            let node = self.rng.random_range(0..self.addresses.len());
            let row = any_row(&mut self.rng);
            let Ok(mut connection) = Connection::open(&self.addresses[node]).await else {
                sleep(RETRY).await;
                continue;
            };
            let begun = Instant::now();
            // A node that is killed has promised nothing.
            if let Some(answer) = connection.ask(Ask::Update(row)).await? {
                self.truth.note(Some(row), format!("node {node}: {}", answer.to_line().trim()));
                self.hold_to(row, answer, begun)?;
            }
            sleep(PAUSE.mul_f64(self.rng.random())).await;
        }
    }

    /// Notes what a remove has promised. Its answer took time to come here, so it holds already.
    fn hold_to(&self, row: u64, answer: Answer, begun: Instant) -> Result<()> {
        let now = Instant::now();
        match answer {
            Answer::Removed(version) => {
                for node in 0..self.labels.len() {
                    self.truth.promise(row, node, version, now);
                }
                self.load.count(|counts| counts.ok += 1);
            }
            Answer::Incomplete { version, stale, unreached } => {
                for (node, label) in self.labels.iter().enumerate() {
                    // A process that has begun meanwhile does not know who was not reached.
                    let is_sure =
                        !unreached.contains(label) && !self.truth.has_begun_anew(node, begun);
                    let time = if is_sure { now } else { now + stale };
                    self.truth.promise(row, node, version, time);
                }
                self.load.count(|counts| counts.incomplete += 1);
            }
            Answer::Unsettled => self.load.count(|counts| counts.unsettled += 1),
            other => bail!("not the answer to an update: {other:?}"),
        }
        Ok(())
    }
}
