//! What the groups of a node share: its peers, the runtime they are asked on, and a clock.

use std::sync::Arc;
use std::time::Duration;

use carrotcache_peer::{Owner, Peer, Picker};

use crate::clock::Clock;
use crate::debts::Debts;
use crate::outages::Outages;
use crate::rules::Rules;
use crate::runtime::Runtime;
use crate::tell::Teller;

/// How long an owner may show no sign that it is at it before the value is loaded here, unless
/// configured.
const PEER_TIMEOUT: Duration = Duration::from_secs(5);

/// The peers of a node, as its groups ask them, and what else goes with the node.
pub(crate) struct Peers {
    pub(crate) picker: Arc<dyn Picker>,
    pub(crate) timeout: Duration,
    pub(crate) runtime: Runtime,
    pub(crate) outages: Outages,
    pub(crate) clock: Arc<Clock>,
    /// What peers have missed of what was removed.
    pub(crate) debts: Debts,
    pub(crate) teller: Teller,
    pub(crate) rules: Rules,
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
            debts: Debts::new(Arc::clone(&clock)),
            clock,
            teller: Teller::default(),
            rules: Rules::ALL,
        }
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
