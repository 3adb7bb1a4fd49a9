//! What tests of values that change need: a clock that is moved by hand, and rows to be loaded.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use carrotcache::{Loader, Node};
use tokio::sync::Semaphore;

/// The hand of a clock, which tests move.
#[derive(Clone)]
pub(crate) struct Hand(Arc<AtomicU64>);

impl Hand {
    /// A clock that stands at some moment.
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_000_000)))
    }

    pub(crate) fn advance(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// What a node reads, which is ahead of the hand by `offset`: no two machines count from the same
    /// moment.
    pub(crate) fn clock(&self, offset: Duration) -> impl Fn() -> Duration + Send + Sync + 'static {
        let millis = Arc::clone(&self.0);
        move || offset + Duration::from_millis(millis.load(Ordering::SeqCst))
    }

    /// A node that is alone, and whose clock this is.
    pub(crate) fn node(&self) -> Node {
        Node::builder().clock(self.clock(Duration::ZERO)).build()
    }
}

/// What a load of a [`Table`] does beside reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Works,
    /// It finds no rows.
    Gone,
    Fails,
    Panics,
    Hangs,
}

/// A table of rows that change. Each row reads `{key} v{version}`; of `missing` ones there are none.
///
/// A load reads its row first and waits then, if it is to wait: so what a test holds back is old.
#[derive(Clone)]
pub(crate) struct Table(Arc<TableState>);

struct TableState {
    version: AtomicU64,
    mode: Mutex<Mode>,
    is_gated: AtomicBool,
    gate: Semaphore,
    calls: Mutex<HashMap<String, usize>>,
    order: Mutex<Vec<String>>,
    started: AtomicUsize,
    running: AtomicUsize,
    most_running: AtomicUsize,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self(Arc::new(TableState {
            version: AtomicU64::new(1),
            mode: Mutex::new(Mode::Works),
            is_gated: AtomicBool::new(false),
            gate: Semaphore::new(0),
            calls: Mutex::default(),
            order: Mutex::default(),
            started: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
        }))
    }

    /// Updates all rows, and returns the version that they have now.
    pub(crate) fn update(&self) -> u64 {
        self.0.version.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        *self.0.mode.lock().unwrap() = mode;
    }

    /// Whether loads wait, from now on, until they are let go.
    pub(crate) fn hold(&self, is_gated: bool) {
        self.0.is_gated.store(is_gated, Ordering::SeqCst);
    }

    pub(crate) fn let_go(&self, loads: usize) {
        self.0.gate.add_permits(loads);
    }

    pub(crate) fn started(&self) -> usize {
        self.0.started.load(Ordering::SeqCst)
    }

    pub(crate) fn running(&self) -> usize {
        self.0.running.load(Ordering::SeqCst)
    }

    pub(crate) fn most_running(&self) -> usize {
        self.0.most_running.load(Ordering::SeqCst)
    }

    pub(crate) fn calls_for(&self, key: &str) -> usize {
        self.0.calls.lock().unwrap().get(key).copied().unwrap_or(0)
    }

    /// The keys, in the order in which their loads began.
    pub(crate) fn order(&self) -> Vec<String> {
        self.0.order.lock().unwrap().clone()
    }
}

/// One load that runs, until it is dropped.
struct Running<'a>(&'a TableState);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Loader for Table {
    type Value = String;
    type Error = io::Error;

    async fn load(&self, key: String) -> Result<Option<String>, io::Error> {
        let state = &*self.0;
        let running = state.running.fetch_add(1, Ordering::SeqCst) + 1;
        let _running = Running(state);
        state.most_running.fetch_max(running, Ordering::SeqCst);
        *state.calls.lock().unwrap().entry(key.clone()).or_default() += 1;
        state.order.lock().unwrap().push(key.clone());
        let row = format!("{key} v{}", state.version.load(Ordering::SeqCst));
        let mode = *state.mode.lock().unwrap();
        state.started.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        if state.is_gated.load(Ordering::SeqCst) {
            state.gate.acquire().await.unwrap().forget();
        }
        match mode {
            Mode::Works => Ok((!key.starts_with("missing")).then_some(row)),
            Mode::Gone => Ok(None),
            Mode::Fails => Err(io::Error::other("the database is away")),
            Mode::Panics => panic!("as asked"),
            Mode::Hangs => std::future::pending().await,
        }
    }
}

/// Lets time pass, tokio's, which has to be paused, until a condition holds.
pub(crate) async fn eventually(condition: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come about in 100 seconds");
}

/// Lets other tasks run until a condition holds.
pub(crate) async fn soon(condition: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if condition() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it did not come about");
}
