//! Tests of the machine: by hand, and against any order of events.

use carrotcache_peer::PeerErrorKind;
use proptest::prelude::*;

use super::*;

const TIMES: Times = Times { first: Duration::from_secs(1), longest: Duration::from_secs(30) };
/// In the middle of the jitter.
const MIDDLE: u64 = JITTER_PERCENT as u64;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn why() -> PeerError {
    PeerErrorKind::Unreachable.into()
}

/// A machine, and a clock that is moved by hand.
struct Peer {
    health: Health,
    now: Instant,
}

impl Peer {
    fn new() -> Self {
        let now = Instant::now();
        Self { health: Health::new(TIMES, now), now }
    }

    /// Returns one that was found silent just now.
    fn ejected() -> Self {
        let mut peer = Self::new();
        assert_eq!(peer.fall_silent(), Some(Change::Ejected));
        peer
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    fn admit(&mut self) -> Admission {
        self.health.admit(self.now)
    }

    /// Waits until a request is the probe. Returns its number, and how long that took.
    fn wait_for_probe(&mut self) -> (u64, Duration) {
        let begin = self.now;
        loop {
            match self.admit() {
                Admission::Probe(probe) => return (probe, self.now - begin),
                Admission::Ejected => self.wait(millis(1)),
                Admission::Open => panic!("the peer is ejected"),
            }
        }
    }

    fn refuse(&mut self) -> Option<Change> {
        self.health.refused(&why(), self.now, MIDDLE)
    }

    fn alive(&mut self) -> Option<Change> {
        self.health.alive(self.now)
    }

    /// Does not answer a ping.
    fn fall_silent(&mut self) -> Option<Change> {
        let ping = self.health.ping(self.now, Duration::ZERO).expect("no other is under way");
        let (counts, change) = self.health.unanswered(ping, &why(), self.now, MIDDLE);
        assert!(counts);
        change
    }
}

#[test]
fn one_refusal_is_forgiven_and_two_are_not() {
    let mut peer = Peer::new();
    assert_eq!(peer.refuse(), None);
    assert_eq!(peer.alive(), None);
    assert_eq!(peer.refuse(), None);
    assert_eq!(peer.admit(), Admission::Open);
    assert_eq!(peer.refuse(), Some(Change::Ejected));
    assert_eq!(peer.admit(), Admission::Ejected);
}

#[test]
fn an_unanswered_ping_is_enough() {
    let mut peer = Peer::ejected();
    assert_eq!(peer.admit(), Admission::Ejected);
    assert_eq!(peer.health.why().expect("it has a reason").kind, PeerErrorKind::Unreachable);
}

#[test]
fn what_comes_while_a_ping_is_under_way_is_as_good_as_its_answer() {
    let mut peer = Peer::new();
    let ping = peer.health.ping(peer.now, millis(500)).expect("nothing has come");
    assert_eq!(peer.health.ping(peer.now, millis(500)), None, "one at a time");
    peer.alive();
    assert_eq!(peer.health.unanswered(ping, &why(), peer.now, MIDDLE), (false, None));
    assert_eq!(peer.admit(), Admission::Open);
}

#[test]
fn a_ping_is_sent_when_nothing_has_come_for_a_while() {
    let mut peer = Peer::new();
    peer.alive();
    peer.wait(millis(499));
    assert_eq!(peer.health.ping(peer.now, millis(500)), None);
    peer.wait(millis(1));
    let ping = peer.health.ping(peer.now, millis(500)).expect("it is time");
    peer.health.pinged(ping);
    assert!(!peer.health.wants_life());
    assert!(peer.health.ping(peer.now, millis(500)).is_some());
}

#[test]
fn one_request_at_a_time_is_the_probe() {
    let mut peer = Peer::ejected();
    let (probe, after) = peer.wait_for_probe();
    assert_eq!(after, TIMES.first);
    for _ in 0..64 {
        assert_eq!(peer.admit(), Admission::Ejected);
    }
    // It has shown nothing: its own time was over, say.
    peer.health.probed(probe, peer.now);
    let (second, after) = peer.wait_for_probe();
    assert!(second != probe && after.is_zero());
    peer.health.probed(probe, peer.now);
    assert_eq!(peer.admit(), Admission::Ejected, "the end of another probe means nothing");
    assert_eq!(peer.alive(), Some(Change::Back { after: TIMES.first }));
    assert_eq!(peer.admit(), Admission::Open);
}

#[test]
fn each_ejection_is_twice_as_long_as_the_one_before_up_to_the_longest() {
    let mut peer = Peer::ejected();
    let secs: Vec<_> = (0..8)
        .map(|_| {
            let (_, after) = peer.wait_for_probe();
            assert_eq!(peer.refuse(), None, "one refusal of a probe is enough, and no change");
            after.as_secs()
        })
        .collect();
    assert_eq!(secs, [1, 2, 4, 8, 16, 30, 30, 30]);
}

#[test]
fn doubling_is_forgotten_after_a_while_of_health() {
    let mut peer = Peer::ejected();
    for (healthy_for, expected) in [(TIMES.longest - millis(1), 2), (TIMES.longest, 1)] {
        peer.wait_for_probe();
        peer.alive();
        peer.wait(healthy_for);
        assert_eq!(peer.fall_silent(), Some(Change::Ejected));
        assert_eq!(peer.wait_for_probe().1.as_secs(), expected);
        peer.health.stage = Stage::Ejected { until: peer.now };
    }
}

#[test]
fn while_there_is_a_link_it_alone_judges() {
    let mut peer = Peer::new();
    peer.health.linked(peer.now);
    for _ in 0..4 {
        assert_eq!(peer.refuse(), None);
    }
    assert_eq!(peer.health.ping(peer.now, Duration::ZERO), None);
    assert_eq!(peer.health.silent(&why(), peer.now, MIDDLE), Some(Change::Ejected));
    assert_eq!(peer.admit(), Admission::Ejected);
}

#[test]
fn a_link_that_comes_about_clears_a_ping_of_before() {
    let mut peer = Peer::new();
    let ping = peer.health.ping(peer.now, Duration::ZERO).expect("nothing has come");
    peer.health.linked(peer.now);
    peer.health.unlinked();
    assert_eq!(peer.health.unanswered(ping, &why(), peer.now, MIDDLE), (false, None));
}

#[test]
fn an_agreement_to_a_link_is_life() {
    let mut peer = Peer::ejected();
    peer.wait_for_probe();
    assert!(matches!(peer.health.linked(peer.now), Some(Change::Back { .. })));
    peer.health.unlinked();
    assert_eq!(peer.admit(), Admission::Open);
}

#[test]
fn ejections_are_spread_by_a_fifth() {
    let of = |draw| TIMES.ejection(0, draw).as_millis();
    assert_eq!((of(0), of(MIDDLE), of(2 * MIDDLE)), (800, 1_000, 1_200));
    assert_eq!(TIMES.ejection(u32::MAX, MIDDLE), TIMES.longest);
}

/// What can happen to a peer.
#[derive(Debug, Clone, Copy)]
enum Event {
    Wait(u64),
    Ask,
    /// The probe ends with nothing.
    EndProbe,
    Refuse,
    Alive,
    /// A get was silent for a while.
    Ping,
    Unanswered,
    Link,
    Unlink,
    Silence,
}

fn events() -> impl Strategy<Value = Vec<(Event, u64)>> {
    let event = prop_oneof![
        (0..40_000_u64).prop_map(Event::Wait),
        Just(Event::Ask),
        Just(Event::Ask),
        Just(Event::EndProbe),
        Just(Event::Refuse),
        Just(Event::Alive),
        Just(Event::Ping),
        Just(Event::Unanswered),
        Just(Event::Link),
        Just(Event::Unlink),
        Just(Event::Silence),
    ];
    proptest::collection::vec((event, any::<u64>()), 0..200)
}

/// What the machine is held to, kept in the simplest way.
struct Model {
    links: u32,
    refusals: u32,
    probe: Option<u64>,
    ping: Option<u64>,
}

impl Model {
    /// Lets `event` happen. Returns whether it may take the peer's health.
    fn happen(&mut self, event: Event, draw: u64, peer: &mut Peer) -> bool {
        match event {
            Event::Wait(time) => peer.wait(millis(time)),
            Event::Ask => {
                let before = peer.health.stage();
                match peer.admit() {
                    Admission::Open => assert_eq!(before, Stage::Healthy),
                    Admission::Ejected => assert_ne!(before, Stage::Healthy),
                    Admission::Probe(probe) => {
                        assert_eq!(self.probe, None, "one probe at a time");
                        let Stage::Ejected { until } = before else { panic!("it was {before:?}") };
                        assert!(until <= peer.now, "a probe before its time");
                        self.probe = Some(probe);
                    }
                }
            }
            Event::EndProbe => {
                if let Some(probe) = self.probe.take() {
                    peer.health.probed(probe, peer.now);
                    assert!(!matches!(peer.health.stage(), Stage::Probing { .. }));
                }
            }
            Event::Refuse => {
                peer.health.refused(&why(), peer.now, draw);
                self.refusals += u32::from(self.links == 0);
                return self.refusals >= 2;
            }
            Event::Alive => self.live(peer, |peer| peer.alive()),
            Event::Ping => self.ping = peer.health.ping(peer.now, millis(500)).or(self.ping),
            Event::Unanswered => {
                let Some(ping) = self.ping.take() else { return false };
                return peer.health.unanswered(ping, &why(), peer.now, draw).0;
            }
            Event::Link => {
                self.links += 1;
                self.live(peer, |peer| peer.health.linked(peer.now));
            }
            Event::Unlink if self.links > 0 => {
                self.links -= 1;
                peer.health.unlinked();
            }
            Event::Silence if self.links > 0 => {
                self.links -= 1;
                peer.health.silent(&why(), peer.now, draw);
                return true;
            }
            Event::Unlink | Event::Silence => {}
        }
        false
    }

