//! The processes of a simulated cluster that run at present.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::history::{Label, Process};
use super::peers::Known;
use crate::Group;

/// The nodes of a world, by their labels.
pub(super) struct Nodes(Mutex<Vec<Option<Running>>>);

/// A process that runs.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) process: Process,
    pub(super) group: Group,
    pub(super) known: Known,
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
