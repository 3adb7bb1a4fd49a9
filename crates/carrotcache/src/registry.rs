//! The groups of a node, by name.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::error::BuildGroupError;
use crate::group::Group;

/// The groups of a node. A clone is another handle to the same groups.
#[derive(Clone, Default)]
pub(crate) struct Registry {
    groups: Arc<RwLock<BTreeMap<Arc<str>, Group>>>,
}

impl Registry {
    /// Returns the group of that name.
    pub(crate) fn find(&self, name: &str) -> Option<Group> {
        self.read().get(name).cloned()
    }

    /// Returns all groups, in order of their names.
    pub(crate) fn all(&self) -> Vec<Group> {
        self.read().values().cloned().collect()
    }

    /// Adds a group, unless its name is taken.
    pub(crate) fn add(&self, group: Group) -> Result<Group, BuildGroupError> {
        let mut groups = self.write();
        if groups.contains_key(group.name()) {
            return Err(BuildGroupError::NameTaken { name: group.name().to_owned() });
        }
        groups.insert(group.shared_name(), group.clone());
        Ok(group)
    }

    // A panic cannot leave the map half changed, so a poisoned lock says nothing about it.
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Arc<str>, Group>> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Arc<str>, Group>> {
        self.groups.write().unwrap_or_else(PoisonError::into_inner)
    }
}
