//! What the removes have promised, and whether a value keeps it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How many events are kept, to be told with a stale value.
const KEPT_EVENTS: usize = 20_000;
/// How many of them are told.
const TOLD_EVENTS: usize = 40;

/// What gets that begin at some moment must at least return.
#[derive(Clone, Default)]
pub(super) struct Truth(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By row and node: versions, each with the moment from which on nothing older may be read.
    promises: HashMap<(u64, usize), Vec<(Instant, u64)>>,
    /// The latest version of a row that any remove has ended for.
    latest: HashMap<u64, u64>,
    /// When a process ended at a node, last.
    ended: HashMap<usize, Instant>,
    events: Vec<Event>,
}

struct Event {
    time: Instant,
    /// `None` for what concerns all rows.
    row: Option<u64>,
    text: String,
}

/// What a get that begins now must at least return.
#[derive(Clone, Copy)]
pub(super) struct Floor {
    row: u64,
    node: usize,
    begun: Instant,
    version: u64,
    latest: u64,
}

impl Truth {
    /// Notes that gets at `node` which begin after `time` return this version of `row`, or a later one.
    pub(super) fn promise(&self, row: u64, node: usize, version: u64, time: Instant) {
        let mut state = self.lock();
        let promises = state.promises.entry((row, node)).or_default();
        // What says less, and later, says nothing.
        promises.retain(|&(from, promised)| promised > version || from < time);
        promises.push((time, version));
        let latest = state.latest.entry(row).or_default();
        *latest = version.max(*latest);
    }

    /// Notes that the process at `node` has ended, so that another begins there.
    ///
    /// That one does not know yet who has missed a remove, and may ask them: so long it may read what they
    /// may read.
    pub(super) fn begins_anew(&self, node: usize, now: Instant) {
        let mut state = self.lock();
        state.ended.insert(node, now);
        let unsure: Vec<_> = state.unsure_elsewhere(node, now).collect();
        for (row, until, sure) in unsure {
            let Some(promises) = state.promises.get_mut(&(row, node)) else { continue };
            let known = promises.iter().map(|&(_, version)| version).max().unwrap_or(0);
            for (from, _) in promises.iter_mut().filter(|(_, version)| *version > sure) {
                *from = until.max(*from);
            }
            // What those read who missed the remove it reads too, if anything was promised of it.
            promises.push((now, sure.min(known)));
        }
    }

    /// Returns whether another process has begun at `node` since then.
    pub(super) fn has_begun_anew(&self, node: usize, since: Instant) -> bool {
        self.lock().ended.get(&node).is_some_and(|ended| *ended >= since)
    }

    /// Returns what a get that begins now must return.
    pub(super) fn floor(&self, row: u64, node: usize, now: Instant) -> Floor {
        let state = self.lock();
        let promises = state.promises.get(&(row, node)).into_iter().flatten();
        let due = promises.filter(|&&(from, _)| from <= now).map(|&(_, version)| version);
        let latest = state.latest.get(&row).copied().unwrap_or(0);
        Floor { row, node, begun: now, version: due.max().unwrap_or(0), latest }
    }

    /// Returns the rows of which something is promised at `node` for later than now.
    ///
    /// These are the rows of which it may still hold what is stale.
    pub(super) fn unsure_rows(&self, node: usize, now: Instant) -> Vec<u64> {
        let state = self.lock();
        let promises = state.promises.iter().filter(|((_, at), _)| *at == node);
        let unsure = promises.filter(|(_, due)| due.iter().any(|&(from, _)| from > now));
        let mut rows: Vec<_> = unsure.map(|(&(row, _), _)| row).collect();
        // A seed is to draw the same of them each time.
        rows.sort_unstable();
        rows
    }

    /// Checks what a get has returned. Returns whether it was older than what was known, but allowed.
    ///
    /// # Errors
    ///
    /// When it was older than promised; the error tells what happened before.
    pub(super) fn check(&self, floor: Floor, version: u64) -> Result<bool> {
        if version >= floor.version {
            return Ok(version < floor.latest);
        }
        let (row, node) = (floor.row, floor.node);
        let wanted = floor.version;
        let took = floor.begun.elapsed();
        let events = self.lock().tell(row, floor.begun);
        bail!(
            "stale: a get at node {node} returned version {version} of row {row}, at least {wanted} \
             was promised; it took {took:?}. Before and after it began:\n{events}"
        )
    }

