//! Which loads the present code is part of.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

tokio::task_local! {
    static LOAD: Arc<Load>;
}

/// A load that runs, and the one that it is part of.
struct Load {
    /// The address of its group, which stays where it is while the load runs.
    group: usize,
    keys: Loading,
    within: Option<Arc<Load>>,
}

/// What a load loads.
pub(crate) enum Loading {
    One(Arc<str>),
    /// Several keys at once.
    Many(Arc<Places>),
}

/// The keys of a bulk load, and the place of each.
pub(crate) type Places = HashMap<Arc<str>, usize>;

impl Load {
    fn is_of<T>(&self, group: &Arc<T>) -> bool {
        self.group == Arc::as_ptr(group).addr()
    }
}

impl Loading {
    fn contain(&self, key: &str) -> bool {
        match self {
            Self::One(one) => **one == *key,
            Self::Many(keys) => keys.contains_key(key),
        }
    }
}

/// The load within which something was started, if there was one.
///
/// What a loader does in tasks of its own is part of nothing: nobody can tell whose they are.
#[derive(Clone, Default)]
pub(crate) struct Nesting(Option<Arc<Load>>);

impl Nesting {
    /// Returns within which load this is called.
    pub(crate) fn here() -> Self {
        Self(LOAD.try_with(Arc::clone).ok())
    }

    /// Returns whether this is part of a load of `group`, however deep.
    pub(crate) fn is_within<T>(&self, group: &Arc<T>) -> bool {
        self.loads().any(|load| load.is_of(group))
    }

    /// Returns whether this is part of the very load that loads `key` of `group`, which would wait for
    /// itself.
    pub(crate) fn is_loading<T>(&self, group: &Arc<T>, key: &str) -> bool {
        self.loads().any(|load| load.is_of(group) && load.keys.contain(key))
    }

    /// Returns the loads that this is part of, from the innermost outwards.
    fn loads(&self) -> impl Iterator<Item = &Load> {
        std::iter::successors(self.0.as_deref(), |load| load.within.as_deref())
    }

    /// Runs `load`, a load of `group`, as part of this.
    ///
    /// # Cancel safety
    ///
    /// As that of `load`.
    pub(crate) async fn run<T, F: Future>(
        self,
        group: &Arc<T>,
        keys: Loading,
        load: F,
    ) -> F::Output {
        let load_here = Load { group: Arc::as_ptr(group).addr(), keys, within: self.0 };
        LOAD.scope(Arc::new(load_here), load).await
    }
}
