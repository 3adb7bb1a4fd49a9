//! The asker's side of purges, with an owner that is played by hand.

use std::collections::VecDeque;

use carrotcache_peer::{Fate, Keys, Member, PeerErrorKind, Purge, Purged, Step};

use super::*;
use crate::link::asker::{MAX_PURGES, MAX_WAITING_PURGES, PurgeWaiter, UnsentPurge};
use crate::link::frame::hello::{Hello, MIN_REQUEST_BYTES};
use crate::link::frame::purge::{Purging, encode_purged};
use crate::wire::outcome::Outcome;

/// What a purge is told.
type ToldPurge = Result<Purged, PeerError>;

const CLOSED: Purged = Purged { incarnation: 9, fate: Fate::Closed { token: 5 } };

fn purge_for(key: &str, time: Duration) -> Purge {
    let sender = Member { label: "http://remover".into(), incarnation: 7 };
    let keys = Keys::These(vec![key.into()]);
    let deadline = (Instant::now() + time).into_std();
    Purge::new("g", keys, sender, Step::Close { attempt: 1 }, deadline)
}

fn purge_waiter(purge: Purge) -> (PurgeWaiter, oneshot::Receiver<ToldPurge>) {
    let (tell, told) = oneshot::channel();
    let completion = Completion::new(|purged| drop(tell.send(purged)));
    (PurgeWaiter::new(purge, completion), told)
}

impl Asker {
    /// Sends a purge of this key. Returns what it is told.
    fn purge(&self, key: &str) -> oneshot::Receiver<ToldPurge> {
        let (waiter, told) = purge_waiter(purge_for(key, TIME));
        self.link.purge(waiter).expect("it is sent");
        told
    }
}

impl Wire {
    /// Returns the next frame, which is a purge.
    async fn read_purge(&mut self) -> (Id, Purging) {
        let (header, payload) = self.read().await;
        match FromAsker::decode(header, &payload) {
            Ok(FromAsker::Purge { id, purge: Ok(purging) }) => (id, *purging),
            other => panic!("no purge: {other:?}"),
        }
    }

    async fn purged(&mut self, id: Id, purged: Purged) {
        let mut frame = Vec::new();
        encode_purged(&mut frame, id, purged);
        self.send(&frame).await;
    }
}

/// Returns what a purge was told.
async fn told_purge(receiver: oneshot::Receiver<ToldPurge>) -> ToldPurge {
    soon(receiver).await.expect("a completion is told before it is dropped")
}

async fn kind_of(receiver: oneshot::Receiver<ToldPurge>) -> PeerErrorKind {
    told_purge(receiver).await.expect_err("it is not done").kind
}

#[tokio::test(start_paused = true)]
async fn a_purge_is_told_what_the_owner_says_to_it() {
    let (asker, mut owner) = Asker::met().await;
    let (first, second, third) = (asker.purge("a"), asker.purge("b"), asker.purge("c"));
    let mut ids = Vec::new();
    for key in ["a", "b", "c"] {
        let (id, purging) = owner.read_purge().await;
        assert_eq!(purging.keys, Keys::These(vec![key.into()]));
        assert_eq!(purging.millis_left, 60_001);
        ids.push(id);
    }
    owner.purged(ids[2], CLOSED).await;
    owner.refuse(ids[1], Refusal::Outcome(Outcome::NoSuchGroup), "who?").await;
    owner.purged(ids[0], Purged::new(9, Fate::Told)).await;
    assert_eq!(told_purge(third).await.expect("it is done"), CLOSED);
    let error = told_purge(second).await.expect_err("it is refused");
    assert_eq!((error.kind, &*error.causes()), (PeerErrorKind::NoSuchGroup, "who?"));
    assert_eq!(told_purge(first).await.expect("it is done").fate, Fate::Told);
}

#[tokio::test(start_paused = true)]
async fn answers_to_gets_and_purges_do_not_mix() {
    let (asker, mut owner) = Asker::met().await;
    let (purge, get) = (asker.purge("k"), asker.get("k"));
    let (purge_id, _) = owner.read_purge().await;
    let get_id = owner.read_get("k").await;
    // Nonsense, all of it, and for nobody.
    owner.value(purge_id, b"v").await;
    owner.bare(kind::LOADING, purge_id).await;
    owner.purged(get_id, CLOSED).await;
    owner.purged(Id::of_purge(77), CLOSED).await;
    owner.refuse(Id::of_purge(77), Refusal::OverHttp, "").await;
    owner.purged(purge_id, CLOSED).await;
    owner.value(get_id, b"v").await;
    assert_eq!(told_purge(purge).await.expect("it is done"), CLOSED);
    assert_eq!(value(get).await, "v");
    // A second answer finds nobody.
    owner.purged(purge_id, CLOSED).await;
    let get = asker.get("next");
    let id = owner.read_get("next").await;
    owner.value(id, b"v").await;
    assert_eq!(value(get).await, "v");
}

