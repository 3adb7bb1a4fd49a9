//! The nodes of a simulated cluster, what becomes of them, and what is begun there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::database::Database;
use super::dice::{Dice, Pace, Pause};
use super::history::{Event, History, Key, Label, Process};
use super::network::{End, Network};
use super::nodes::{Nodes, Running};
use super::peers::{Ejected, Known, Listing, Peers};
use super::plan::{Breach, Plan};
use super::recorder::Recorder;
use super::start::Starting;
use super::users::{Patience, Users};
use crate::Node;
use crate::rules::other_threads;

/// All nodes of one schedule, and what lies between them.
pub(super) struct World {
    pub(super) plan: Plan,
    breach: Breach,
    pub(super) dice: Arc<Dice>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) network: Arc<Network>,
    database: Arc<Database>,
    pub(super) nodes: Arc<Nodes>,
    pub(super) users: Users,
    /// What the directory says of each label.
    directory: Vec<Listing>,
    processes: u64,
    /// What was begun.
    pub(super) begun: JoinSet<()>,
}

/// No schedule takes as long as this, unless somebody waits for ever.
const FOR_EVER: Duration = Duration::from_secs(60 * 60);

/// By so much is a clock ahead of others that jumps: more than anything stays closed for.
const LONG_MS: u64 = 6_000;

/// In this time whatever nobody waits for has ended: loads whose callers have left, messages on their
/// second way, what peers are told of what they have missed.
const A_WHILE: Duration = Duration::from_secs(60);

impl World {
    /// Runs a schedule in a new world. Returns its history, and what is wrong if it did not end well.
    ///
    /// # Cancel safety
    ///
    /// Dropping it ends the world.
    pub(super) async fn run(
        plan: Plan,
        breach: Breach,
        dice: Dice,
        takes_notes: bool,
    ) -> (History, Result<(), String>) {
        let recorder = Arc::new(Recorder::new(plan.grace(), plan.has_late_loads(), takes_notes));
        let mut world = Self::new(plan, breach, dice, Arc::clone(&recorder));
        let users = world.users.clone();
        let _until = other_threads::do_this(move || users.get_between_steps());
        // In a task: a get that is awaited outside of all tasks has its runtime watched by a thread.
        let run = tokio::spawn(async move {
            world.go_on().await?;
            world.end().await
        });
        let ended = run.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        (recorder.take(), ended)
    }

    fn new(plan: Plan, breach: Breach, dice: Dice, recorder: Arc<Recorder>) -> Self {
        let most = plan.most_nodes;
        let network = Network::new(Arc::clone(&recorder), dice.fork(), plan);
        let database = Database::new(Arc::clone(&recorder), dice.fork(), plan);
        let listing = |label| if label < plan.nodes { Listing::Active } else { Listing::Absent };
        let nodes = Arc::new(Nodes::new(most));
        let users = Users {
            recorder: Arc::clone(&recorder),
            nodes: Arc::clone(&nodes),
            dice: Arc::new(dice.fork()),
            plan,
        };
        let mut world = Self {
            directory: (0..most).map(listing).collect(),
            network,
            database: Arc::new(database),
            nodes,
            users,
            processes: 0,
            begun: JoinSet::new(),
            plan,
            breach,
            dice: Arc::new(dice),
            recorder,
        };
        (0..world.plan.nodes).for_each(|label| world.start(Label(label)));
        world
    }

    /// Begins one thing after the other, then has all heal and waits for the end of it.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops what was begun.
    async fn go_on(&mut self) -> Result<(), String> {
        self.warm_up().await?;
        for _ in 0..self.plan.steps {
            self.dice.pause(self.plan.steps_pace).wait().await;
            self.begin_something();
        }
        self.wait_for_all().await?;
        self.heal();
        sleep(A_WHILE).await;
        self.recorder.record(Event::Rests);
        for label in self.nodes.running() {
            for key in (0..self.plan.keys).map(Key) {
                self.get(label, key, Patience::Succeeds);
            }
        }
        self.wait_for_all().await?;
        sleep(A_WHILE).await;
        Ok(())
    }

