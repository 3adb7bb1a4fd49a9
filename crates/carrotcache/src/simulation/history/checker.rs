//! Whether a history may happen.
//!
//! A value that a get returned has to be *possible*:
//!
//! - A load of that very key has brought it, or somebody has set it.
//! - Nothing that was promised rules it out. A remove that returned promises that from then on no get,
//!   on a node that it speaks for, returns a value whose load began before the remove did.
//! - It had not expired when the get began, nor when a peer was asked for it on behalf of those who
//!   wait.
//!
//! And on a node one load of a key is under way at a time, unless a purge has come between.
//!
//! When a remove returns that it has reached everybody, it speaks for the nodes that its own node
//! listed all the while. It speaks for each process that ran when the remove began; and if the list of
//! nodes is always and everywhere the same, for each later process too. When it returns that it has
//! not reached some, it speaks for the others. A process that is told what it has missed is promised
//! what the one that tells it was. And if nodes neither come nor go, all of them are told in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::event::{Event, Got, History, Id, Key, Keys, Label, Loaded, Origin, Process, Removed};
use super::floors::Floors;
use super::seen::{Arrived, Candidate, Get, Later, Load, Remove, Running};

/// How much of it was put to the test.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::simulation) struct Checked {
    /// Gets that returned a value, or that there is none.
    pub(in crate::simulation) gets: usize,
    /// Of those the ones for which a remove had promised something.
    pub(in crate::simulation) promised: usize,
    /// Removes that spoke for all nodes, for all but some, and for none.
    pub(in crate::simulation) complete: usize,
    pub(in crate::simulation) incomplete: usize,
    pub(in crate::simulation) failed: usize,
    /// Answers of nodes that stood in for an owner.
    pub(in crate::simulation) stand_ins: usize,
}

/// Something that may not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::simulation) struct Violation {
    /// The place of the event in the history.
    pub(in crate::simulation) at: usize,
    pub(in crate::simulation) why: String,
}

/// Looks through a history for something that may not happen.
pub(in crate::simulation) fn check(history: &History) -> Result<Checked, Violation> {
    let mut checker = Checker::new(history);
    for (at, (now, event)) in history.events.iter().enumerate() {
        // Places count from one, so that zero is the floor of those to whom nothing is promised.
        let seen = checker.see(at + 1, *now, event);
        seen.map_err(|why| Violation { at, why })?;
    }
    Ok(checker.checked)
}

/// What has happened up to some event.
struct Checker {
    grace: Duration,
    has_late_loads: bool,
    /// The present time, and the place of its first event.
    moment: (Duration, usize),
    /// Whether the list of nodes is the same always and everywhere.
    is_fixed: bool,
    checked: Checked,
    processes: BTreeMap<Process, Running>,
    /// Floors that outlive a process.
    lasting: BTreeMap<Label, Floors>,
    /// Floors that hold from some time on.
    later: Vec<Later>,
    loads: BTreeMap<Id, Load>,
    gets: BTreeMap<Id, Get>,
    removes: BTreeMap<Id, Remove>,
    /// What each tell promises.
    tells: BTreeMap<Id, (Keys, Floors)>,
}

impl Checker {
    fn new(history: &History) -> Self {
        let mut lists = BTreeSet::new();
        for (_, event) in &history.events {
            if let Event::Starts { lists: of, .. } | Event::Lists { lists: of, .. } = event {
                lists.insert(of);
            }
        }
        Self {
            grace: history.grace,
            has_late_loads: history.has_late_loads,
            moment: (Duration::ZERO, 0),
            is_fixed: lists.len() <= 1,
            checked: Checked::default(),
            processes: BTreeMap::new(),
            lasting: BTreeMap::new(),
            later: Vec::new(),
            loads: BTreeMap::new(),
            gets: BTreeMap::new(),
            removes: BTreeMap::new(),
            tells: BTreeMap::new(),
        }
    }

