//! The one tokio runtime on which a node's flights run.

use std::cell::Cell;
use std::panic::catch_unwind;
use std::pin::Pin;
use std::sync::{PoisonError, RwLock};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tracing::Instrument;

use crate::error::GetError;

/// The runtime that a node is bound to.
///
/// A flight must not live on the runtime of the caller who happened to start it: that caller may
/// leave, nobody drives its runtime any more, and whoever else waits for the flight waits for ever.
pub(crate) struct Runtime {
    /// `None` until the first caller brings one.
    bound: RwLock<Option<Bound>>,
    /// The runtime of a caller that was last found to have no timer.
    without_timer: RwLock<Option<Id>>,
}

#[derive(Clone)]
struct Bound {
    handle: Handle,
    has_timer: bool,
}

impl Runtime {
    /// Returns a binding to `handle`, or to the runtime of the first caller.
    pub(crate) fn new(handle: Option<Handle>) -> Self {
        Self { bound: RwLock::new(handle.map(Bound::new)), without_timer: RwLock::default() }
    }

    /// Returns the runtime, which is the caller's from now on if there was none.
    pub(crate) fn handle(&self) -> Result<Handle, GetError> {
        let bound = self.bound.read().unwrap_or_else(PoisonError::into_inner).clone();
        let bound = match bound {
            Some(bound) => bound,
            None => {
                let own = Handle::try_current().map_err(|_outside| GetError::NoRuntime)?;
                let mut bound = self.bound.write().unwrap_or_else(PoisonError::into_inner);
                // Looked up again: another caller may have brought one.
                bound.get_or_insert_with(|| Bound::new(own)).clone()
            }
        };
        if bound.has_timer { Ok(bound.handle) } else { Err(GetError::NoTimer) }
    }

    /// Returns whether the caller is on another runtime than `flight`'s, and has a timer there.
    pub(crate) fn is_elsewhere_with_timer(&self, flight: &Handle) -> bool {
        let Ok(own) = Handle::try_current() else { return false };
        if own.id() == flight.id() {
            return false;
        }
        let without = self.without_timer.read().unwrap_or_else(PoisonError::into_inner);
        if *without == Some(own.id()) {
            return false;
        }
        drop(without);
        let has_timer = has_timer(&own);
        if !has_timer {
            // Remembered, or each of its gets would write tokio's panic to the log.
            let mut without = self.without_timer.write().unwrap_or_else(PoisonError::into_inner);
            *without = Some(own.id());
        }
        has_timer
    }

    /// Leaves `from`, which runs nothing any more, for the runtime of the caller.
    ///
    /// Returns whether the caller has one, which is what trying again takes. If another caller was
    /// faster, its choice stays.
    pub(crate) fn leave(&self, from: &Handle) -> bool {
        let Ok(own) = Handle::try_current() else { return false };
        if own.id() != from.id() {
            let mut bound = self.bound.write().unwrap_or_else(PoisonError::into_inner);
            if bound.as_ref().is_none_or(|bound| bound.handle.id() == from.id()) {
                *bound = Some(Bound::new(own));
            }
        }
        true
    }
}

impl Bound {
    fn new(handle: Handle) -> Self {
        let has_timer = has_timer(&handle);
        Self { handle, has_timer }
    }
}

/// Returns whether the timer of a runtime is switched on. Tokio tells only by a panic, whose message
/// then stands in the log, once for each node.
fn has_timer(handle: &Handle) -> bool {
    let _entered = handle.enter();
    catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))).is_ok()
}

/// Returns whether the caller runs on another runtime than `handle`'s, or on none.
fn is_elsewhere(handle: &Handle) -> bool {
    Handle::try_current().map_or(true, |own| own.id() != handle.id())
}

/// How many first polls may stand on one stack, each started by the one before: a loader that gets
/// another key starts that key's load. Beyond it a load gets a task at once, which begins a stack of
/// its own.
const MAX_NESTED: usize = 8;

thread_local! {
    static NESTED: Cell<usize> = const { Cell::new(0) };
}

/// One more first poll on this stack, until it is dropped.
struct Nested;

impl Nested {
    /// Returns `None` if there are too many already.
    fn enter() -> Option<Self> {
        let nested = NESTED.get();
        (nested < MAX_NESTED).then(|| {
            NESTED.set(nested + 1);
            Self
        })
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        NESTED.set(NESTED.get() - 1);
    }
}

/// Starts a flight: polls it once here, and moves what is not ready then into a task.
///
/// Most loads that never wait, such as one from memory, end here and cost no task. The poll happens
/// within `handle`'s runtime, so that what the flight opens lives there wherever the caller is. The
/// task keeps the caller's span.
pub(crate) fn start<F>(handle: &Handle, mut flight: Pin<Box<F>>)
where
    F: Future<Output = ()> + Send + 'static,
{
    if let Some(_nested) = Nested::enter() {
        let _entered = is_elsewhere(handle).then(|| handle.enter());
        // The waker may do nothing, since the task polls again at once.
        if flight.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
    }
    handle.spawn(flight.in_current_span());
}
