//! What a world is like.

use std::time::Duration;

use super::dice::{Dice, Pace};
use crate::ENTRY_OVERHEAD_BYTES;
use crate::rules::Rules;

/// What is drawn before anything happens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// How many nodes there are at the beginning, and how many there may be.
    pub(super) nodes: usize,
    pub(super) most_nodes: usize,
    pub(super) keys: usize,
    /// How many things are begun, beside what follows from them.
    pub(super) steps: usize,
    /// Of how many things that are begun one is a remove, at the utmost.
    pub(super) removes: usize,
    /// How many removes are sets: one in so many.
    pub(super) sets: usize,
    pub(super) owners: Owners,
    /// How fast things go.
    pub(super) steps_pace: Pace,
    pub(super) asks: Pace,
    /// How long the answers to looks take.
    pub(super) looks: Pace,
    pub(super) purges: Pace,
    pub(super) loads: Pace,
    pub(super) room: Room,
    pub(super) mirrors: bool,
    pub(super) times: Times,
    /// How many loads a node may have under way.
    pub(super) max_loads: usize,
    /// Whether many keys are loaded at once.
    pub(super) is_bulk: bool,
    /// Whether a node's clock is ahead at once, as after the process was stopped for a while: what is
    /// closed lapses.
    pub(super) has_jumps: bool,
    /// Whether gets come between the steps of a purge, as those on other threads do.
    pub(super) has_threads: bool,
    /// Whether messages are lost and come twice.
    pub(super) has_faults: bool,
    /// Whether nodes join, leave and come back.
    pub(super) has_changes: bool,
    /// Whether nodes are cut off from all others for a while, and taken for dead, rightly or not.
    pub(super) has_outages: bool,
    /// How many loads a node may run for others: of a hundred misses, and a second.
    pub(super) budget: (u32, u32),
    /// Whether nodes look at others before they load a key of theirs.
    pub(super) has_looks: bool,
    pub(super) has_restarts: bool,
    /// Whether processes that start can be reached before they have their group.
    pub(super) has_slow_starts: bool,
    /// Whether loads fail, and whether they find nothing.
    pub(super) has_failures: bool,
    pub(super) has_absences: bool,
}

/// What a node may load for others unless that is set, which is more than it ever does here.
pub(super) const FULL_BUDGET: (u32, u32) = (20, 10);

/// More loads than are ever under way on a node.
const MANY: usize = 256;

/// Whom nodes take for the owner of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owners {
    /// All that list the same nodes take the same one.
    Agreed,
    /// Anyone whom they list, another at each look: whatever is promised holds all the same.
    Fickle,
}

/// What there is room for in the caches of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Nothing,
    /// One value, so that each evicts another. Which one it evicts is then no matter of chance.
    OneValue,
    /// More than there is.
    All,
}

/// How long values are good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) time_to_live: Option<Duration>,
    pub(super) serve_stale: Duration,
    pub(super) stale_if_error: Duration,
    pub(super) mirror_time_to_live: Option<Duration>,
    pub(super) not_found_time_to_live: Option<Duration>,
}

/// What is done otherwise than it ought to be, to show what it is there for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Breach {
    pub(super) rules: Rules,
    /// Whether the transport leaves out peers that leave.
    pub(super) forgets_leavers: bool,
}

impl Breach {
    pub(super) const NONE: Self = Self { rules: Rules::ALL, forgets_leavers: false };

    pub(super) fn of(rules: Rules) -> Self {
        Self { rules, ..Self::NONE }
    }
}

/// What a world is to be about, so that what goes wrong there happens often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    Anything,
    /// Loads that take longer than removes.
    SlowLoads,
    /// Removes that take long, while gets are quick.
    SlowRounds,
    /// Nodes that not all know of.
    Strangers,
    /// Gets between the steps of a purge.
    Threads,
    /// Nothing is kept, so that only flights can bring what is stale.
    NoRoom,
    /// Nodes that leave.
    Leavers,
    /// Sets beside removes, that do not get through at the first attempt.
    Sets,
    /// Owners that cannot be asked, and nodes that stand in for them and have missed something.
    StandIns,
    /// Looks at others, whose answers take as long as a remove.
    Looks,
}

impl About {
    const ALL: [Self; 10] = [
        Self::Anything,
        Self::SlowLoads,
        Self::SlowRounds,
        Self::Strangers,
        Self::Threads,
        Self::NoRoom,
        Self::Leavers,
        Self::Sets,
        Self::StandIns,
        Self::Looks,
    ];
}