    /// Takes one event in, or says why it may not happen.
    fn see(&mut self, at: usize, now: Duration, event: &Event) -> Result<(), String> {
        if now > self.moment.0 {
            self.moment = (now, at);
        }
        match event.clone() {
            Event::Note(_) => {}
            Event::Rests => self.rest(),
            Event::Starts { process, label, lists } => self.start(at, process, label, lists),
            Event::Ends { process } => self.process(process).has_ended = true,
            Event::Lists { process, lists } => self.list(process, lists),
            Event::LoadBegins { load, process, key } => {
                let begun = Load { process, key, began: at, moment: self.moment.1, ended: None };
                let alone = self.judge_load(&begun);
                self.loads.insert(load, begun);
                return alone;
            }
            Event::LoadEnds { load, loaded } => {
                let load = self.loads.get_mut(&load).expect("a load begins before it ends");
                load.ended = Some((now, loaded));
            }
            Event::GetBegins { get, process, key } => {
                let floor = self.floor(process, key, now);
                self.gets.insert(get, Get { process, key, began: at, since: now, floor });
            }
            Event::GetEnds { get, got } => {
                let get = self.gets.remove(&get).expect("a get begins before it ends");
                return self.judge(&get, got);
            }
            Event::Arrives { process, key, got, asked, stands_in } => {
                self.checked.stand_ins += usize::from(stands_in);
                self.process(process).arrived.push(Arrived { at, key, got, asked });
            }
            Event::RemoveBegins { remove, process, keys, sets } => {
                let listed = self.process(process).lists.clone();
                let (since, ended) = (now, None);
                let begun = Remove { process, keys, began: at, since, sets, ended, listed };
                self.removes.insert(remove, begun);
            }
            Event::RemoveEnds { remove, removed } => self.end_remove(remove, (at, now), removed),
            Event::Forgets { process, keys } => self.process(process).forgot.raise(&keys, at),
            Event::TellBegins { tell, process, keys } => {
                let floors = self.process(process).floors.clone();
                self.tells.insert(tell, (keys, floors));
            }
            Event::TellEnds { tell, process } => {
                let (keys, floors) = self.tells[&tell].clone();
                self.process(process).floors.raise_to(&keys, &floors);
            }
        }
        Ok(())
    }

    fn process(&mut self, process: Process) -> &mut Running {
        self.processes.get_mut(&process).expect("a process starts before it does anything")
    }

    fn start(&mut self, at: usize, process: Process, label: Label, lists: BTreeSet<Label>) {
        let floors = self.lasting.get(&label).cloned().unwrap_or_default();
        let (has_ended, arrived, forgot) = (false, Vec::new(), Floors::default());
        let running = Running { label, began: at, has_ended, lists, floors, arrived, forgot };
        self.processes.insert(process, running);
    }

    fn list(&mut self, process: Process, lists: BTreeSet<Label>) {
        for remove in self.removes.values_mut().filter(|remove| remove.process == process) {
            remove.listed = &remove.listed & &lists;
        }
        self.process(process).lists = lists;
    }

    /// Returns the floor of a get that begins at `now`.
    fn floor(&self, process: Process, key: Key, now: Duration) -> usize {
        let running = &self.processes[&process];
        let is_due = |later: &&Later| {
            later.label == running.label && later.from < now && later.keys.contains(key)
        };
        let later = self.later.iter().filter(is_due).map(|later| later.floor).max();
        running.floors.of(key).max(later.unwrap_or(0))
    }

    /// Notes what a remove promises.
    fn end_remove(&mut self, id: Id, end: (usize, Duration), removed: Removed) {
        let remove = self.removes.get_mut(&id).expect("a remove begins before it ends");
        remove.ended = Some(end);
        let (keys, began, mut listed) = (remove.keys.clone(), remove.began, remove.listed.clone());
        let is_everywhere = removed == Removed::Everywhere;
        match removed {
            Removed::Failed => {
                self.checked.failed += 1;
                return;
            }
            Removed::Everywhere => self.checked.complete += 1,
            Removed::ButFor { unreached, stale_for_at_most } => {
                self.checked.incomplete += 1;
                listed = &listed - &unreached;
                for label in unreached.into_iter().filter(|_| stale_for_at_most.is_some()) {
                    let from = end.1 + stale_for_at_most.unwrap_or_default();
                    self.later.push(Later { from, label, keys: keys.clone(), floor: began });
                }
            }
        }
        let lasts = is_everywhere && self.is_fixed;
        for process in self.processes.values_mut().filter(|process| !process.has_ended) {
            // One that began in between may have been reached, or may not.
            let was_reached = process.began < began || lasts;
            if listed.contains(&process.label) && was_reached {
                process.floors.raise(&keys, began);
            }
        }
        for label in listed.into_iter().filter(|_| lasts) {
            self.lasting.entry(label).or_default().raise(&keys, began);
        }
    }

