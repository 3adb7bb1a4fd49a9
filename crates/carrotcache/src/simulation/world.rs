//! The nodes of a simulated cluster, and what is begun there.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::database::{Database, got, name};
use super::dice::Dice;
use super::history::{Event, History, Key, Label, Process};
use super::network::{End, Network};
use super::peers::{Known, Listing, Peers};
use super::plan::Plan;
use super::recorder::Recorder;
use crate::{ENTRY_OVERHEAD_BYTES, Group, Mirroring, Node};

/// All nodes of one schedule, and what lies between them.
pub(super) struct World {
    plan: Plan,
    dice: Dice,
    recorder: Arc<Recorder>,
    network: Arc<Network>,
    database: Arc<Database>,
    /// By label.
    nodes: Vec<Option<Running>>,
    /// What the directory says of each label.
    directory: Vec<Listing>,
    processes: u64,
    /// What was begun.
    begun: JoinSet<()>,
}

/// A process that runs.
struct Running {
    process: Process,
    group: Group,
    known: Known,
}

/// How long somebody waits who has begun something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    Waits,
    /// Waits, and there has to be an answer.
    Succeeds,
    /// Drops the future after a while.
    Leaves(Duration),
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

/// No schedule takes as long as this, unless somebody waits for ever.
const FOR_EVER: Duration = Duration::from_secs(60 * 60);

impl World {
    /// Runs a schedule in a new world. Returns its history, and what is wrong if it did not end well.
    ///
    /// # Cancel safety
    ///
    /// Dropping it ends the world.
    pub(super) async fn run(
        plan: Plan,
        dice: Dice,
        takes_notes: bool,
    ) -> (History, Result<(), String>) {
        let recorder = Arc::new(Recorder::new(Duration::ZERO, takes_notes));
        let mut world = Self::new(plan, dice, Arc::clone(&recorder));
        // In a task: a get that is awaited outside of all tasks has its runtime watched by a thread.
        let outcome = tokio::spawn(async move {
            let outcome = world.go_on().await;
            world.end();
            outcome
        });
        let outcome =
            outcome.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        (recorder.take(), outcome)
    }

    fn new(plan: Plan, dice: Dice, recorder: Arc<Recorder>) -> Self {
        let most = plan.most_nodes;
        let network = Network::new(Arc::clone(&recorder), dice.fork(), most, plan.has_faults);
        let database = Database::new(Arc::clone(&recorder), dice.fork(), plan.clone());
        let listing = |label| if label < plan.nodes { Listing::Active } else { Listing::Absent };
        let mut world = Self {
            directory: (0..most).map(listing).collect(),
            nodes: (0..most).map(|_| None).collect(),
            network,
            database: Arc::new(database),
            processes: 0,
            begun: JoinSet::new(),
            plan,
            dice,
            recorder,
        };
        (0..world.plan.nodes).for_each(|label| world.start(Label(label)));
        world
    }

    /// Begins one thing after the other, then has the network heal and waits for the end of all.
    async fn go_on(&mut self) -> Result<(), String> {
        for _ in 0..self.plan.steps {
            self.dice.pause().wait().await;
            self.begin_something();
        }
        self.network.heal();
        self.database.heal();
        self.recorder.note(|| "from here on nothing fails".to_owned());
        self.wait_for_all().await?;
        self.wait_for_quiet().await?;
        for label in self.running() {
            for key in (0..self.plan.keys).map(Key) {
                self.get(label, key, Patience::Succeeds);
            }
        }
        self.wait_for_all().await?;
        self.wait_for_quiet().await
    }

    /// Waits for what nobody waits for: loads whose callers have left, messages on their second way.
    async fn wait_for_quiet(&self) -> Result<(), String> {
        const SOON: Duration = Duration::from_secs(1);
        let runtime = Handle::current().metrics();
        let end = self.recorder.now() + FOR_EVER;
        // This task is one of them.
        while runtime.num_alive_tasks() > 1 {
            if self.recorder.now() > end {
                return Err(format!("{} tasks do not end", runtime.num_alive_tasks() - 1));
            }
            sleep(SOON).await;
        }
        Ok(())
    }

    async fn wait_for_all(&mut self) -> Result<(), String> {
        let all = async {
            while let Some(ended) = self.begun.join_next().await {
                ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            }
        };
        timeout(FOR_EVER, all).await.map_err(|_| "somebody waits for ever".to_owned())
    }

    /// Lets go of all nodes, which know each other.
    fn end(&mut self) {
        for label in (0..self.nodes.len()).map(Label) {
            self.network.disconnect(label);
            self.nodes[label.0] = None;
        }
    }

    fn begin_something(&mut self) {
        match self.dice.below(20) {
            0 if self.plan.has_restarts => self.restart_one(),
            1 if self.plan.has_changes => self.change_membership(),
            2..=5 if self.plan.has_changes => self.learn(),
            6 if self.plan.has_faults => self.cut(),
            _ => self.get_somewhere(),
        }
    }

    // Gets.

    fn get_somewhere(&mut self) {
        let label = self.dice.pick(&self.running());
        let key = Key(self.dice.below(self.plan.keys));
        // Some who ask leave before they have an answer.
        let patience = match self.dice.one_in(8) {
            true => Patience::Leaves(Duration::from_millis(self.dice.below(100) as u64)),
            false => Patience::Waits,
        };
        self.get(label, key, patience);
    }

