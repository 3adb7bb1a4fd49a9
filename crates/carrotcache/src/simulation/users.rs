//! What the users of a simulated cluster do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::database::{got, name, write};
use super::dice::{Dice, Pace};
use super::history::{Event, Id, Key, Keys, Label, Origin, Removed};
use super::nodes::{Nodes, Running};
use super::plan::{FULL_BUDGET, Plan};
use super::recorder::Recorder;
use crate::{ByteView, GetError, RemoveError, SetError};

/// Those who use a cluster, and tell the recorder.
#[derive(Clone)]
pub(super) struct Users {
    pub(super) recorder: Arc<Recorder>,
    pub(super) nodes: Arc<Nodes>,
    pub(super) dice: Arc<Dice>,
    pub(super) plan: Plan,
}

/// How long somebody waits who has begun something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    Waits,
    /// Waits, and there has to be an answer.
    Succeeds,
    /// Drops the future after a while.
    Leaves(Duration),
}

/// What somebody changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Remove(Key),
    RemoveMany(BTreeSet<Key>),
    Clear,
    Set(Key),
}

impl Users {
    /// Draws how long somebody waits: some leave before they have an answer.
    pub(super) fn patience(&self) -> Patience {
        match self.dice.below(8) {
            0 => Patience::Leaves(Duration::from_millis(self.dice.below(100) as u64)),
            _ => Patience::Waits,
        }
    }

    pub(super) fn key(&self) -> Key {
        Key(self.dice.below(self.plan.keys))
    }

    /// Draws a node that runs.
    pub(super) fn label(&self) -> Label {
        self.dice.pick(&self.nodes.running())
    }

    /// Draws what to change.
    pub(super) fn change(&self) -> Change {
        match self.dice.below(8) {
            _ if self.dice.one_in(self.plan.sets) => Change::Set(self.key()),
            0 => Change::Clear,
            1 => Change::RemoveMany((0..self.plan.keys).map(Key).collect()),
            _ => Change::Remove(self.key()),
        }
    }

    /// Gets one key from a node.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the get.
    pub(super) async fn get(&self, label: Label, key: Key, patience: Patience) {
        let Some(node) = self.nodes.get(label) else { return };
        let get = self.begin_get(&node, key);
        let name = name(key);
        if let Some(answer) = patience.lasts(node.group.get(&name)).await {
            self.end_get(get, answer, patience);
        }
        self.weigh(&node);
    }

    /// Looks what a node holds of a key, which asks nobody.
    pub(super) fn look(&self, label: Label, key: Key) {
        let Some(node) = self.nodes.get(label) else { return };
        let get = self.begin_get(&node, key);
        let name = name(key);
        let held = match self.dice.one_in(2) {
            true => node.group.get_cached(&name),
            false => node.group.peek(&name),
        };
        if let Some(value) = held {
            self.end_get(get, Ok(value), Patience::Waits);
        }
    }

    /// Begins a get at some nodes, at once: not when the present task makes room for others.
    pub(super) fn get_between_steps(&self) {
        if !self.plan.has_threads || !self.dice.one_in(8) {
            return;
        }
        for label in self.nodes.running().into_iter().filter(|_| self.dice.one_in(2)) {
            let (users, key) = (self.clone(), self.key());
            let get = async move { users.get(label, key, Patience::Waits).await };
            let mut get = Box::pin(get);
            let mut nobody = Context::from_waker(Waker::noop());
            if get.as_mut().poll(&mut nobody).is_pending() {
                tokio::spawn(get);
            }
        }
    }

    /// Gets several keys from a node at once, some of them twice.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the get.
    pub(super) async fn get_many(&self, label: Label, patience: Patience) {
        let Some(node) = self.nodes.get(label) else { return };
        let keys: Vec<_> = (0..self.dice.between(0, 4)).map(|_| self.key()).collect();
        let gets: Vec<_> = keys.iter().map(|key| self.begin_get(&node, *key)).collect();
        let names: Vec<_> = keys.iter().map(|key| name(*key)).collect();
        if let Some(answers) = patience.lasts(node.group.get_many(names)).await {
            assert_eq!(answers.len(), gets.len(), "each key has an answer");
            for (get, answer) in gets.into_iter().zip(answers) {
                self.end_get(get, answer, patience);
            }
        }
        self.weigh(&node);
    }