    /// Lets go of all nodes, which know each other, when nothing is left to do there.
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves some nodes.
    async fn end(self) -> Result<(), String> {
        for label in self.nodes.running() {
            self.network.disconnect(label);
            if let Some(node) = self.nodes.set(label, None) {
                node.ended_well().map_err(|why| format!("{} {why}", node.process))?;
            }
        }
        let runtime = Handle::current().metrics();
        sleep(A_WHILE).await;
        // This task is one of them.
        match runtime.num_alive_tasks() {
            1 => Ok(()),
            tasks => Err(format!("{} tasks are left", tasks - 1)),
        }
    }

    async fn wait_for_all(&mut self) -> Result<(), String> {
        let all = async {
            while let Some(ended) = self.begun.join_next().await {
                ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            }
        };
        timeout(FOR_EVER, all).await.map_err(|_| "somebody waits for ever".to_owned())
    }

    /// From here on nothing fails, and all nodes that run know each other.
    fn heal(&mut self) {
        self.recorder.note(|| "from here on nothing fails".to_owned());
        self.network.heal();
        self.database.heal();
        let running = self.nodes.running();
        for label in &running {
            for other in (0..self.plan.most_nodes).map(Label) {
                let runs = running.contains(&other);
                self.list(*label, other, if runs { Listing::Active } else { Listing::Absent });
                if let Some(node) = self.nodes.get(*label) {
                    node.ejected.set(other, false);
                }
            }
        }
    }

    /// Has something in the caches; and where nodes come and go, some that are not known to all.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops what was begun.
    async fn warm_up(&mut self) -> Result<(), String> {
        if self.plan.has_changes && !self.dice.one_in(3) {
            (0..self.dice.between(1, 2)).for_each(|label| self.set_apart(Label(label)));
        }
        for label in self.nodes.running() {
            for key in (0..self.plan.keys).map(Key) {
                if self.dice.one_in(2) {
                    self.get(label, key, Patience::Waits);
                }
            }
        }
        self.wait_for_all().await
    }

    /// Has a node be a stranger to others.
    fn set_apart(&mut self, label: Label) {
        self.directory[label.0] =
            self.dice.pick(&[Listing::Active, Listing::Absent, Listing::Absent]);
        let (by_all, is_mutual) = (!self.dice.one_in(4), self.dice.one_in(2));
        for other in self.nodes.running().into_iter().filter(|other| *other != label) {
            if by_all || self.dice.one_in(2) {
                self.list(other, label, Listing::Absent);
            }
            if is_mutual {
                self.list(label, other, Listing::Absent);
            }
        }
    }

    fn begin_something(&mut self) {
        match self.dice.below(20) {
            _ if self.dice.one_in(self.plan.removes) => self.change(),
            0 if self.plan.has_restarts => self.restart_one(),
            1 if self.plan.has_changes => self.change_membership(),
            2..=6 if self.plan.has_changes => self.learn(),
            7 if self.plan.has_faults => self.cut(),
            12 | 13 if self.plan.has_outages => self.be_away(),
            14 | 15 if self.plan.has_outages => self.eject(self.users.label(), Pause::Turns(0)),
            10 if self.plan.has_jumps => self.jump(Pause::Turns(0)),
            8 | 9 => self.get_many(),
            11 => self.users.look(self.users.label(), self.users.key()),
            _ => {
                let (label, key) = (self.users.label(), self.users.key());
                self.get(label, key, self.users.patience());
            }
        }
    }

    // Users.

    fn get(&mut self, label: Label, key: Key, patience: Patience) {
        let users = self.users.clone();
        self.begun.spawn(async move { users.get(label, key, patience).await });
    }

    fn get_many(&mut self) {
        let (users, label, patience) =
            (self.users.clone(), self.users.label(), self.users.patience());
        self.begun.spawn(async move { users.get_many(label, patience).await });
    }

    /// Changes something, while others ask for it.
    fn change(&mut self) {
        let (users, label, patience) =
            (self.users.clone(), self.users.label(), self.users.patience());
        let change = users.change();
        self.begun.spawn(async move { users.change_and_look(label, change, patience).await });
        for _ in 0..self.dice.between(0, 6) {
            // During either of the two rounds.
            let pauses = [(); 2].map(|()| self.dice.pause(self.plan.purges));
            let (users, rounds) = (self.users.clone(), self.dice.between(1, 2));
            self.begun.spawn(async move {
                for pause in &pauses[..rounds] {
                    pause.wait().await;
                }
                users.get(users.label(), users.key(), Patience::Waits).await;
            });
        }
        if self.plan.has_jumps && self.dice.one_in(3) {
            self.jump(self.dice.pause(self.plan.purges));
        }
    }

