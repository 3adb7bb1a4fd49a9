//! Every interleaving of three callers of one key, enumerated.
//!
//! A caller starts by `work` or by `join`, is polled when (and only when) it was woken, and may be
//! dropped at any point; the work of a flight may end or panic at any point, a leader may finish,
//! be dropped, or be dropped by a panic; and once the key may be forgotten, alone or with all others.
//! The futures are polled by hand, so each order is one sequence of steps, and all sequences are
//! tried. A simple model says what has to come of each: which run a caller gets its result from, and
//! which result; and what a leader is told of its flight: whether it is void, and awaited.
//! A caller that is not woken when it should be is one that never ends, and fails the test.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use carrotcache_singleflight::{Error, Group, Leader, Outcome, Role, Watch};

use crate::util::Wakes;

#[test]
fn every_interleaving_of_three_callers_that_drive() {
    assert_eq!(explore(3, &[Start::Work]), 40_256);
}

/// The three parties are two callers and the leader, which here lives in a task of its own.
#[test]
fn every_interleaving_of_two_callers_and_a_leader() {
    assert_eq!(explore(2, &[Start::Work, Start::Join]), 9_924);
}

#[test]
#[ignore = "takes half a minute"]
fn every_interleaving_of_three_callers_and_a_leader() {
    assert_eq!(explore(3, &[Start::Work, Start::Join]), 1_368_114);
}