    fn begin_get(&self, node: &Running, key: Key) -> Id {
        let (get, process) = (self.recorder.next_id(), node.process);
        self.recorder.record(Event::GetBegins { get, process, key });
        get
    }

    fn end_get(&self, get: Id, answer: Result<ByteView, GetError>, patience: Patience) {
        // With hardly a budget a node that meets no owner it can tell, nor a stand-in, has to refuse.
        let may_refuse = self.plan.budget != FULL_BUDGET;
        let may_be = |error: &GetError| error.is_not_found() || may_refuse && error.is_overloaded();
        let error = answer.as_ref().err().filter(|error| !may_be(error));
        assert!(patience != Patience::Succeeds || error.is_none(), "get {get}: {error:?}");
        let got = got(answer);
        self.recorder.record(Event::GetEnds { get, got });
    }

    fn weigh(&self, node: &Running) {
        let (bytes, max) = (node.group.stats().bytes, self.plan.max_bytes());
        assert!(bytes <= max, "{} holds {bytes} bytes of {max}", node.process);
    }

    /// Changes something, as whoever has just committed that does, and looks at it afterwards.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the future of the remove, which goes on.
    pub(super) async fn change_and_look(&self, label: Label, change: Change, patience: Patience) {
        let Some(node) = self.nodes.get(label) else { return };
        let (remove, keys) = (self.recorder.next_id(), change.keys());
        let sets = matches!(change, Change::Set(_)).then_some(self.plan.times.time_to_live);
        let process = node.process;
        self.recorder.record(Event::RemoveBegins { remove, process, keys: keys.clone(), sets });
        let Some(result) = patience.lasts(change.make(&node, remove)).await else { return };
        let removed = removed(&result);
        self.recorder.record(Event::RemoveEnds { remove, removed });
        self.look_around(&keys).await;
    }

    /// Gets what was removed from some nodes, soon.
    async fn look_around(&self, keys: &Keys) {
        let looks = (0..4).map(|_| async {
            self.dice.pause(self.dice.pick(&[Pace::Quick, Pace::Mixed])).wait().await;
            let key = self.key();
            if keys.contains(key) {
                self.get(self.label(), key, Patience::Waits).await;
            }
        });
        join_all(looks).await;
    }
}

impl Patience {
    /// Waits for the end of `work`; `None` if it was dropped before.
    ///
    /// # Cancel safety
    ///
    /// As that of `work`.
    async fn lasts<F: Future>(self, work: F) -> Option<F::Output> {
        match self {
            Self::Waits | Self::Succeeds => Some(work.await),
            Self::Leaves(after) => timeout(after, work).await.ok(),
        }
    }
}

impl Change {
    fn keys(&self) -> Keys {
        match self {
            Self::Remove(key) | Self::Set(key) => Keys::These(BTreeSet::from([*key])),
            Self::RemoveMany(keys) => Keys::These(keys.clone()),
            Self::Clear => Keys::All,
        }
    }

    /// Makes the change at a node.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the future of the remove, which goes on.
    async fn make(self, node: &Running, remove: Id) -> Result<(), RemoveError> {
        let group = &node.group;
        match self {
            Self::Remove(key) => group.remove(&name(key)).await,
            Self::RemoveMany(keys) => group.remove_many(keys.into_iter().map(name)).await,
            Self::Clear => group.clear().await,
            Self::Set(key) => {
                let set = group.set(&name(key), write(key, Origin::Set(remove))).await;
                set.or_else(|error| match error {
                    SetError::Remove(error) => Err(error),
                    // The old value is gone, and that is what was promised.
                    _ => Ok(()),
                })
            }
        }
    }
}

/// Returns what a remove has promised.
fn removed(result: &Result<(), RemoveError>) -> Removed {
    match result {
        Ok(()) => Removed::Everywhere,
        Err(RemoveError::Incomplete { unreached, plain, stale_for_at_most, .. }) => {
            let labels = unreached.iter().chain(plain).map(|label| Label::parse(label));
            Removed::ButFor { unreached: labels.collect(), stale_for_at_most: *stale_for_at_most }
        }
        Err(RemoveError::Unsettled { .. }) => Removed::Failed,
        Err(error) => panic!("a remove of keys that may be removed: {error}"),
    }
}
