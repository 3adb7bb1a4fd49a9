//! What the groups of a node share: its peers, the runtime they are asked on, and a clock.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use carrotcache_peer::{Owner, Peer, PeerError, Picker};
use carrotcache_singleflight as singleflight;

use crate::clock::Clock;
use crate::debts::Debts;
use crate::load_budget::{LoadBudget, Rates};
use crate::looks::Looks;
use crate::outages::{Outages, OwnersAway};
use crate::rules::Rules;
use crate::runtime::Runtime;

/// How long an owner may show no sign that it is at it before the value is had elsewhere, unless
/// configured.
const PEER_TIMEOUT: Duration = Duration::from_secs(5);

/// The peers of a node, as its groups ask them, and what else goes with the node.
pub(crate) struct Peers {
    pub(crate) picker: Arc<dyn Picker>,
    pub(crate) timeout: Duration,
    pub(crate) runtime: Runtime,
    pub(crate) outages: Outages,
    pub(crate) owners_away: Arc<OwnersAway>,
    /// The loads here of what is another node's to load.
    pub(crate) load_budget: LoadBudget,
    pub(crate) clock: Arc<Clock>,
    /// What peers have missed of what was removed.
    pub(crate) debts: Debts,
    pub(crate) teller: Teller,
    /// What became of looks at former owners.
    pub(crate) looks: Looks,
    pub(crate) rules: Rules,
    /// Whether the node is about to end.
    pub(crate) is_draining: AtomicBool,
}

impl Peers {
    /// Returns the peers of a node that is alone, and bound to no runtime yet.
    pub(crate) fn none() -> Self {
        let clock = Arc::new(Clock::system());
        Self {
            picker: Arc::new(Alone),
            timeout: PEER_TIMEOUT,
            runtime: Runtime::new(None),
            outages: Outages::default(),
            owners_away: Arc::default(),
            load_budget: LoadBudget::new(Rates::default(), clock.now()),
            debts: Debts::new(Arc::clone(&clock)),
            looks: Looks::new(Arc::clone(&clock)),
            clock,
            teller: Teller::default(),
            rules: Rules::ALL,
            is_draining: AtomicBool::new(false),
        }
    }
}

/// What telling needs of a node.
#[derive(Default)]
pub(crate) struct Teller {
    /// The tellings under way: those who want the same peer told share one.
    /// Made when the first peer has missed something.
    pub(crate) tellings: OnceLock<singleflight::Group<String, (), PeerError>>,
    /// The number of the runtime, and one more, on which the task is that tells whoever can be told;
    /// zero if there is none. One on a runtime that the node has left may never run.
    pub(crate) runs_at: AtomicU64,
    pub(crate) attempts: AtomicU64,
}

impl Teller {
    /// Changes what is said of the task, if that is so at present.
    pub(crate) fn replace(&self, present: u64, new: u64) -> bool {
        self.runs_at.compare_exchange(present, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// The picker of a node that has no peers.
struct Alone;

impl Picker for Alone {
    fn owner(&self, _key: &str) -> Owner {
        Owner::Local
    }

    fn peers(&self) -> Vec<Arc<dyn Peer>> {
        Vec::new()
    }
}
