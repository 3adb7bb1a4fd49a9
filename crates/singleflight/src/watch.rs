use std::fmt;
use std::sync::Arc;

use crate::driver::SharedFlight;
use crate::flight::Flight;

/// How a flight stands, for the work that its [`Leader`](crate::Leader) runs.
///
/// Made by [`Leader::watch`](crate::Leader::watch), before the leader is moved into
/// [`run`](crate::Leader::run), and given to the work by
/// [`sync::Group::work_watched`](crate::sync::Group::work_watched). A clone watches the same flight.
///
/// A cache that is filled by the work of flights has to keep out what was read before a row was
/// updated. Whoever updates it takes the key out of the group *first* and out of the cache *then*;
/// the work asks [`is_void`](Self::is_void) *while it has the lock of the cache*. So the old result
/// is either put in before the removal, and removed, or finds that it is void:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::collections::HashMap;
/// use std::convert::Infallible;
/// use std::sync::Mutex;
///
/// use carrotcache_singleflight::{Group, Role};
///
/// let flights: Group<String, u32, Infallible> = Group::new();
/// let cache = Mutex::new(HashMap::new());
///
/// let Role::Leader(leader) = flights.join("Tom") else { unreachable!() };
/// let (follower, watch) = (leader.follow(), leader.watch());
/// let load = async {
///     let score = 630; // Read from the database, and then the row is updated.
///     flights.forget("Tom");
///     cache.lock().unwrap().remove("Tom");
///
///     let mut cache = cache.lock().unwrap();
///     if !watch.is_void() {
///         cache.insert("Tom", score);
///     }
///     Ok(score)
/// };
/// leader.run(load).await;
/// assert_eq!(follower.await.result, Ok(630)); // It asked before the update.
/// assert!(cache.lock().unwrap().is_empty());
/// # }
/// ```
///
/// A watch may outlive its flight, and then says what it said at the end. As long as it lives, the
/// result of the flight does too: it is best dropped with the work.
#[derive(Clone)]
pub struct Watch {
    flight: Arc<dyn Watched>,
}

impl Watch {
    pub(crate) fn new<V, E>(flight: SharedFlight<V, E>) -> Self
    where
        V: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        Self { flight }
    }

    /// Returns whether the key was forgotten while the flight was open, and its result must not be
    /// kept: see [`Leader::is_void`](crate::Leader::is_void). Costs one atomic load.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.flight.is_void()
    }

    /// Returns whether anybody waits for the outcome: see
    /// [`Leader::is_awaited`](crate::Leader::is_awaited). Nobody does once the flight has ended.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.flight.is_awaited()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("is_void", &self.is_void())
            .field("is_awaited", &self.is_awaited())
            .finish()
    }
}

/// A flight without the types of its result, which the work knows anyway.
trait Watched: Send + Sync {
    fn is_void(&self) -> bool;

    fn is_awaited(&self) -> bool;
}

impl<V: Send + Sync, E: Send + Sync, D: Send> Watched for Flight<V, E, D> {
    fn is_void(&self) -> bool {
        self.is_void()
    }

    fn is_awaited(&self) -> bool {
        self.is_awaited()
    }
}