/// Tries every sequence of steps, depth first, and returns how many there are.
fn explore(callers: usize, starts: &[Start]) -> usize {
    let mut sequences = 0;
    let mut begun = vec![Vec::new()];
    while let Some(mut steps) = begun.pop() {
        let mut world = World::new(callers);
        steps.iter().for_each(|step| world.take(*step));
        // Goes on with the first of the steps that are possible, and comes back for the others.
        while let [first, others @ ..] = world.next_steps(starts).as_slice() {
            begun.extend(others.iter().map(|other| [steps.as_slice(), &[*other]].concat()));
            world.take(*first);
            steps.push(*first);
        }
        world.assert_at_rest(&steps);
        sequences += 1;
    }
    sequences
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Start {
    Work,
    Join,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The next caller starts.
    Start(Start),
    /// A caller that was woken is polled.
    Poll(usize),
    /// A caller leaves.
    Drop(usize),
    /// The work of a run ends in this way; whoever drives it will see that.
    End(usize, End),
    Forget,
    ForgetAll,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Finish,
    Panic,
    /// Of a leader only.
    Abandon,
}

/// A value that counts how many of it there are, and knows which run made it.
#[derive(Debug)]
struct Tracked {
    run: usize,
    alive: Arc<AtomicUsize>,
}

impl Tracked {
    fn new(run: usize, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self { run, alive: Arc::clone(alive) }
    }
}

impl Clone for Tracked {
    fn clone(&self) -> Self {
        Self::new(self.run, &self.alive)
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

type Flights = Group<String, Tracked, String>;
type Call = Pin<Box<dyn Future<Output = Outcome<Tracked, String>>>>;

/// The group under test with its callers, and what the model makes of them.
struct World {
    flights: Arc<Flights>,
    callers: Vec<Caller>,
    runs: Vec<Run>,
    forgotten: bool,
    /// How many callers may still start.
    unborn: usize,
    /// How many values there are.
    alive: Arc<AtomicUsize>,
}

struct Caller {
    /// `None` once it has ended or was dropped.
    call: Option<Call>,
    wakes: Arc<Wakes>,
    seen: usize,
    /// The run whose result it has to get.
    run: usize,
}

/// One generation of the key: a flight, by the model.
struct Run {
    /// What the work is told; shared with the future.
    signal: Arc<Mutex<Signal>>,
    /// If a leader of its own ends it.
    leader: Option<Leader<String, Tracked, String>>,
    /// Of that leader, which it outlives.
    watch: Option<Watch>,
    led: bool,
    /// The caller that polls the work, if no leader does.
    driver: Option<usize>,
    in_table: bool,
    shared: bool,
    void: bool,
    /// Set when waiters can see it.
    ended: Option<End>,
}

#[derive(Default)]
struct Signal {
    end: Option<End>,
    waker: Option<Waker>,
    /// Whether the future of the work exists.
    alive: bool,
}

impl Run {
    fn signal(&self) -> MutexGuard<'_, Signal> {
        lock(&self.signal)
    }
}

fn lock(signal: &Mutex<Signal>) -> MutexGuard<'_, Signal> {
    signal.lock().expect("no panic while it is locked")
}

impl World {
    fn new(callers: usize) -> Self {
        Self {
            unborn: callers,
            flights: Arc::default(),
            callers: Vec::new(),
            runs: Vec::new(),
            forgotten: false,
            alive: Arc::default(),
        }
    }

    /// Returns every step that is possible now.
    fn next_steps(&self, starts: &[Start]) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.unborn > 0 {
            steps.extend(starts.iter().map(|start| Step::Start(*start)));
        }
        for (index, caller) in self.callers.iter().enumerate() {
            if caller.call.is_some() {
                steps.push(Step::Drop(index));
                if caller.wakes.count() > caller.seen {
                    steps.push(Step::Poll(index));
                }
            }
        }
        for (index, run) in self.runs.iter().enumerate() {
            if run.ended.is_none() && run.signal().end.is_none() {
                steps.extend([End::Finish, End::Panic].map(|end| Step::End(index, end)));
                steps.extend(run.led.then_some(Step::End(index, End::Abandon)));
            }
        }
        if !self.forgotten && !self.callers.is_empty() {
            steps.extend([Step::Forget, Step::ForgetAll]);
        }
        steps
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Start(start) => self.start(start),
            Step::Poll(caller) => self.poll(caller),
            Step::Drop(caller) => self.drop_caller(caller),
            Step::End(run, end) => self.end(run, end),
            Step::Forget => {
                let was_open = self.flights.forget("key");
                self.forget(was_open);
            }
            Step::ForgetAll => {
                let forgotten = self.flights.forget_all();
                self.forget(forgotten == 1);
            }
        }
        self.assert_leaders_know(step);
        let open = self.runs.iter().filter(|run| run.in_table).count();
        assert_eq!(self.flights.in_flight(), open, "after {step:?}");
    }

    /// Takes what was open from the model; `was_open` is what the group said.
    fn forget(&mut self, was_open: bool) {
        self.forgotten = true;
        let open = self.runs.iter_mut().find(|run| run.in_table);
        assert_eq!(was_open, open.is_some());
        if let Some(run) = open {
            (run.in_table, run.void) = (false, true);
        }
    }

    /// Compares what leaders and their watches say of each flight with the model.
    fn assert_leaders_know(&self, step: Step) {
        for (index, run) in self.runs.iter().enumerate() {
            let waits = |caller: &Caller| caller.run == index && caller.call.is_some();
            let awaited = run.ended.is_none() && self.callers.iter().any(waits);
            if let Some(leader) = &run.leader {
                assert_eq!(
                    (leader.is_void(), leader.is_awaited()),
                    (run.void, awaited),
                    "{step:?}"
                );
            }
            if let Some(watch) = &run.watch {
                assert_eq!((watch.is_void(), watch.is_awaited()), (run.void, awaited), "{step:?}");
            }
        }
    }

    /// Starts a caller and polls it once: it joins the run that is open or opens one.
    fn start(&mut self, start: Start) {
        self.unborn -= 1;
        let index = self.callers.len();
        let open = self.runs.iter().position(|run| run.in_table);
        let run = open.unwrap_or(self.runs.len());
        if let Some(open) = open {
            self.runs[open].shared = true;
        } else {
            self.runs.push(Run {
                signal: Arc::default(),
                leader: None,
                watch: None,
                led: start == Start::Join,
                driver: (start == Start::Work).then_some(index),
                in_table: true,
                shared: false,
                void: false,
                ended: None,
            });
        }
        let call = match start {
            Start::Work => self.call(open.is_none().then_some(run)),
            Start::Join => match self.flights.join("key") {
                Role::Follower(follower) => {
                    assert!(open.is_some(), "no flight was open");
                    Box::pin(follower) as Call
                }
                Role::Leader(leader) => {
                    assert!(open.is_none(), "a flight was open");
                    let follower = leader.follow();
                    self.runs[run].watch = Some(leader.watch());
                    self.runs[run].leader = Some(leader);
                    Box::pin(follower)
                }
            },
        };
        self.callers.push(Caller { call: Some(call), wakes: Arc::default(), seen: 0, run });
        self.poll(index);
    }

    /// Calls `work`, whose closure must run exactly if a new run is expected.
    fn call(&self, expected: Option<usize>) -> Call {
        let flights = Arc::clone(&self.flights);
        let signal = expected.map(|run| Arc::clone(&self.runs[run].signal));
        let alive = Arc::clone(&self.alive);
        Box::pin(async move {
            let start = || {
                let signal = signal.expect("a second run was started while one was open");
                lock(&signal).alive = true;
                Work { signal, run: expected.unwrap_or_default(), alive }
            };
            flights.work_outcome("key", start).await
        })
    }

    /// Polls a caller and compares with what the model says.
    fn poll(&mut self, index: usize) {
        let caller = &mut self.callers[index];
        caller.seen = caller.wakes.count();
        let run = &mut self.runs[caller.run];
        if run.ended.is_none() && !run.led {
            // Whoever is polled first after the driver left drives from then on.
            if *run.driver.get_or_insert(index) == index {
                run.ended = lock(&run.signal).end;
                run.in_table &= run.ended.is_none();
            }
        }
        let waker = Waker::from(Arc::clone(&caller.wakes));
        let call = caller.call.as_mut().expect("only who waits is polled");
        match (call.as_mut().poll(&mut Context::from_waker(&waker)), run.ended) {
            (Poll::Pending, None) => {}
            (Poll::Ready(outcome), Some(end)) => {
                assert_eq!(outcome.shared, run.shared);
                match (&outcome.result, end) {
                    (Ok(value), End::Finish) => assert_eq!(value.run, caller.run),
                    (Err(Error::Panicked(_)), End::Panic) => {}
                    (Err(Error::Abandoned), End::Abandon) => {}
                    (result, end) => panic!("the run ended by {end:?} and gave {result:?}"),
                }
                caller.call = None;
            }
            (poll, end) => panic!("the run's end is {end:?}, and a caller of it got {poll:?}"),
        }
    }

    fn drop_caller(&mut self, index: usize) {
        self.callers[index].call = None;
        let run_index = self.callers[index].run;
        let waiting = |caller: &Caller| caller.run == run_index && caller.call.is_some();
        let left = self.callers.iter().any(waiting);
        let run = &mut self.runs[run_index];
        if run.driver == Some(index) {
            run.driver = None;
        }
        if !run.led && !left && run.ended.is_none() {
            run.ended = Some(End::Abandon);
            run.in_table = false;
        }
    }

    /// Ends the work of a run: a leader ends it here, a driver when it is polled next.
    fn end(&mut self, index: usize, end: End) {
        let run = &mut self.runs[index];
        run.signal().end = Some(end);
        let Some(leader) = run.leader.take() else {
            let waker = run.signal().waker.take();
            waker.expect("the work was polled").wake();
            return;
        };
        // A leader that is dropped by a panic abandons its flight: the panic may be another's.
        run.ended = Some(if end == End::Panic { End::Abandon } else { end });
        run.in_table = false;
        match end {
            End::Finish => leader.finish(Ok(Tracked::new(index, &self.alive))),
            End::Abandon => drop(leader),
            End::Panic => {
                let unwound = catch_unwind(AssertUnwindSafe(move || {
                    let _leader = leader;
                    resume_unwind(Box::new("boom"));
                }));
                assert!(unwound.is_err());
            }
        }
    }

    /// Nothing more can happen: nobody may wait, and nothing may have stayed behind.
    fn assert_at_rest(&mut self, steps: &[Step]) {
        self.runs.iter_mut().for_each(|run| run.watch = None); // It may have kept a value.
        assert!(self.callers.iter().all(|caller| caller.call.is_none()), "{steps:?}");
        assert_eq!(self.flights.in_flight(), 0, "a key stayed behind: {steps:?}");
        assert_eq!(self.alive.load(Ordering::SeqCst), 0, "a value stayed behind: {steps:?}");
        for run in &self.runs {
            assert!(!run.signal().alive, "work stayed behind: {steps:?}");
            assert_eq!(Arc::strong_count(&run.signal), 1, "work stayed behind: {steps:?}");
        }
    }
}

/// Work that ends as its signal says.
struct Work {
    signal: Arc<Mutex<Signal>>,
    run: usize,
    alive: Arc<AtomicUsize>,
}

impl Future for Work {
    type Output = Result<Tracked, String>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut signal = lock(&self.signal);
        match signal.end {
            None => {
                signal.waker = Some(context.waker().clone());
                Poll::Pending
            }
            Some(End::Finish) => Poll::Ready(Ok(Tracked::new(self.run, &self.alive))),
            Some(_) => {
                drop(signal);
                // Unlike `panic!`, this does not print.
                resume_unwind(Box::new("boom"))
            }
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        lock(&self.signal).alive = false;
    }
}
