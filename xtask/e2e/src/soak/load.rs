//! Those who ask honestly, and know what the answer should be.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::bounds::{GET_INTERVAL, GETS_AT_ONCE};
use super::truth::{self, GROUP};
use crate::node::api::Api;
use crate::seeds::rng;

/// What came of the gets.
#[derive(Clone, Default)]
pub(super) struct Outcome {
    pub(super) right: u64,
    pub(super) failed: u64,
    /// What the first that failed were told.
    pub(super) failures: Vec<String>,
    pub(super) slowest: Duration,
}

/// How many failures are kept as text.
const KEPT_FAILURES: usize = 5;

/// The honest gets, as far as they have come.
#[derive(Clone, Default)]
pub(super) struct Load(Arc<Mutex<Outcome>>);

impl Load {
    /// Returns what came of the gets until now.
    pub(super) fn outcome(&self) -> Outcome {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks all nodes until it is dropped.
    ///
    /// # Errors
    ///
    /// As soon as a value is wrong.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the gets under way.
    pub(super) async fn run(&self, apis: &[Api], seed: u64) -> Result<()> {
        let mut workers = JoinSet::new();
        for (who, api) in (0..).zip(apis.iter().cycle().take(apis.len() * GETS_AT_ONCE)) {
            let (load, api, mut draws) = (self.clone(), api.clone(), rng(seed, 1_000 + who));
            workers.spawn(async move {
                let mut ticks = interval(GET_INTERVAL);
                // After a get that took long the next one waits its time all the same.
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    load.get(&api, &truth::draw(&mut draws)).await?;
                }
            });
        }
        match workers.join_next().await {
            Some(ended) => ended?,
            None => bail!("nobody is there to be asked"),
        }
    }

    /// Asks for one key, and notes what came.
    ///
    /// # Errors
    ///
    /// When the value is wrong.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; nothing is noted then.
    pub(super) async fn get(&self, api: &Api, key: &str) -> Result<()> {
        let start = Instant::now();
        let answer = api.value(GROUP, key).await;
        let fault = answer.as_ref().ok().and_then(|value| truth::fault(key, value));
        if let Some(fault) = fault {
            bail!("a wrong value came from the API at {}: {fault}", api.address());
        }
        let mut outcome = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.note(answer.map(drop), start.elapsed());
        Ok(())
    }
}

impl Outcome {
    fn note(&mut self, answer: Result<()>, elapsed: Duration) {
        self.slowest = self.slowest.max(elapsed);
        match answer {
            Ok(()) => self.right += 1,
            Err(error) => {
                self.failed += 1;
                if self.failures.len() < KEPT_FAILURES {
                    self.failures.push(format!("{error:#}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::soak::wire::answer;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    #[test]
    fn what_failed_is_counted_and_the_first_of_it_told() {
        let mut outcome = Outcome::default();
        outcome.note(Ok(()), Duration::from_millis(2));
        for number in 0..9 {
            outcome.note(Err(anyhow!("failure {number}")), Duration::from_millis(1));
        }
        assert_eq!((outcome.right, outcome.failed), (1, 9));
        assert_eq!(outcome.failures.len(), KEPT_FAILURES);
        assert_eq!(outcome.failures[0], "failure 0");
        assert_eq!(outcome.slowest, Duration::from_millis(2));
    }

    #[tokio::test]
    async fn a_wrong_value_ends_the_load_and_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Api::new(listener.local_addr().unwrap().to_string()).unwrap();
        // Whatever is asked for, this is the value of no key.
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let wrong = answer("200 OK", "connection: close\r\n", b"value of small-99999: ");
                stream.write_all(&wrong).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        let load = Load::default();
        let error = load.run(std::slice::from_ref(&api), 1).await.unwrap_err().to_string();
        assert!(error.contains(api.address()) && error.contains("small-99999"), "{error}");
    }
}
