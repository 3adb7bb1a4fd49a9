//! The one tokio runtime on which a node's flights run.

use std::cell::Cell;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tracing::Instrument;

use crate::error::GetError;
use crate::home::Home;

/// The runtime that a node is bound to.
///
/// A flight must not live on the runtime of the caller who happened to start it: that caller may
/// leave, nobody drives its runtime any more, and whoever else waits for the flight waits for ever.
pub(crate) struct Runtime {
    /// The first one. It is found without a lock, and for most nodes there is no other.
    first: OnceLock<Arc<Home>>,
    /// Whether the node was bound to another since.
    has_moved: AtomicBool,
    binding: RwLock<Binding>,
    /// The runtime of a caller that was last found to have no timer.
    without_timer: RwLock<Option<Id>>,
}

#[derive(Default)]
struct Binding {
    /// The present one; `None` until the first caller brings one.
    home: Option<Arc<Home>>,
    /// How many there have been.
    homes: u64,
}

/// A runtime that a node is bound to.
pub(crate) enum Bound<'a> {
    First(&'a Arc<Home>),
    Later(Arc<Home>),
}

impl Deref for Bound<'_> {
    type Target = Arc<Home>;

    fn deref(&self) -> &Arc<Home> {
        match self {
            Self::First(home) => home,
            Self::Later(home) => home,
        }
    }
}

impl Runtime {
    /// Returns a binding to `handle`, or to the runtime of the first caller.
    pub(crate) fn new(handle: Option<Handle>) -> Self {
        let (first, home) = (OnceLock::new(), handle.map(|handle| Home::new(handle, 0)));
        if let Some(home) = &home {
            first.get_or_init(|| Arc::clone(home));
        }
        let binding = Binding { homes: u64::from(home.is_some()), home };
        let (has_moved, without_timer) = (AtomicBool::new(false), RwLock::default());
        Self { first, has_moved, binding: RwLock::new(binding), without_timer }
    }

    /// Returns the runtime; if there is none, or it is gone, the caller's from now on.
    ///
    /// # Errors
    ///
    /// If the caller should bring a runtime and has none, or the runtime has no timer. A caller's
    /// runtime without a timer is not bound to: the next caller may have a better one.
    pub(crate) fn home(&self) -> Result<Bound<'_>, GetError> {
        let home = match self.first.get() {
            Some(first) if !self.has_moved.load(Ordering::Acquire) => Some(Bound::First(first)),
            _ => self.read().home.clone().map(Bound::Later),
        };
        match home.filter(|home| !home.is_gone()) {
            Some(home) if self.has_timer(home.handle()) => Ok(home),
            Some(_) => Err(GetError::NoTimer),
            None => self.bind_to_caller(|home| home.is_gone()),
        }
    }

    /// Returns the number of the present runtime among those that there have been.
    pub(crate) fn number(&self) -> u64 {
        match self.has_moved.load(Ordering::Acquire) {
            false => 0,
            true => self.read().homes.saturating_sub(1),
        }
    }

    /// Returns the caller's runtime, to which the node is bound from now on whatever it was before.
    ///
    /// # Errors
    ///
    /// As [`home`](Self::home).
    pub(crate) fn home_at_caller(&self) -> Result<Bound<'_>, GetError> {
        let own = Handle::try_current().map_err(|_outside| GetError::NoRuntime)?;
        self.bind_to_caller(|home| home.is_gone() || home.handle().id() != own.id())
    }

    /// Binds to the caller's runtime if there is no other, or `is_left` is true of it.
    fn bind_to_caller(&self, is_left: impl Fn(&Home) -> bool) -> Result<Bound<'_>, GetError> {
        let own = Handle::try_current().map_err(|_outside| GetError::NoRuntime)?;
        // Before the lock is taken, since a panic hook may be the user's code.
        if !self.has_timer(&own) {
            return Err(GetError::NoTimer);
        }
        let mut binding = self.binding.write().unwrap_or_else(PoisonError::into_inner);
        match &binding.home {
            // Another caller was faster.
            Some(home) if !is_left(home) => Ok(Bound::Later(Arc::clone(home))),
            left => {
                if left.is_some() {
                    self.has_moved.store(true, Ordering::Release);
                }
                let home = Home::new(own, binding.homes);
                binding.homes += 1;
                binding.home = Some(Arc::clone(&home));
                self.first.get_or_init(|| Arc::clone(&home));
                Ok(Bound::Later(home))
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Binding> {
        self.binding.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a runtime has its timer switched on. Tokio tells only by a panic, whose
    /// message then stands in the log, once.
    fn has_timer(&self, handle: &Handle) -> bool {
        if TIMER_SEEN.get() == Some(handle.id()) {
            return true;
        }
        let known = self.without_timer.read().unwrap_or_else(PoisonError::into_inner);
        if *known == Some(handle.id()) {
            return false;
        }
        drop(known);
        let probe = || {
            let _entered = handle.enter();
            drop(tokio::time::sleep(Duration::ZERO));
        };
        let has_timer = catch_unwind(AssertUnwindSafe(probe)).is_ok();
        if has_timer {
            TIMER_SEEN.set(Some(handle.id()));
        } else {
            let mut known = self.without_timer.write().unwrap_or_else(PoisonError::into_inner);
            *known = Some(handle.id());
        }
        has_timer
    }
}

/// How many first polls may stand on one stack, each started by the one before: a loader that gets
/// another key starts that key's load. Beyond it a load gets a task at once, which begins a stack of
/// its own.
const MAX_NESTED: usize = 2;

thread_local! {
    static NESTED: Cell<usize> = const { Cell::new(0) };
    /// The runtime that was last found to have a timer, which it then has for good.
    static TIMER_SEEN: Cell<Option<Id>> = const { Cell::new(None) };
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

/// Starts a flight: polls it once here if the caller is at `home`, which `is_here` says, and moves what is not ready then
/// into a task.
///
/// Most loads that never wait, such as one from memory, end here and cost no task. A caller on
/// another runtime does not poll: a load that blocks would hold up that runtime, and a `home` that
/// was shut down would show itself as an error of the loader. The task keeps the caller's span.
pub(crate) fn start<F>(home: &Home, is_here: bool, mut flight: Pin<Box<F>>)
where
    F: Future<Output = ()> + Send + 'static,
{
    if is_here && let Some(_nested) = Nested::enter() {
        // The waker may do nothing, since the task polls again at once.
        if flight.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
    }
    home.handle().spawn(flight.in_current_span());
}
