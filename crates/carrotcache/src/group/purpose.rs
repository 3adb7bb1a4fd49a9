//! What a load is for.

use super::nesting::Nesting;
use crate::cache::Place;

/// On whose behalf a load runs, and what becomes of its value.
#[derive(Clone)]
pub(super) struct Load {
    /// Where the value is kept. A load because the owner could not be asked, be it for a caller here or
    /// for a peer, keeps it in hot only, so that it gives way when the owner is back.
    pub(super) place: Place,
    /// The load that waits for this one, if that is known.
    pub(super) within: Nesting,
    /// Whether a load of this group, here or at a peer, waits for it. It must not wait for its turn
    /// then.
    pub(super) is_nested: bool,
    /// Only an entry that expires after that moment spares the load: whoever it runs for has one that
    /// does not.
    pub(super) newer_than: Option<u64>,
}