    /// Has the clock of a node be far ahead, soon.
    fn jump(&mut self, soon: Pause) {
        let (users, recorder) = (self.users.clone(), Arc::clone(&self.recorder));
        self.begun.spawn(async move {
            soon.wait().await;
            let label = users.label();
            if let Some(node) = users.nodes.get(label) {
                recorder.note(|| format!("the clock of {label} is ahead"));
                node.ahead.fetch_add(LONG_MS, Ordering::Relaxed);
            }
        });
    }

    // Processes.

    /// Starts a process, which knows what the directory says.
    fn start(&mut self, label: Label) {
        self.processes += 1;
        let process = Process(self.processes);
        let known = Known::new(self.directory.clone());
        known.set(label, Listing::Active);
        let (own, dice) = (End { label, process }, self.dice.fork());
        let ejected = Ejected::new();
        let (network, plan) = (&self.network, &self.plan);
        let peers = Peers::new(network, own, known.clone(), ejected.clone(), dice, plan);
        let peers = peers.with(self.breach.forgets_leavers);
        let (recorder, ahead) = (Arc::clone(&self.recorder), Arc::<AtomicU64>::default());
        let is_ahead = Arc::clone(&ahead);
        let clock =
            move || recorder.now() + Duration::from_millis(is_ahead.load(Ordering::Relaxed));
        let (percent, per_second) = self.plan.budget;
        let node = Node::builder().peers(peers).clock(clock).rules(self.breach.rules);
        let node = node.loads_for_others(percent, per_second).build();
        self.network.connect(own, node.clone());
        let starting = Starting {
            own,
            node,
            known,
            ejected,
            ahead,
            plan: self.plan,
            recorder: Arc::clone(&self.recorder),
            network: Arc::clone(&self.network),
            database: Arc::clone(&self.database),
            nodes: Arc::clone(&self.nodes),
        };
        let is_slow = self.plan.has_slow_starts && self.processes > self.plan.nodes as u64;
        if !is_slow {
            return starting.finish();
        }
        let pause = self.dice.pause(Pace::Mixed);
        self.begun.spawn(async move {
            pause.wait().await;
            starting.finish();
        });
    }

    /// Ends a process: nobody hears of it any more, and nobody asks it.
    fn stop(&mut self, label: Label) {
        if let Some(node) = self.nodes.set(label, None) {
            self.network.disconnect(label);
            self.recorder.record(Event::Ends { process: node.process });
        }
    }

    fn restart_one(&mut self) {
        // Somebody is there to ask.
        if self.nodes.running().len() > 1 {
            let label = self.users.label();
            self.stop(label);
            self.start(label);
        }
    }

    // Membership.

    /// A node joins, or comes back; leaves, at once or after it has drained; or has drained and ends.
    fn change_membership(&mut self) {
        let label = Label(self.dice.below(self.plan.most_nodes));
        let own = self.nodes.get(label).map(|node| node.known.of(label));
        self.directory[label.0] = match (own, self.directory[label.0]) {
            (None, _) => {
                self.start(label);
                Listing::Active
            }
            (Some(Listing::Leaving), _) if self.nodes.running().len() > 2 => {
                self.stop(label);
                Listing::Absent
            }
            (Some(_), Listing::Absent) => self.list(label, label, Listing::Active),
            (Some(_), _) if self.dice.one_in(3) => self.list(label, label, Listing::Leaving),
            // The directory loses sight of it, and it goes on.
            (Some(_), _) => Listing::Absent,
        };
        let listing = self.directory[label.0];
        self.recorder.note(|| format!("the directory says that {label} is {listing:?}"));
    }

    /// One process learns what the directory says of another.
    fn learn(&mut self) {
        let (label, other) = (self.users.label(), Label(self.dice.below(self.plan.most_nodes)));
        if label != other {
            self.list(label, other, self.directory[other.0]);
        }
    }

    /// Has one process list another so.
    fn list(&self, label: Label, other: Label, listing: Listing) -> Listing {
        let node = self.nodes.get(label).filter(|node| node.known.of(other) != listing);
        if let Some(Running { process, known, .. }) = node {
            known.set(other, listing);
            self.recorder.record(Event::Lists { process, lists: known.listed() });
        }
        listing
    }
}
