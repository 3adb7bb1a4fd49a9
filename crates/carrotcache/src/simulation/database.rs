//! What the nodes of a simulated cluster load from, and what their values look like.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::dice::Dice;
use super::history::{Event, Got, Id, Key, Loaded, Origin, Process};
use super::plan::Plan;
use super::recorder::Recorder;
use crate::{ByteView, GetError, Value};

/// A database that all nodes ask. What a load brings tells which load it was, so that the history
/// knows what the database was like when it was read.
pub(super) struct Database {
    recorder: Arc<Recorder>,
    dice: Dice,
    plan: Plan,
    is_healed: AtomicBool,
}

impl Database {
    pub(super) fn new(recorder: Arc<Recorder>, dice: Dice, plan: Plan) -> Self {
        Self { recorder, dice, plan, is_healed: AtomicBool::new(false) }
    }

    /// Fails no more from now on.
    pub(super) fn heal(&self) {
        self.is_healed.store(true, Ordering::Relaxed);
    }

    /// Returns a value for `key`, read at the moment of the call, after a while.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: the load then has no end.
    pub(super) async fn load(
        &self,
        process: Process,
        key: &str,
    ) -> Result<Option<Value>, io::Error> {
        let load = self.begin(process, parse_key(key));
        self.dice.pause(self.plan.loads).wait().await;
        self.end(load, self.outcome())
    }

    /// Returns the values of `keys` as [`load`](Self::load) does, all read at the same moment.
    ///
    /// # Cancel safety
    ///
    /// As that of [`load`](Self::load).
    pub(super) async fn load_many(
        &self,
        process: Process,
        keys: Vec<String>,
    ) -> Result<Vec<(String, Value)>, io::Error> {
        let loads = keys.into_iter().map(|key| (self.begin(process, parse_key(&key)), key));
        let loads: Vec<_> = loads.collect();
        self.dice.pause(self.plan.loads).wait().await;
        // One query fails as a whole.
        let has_failed = self.outcome() == Loaded::Failed;
        let mut values = Vec::new();
        for (load, key) in loads {
            let outcome = match self.outcome() {
                _ if has_failed => Loaded::Failed,
                Loaded::Failed => Loaded::Absent(Some(self.plan.times.absent())),
                outcome => outcome,
            };
            values.extend(self.end(load, outcome).transpose().map(|value| (key, value)));
        }
        values.into_iter().map(|(key, value)| Ok((key, value?))).collect()
    }

    fn begin(&self, process: Process, key: Key) -> (Id, Key) {
        let load = self.recorder.next_id();
        self.recorder.record(Event::LoadBegins { load, process, key });
        (load, key)
    }

    fn end(&self, (load, key): (Id, Key), loaded: Loaded) -> Result<Option<Value>, io::Error> {
        self.recorder.record(Event::LoadEnds { load, loaded });
        match loaded {
            Loaded::Value(lifetime) => {
                let value = Value::new(write(key, Origin::Load(load)));
                let is_own = lifetime.filter(|_| lifetime != self.plan.times.time_to_live);
                Ok(Some(is_own.map_or(value.clone(), |own| value.with_time_to_live(own))))
            }
            Loaded::Absent(_) => Ok(None),
            Loaded::Failed => Err(io::Error::other("the database is away")),
        }
    }

    fn outcome(&self) -> Loaded {
        let Plan { has_absences, has_failures, times, .. } = &self.plan;
        let has_failures = *has_failures && !self.is_healed.load(Ordering::Relaxed);
        match self.dice.below(16) {
            0 if has_failures => Loaded::Failed,
            1 if *has_absences => Loaded::Absent(Some(times.absent())),
            // Some values are good for a shorter time than the others of their group.
            2 => Loaded::Value(times.time_to_live.map(|time| time / 4)),
            _ => Loaded::Value(times.time_to_live),
        }
    }
}

/// Returns the name of a key.
pub(super) fn name(key: Key) -> String {
    key.to_string()
}

/// Returns the key of that name.
pub(super) fn parse_key(name: &str) -> Key {
    let number = name.strip_prefix("key-").and_then(|number| number.parse().ok());
    Key(number.expect("the nodes ask for keys that they were asked for"))
}

/// Returns the text of a value. All of one length, so that each takes the same room.
pub(super) fn write(key: Key, origin: Origin) -> String {
    let (kind, id) = match origin {
        Origin::Load(load) => ("load", load),
        Origin::Set(remove) => ("set", remove),
    };
    format!("{:4} {kind:4} {id:10}", key.0)
}

/// Returns what a value says that [`write`] wrote.
pub(super) fn read(value: &ByteView) -> Got {
    let mut words = value.as_str().expect("values are text").split_whitespace();
    let mut next = || words.next().expect("a value has three words");
    let key = Key(next().parse().expect("the first is a key"));
    let (kind, id) = (next(), next().parse().expect("the third is a number"));
    Got::Value(key, if kind == "set" { Origin::Set(id) } else { Origin::Load(id) })
}

/// Returns what a get has returned, as the history tells it.
pub(super) fn got(result: Result<ByteView, GetError>) -> Got {
    match result {
        Ok(value) => read(&value),
        Err(error) if error.is_not_found() => Got::Absent,
        Err(_) => Got::Failed,
    }
}
