//! The processes of a simulated cluster that run at present.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::history::{Label, Process};
use super::peers::{Ejected, Known};
use crate::{Group, Stats};

/// The nodes of a world, by their labels.
pub(super) struct Nodes(Mutex<Vec<Option<Running>>>);

/// A process that runs.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) process: Process,
    pub(super) group: Group,
    pub(super) known: Known,
    /// Whom it takes for dead.
    pub(super) ejected: Ejected,
    /// By how many milliseconds its clock is ahead of the world's.
    pub(super) ahead: Arc<AtomicU64>,
}

impl Nodes {
    /// Returns room for so many, of which none runs.
    pub(super) fn new(labels: usize) -> Self {
        Self(Mutex::new((0..labels).map(|_| None).collect()))
    }

    pub(super) fn get(&self, label: Label) -> Option<Running> {
        self.lock()[label.0].clone()
    }

    /// Exchanges the process of a label, and returns the one before.
    pub(super) fn set(&self, label: Label, running: Option<Running>) -> Option<Running> {
        std::mem::replace(&mut self.lock()[label.0], running)
    }

    /// Returns the labels that a process runs for.
    pub(super) fn running(&self) -> Vec<Label> {
        let nodes = self.lock();
        (0..nodes.len()).filter(|label| nodes[*label].is_some()).map(Label).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Running>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// Says what is wrong with a node that has nothing to do any more, if anything is: something is
    /// left over, or its counts do not add up.
    pub(super) fn ended_well(&self) -> Result<(), String> {
        if let Some(left) = self.group.left_over() {
            return Err(format!("has {left} left"));
        }
        let stats = self.group.stats();
        let Stats { main, hot, absent, .. } = &stats;
        let gets = main.hits + hot.hits + absent.hits + stats.loads + stats.looks_missed;
        let answered = stats.peer_loads + stats.peer_errors;
        let loaded = stats.local_loads + stats.local_load_errs + stats.loads_refused;
        let loaded = loaded + stats.handed_off;
        match (stats.gets, stats.loads_deduped) == (gets, answered + loaded) {
            true => Ok(()),
            false => Err(format!("has counts that do not add up: {stats:?}")),
        }
    }
}
