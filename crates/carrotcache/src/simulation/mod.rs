//! A simulated cluster: whole nodes on one thread, a clock that stands still while anything is to be
//! done, and between the nodes a network that delays, reorders, loses, cuts and repeats. Nodes are away
//! for a while, and taken for dead, and others stand in for them.
//!
//! ```text
//!   seed ─▶ Plan, Dice ─▶ World: begins a get, a remove, a restart … now and then
//!                          │ Node ─ Peers ─ Network ─ Peers ─ Node …     Database
//!                          ▼                  │                            │
//!                       Recorder ◀────────────┴────────────────────────────┘
//!                          │ History
//!                          ▼
//!                       check: may all of this happen?
//! ```
//!
//! A seed decides everything, so a schedule that fails runs again, alone, with a trace:
//!
//! ```text
//! CARROTCACHE_SEED=4711 cargo test -p carrotcache --lib simulation::seeds -- --nocapture
//! CARROTCACHE_SEEDS=100000 cargo test --release -p carrotcache --lib simulation::seeds -- --nocapture
//! ```
//!
//! Two things keep a seed's promise. Nothing here looks at a clock but tokio's paused one, and no
//! choice depends on a hasher with a random key. And everything that waits for a node is in a task:
//! whoever waits outside of one has the runtime watched by a thread.

mod broken;
mod database;
mod dice;
mod history;
mod network;
mod nodes;
mod outages;
mod peers;
mod plan;
mod recorder;
mod seeds;
mod start;
mod users;
mod world;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use self::dice::Dice;
use self::history::{Checked, History, check};
use self::plan::{About, Breach, Plan};
use self::world::World;

/// What a schedule is drawn from.
#[derive(Debug, Clone, Copy)]
struct Trial {
    seed: u64,
    /// What it is about; anything if that is not said.
    about: Option<About>,
    breach: Breach,
}

/// What came of a trial.
struct Run {
    plan: Plan,
    history: History,
    /// What was checked, or what is wrong.
    outcome: Result<Checked, String>,
}

impl Trial {
    /// Runs the schedule, and checks its history. `takes_notes` has more in the trace.
    fn run(self, takes_notes: bool) -> Run {
        let dice = Dice::new(self.seed);
        let plan = Plan::draw(&dice, self.about);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime needs no more than memory");
        let world = World::run(plan, self.breach, dice, takes_notes);
        let (history, ended) = runtime.block_on(world);
        let checked = check(&history).map_err(|violation| violation.to_string());
        // What is stale tells more than what is left over because of it.
        let outcome = checked.and_then(|checked| ended.map(|()| checked));
        Run { plan, history, outcome }
    }

    /// Runs the schedule, whose panic is a failure like others.
    fn outcome(self) -> Result<Checked, String> {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.run(false).outcome));
        outcome.unwrap_or_else(|panic| Err(format!("a panic: {}", text_of(&*panic))))
    }

    /// Says how it went, and all that happened.
    fn tell(self) -> String {
        let Run { plan, history, outcome } = self.run(true);
        let outcome = outcome.map_or_else(|why| why, |checked| format!("all is well: {checked:?}"));
        format!("{history}\n{plan:?}\nseed {}: {outcome}", self.seed)
    }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_default()
}
