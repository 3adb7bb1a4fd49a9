//! What lies between the nodes of a simulated cluster: it delays, reorders, loses, cuts and repeats.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use carrotcache_peer::{
    self as peer, Answer, Handler, Member, PeerError, PeerErrorKind, Purge, Purged, Reply, Request,
    Step,
};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::database::{parse_key, read};
use super::dice::{Dice, Pace, Pause};
use super::history::{Event, Got, Id, Keys, Label, Process};
use super::plan::Plan;
use super::recorder::Recorder;
use crate::Node;

/// The network of one world.
pub(super) struct Network {
    recorder: Arc<Recorder>,
    dice: Dice,
    plan: Plan,
    state: Mutex<State>,
}

struct State {
    /// The process that each label stands for at present, if any.
    stations: Vec<Option<Station>>,
    /// Pairs of labels, the smaller one first, between which nothing passes.
    cuts: BTreeSet<(Label, Label)>,
    has_faults: bool,
}

#[derive(Clone)]
struct Station {
    process: Process,
    node: Node,
}

/// One end of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) label: Label,
    pub(super) process: Process,
}

/// An answer that has arrived.
struct Carried<T> {
    told: T,
    /// Who has answered, and when it was reached.
    by: Process,
    asked: Duration,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    /// It does not arrive, and the sender knows.
    Refused,
    /// It does not arrive, or its answer does not, and the sender waits.
    Lost,
    AnswerLost,
    /// It arrives, and the sender knows no more than that the connection is cut.
    Cut,
}

/// Until when a sender waits: for a sign of life, and at all.
#[derive(Clone, Copy)]
struct Patience {
    for_a_sign: Instant,
    at_most: Instant,
}

impl Network {
    pub(super) fn new(recorder: Arc<Recorder>, dice: Dice, plan: Plan) -> Arc<Self> {
        let stations = (0..plan.most_nodes).map(|_| None).collect();
        let state = State { stations, cuts: BTreeSet::new(), has_faults: plan.has_faults };
        Arc::new(Self { recorder, dice, plan, state: Mutex::new(state) })
    }

    /// Has a process stand for its label.
    pub(super) fn connect(&self, end: End, node: Node) {
        self.lock().stations[end.label.0] = Some(Station { process: end.process, node });
    }

    /// Ends the process of a label, as far as others see it.
    pub(super) fn disconnect(&self, label: Label) {
        let station = self.lock().stations[label.0].take();
        // Outside of the lock: a node that is dropped may have something to say.
        drop(station);
    }

    /// Lets nothing pass between two nodes, or all again if `is_cut` is false.
    pub(super) fn cut(&self, one: Label, other: Label, is_cut: bool) {
        let pair = (one.min(other), one.max(other));
        let mut state = self.lock();
        if is_cut {
            state.cuts.insert(pair)
        } else {
            state.cuts.remove(&pair)
        };
    }

    /// Loses nothing from now on.
    pub(super) fn heal(&self) {
        let mut state = self.lock();
        state.cuts.clear();
        state.has_faults = false;
    }

    /// Draws how long a message takes, and its answer, and what becomes of it.
    fn draw(&self, pace: Pace) -> (Pause, Pause, Fate) {
        let has_faults = self.lock().has_faults;
        let fate = match self.dice.below(40) {
            0 | 1 if has_faults => Fate::Refused,
            2 if has_faults => Fate::Lost,
            3 if has_faults => Fate::AnswerLost,
            4 | 5 if has_faults => Fate::Cut,
            _ => Fate::Answered,
        };
        (self.dice.pause(pace), self.dice.pause(pace), fate)
    }

    /// Draws when a message arrives once more, if it does.
    fn draw_again(&self) -> Option<Duration> {
        const LATER_MS: [u64; 6] = [10, 40, 150, 600, 2_500, 10_000];
        let is_twice = self.lock().has_faults && self.dice.one_in(4);
        is_twice.then(|| Duration::from_millis(self.dice.pick(&LATER_MS)))
    }

    /// Returns the process at the other end, if a message can pass.
    fn reach(&self, from: End, to: Label) -> Option<Station> {
        let state = self.lock();
        let pair = (from.label.min(to), from.label.max(to));
        let sender = state.stations[from.label.0].as_ref()?;
        let passes = sender.process == from.process && !state.cuts.contains(&pair);
        state.stations[to.0].clone().filter(|_| passes)
    }

