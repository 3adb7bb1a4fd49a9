//! The groups of a node, by name.

use std::sync::Arc;

use crate::error::BuildGroupError;
use crate::group::Group;
use crate::names::NameMap;

/// The groups of a node. A clone is another handle to the same groups.
///
/// Each request of a peer looks its group up here, so looking up takes no lock: threads that only
/// read would take the lock's cache line from each other. Groups are only ever added.
#[derive(Clone, Default)]
pub(crate) struct Registry {
    groups: Arc<NameMap<Group>>,
}

impl Registry {
    /// Returns the group of that name.
    pub(crate) fn find(&self, name: &str) -> Option<&Group> {
        self.groups.get(name)
    }

    /// Returns all groups, in order of their names.
    pub(crate) fn all(&self) -> Vec<Group> {
        let mut groups: Vec<_> = self.groups.values().into_iter().cloned().collect();
        groups.sort_unstable_by(|one, other| one.name().cmp(other.name()));
        groups
    }

    /// Adds a group, unless its name is taken.
    pub(crate) fn add(&self, group: Group) -> Result<Group, BuildGroupError> {
        match self.groups.add(group.shared_name(), group.clone()) {
            Ok(()) => Ok(group),
            Err(refused) => Err(BuildGroupError::NameTaken { name: refused.name().to_owned() }),
        }
    }
}
