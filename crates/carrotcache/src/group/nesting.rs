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
    /// What it loads, if that is several keys at once.
    keys: Option<Arc<Places>>,
    within: Option<Arc<Load>>,
}

/// The keys of a bulk load, and the place of each.
pub(crate) type Places = HashMap<Arc<str>, usize>;

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
        let mut next = self.0.as_ref();
        while let Some(load) = next {
            if load.group == Arc::as_ptr(group).addr() {
                return true;
            }
            next = load.within.as_ref();
        }
        false
    }

    /// Returns whether this is the very bulk load that loads `key` of `group`, which would wait for
    /// itself. Of a load of one key the flight knows it.
    pub(crate) fn is_loading<T>(&self, group: &Arc<T>, key: &str) -> bool {
        self.0.as_ref().is_some_and(|load| {
            load.group == Arc::as_ptr(group).addr()
                && load.keys.as_ref().is_some_and(|keys| keys.contains_key(key))
        })
    }

    /// Runs `load`, a load of `group`, as part of this; `keys` are those of a bulk load.
    ///
    /// # Cancel safety
    ///
    /// As that of `load`.
    pub(crate) async fn run<T, F: Future>(
        self,
        group: &Arc<T>,
        keys: Option<Arc<Places>>,
        load: F,
    ) -> F::Output {
        let load_here = Load { group: Arc::as_ptr(group).addr(), keys, within: self.0 };
        LOAD.scope(Arc::new(load_here), load).await
    }
}