    fn live(&mut self, peer: &mut Peer, live: impl FnOnce(&mut Peer) -> Option<Change>) {
        let was_healthy = peer.health.is_healthy();
        let change = live(peer);
        assert_eq!(change.is_some(), !was_healthy);
        assert!(peer.health.is_healthy(), "any life is health");
        self.refusals = 0;
        self.probe = None;
    }
}

proptest! {
    #[test]
    fn any_order_of_events_keeps_to_the_rules(events in events()) {
        let mut peer = Peer::new();
        let mut model = Model { links: 0, refusals: 0, probe: None, ping: None };
        for (event, draw) in events {
            let before = peer.health.stage();
            let may_fall = model.happen(event, draw, &mut peer);
            let after = peer.health.stage();
            if before == Stage::Healthy && after != before {
                prop_assert!(may_fall, "{event:?} took its health");
            }
            if let Stage::Ejected { until } = after && after != before {
                prop_assert!(until <= peer.now + TIMES.longest * 6 / 5);
                if matches!(before, Stage::Healthy) {
                    prop_assert!(until >= peer.now + TIMES.first * 4 / 5);
                    model.refusals = 0;
                }
                model.probe = None;
            }
        }
        // Whatever has happened: once asked for long enough, it is probed, and an answer is enough.
        peer.wait(TIMES.longest * 2);
        if let Some(probe) = model.probe {
            peer.health.probed(probe, peer.now);
        }
        prop_assert_ne!(peer.admit(), Admission::Ejected);
        peer.alive();
        prop_assert_eq!(peer.admit(), Admission::Open);
    }
}
