//! What happens in a simulated cluster.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// What a node is called: it stays the same when its process is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::simulation) struct Label(pub(in crate::simulation) usize);

/// One process that is or was a node. The number is its incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::simulation) struct Process(pub(in crate::simulation) u64);

/// A key, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::simulation) struct Key(pub(in crate::simulation) usize);

/// What tells two loads, gets, removes or tells apart.
pub(in crate::simulation) type Id = u64;

/// A history: what happened, in its order, and when.
///
/// All of it happens on one thread, so there is one order. The checker knows no more than what is
/// here, and that is what a user could see: nothing of flights, closures or messages, but for what is
/// said to have been told.
#[derive(Debug, Default)]
pub(in crate::simulation) struct History {
    pub(in crate::simulation) events: Vec<(Duration, Event)>,
    /// For how long a value may be served once it has expired.
    pub(in crate::simulation) grace: Duration,
    /// Whether loads may begin later than they are asked for: a purge in between makes one void, which
    /// then begins while another is under way.
    pub(in crate::simulation) has_late_loads: bool,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::simulation) enum Event {
    /// A process begins, with nothing cached. It lists these nodes, itself among them.
    Starts { process: Process, label: Label, lists: BTreeSet<Label> },
    /// A process ends, and what it does from now on reaches nobody.
    Ends { process: Process },
    /// A process learns that these are the nodes.
    Lists { process: Process, lists: BTreeSet<Label> },
    /// A loader is called. It reads the database at this moment, however long it takes.
    LoadBegins { load: Id, process: Process, key: Key },
    /// A loader returns.
    LoadEnds { load: Id, loaded: Loaded },
    /// Somebody asks a node for a key.
    GetBegins { get: Id, process: Process, key: Key },
    /// Whoever asked has an answer. A get that was dropped has none.
    GetEnds { get: Id, got: Got },
    /// A peer's answer arrives. The peer was reached by the question at this time, as the owner or because
    /// it stands in for that.
    Arrives { process: Process, key: Key, got: Got, asked: Duration, stands_in: bool },
    /// Keys are to be removed, after a commit.
    RemoveBegins { remove: Id, process: Process, keys: Keys, sets: Option<Lifetime> },
    /// A remove returns. One that was dropped does not.
    RemoveEnds { remove: Id, removed: Removed },
    /// A process is told to forget keys, in whatever way.
    Forgets { process: Process, keys: Keys },
    /// A process tells another that it has missed a purge.
    TellBegins { tell: Id, process: Process, keys: Keys },
    /// The other has forgotten what it was told of.
    TellEnds { tell: Id, process: Process },
    /// Nothing fails any more, all nodes list all that run, and there was time for what is done without
    /// anybody waiting for it.
    Rests,
    /// Said for whoever reads the trace: it means nothing to the checker.
    Note(String),
}

/// What a loader came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::simulation) enum Loaded {
    Value(Lifetime),
    Absent(Lifetime),
    Failed,
}

/// How long a value is good after the end of its load; `None` if it does not expire.
pub(in crate::simulation) type Lifetime = Option<Duration>;

/// What a get returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::simulation) enum Got {
    /// A value, which tells its own key and where it came from.
    Value(Key, Origin),
    /// That there is no such thing.
    Absent,
    Failed,
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::simulation) enum Origin {
    Load(Id),
    /// The remove that set it.
    Set(Id),
}

/// Which keys are removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::simulation) enum Keys {
    All,
    These(BTreeSet<Key>),
}

/// What a remove returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::simulation) enum Removed {
    /// The keys are gone from all nodes that the remover lists.
    Everywhere,
    /// They are gone from all of these but for the unreached, which serve nothing older than the remove
    /// after a while, if that is known.
    ButFor { unreached: BTreeSet<Label>, stale_for_at_most: Option<Duration> },
    /// Nothing is promised.
    Failed,
}

impl Label {
    /// Returns the label that is written so.
    pub(in crate::simulation) fn parse(label: &str) -> Self {
        let number = label.strip_prefix("node-").and_then(|number| number.parse().ok());
        Self(number.expect("the nodes name those that they know"))
    }
}

impl Keys {
    pub(in crate::simulation) fn contains(&self, key: Key) -> bool {
        match self {
            Self::All => true,
            Self::These(keys) => keys.contains(&key),
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node-{}", self.0)
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key-{}", self.0)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(load) => write!(f, "load {load}"),
            Self::Set(remove) => write!(f, "set {remove}"),
        }
    }
}

impl fmt::Display for Got {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(key, origin) => write!(f, "the value of {key} by {origin}"),
            Self::Absent => f.write_str("that there is none"),
            Self::Failed => f.write_str("an error"),
        }
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all keys"),
            Self::These(keys) => write!(f, "{}", list(keys)),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starts { process, label, lists } => {
                write!(f, "{label} starts as {process}, lists {}", list(lists))
            }
            Self::Ends { process } => write!(f, "{process} ends"),
            Self::Lists { process, lists } => write!(f, "{process} lists {}", list(lists)),
            Self::LoadBegins { load, process, key } => {
                write!(f, "{process}: load {load} of {key} begins")
            }
            Self::LoadEnds { load, loaded } => write!(f, "load {load} ends: {loaded:?}"),
            Self::GetBegins { get, process, key } => {
                write!(f, "{process}: get {get} of {key} begins")
            }
            Self::GetEnds { get, got } => write!(f, "get {get} returns {got}"),
            Self::Arrives { process, key, got, asked, stands_in } => {
                let (asked, who) = (millis(*asked), if *stands_in { "stand-in" } else { "peer" });
                write!(f, "{process}: is told of {key} {got} by a {who} that was asked at {asked}")
            }
            Self::RemoveBegins { remove, process, keys, sets } => {
                let what = if sets.is_some() { "set" } else { "remove" };
                write!(f, "{process}: {what} {remove} of {keys} begins")
            }
            Self::RemoveEnds { remove, removed } => {
                write!(f, "remove {remove} returns {removed:?}")
            }
            Self::Forgets { process, keys } => write!(f, "{process} forgets {keys}"),
            Self::TellBegins { tell, process, keys } => {
                write!(f, "{process}: tell {tell} of {keys} begins")
            }
            Self::TellEnds { tell, process } => write!(f, "{process} has been told by tell {tell}"),
            Self::Rests => f.write_str("all is at rest"),
            Self::Note(note) => f.write_str(note),
        }
    }
}

/// The whole of it, a line each.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (time, event)) in self.events.iter().enumerate() {
            writeln!(f, "{at:5} {:>9} {event}", millis(*time))?;
        }
        Ok(())
    }
}

fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

fn list<T: fmt::Display>(of: &BTreeSet<T>) -> String {
    of.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}