    fn get(&mut self, label: Label, key: Key, patience: Patience) {
        let Some(node) = &self.nodes[label.0] else { return };
        let (group, process) = (node.group.clone(), node.process);
        let (recorder, max_bytes) = (Arc::clone(&self.recorder), self.max_bytes());
        self.begun.spawn(async move {
            let get = recorder.next_id();
            recorder.record(Event::GetBegins { get, process, key });
            let name = name(key);
            match patience.lasts(group.get(&name)).await {
                Some(answer) => {
                    let error = answer.as_ref().err().filter(|error| !error.is_not_found());
                    assert!(patience != Patience::Succeeds || error.is_none(), "{error:?}");
                    recorder.record(Event::GetEnds { get, got: got(answer) });
                }
                None => recorder.note(|| format!("get {get} is dropped")),
            }
            assert!(group.stats().bytes <= max_bytes, "the group holds more than it may");
        });
    }

    /// Room for one value, or for more than there are.
    fn max_bytes(&self) -> u64 {
        if self.plan.is_tight { ENTRY_OVERHEAD_BYTES + 50 } else { 1 << 20 }
    }

    // Processes.

    fn running(&self) -> Vec<Label> {
        let labels = (0..self.nodes.len()).map(Label);
        labels.filter(|label| self.nodes[label.0].is_some()).collect()
    }

    /// Starts a process, which knows what the directory says.
    fn start(&mut self, label: Label) {
        self.processes += 1;
        let (process, labels) = (Process(self.processes), self.plan.most_nodes);
        let known = Known::new(self.directory.clone());
        known.set(label, Listing::Active);
        let (own, dice) = (End { label, process }, self.dice.fork());
        let peers = Peers::new(&self.network, own, labels, known.clone(), self.plan.owners, dice);
        let node = Node::builder().peers(peers).build();
        let group = self.group(&node, process);
        self.network.connect(own, node);
        self.recorder.record(Event::Starts { process, label, lists: known.listed() });
        self.nodes[label.0] = Some(Running { process, group, known });
    }

    fn group(&self, node: &Node, process: Process) -> Group {
        let database = Arc::clone(&self.database);
        let loader = move |key: String| {
            let database = Arc::clone(&database);
            async move { database.load(process, &key).await }
        };
        let mirroring = if self.plan.mirrors { Mirroring::Always } else { Mirroring::Never };
        let group = node.group("simulated").loader(loader).mirroring(mirroring);
        group.max_bytes(self.max_bytes()).build().expect("the group is as it may be")
    }

    /// Ends a process: nobody hears of it any more, and nobody asks it.
    fn stop(&mut self, label: Label) {
        if let Some(node) = self.nodes[label.0].take() {
            self.network.disconnect(label);
            self.recorder.record(Event::Ends { process: node.process });
        }
    }

    fn restart_one(&mut self) {
        let label = self.dice.pick(&self.running());
        self.stop(label);
        self.start(label);
    }

    // Membership.

    /// A node joins, or comes back; leaves, at once or after it has drained; or has drained and ends.
    fn change_membership(&mut self) {
        let label = Label(self.dice.below(self.plan.most_nodes));
        let own = self.nodes[label.0].as_ref().map(|node| node.known.of(label));
        let listing = match (own, self.directory[label.0]) {
            (None, _) => {
                self.start(label);
                Listing::Active
            }
            (Some(Listing::Leaving), _) if self.running().len() > 2 => {
                self.stop(label);
                Listing::Absent
            }
            (Some(_), Listing::Absent) => self.list(label, label, Listing::Active),
            (Some(_), _) if self.dice.one_in(3) => self.list(label, label, Listing::Leaving),
            // The directory loses sight of it, and it goes on.
            (Some(_), _) => Listing::Absent,
        };
        self.directory[label.0] = listing;
        self.recorder.note(|| format!("the directory says that {label} is {listing:?}"));
    }

    /// One process learns what the directory says of another.
    fn learn(&mut self) {
        let (label, other) =
            (self.dice.pick(&self.running()), Label(self.dice.below(self.plan.most_nodes)));
        if label != other {
            self.list(label, other, self.directory[other.0]);
        }
    }

    /// Has one process list another so.
    fn list(&mut self, label: Label, other: Label, listing: Listing) -> Listing {
        if let Some(node) =
            self.nodes[label.0].as_ref().filter(|node| node.known.of(other) != listing)
        {
            node.known.set(other, listing);
            let (process, lists) = (node.process, node.known.listed());
            self.recorder.record(Event::Lists { process, lists });
        }
        listing
    }

    /// Cuts two nodes off from each other for a while.
    fn cut(&mut self) {
        let labels = self.running();
        let (one, other) = (self.dice.pick(&labels), self.dice.pick(&labels));
        let time = Duration::from_millis(self.dice.pick(&[50, 400, 3_000, 8_000]));
        let (network, recorder) = (Arc::clone(&self.network), Arc::clone(&self.recorder));
        self.begun.spawn(async move {
            recorder.note(|| format!("{one} and {other} are cut off from each other"));
            network.cut(one, other, true);
            sleep(time).await;
            network.cut(one, other, false);
            recorder.note(|| format!("{one} and {other} reach each other again"));
        });
    }
}