    /// Notes that whoever has missed something was told, if none has begun anew and forgotten that.
    fn rest(&mut self) {
        if !self.is_fixed || self.processes.values().any(|process| process.has_ended) {
            return;
        }
        for remove in self.removes.values().filter(|remove| remove.ended.is_some()) {
            for process in self.processes.values_mut() {
                process.floors.raise(&remove.keys, remove.began);
            }
        }
    }

    /// Says why a load may not begin, if it may not: another of that key is under way on that node, and
    /// nothing has made it void since it began.
    fn judge_load(&self, begun: &Load) -> Result<(), String> {
        let Load { process, key, .. } = *begun;
        let forgot = self.processes[&process].forgot.of(key);
        let is_void = |load: &Load| {
            let mut removes = self.removes.values().filter(|remove| remove.process == process);
            forgot >= load.moment
                || removes.any(|remove| {
                    let is_over = remove.ended.is_some_and(|(end, _)| end < load.moment);
                    remove.keys.contains(key) && !is_over
                })
        };
        let beside = self
            .loads
            .values()
            .filter(|load| load.ended.is_none() && (load.process, load.key) == (process, key));
        match beside.into_iter().find(|load| !is_void(load)) {
            Some(load) if !self.has_late_loads => {
                Err(format!("a second load, beside that of event {}", load.began - 1))
            }
            _ => Ok(()),
        }
    }

    /// Says why a get may not have returned that, if it may not.
    fn judge(&mut self, get: &Get, got: Got) -> Result<(), String> {
        if got == Got::Failed {
            return Ok(());
        }
        self.checked.gets += 1;
        self.checked.promised += usize::from(get.floor > 0);
        match got {
            Got::Value(key, _) if key != get.key => Err(format!("{key} is not what was asked for")),
            Got::Value(_, origin) => {
                let value = self.candidate(get.key, origin)?;
                self.judge_candidate(get, got, &value)
            }
            _ => {
                // Nothing tells which load it was: it may be any of them.
                let mut verdict = Err("no load has found that there is none".to_owned());
                for absent in self.loads.values().filter_map(|load| load.absent(get.key)) {
                    verdict = verdict.or_else(|_| self.judge_candidate(get, got, &absent));
                }
                verdict
            }
        }
    }

    /// Returns the value that came from there, if it did.
    fn candidate(&self, key: Key, origin: Origin) -> Result<Candidate, String> {
        match origin {
            Origin::Load(load) => {
                let load = self.loads.get(&load).filter(|load| load.key == key);
                let load = load.ok_or("there is no such load")?;
                match load.ended {
                    Some((end, Loaded::Value(lifetime))) => {
                        let until = lifetime.map(|lifetime| end + lifetime + self.grace);
                        Ok(Candidate { born: load.began, made: end, until })
                    }
                    ended => Err(format!("its load has come to {:?}", ended.map(|end| end.1))),
                }
            }
            Origin::Set(remove) => {
                let set = self.removes.get(&remove).filter(|remove| remove.keys.contains(key));
                let set = set.ok_or("nobody has set it")?;
                let lifetime = set.sets.ok_or("nobody has set it")?;
                let until = set.ended.zip(lifetime).map(|(end, time)| end.1 + time + self.grace);
                Ok(Candidate { born: set.began, made: set.since, until })
            }
        }
    }

    fn judge_candidate(&self, get: &Get, got: Got, value: &Candidate) -> Result<(), String> {
        if value.born < get.floor {
            let (born, floor) = (value.born - 1, get.floor - 1);
            return Err(format!(
                "stale: it is of event {born}, and event {floor} has removed that"
            ));
        }
        let is_alive = |at: Duration| value.until.is_none_or(|until| at < until);
        let is_brought = |arrived: &Arrived| {
            let is_it = arrived.key == get.key && arrived.got == got && arrived.at > get.began;
            // The owner had it when it was asked, or the load that was waited for brought it.
            is_it && (is_alive(arrived.asked) || value.made >= arrived.asked)
        };
        let arrived = &self.processes[&get.process].arrived;
        if value.made >= get.since || is_alive(get.since) || arrived.iter().any(is_brought) {
            return Ok(());
        }
        Err(format!("expired: it was good until {:?}", value.until))
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {}: {}", self.at, self.why)
    }
}

impl Checked {
    /// Adds what was checked elsewhere.
    pub(in crate::simulation) fn add(&mut self, other: Self) {
        self.gets += other.gets;
        self.promised += other.promised;
        self.complete += other.complete;
        self.incomplete += other.incomplete;
        self.failed += other.failed;
        self.stand_ins += other.stand_ins;
    }
}