#[tokio::test(start_paused = true)]
async fn refusals_that_mean_nothing_for_a_purge_are_errors() {
    let (asker, mut owner) = Asker::met().await;
    for refusal in [Refusal::NOT_FOUND, Refusal::OverHttp, Refusal::Unknown] {
        let purge = asker.purge("k");
        let (id, _) = owner.read_purge().await;
        owner.refuse(id, refusal, "").await;
        assert_eq!(kind_of(purge).await, PeerErrorKind::Failed);
    }
    let purge = asker.purge("k");
    let (id, _) = owner.read_purge().await;
    let later = Header { len: 17, aux: 4, ..Header::bare(kind::PURGED, id) };
    owner.send(&[&later.encode()[..], &[0; 17]].concat()).await;
    assert_eq!(kind_of(purge).await, PeerErrorKind::Malformed);
}

#[tokio::test(start_paused = true)]
async fn a_purge_times_out_at_its_deadline_and_is_not_cancelled() {
    let (asker, mut owner) = Asker::met().await;
    let begin = Instant::now();
    let (waiter, purge) = purge_waiter(purge_for("k", Duration::from_millis(400)));
    asker.link.purge(waiter).expect("it is sent");
    let (id, _) = owner.read_purge().await;
    assert_eq!(kind_of(purge).await, PeerErrorKind::TimedOut);
    assert_eq!(begin.elapsed(), Duration::from_millis(400));
    owner.purged(id, CLOSED).await;
    let get = asker.get("k");
    let id = owner.read_get("k").await;
    owner.value(id, b"v").await;
    assert_eq!(value(get).await, "v");
}

#[tokio::test(start_paused = true)]
async fn a_dead_owner_is_noticed_while_only_a_purge_is_under_way() {
    let (asker, mut owner) = Asker::met().await;
    let begin = Instant::now();
    let purge = asker.purge("k");
    owner.read_purge().await;
    owner.expect(kind::PING, Id::default()).await;
    assert_eq!(kind_of(purge).await, PeerErrorKind::Unreachable);
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert!(matches!(*asker.end().await, End::Silent { .. }));
}

#[tokio::test(start_paused = true)]
async fn purges_end_with_their_link_by_how_it_ended() {
    let (asker, owner) = Asker::met().await;
    let purge = asker.purge("k");
    drop(owner);
    assert_eq!(kind_of(purge).await, PeerErrorKind::Truncated);
    let (waiter, _) = purge_waiter(purge_for("k", TIME));
    assert!(matches!(asker.link.purge(waiter), Err(UnsentPurge::Over(_))), "it is given back");

    let (asker, _owner) = Asker::met().await;
    let purge = asker.purge("k");
    asker.ended.abort();
    assert_eq!(kind_of(purge).await, PeerErrorKind::Dropped);

    // Nobody wants the link any more, but it ends when the purge does.
    let (asker, mut owner) = Asker::met().await;
    let purge = asker.purge("k");
    drop(asker.link);
    let (id, _) = owner.read_purge().await;
    owner.expect(kind::GOAWAY, Id::default()).await;
    owner.purged(id, CLOSED).await;
    assert_eq!(told_purge(purge).await.expect("it is done"), CLOSED);
    assert!(matches!(*soon(asker.ended).await.unwrap(), End::Unneeded));
}

#[tokio::test(start_paused = true)]
async fn before_the_hello_a_purge_waits_for_what_that_says() {
    let able = LinkConfig::default().hello();
    let (asker, mut owner) = Asker::new(LinkConfig::default());
    assert_eq!(owner.read().await.0.kind, kind::HELLO);
    let long = purge_for(&"k".repeat(MIN_REQUEST_BYTES as usize - 500), TIME);
    let (waiter, long) = purge_waiter(long);
    asker.link.purge(waiter).expect("it is kept");
    let (waiter, hasty) = purge_waiter(purge_for("hasty", Duration::from_millis(20)));
    asker.link.purge(waiter).expect("it is kept");
    let after = asker.purge("after");
    assert_eq!(kind_of(hasty).await, PeerErrorKind::TimedOut);
    owner.send(&encoded(able)).await;
    let (id, _) = owner.read_purge().await;
    owner.purged(id, CLOSED).await;
    assert_eq!(told_purge(long).await.expect("it is done"), CLOSED);
    let (id, purging) = owner.read_purge().await;
    assert_eq!(purging.keys, Keys::These(vec!["after".into()]));
    owner.purged(id, CLOSED).await;
    assert_eq!(told_purge(after).await.expect("it is done"), CLOSED);
}