    /// Notes what happened, to `row` or to all of them.
    pub(super) fn note(&self, row: Option<u64>, text: String) {
        let mut state = self.lock();
        if state.events.len() >= 2 * KEPT_EVENTS {
            state.events.drain(..KEPT_EVENTS);
        }
        state.events.push(Event { time: Instant::now(), row, text });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns the rows that some node but `node` may still read old: until when, and the version that it
    /// reads at least.
    fn unsure_elsewhere(
        &self,
        node: usize,
        now: Instant,
    ) -> impl Iterator<Item = (u64, Instant, u64)> {
        let others = self.promises.iter().filter(move |((_, at), _)| *at != node);
        others.filter_map(move |(&(row, _), promises)| {
            let until = promises.iter().map(|&(from, _)| from).filter(|from| *from > now).max()?;
            let sure =
                promises.iter().filter(|(from, _)| *from <= now).map(|&(_, version)| version);
            Some((row, until, sure.max().unwrap_or(0)))
        })
    }

    /// Tells the last events that concern `row`, by their distance from a moment.
    fn tell(&self, row: u64, moment: Instant) -> String {
        let concerning = self.events.iter().rev();
        let concerning = concerning.filter(|event| event.row.is_none_or(|other| other == row));
        let mut lines: Vec<_> = concerning
            .take(TOLD_EVENTS)
            .map(|event| format!("  {:>9} ms {}", millis(event.time, moment), event.text))
            .collect();
        lines.reverse();
        lines.join("\n")
    }
}

/// Returns by how much `time` is after `moment`.
fn millis(time: Instant, moment: Instant) -> String {
    let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
    let after = millis(time.saturating_duration_since(moment));
    format!("{:+.1}", after - millis(moment.saturating_duration_since(time)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_get_that_begins_before_the_promise_may_be_older() {
        let (truth, now) = (Truth::default(), Instant::now());
        truth.promise(1, 0, 7, now);
        let before = truth.floor(1, 0, now - SECOND);
        assert!(truth.check(before, 6).unwrap());
        let after = truth.floor(1, 0, now);
        assert!(!truth.check(after, 7).unwrap());
        assert!(truth.check(after, 6).unwrap_err().to_string().starts_with("stale"));
    }

    #[test]
    fn each_node_and_row_has_its_own() {
        let (truth, now) = (Truth::default(), Instant::now());
        truth.promise(1, 0, 7, now);
        assert_eq!(truth.floor(1, 1, now).version, 0);
        assert_eq!(truth.floor(2, 0, now).version, 0);
    }

    #[test]
    fn a_promise_for_later_does_not_lift_the_one_of_now() {
        let (truth, now) = (Truth::default(), Instant::now());
        truth.promise(1, 0, 7, now);
        truth.promise(1, 0, 9, now + SECOND);
        assert_eq!(truth.floor(1, 0, now).version, 7);
        assert_eq!(truth.floor(1, 0, now + SECOND).version, 9);
        assert_eq!(truth.unsure_rows(0, now), [1]);
        assert!(truth.unsure_rows(1, now).is_empty());
        assert!(truth.unsure_rows(0, now + SECOND).is_empty());
        // One that comes late, of a remove that was slow.
        truth.promise(1, 0, 8, now);
        assert_eq!(truth.floor(1, 0, now).version, 8);
        assert_eq!(truth.floor(1, 0, now + SECOND).version, 9);
        truth.promise(1, 0, 10, now);
        assert_eq!(truth.lock().promises[&(1, 0)], [(now, 10)]);
    }

    #[test]
    fn a_process_that_begins_anew_may_read_what_those_may_that_missed_a_remove() {
        let (truth, now) = (Truth::default(), Instant::now());
        for node in 0..3 {
            truth.promise(1, node, 7, now);
            let missed = if node == 1 { SECOND } else { Duration::ZERO };
            truth.promise(1, node, 9, now + missed);
            truth.promise(2, node, 9, now);
        }
        truth.begins_anew(0, now);
        assert!(truth.has_begun_anew(0, now) && !truth.has_begun_anew(2, now));
        let floors = |row| [0, 1, 2].map(|node| truth.floor(row, node, now).version);
        assert_eq!((floors(1), floors(2)), ([7, 7, 9], [9, 9, 9]));
        assert_eq!(truth.floor(1, 0, now + SECOND).version, 9);
    }

    #[test]
    fn a_stale_value_is_told_with_what_happened_to_its_row() {
        let (truth, now) = (Truth::default(), Instant::now());
        truth.note(Some(1), "removed".to_owned());
        truth.note(Some(2), "another".to_owned());
        truth.note(None, "killed".to_owned());
        truth.promise(1, 0, 7, now);
        let error = truth.check(truth.floor(1, 0, now), 6).unwrap_err().to_string();
        assert!(error.contains("removed") && error.contains("killed"), "{error}");
        assert!(!error.contains("another"), "{error}");
    }
}