    /// Carries a message there and its answer back, for as long as the sender has patience.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops what the receiver was doing.
    async fn carry<T: Unpin + 'static>(
        &self,
        from: End,
        to: Label,
        pace: Pace,
        patience: Patience,
        deliver: impl FnOnce(&Node) -> Reply<T>,
    ) -> Result<Carried<T>, PeerError> {
        let exchange = async {
            let (there, back, fate) = self.draw(pace);
            there.wait().await;
            let station = match fate {
                Fate::Lost => return patience.hear_nothing().await,
                Fate::Refused => None,
                _ => self.reach(from, to),
            };
            let station = station.ok_or(PeerErrorKind::Unreachable)?;
            let (by, asked) = (station.process, self.recorder.now());
            let answer = deliver(&station.node).await;
            back.wait().await;
            let is_there = self.reach(from, to).is_some_and(|now| now.process == by);
            match fate {
                Fate::AnswerLost => patience.hear_nothing().await,
                Fate::Cut => Err(PeerErrorKind::Truncated.into()),
                _ if !is_there => Err(PeerErrorKind::Truncated.into()),
                _ => answer.map(|told| Carried { told, by, asked }),
            }
        };
        let carried = timeout_at(patience.at_most, exchange).await;
        carried.unwrap_or(Err(PeerErrorKind::TimedOut.into()))
    }

    /// Asks for a key, and waits for the answer.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops what the receiver was doing.
    pub(super) async fn ask(
        &self,
        from: End,
        to: Label,
        mut request: Request,
    ) -> Result<Answer, PeerError> {
        let now = Instant::now();
        let patience = Patience {
            for_a_sign: Instant::from_std(request.answer_by(now.into_std())),
            at_most: Instant::from_std(request.deadline),
        };
        let (name, left) = (Arc::clone(&request.key), patience.at_most - now);
        let deliver = |node: &Node| {
            // Over a network goes what is left of the time.
            request.deadline = deadline_in(left);
            answer(node, request)
        };
        let Carried { told, by, asked } =
            self.carry(from, to, self.plan.asks, patience, deliver).await?;
        let (process, key) = (from.process, parse_key(&name));
        let got = told.entry.value().map_or(Got::Absent, read);
        self.recorder.record(Event::Arrives { process, key, got, asked });
        Ok(told.with_incarnation(by.0))
    }

    /// Tells a peer to forget, and waits for the answer. What is told may arrive again later, even if
    /// it did not at first.
    ///
    /// # Cancel safety
    ///
    /// As that of [`ask`](Self::ask).
    pub(super) async fn purge(
        self: &Arc<Self>,
        from: End,
        to: Label,
        mut purge: Purge,
    ) -> Result<Purged, PeerError> {
        let at_most = Instant::from_std(purge.deadline);
        let patience = Patience { for_a_sign: at_most, at_most };
        let left = at_most - Instant::now();
        if let Some(later) = self.draw_again() {
            tokio::spawn(Arc::clone(self).purge_again(from, to, purge.clone(), later));
        }
        let tell = self.begin_tell(from, to, &purge);
        let recorder = Arc::clone(&self.recorder);
        let deliver = |node: &Node| {
            purge.deadline = deadline_in(left);
            let reply = Handler::purge(node, purge);
            let process = self.process(to);
            Reply::pending(async move {
                let purged = reply.await?;
                if let (Some(tell), Some(process)) = (tell, process) {
                    recorder.record(Event::TellEnds { tell, process });
                }
                Ok(purged)
            })
        };
        let Carried { told, by, .. } =
            self.carry(from, to, self.plan.purges, patience, deliver).await?;
        Ok(Purged { incarnation: by.0, ..told })
    }

    /// Delivers a message once more, when whoever sent it may have forgotten it. Nobody waits for the
    /// answer.
    async fn purge_again(self: Arc<Self>, from: End, to: Label, mut purge: Purge, later: Duration) {
        sleep(later).await;
        purge.deadline = deadline_in(Duration::from_secs(5));
        if let Some(station) = self.reach(from, to) {
            self.recorder.note(|| format!("to {to}, again: {}", text_of(&purge)));
            drop(Handler::purge(&station.node, purge).await);
        }
    }

    /// Notes that a peer is told of what it has missed, if it is that.
    fn begin_tell(&self, from: End, to: Label, purge: &Purge) -> Option<Id> {
        self.recorder.note(|| format!("{}, to {to}: {}", from.process, text_of(purge)));
        let Step::Tell { .. } = purge.step else { return None };
        let (tell, process, keys) = (self.recorder.next_id(), from.process, keys_of(purge));
        self.recorder.record(Event::TellBegins { tell, process, keys });
        Some(tell)
    }

    fn process(&self, label: Label) -> Option<Process> {
        self.lock().stations[label.0].as_ref().map(|station| station.process)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Patience {
    /// Waits for a sign of life that does not come.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    async fn hear_nothing<T>(self) -> Result<T, PeerError> {
        sleep_until(self.for_a_sign).await;
        Err(PeerErrorKind::TimedOut.into())
    }
}

/// Answers a request as a link does: from what is at hand, if it can.
fn answer(node: &Node, request: Request) -> Reply {
    match Handler::at_hand(node, &request.group, &request.key) {
        Some(answer) => Reply::ready(Ok(answer)),
        None => node.answer(request),
    }
}

fn keys_of(purge: &Purge) -> Keys {
    match &purge.keys {
        peer::Keys::All => Keys::All,
        peer::Keys::These(names) => Keys::These(names.iter().map(|key| parse_key(key)).collect()),
    }
}

/// Returns what a message says, without what a process has drawn for itself.
fn text_of(purge: &Purge) -> String {
    let members = |members: &[Member]| {
        let mut members = Vec::from_iter(members.iter().map(|member| member.incarnation));
        members.sort_unstable();
        members
    };
    let keys = keys_of(purge);
    match &purge.step {
        Step::Close { attempt } => format!("close {keys} for attempt {attempt}"),
        Step::Open { attempt, closed, value, .. } => {
            let sets = if value.is_some() { ", with a value" } else { "" };
            let closed = members(closed);
            format!(
                "open {keys} for attempt {attempt}{sets}; processes {closed:?} have closed them"
            )
        }
        Step::Tell { told } => format!("forget {keys}; processes {:?} have", members(told)),
    }
}

fn deadline_in(left: Duration) -> std::time::Instant {
    (Instant::now() + left).into_std()
}
