//! One runtime that a node is or was bound to, and whether it still runs.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;

/// A runtime that flights live on.
///
/// It may be shut down, or be a current-thread runtime that nobody drives any more. Callers in a task
/// of its own need not care: they do not run then either. For the others it is watched, by a thread
/// that asks it for a sign of life: whoever waits may be on a runtime without a timer, with a clock
/// that stands still, or on none.
pub(crate) struct Home {
    handle: Handle,
    number: u64,
    is_gone: AtomicBool,
    /// Wakes all who wait when it is gone.
    went: Notify,
    watch: Mutex<Watch>,
    /// Wakes the thread when somebody begins to wait.
    more: Condvar,
}

#[derive(Default)]
struct Watch {
    /// How many wait who are not in one of its tasks.
    waiting: usize,
    /// Whether the thread is there.
    is_watched: bool,
}

/// How long a runtime may show no sign of life before it is taken for one that nobody drives. A
/// loader that blocks its thread for longer than that looks the same.
const MAX_SILENCE: Duration = Duration::from_secs(5);
/// How often it is asked while somebody waits, and how long the thread stays when nobody does.
const PAUSE: Duration = Duration::from_secs(1);

impl Home {
    /// Returns the `number`th runtime that a node is bound to.
    pub(crate) fn new(handle: Handle, number: u64) -> Arc<Self> {
        Arc::new(Self {
            handle,
            number,
            is_gone: AtomicBool::new(false),
            went: Notify::new(),
            watch: Mutex::default(),
            more: Condvar::new(),
        })
    }

    /// Returns the runtime.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Returns its number among those that the node was bound to.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Returns whether the caller is on this runtime.
    pub(crate) fn is_here(&self) -> bool {
        Handle::try_current().is_ok_and(|own| own.id() == self.handle.id())
    }

    /// Returns whether it is known to run nothing any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }

    /// Returns whether it was shut down, and notes that it is gone then.
    pub(crate) fn is_shut_down(&self) -> bool {
        let (alive, sign) = mpsc::channel::<()>();
        // A runtime that was shut down drops a task at once instead of keeping it.
        self.handle.spawn(async move { alive.send(()) });
        let is_shut_down = matches!(sign.try_recv(), Err(mpsc::TryRecvError::Disconnected));
        if is_shut_down {
            self.leave();
        }
        is_shut_down
    }

    /// Notes that it is gone.
    fn leave(&self) {
        self.is_gone.store(true, Ordering::Release);
        self.went.notify_waiters();
    }

    /// Waits for `flight`, which lives here; `None` once this runtime is gone. `is_here` is what
    /// [`is_here`](Self::is_here) says to whoever polls first.
    ///
    /// # Cancel safety
    ///
    /// As that of `flight`.
    pub(crate) async fn outlive<F>(
        self: &Arc<Self>,
        is_here: bool,
        mut flight: F,
    ) -> Option<F::Output>
    where
        F: Future + Unpin,
    {
        let (mut watch, mut known) = (None, Some(is_here));
        poll_fn(|cx| {
            if let Poll::Ready(outcome) = Pin::new(&mut flight).poll(cx) {
                return Poll::Ready(Some(outcome));
            }
            // Looked at in each poll, since a future may be polled here first and then elsewhere.
            let is_here = known.take();
            if watch.is_none()
                && tokio::task::try_id().is_some()
                && is_here.unwrap_or_else(|| self.is_here())
            {
                return Poll::Pending;
            }
            let watch = watch.get_or_insert_with(|| Box::pin(self.watch_until_gone()));
            watch.as_mut().poll(cx).map(|()| None)
        })
        .await
    }

    /// Has this runtime watched, and ends once it is gone.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    async fn watch_until_gone(self: &Arc<Self>) {
        let _waiting = Waiting::new(self);
        self.gone().await;
    }

    /// Ends once this runtime is gone.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    async fn gone(&self) {
        let mut went = pin!(self.went.notified());
        went.as_mut().enable();
        if !self.is_gone() {
            went.await;
        }
    }

    /// Watches for as long as somebody waits, in a thread of its own, and a moment longer: a
    /// thread costs more than most waits, and who waits once may wait again.
    fn run_watch(&self) {
        loop {
            let (alive, sign) = mpsc::channel();
            self.handle.spawn(async move { alive.send(()) });
            // Not cut short if those who wait leave: each may be too hasty to see the end of it.
            if sign.recv_timeout(MAX_SILENCE).is_err() {
                self.leave();
                self.lock().is_watched = false;
                return;
            }
            let watch = self.lock();
            let is_idle = |watch: &mut Watch| watch.waiting == 0;
            if watch.waiting > 0 {
                // Asked again after a pause, whatever happens in it.
                drop(watch);
                thread::sleep(PAUSE);
                continue;
            }
            let (mut watch, _) = (self.more.wait_timeout_while(watch, PAUSE, is_idle))
                .unwrap_or_else(PoisonError::into_inner);
            if watch.waiting == 0 {
                watch.is_watched = false;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who waits and is not in a task of the runtime.
struct Waiting(Arc<Home>);

impl Waiting {
    /// Counts one more, and has the runtime watched.
    fn new(home: &Arc<Home>) -> Self {
        let mut watch = home.lock();
        watch.waiting += 1;
        if watch.is_watched {
            home.more.notify_one();
        } else {
            let watched = Arc::clone(home);
            let thread = thread::Builder::new().name("carrotcache-watch".to_owned());
            // Without a thread nobody finds out that the runtime is gone, and all else works.
            watch.is_watched = thread.spawn(move || watched.run_watch()).is_ok();
        }
        Self(Arc::clone(home))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}
