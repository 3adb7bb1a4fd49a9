//! How a process of a simulated cluster gets its group.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::database::Database;
use super::history::Event;
use super::network::{End, Network};
use super::nodes::{Nodes, Running};
use super::peers::{Ejected, Known};
use super::plan::Plan;
use super::recorder::Recorder;
use crate::{Group, GroupBuilder, Mirroring, Node};

/// A process that peers can reach, and whose group is not there yet: it answers that it has none.
pub(super) struct Starting {
    pub(super) own: End,
    pub(super) node: Node,
    pub(super) known: Known,
    pub(super) ejected: Ejected,
    pub(super) ahead: Arc<AtomicU64>,
    pub(super) plan: Plan,
    pub(super) recorder: Arc<Recorder>,
    pub(super) network: Arc<Network>,
    pub(super) database: Arc<Database>,
    pub(super) nodes: Arc<Nodes>,
}

impl Starting {
    /// Builds the group, and lets users have it, unless another process has taken the place.
    pub(super) fn finish(self) {
        if !self.network.is_connected(self.own) {
            return;
        }
        let group = self.group();
        let Self { own: End { label, process }, known, ejected, ahead, .. } = self;
        self.recorder.record(Event::Starts { process, label, lists: known.listed() });
        self.nodes.set(label, Some(Running { process, group, known, ejected, ahead }));
    }

    fn group(&self) -> Group {
        let process = self.own.process;
        let database = Arc::clone(&self.database);
        let loader = move |key: String| {
            let database = Arc::clone(&database);
            async move { database.load(process, &key).await }
        };
        let database = Arc::clone(&self.database);
        let bulk_loader = move |keys: Vec<String>| {
            let database = Arc::clone(&database);
            async move { database.load_many(process, keys).await }
        };
        let Plan { times, mirrors, max_loads, is_bulk, .. } = &self.plan;
        let mirroring = if *mirrors { Mirroring::Always } else { Mirroring::Never };
        let group = self.node.group("simulated").loader(loader).mirroring(mirroring);
        let group = group.max_bytes(self.plan.max_bytes()).serve_stale(times.serve_stale);
        let group = group.stale_if_error(times.stale_if_error).max_loads(*max_loads);
        let group = if *is_bulk { group.bulk_loader(bulk_loader) } else { group };
        let set = |group, time, set: fn(_, Duration) -> _| match time {
            Some(time) => set(group, time),
            None => group,
        };
        let group = set(group, times.time_to_live, GroupBuilder::time_to_live);
        let group = set(group, times.mirror_time_to_live, GroupBuilder::mirror_time_to_live);
        let group = set(group, times.not_found_time_to_live, GroupBuilder::not_found_time_to_live);
        group.build().expect("the group is as it may be")
    }
}
