//! What the groups of a node share: its peers, and the runtime they are asked on.

use std::sync::Arc;
use std::time::Duration;

use carrotcache_peer::{Owner, Peer, Picker};

use crate::outages::Outages;
use crate::runtime::Runtime;

/// How long an owner may show no sign that it is at it before the value is loaded here, unless
/// configured.
const PEER_TIMEOUT: Duration = Duration::from_secs(5);

/// The peers of a node, as its groups ask them.
pub(crate) struct Peers {
    pub(crate) picker: Arc<dyn Picker>,
    pub(crate) timeout: Duration,
    pub(crate) runtime: Runtime,
    pub(crate) outages: Outages,
}

impl Peers {
    /// Returns the peers of a node that is alone, and bound to no runtime yet.
    pub(crate) fn none() -> Self {
        Self {
            picker: Arc::new(Alone),
            timeout: PEER_TIMEOUT,
            runtime: Runtime::new(None),
            outages: Outages::default(),
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