impl Plan {
    /// Draws one; about anything unless it is said about what.
    pub(super) fn draw(dice: &Dice, about: Option<About>) -> Self {
        let about = about.unwrap_or_else(|| dice.pick(&About::ALL));
        let nodes = dice.between(3, 4);
        let pace = || dice.pick(&[Pace::Quick, Pace::Mixed, Pace::Mixed, Pace::Slow]);
        let plan = Self {
            nodes,
            most_nodes: nodes + 1,
            keys: dice.between(1, 3),
            steps: dice.between(10, 40),
            removes: dice.pick(&[3, 6, 12]),
            sets: dice.pick(&[2, 5]),
            owners: dice.pick(&[Owners::Agreed, Owners::Fickle]),
            steps_pace: pace(),
            asks: pace(),
            looks: pace(),
            purges: pace(),
            loads: pace(),
            room: dice.pick(&[Room::OneValue, Room::All, Room::All, Room::All]),
            mirrors: !dice.one_in(4),
            times: Times::draw(dice),
            max_loads: dice.pick(&[1, 2, MANY, MANY]),
            is_bulk: dice.one_in(2),
            has_jumps: dice.one_in(3),
            has_threads: dice.one_in(2),
            has_faults: dice.one_in(2),
            has_changes: dice.one_in(2),
            has_outages: dice.one_in(2),
            budget: dice.pick(&[FULL_BUDGET, FULL_BUDGET, (20, 0), (0, 0)]),
            has_looks: dice.one_in(2),
            has_restarts: dice.one_in(3),
            has_slow_starts: dice.one_in(2),
            has_failures: dice.one_in(3),
            has_absences: dice.one_in(3),
        };
        plan.about(about)
    }

    fn about(self, about: About) -> Self {
        // Where one thing is to go wrong, nothing else need.
        let calm = Self {
            owners: Owners::Fickle,
            room: Room::All,
            mirrors: true,
            times: Times::default(),
            max_loads: MANY,
            has_jumps: false,
            has_faults: false,
            has_changes: false,
            has_outages: false,
            has_looks: false,
            has_restarts: false,
            has_failures: false,
            has_absences: false,
            ..self
        };
        match about {
            About::Anything => self,
            About::SlowLoads => {
                Self { keys: 1, loads: Pace::Slow, asks: Pace::Quick, purges: Pace::Quick, ..calm }
            }
            About::SlowRounds => {
                Self { keys: 1, asks: Pace::Quick, loads: Pace::Quick, purges: Pace::Slow, ..calm }
            }
            About::Strangers => Self { has_changes: true, ..calm },
            About::Threads => Self { keys: 1, has_changes: true, has_threads: true, ..calm },
            About::NoRoom => Self {
                keys: 1,
                room: Room::Nothing,
                loads: Pace::Slow,
                asks: Pace::Quick,
                purges: Pace::Quick,
                ..calm
            },
            About::Leavers => Self { has_changes: true, owners: self.owners, ..calm },
            About::StandIns => {
                Self { owners: Owners::Agreed, has_changes: true, has_outages: true, ..calm }
            }
            About::Looks => Self {
                keys: 1,
                has_looks: true,
                steps: 40,
                removes: 2,
                sets: 5,
                asks: Pace::Quick,
                purges: Pace::Quick,
                looks: Pace::Slow,
                ..calm
            },
            About::Sets => Self { keys: 1, sets: 2, removes: 3, has_faults: true, ..calm },
        }
    }

    pub(super) fn max_bytes(&self) -> u64 {
        match self.room {
            Room::Nothing => 0,
            Room::OneValue => ENTRY_OVERHEAD_BYTES + 50,
            Room::All => 1 << 20,
        }
    }

    /// Returns whether loads may begin later than they are asked for: they wait for their turn, or for
    /// what a look brings, or were asked for between the steps of something else.
    pub(super) fn has_late_loads(&self) -> bool {
        self.max_loads < MANY || self.has_threads || self.has_looks
    }

    /// Returns for how long a value may be served once it has expired.
    pub(super) fn grace(&self) -> Duration {
        self.times.serve_stale.max(self.times.stale_if_error)
    }
}

impl Times {
    fn draw(dice: &Dice) -> Self {
        let time = || Duration::from_millis(dice.pick(&[40, 300, 2_000, 9_000]));
        let often = |one_in| (!dice.one_in(one_in)).then(time);
        let not_found_time_to_live = often(2);
        if dice.one_in(2) {
            return Self { not_found_time_to_live, ..Self::default() };
        }
        Self {
            time_to_live: Some(time()),
            serve_stale: often(2).unwrap_or_default(),
            stale_if_error: often(2).unwrap_or_default(),
            mirror_time_to_live: often(2),
            not_found_time_to_live,
        }
    }

    /// Returns how long it is known that there is no such thing.
    pub(super) fn absent(&self) -> Duration {
        self.not_found_time_to_live.unwrap_or_default()
    }
}