#[tokio::test(start_paused = true)]
async fn an_owner_of_an_older_version_is_plain() {
    let old = Hello { takes_purges: false, ..LinkConfig::default().hello() };
    let (asker, mut owner) = Asker::new(LinkConfig::default());
    assert_eq!(owner.read().await.0.kind, kind::HELLO);
    let before = asker.purge("k");
    owner.send(&encoded(old)).await;
    assert_eq!(kind_of(before).await, PeerErrorKind::Plain);
    let (waiter, _) = purge_waiter(purge_for("k", TIME));
    match asker.link.purge(waiter) {
        Err(UnsentPurge::Refused(_, error)) => assert_eq!(error.kind, PeerErrorKind::Plain),
        other => panic!("{other:?}"),
    }
    // It hears of neither.
    let _get = asker.get("k");
    owner.read_get("k").await;
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_speaks_no_frames_is_plain() {
    let (asker, owner) = Asker::new(LinkConfig::default());
    let purge = asker.purge("k");
    drop(owner);
    assert_eq!(kind_of(purge).await, PeerErrorKind::Plain);
}

#[tokio::test(start_paused = true)]
async fn what_is_more_than_the_owner_takes_at_once_waits_for_its_turn() {
    let (asker, mut owner) = Asker::met().await;
    let mut told: VecDeque<_> =
        (0..2 * MAX_PURGES).map(|at| asker.purge(&at.to_string())).collect();
    let mut sent = VecDeque::new();
    for at in 0..2 * MAX_PURGES {
        if sent.len() == MAX_PURGES {
            // A get comes before those that wait.
            let get = asker.get("k");
            let id = owner.read_get("k").await;
            owner.value(id, b"v").await;
            assert_eq!(value(get).await, "v");
            owner.purged(sent.pop_front().expect("the first"), CLOSED).await;
            assert_eq!(told_purge(told.pop_front().expect("its")).await.expect("done"), CLOSED);
        }
        let (id, purging) = owner.read_purge().await;
        assert_eq!(purging.keys, Keys::These(vec![at.to_string().into()]));
        sent.push_back(id);
    }
}

#[tokio::test(start_paused = true)]
async fn purges_beyond_the_bounds_are_given_back() {
    let (asker, mut owner) = Asker::met().await;
    let refused = |purge| match asker.link.purge(purge_waiter(purge).0) {
        Err(UnsentPurge::Refused(_, error)) => error.kind,
        other => panic!("{other:?}"),
    };
    let long = purge_for(&"k".repeat(70_000), TIME);
    assert_eq!(refused(long), PeerErrorKind::BadRequest, "no frame can say it");
    let _told: Vec<_> = (0..MAX_WAITING_PURGES).map(|_| asker.purge("k")).collect();
    assert_eq!(refused(purge_for("k", TIME)), PeerErrorKind::Unreachable);
    let (id, _) = owner.read_purge().await;
    owner.purged(id, CLOSED).await;
    let room = async {
        while asker.link.purge(purge_waiter(purge_for("k", TIME)).0).is_err() {
            tokio::task::yield_now().await;
        }
    };
    soon(room).await;
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_too_long_for_the_owner_is_left_at_home() {
    let (asker, mut owner) = Asker::new(LinkConfig::default());
    assert_eq!(owner.read().await.0.kind, kind::HELLO);
    owner.send(&encoded(Hello { max_value_bytes: 5_000, ..LinkConfig::default().hello() })).await;
    for (bytes, comes) in [(5_000, true), (5_001, false)] {
        let value = Some(Entry::new(vec![7; bytes]).with_fresh_for(TIME));
        let step = Step::Open { attempt: 1, token: 2, closed: Vec::new(), value: value.clone() };
        let mut purge = purge_for("k", TIME);
        purge.step = step;
        let (waiter, _told) = purge_waiter(purge);
        asker.link.purge(waiter).expect("it is sent");
        let Step::Open { value: came, .. } = owner.read_purge().await.1.step else {
            panic!("it opens")
        };
        assert_eq!(came, value.filter(|_| comes));
    }
}

fn encoded(hello: Hello) -> Vec<u8> {
    let mut frame = Vec::new();
    hello.encode(&mut frame);
    frame
}
