//! What lies between the nodes of a simulated cluster: it delays, reorders, loses, cuts and repeats.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use carrotcache_peer::{
    self as peer, Completion, Handler, Member, PeerError, PeerErrorKind, Purge, Purged, Reply,
    Request, Step,
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

/// What becomes of a message and its answer.
#[derive(Clone, Copy)]
struct Way {
    there: Pause,
    back: Pause,
    fate: Fate,
}

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

    /// Returns whether that process stands for its label.
    pub(super) fn is_connected(&self, end: End) -> bool {
        let state = self.lock();
        state.stations[end.label.0].as_ref().is_some_and(|station| station.process == end.process)
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
    fn draw(&self, pace: Pace) -> Way {
        let has_faults = self.lock().has_faults;
        let fate = match self.dice.below(40) {
            0 | 1 if has_faults => Fate::Refused,
            2 if has_faults => Fate::Lost,
            3 if has_faults => Fate::AnswerLost,
            4 | 5 if has_faults => Fate::Cut,
            _ => Fate::Answered,
        };
        Way { there: self.dice.pause(pace), back: self.dice.pause(pace), fate }
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

    /// Carries a message there, and returns who is reached by it.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: the message does not arrive then.
    async fn send(
        &self,
        from: End,
        to: Label,
        way: Way,
        patience: Patience,
    ) -> Result<Station, PeerError> {
        let sent = async {
            way.there.wait().await;
            match way.fate {
                Fate::Lost => patience.hear_nothing().await,
                Fate::Refused => Err(PeerErrorKind::Unreachable.into()),
                _ => self.reach(from, to).ok_or(PeerErrorKind::Unreachable.into()),
            }
        };
        patience.lasts(sent).await
    }

    /// Carries an answer of `process` back.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops what the process was doing.
    async fn bring<T: Unpin + 'static>(
        &self,
        from: End,
        answerer: End,
        reply: Reply<T>,
        way: Way,
        patience: Patience,
    ) -> Result<T, PeerError> {
        let brought = async {
            let answer = reply.await;
            way.back.wait().await;
            let there = self.reach(from, answerer.label);
            let is_there = there.is_some_and(|station| station.process == answerer.process);
            match way.fate {
                Fate::AnswerLost => patience.hear_nothing().await,
                Fate::Cut => Err(PeerErrorKind::Truncated.into()),
                _ if !is_there => Err(PeerErrorKind::Truncated.into()),
                _ => answer,
            }
        };
        patience.lasts(brought).await
    }

    /// Asks for keys, in one message. Each has its own answer.
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves those untold who are not told yet.
    pub(super) async fn ask(
        self: Arc<Self>,
        from: End,
        to: Label,
        questions: Vec<(Request, Completion)>,
    ) {
        let (mut requests, completions): (Vec<_>, Vec<_>) = questions.into_iter().unzip();
        let Some(patience) = requests.first().map(Patience::of) else { return };
        let left = patience.at_most - Instant::now();
        let way = self.draw(self.plan.asks);
        let station = match self.send(from, to, way, patience).await {
            Ok(station) => station,
            Err(error) => {
                return completions.into_iter().for_each(|one| one.tell(Err(error.clone())));
            }
        };
        // Over a network goes what is left of the time.
        requests.iter_mut().for_each(|request| request.deadline = deadline_in(left));
        let keys: Vec<_> = requests.iter().map(|request| parse_key(&request.key)).collect();
        let stands_in = requests.iter().any(|request| request.is_for_stand_in);
        let (answerer, asked) = (End { label: to, process: station.process }, self.recorder.now());
        let replies = answers(&station.node, requests);
        for ((key, reply), completion) in keys.into_iter().zip(replies).zip(completions) {
            let way = Way { back: self.dice.pause(self.plan.asks), ..way };
            let network = Arc::clone(&self);
            tokio::spawn(async move {
                let answer = network.bring(from, answerer, reply, way, patience).await;
                let answer = answer.map(|answer| answer.with_incarnation(answerer.process.0));
                if let Ok(answer) = &answer {
                    let got = answer.entry.value().map_or(Got::Absent, read);
                    let process = from.process;
                    let arrives = Event::Arrives { process, key, got, asked, stands_in };
                    network.recorder.record(arrives);
                }
                completion.tell(answer);
            });
        }
    }

    /// Looks whether a peer has a key cached. What arrives twice is answered twice, and of the answers
    /// either one counts.
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves the asker untold.
    pub(super) async fn look(
        self: Arc<Self>,
        from: End,
        to: Label,
        request: Request,
        completion: Completion,
    ) {
        let patience = Patience::of(&request);
        let key = parse_key(&request.key);
        let way = Way { back: self.dice.pause(self.plan.looks), ..self.draw(self.plan.asks) };
        let looked = async {
            let mut station = self.send(from, to, way, patience).await?;
            if self.lock().has_faults && self.dice.one_in(8) {
                drop(Handler::look(&station.node, &request.group, &request.key));
                self.dice.pause(self.plan.looks).wait().await;
                station = self.reach(from, to).ok_or(PeerErrorKind::Unreachable)?;
            }
            let (answerer, asked) =
                (End { label: to, process: station.process }, self.recorder.now());
            let found = Handler::look(&station.node, &request.group, &request.key);
            let reply = Reply::ready(found.ok_or(PeerErrorKind::NotCached.into()));
            let answer = self.bring(from, answerer, reply, way, patience).await?;
            Ok((answer.with_incarnation(answerer.process.0), asked))
        };
        let looked = patience.lasts(looked).await;
        if let Ok((answer, asked)) = &looked {
            let (got, asked) = (answer.entry.value().map_or(Got::Absent, read), *asked);
            let process = from.process;
            self.recorder.record(Event::Arrives { process, key, got, asked, stands_in: false });
        }
        completion.tell(looked.map(|(answer, _)| answer));
    }

    /// Tells a peer to forget, and waits for the answer. What is told may arrive again later, even if
    /// it did not at first.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops what the receiver was doing.
    pub(super) async fn purge(
        self: Arc<Self>,
        from: End,
        to: Label,
        mut purge: Purge,
    ) -> Result<Purged, PeerError> {
        let at_most = Instant::from_std(purge.deadline);
        let patience = Patience { for_a_sign: at_most, at_most };
        let left = at_most - Instant::now();
        if let Some(later) = self.draw_again() {
            tokio::spawn(Arc::clone(&self).purge_again(from, to, purge.clone(), later));
        }
        let tell = self.begin_tell(from, to, &purge);
        let way = self.draw(self.plan.purges);
        let station = self.send(from, to, way, patience).await?;
        purge.deadline = deadline_in(left);
        let (process, recorder) = (station.process, Arc::clone(&self.recorder));
        let reply = self.deliver(&station, purge);
        let reply = Reply::pending(async move {
            let purged = reply.await?;
            if let Some(tell) = tell {
                recorder.record(Event::TellEnds { tell, process });
            }
            Ok(purged)
        });
        let purged = self.bring(from, End { label: to, process }, reply, way, patience).await?;
        Ok(Purged { incarnation: process.0, ..purged })
    }

    /// Delivers a message once more, when whoever sent it may have forgotten it. Nobody waits for the
    /// answer.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops what the receiver was doing.
    async fn purge_again(self: Arc<Self>, from: End, to: Label, mut purge: Purge, later: Duration) {
        sleep(later).await;
        purge.deadline = deadline_in(Duration::from_secs(5));
        if let Some(station) = self.reach(from, to) {
            self.recorder.note(|| format!("to {to}, again: {}", text_of(&purge)));
            drop(self.deliver(&station, purge).await);
        }
    }

    /// Hands a purge to whom it has reached.
    fn deliver(&self, station: &Station, purge: Purge) -> Reply<Purged> {
        let (process, keys) = (station.process, keys_of(&purge));
        if station.node.groups().is_empty() {
            return Handler::purge(&station.node, purge);
        }
        self.recorder.record(Event::Forgets { process, keys: keys.clone() });
        let reply = Handler::purge(&station.node, purge);
        // Once more: what other threads have begun in between is void too.
        self.recorder.record(Event::Forgets { process, keys });
        reply
    }

    /// Notes that a peer is told of what it has missed, if it is that.
    fn begin_tell(&self, from: End, to: Label, purge: &Purge) -> Option<Id> {
        self.recorder.note(|| format!("{}, to {to}: {}", from.process, text_of(purge)));
        let Step::Tell { .. } = purge.step else { return None };
        let (tell, process, keys) = (self.recorder.next_id(), from.process, keys_of(purge));
        self.recorder.record(Event::TellBegins { tell, process, keys });
        Some(tell)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Patience {
    /// Returns that of whoever asks this.
    fn of(request: &Request) -> Self {
        let for_a_sign = request.answer_by(Instant::now().into_std());
        let [for_a_sign, at_most] = [for_a_sign, request.deadline].map(Instant::from_std);
        Self { for_a_sign, at_most }
    }

    /// Waits for `work` as long as it has patience.
    ///
    /// # Cancel safety
    ///
    /// As that of `work`.
    async fn lasts<T>(
        self,
        work: impl Future<Output = Result<T, PeerError>>,
    ) -> Result<T, PeerError> {
        timeout_at(self.at_most, work).await.unwrap_or(Err(PeerErrorKind::TimedOut.into()))
    }

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

/// Answers requests as a link does: from what is at hand, if it can, and the rest together.
fn answers(node: &Node, requests: Vec<Request>) -> Vec<Reply> {
    let at_hand = |request: &Request| {
        let answer = Handler::at_hand(node, &request.group, &request.key);
        answer.map(|answer| Reply::ready(Ok(answer)))
    };
    let at_hand: Vec<_> = requests.iter().map(at_hand).collect();
    let rest = requests.into_iter().zip(&at_hand).filter(|(_, reply)| reply.is_none());
    let mut rest: Vec<_> = rest.map(|(request, _)| request).collect();
    let rest = match rest.len() {
        1 => rest.drain(..).map(|request| node.answer(request)).collect(),
        _ => Handler::answer_many(node, rest),
    };
    let mut rest = rest.into_iter();
    let reply = |reply: Option<Reply>| reply.or_else(|| rest.next());
    at_hand.into_iter().map(reply).map(|reply| reply.expect("each has an answer")).collect()
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
