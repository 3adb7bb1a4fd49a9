//! Messages of purges as they come over a bad network: late, twice, out of turn, too many.

use std::time::Duration;

use carrotcache::peer::{Fate, Keys, Member, Purge, Purged, Reply, Step};
use carrotcache::{Entry, GroupBuilder, Handler, Mirroring, PeerError, PeerErrorKind, RemoveError};
use tokio::time::Instant;

use crate::cluster::{Cluster, Way};
use crate::rows::{Mode, eventually, soon};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

/// Three nodes, of which the second owns all keys, and is sent messages by hand.
fn three() -> Cluster {
    Cluster::owned_by(1, 3, |builder: GroupBuilder| builder.mirroring(Mirroring::Always))
}

fn these(keys: &[&str]) -> Keys {
    Keys::These(keys.iter().map(|key| (*key).into()).collect())
}

fn message(cluster: &Cluster, keys: Keys, step: Step) -> Purge {
    let deadline = (Instant::now() + SECOND).into_std();
    Purge::new("rows", keys, cluster.member(0), step, deadline)
}

/// Sends the owner a message of node 0.
async fn send(cluster: &Cluster, keys: Keys, step: Step) -> Result<Fate, PeerError> {
    let reply: Reply<Purged> = cluster.node(1).purge(message(cluster, keys, step));
    reply.await.map(|purged| {
        assert_eq!(purged.incarnation, cluster.member(1).incarnation);
        purged.fate
    })
}

/// Closes `Tom` at the owner, and returns the token.
async fn close(cluster: &Cluster, attempt: u64) -> u64 {
    let fate = send(cluster, these(&["Tom"]), Step::Close { attempt }).await.unwrap();
    let Fate::Closed { token } = fate else { panic!("{fate:?}") };
    token
}

fn all(cluster: &Cluster) -> Vec<Member> {
    (0..3).map(|node| cluster.member(node)).collect()
}

fn open_with(cluster: &Cluster, attempt: u64, token: u64, value: Option<Entry>) -> Step {
    Step::Open { attempt, token, closed: all(cluster), value }
}

/// Opens `Tom` at the owner, and returns whether it was closed until then.
async fn open(cluster: &Cluster, attempt: u64, token: u64) -> bool {
    let step = open_with(cluster, attempt, token, None);
    let fate = send(cluster, these(&["Tom"]), step).await.unwrap();
    let Fate::Opened { stood, kept: false } = fate else { panic!("{fate:?}") };
    stood
}

#[tokio::test(start_paused = true)]
async fn between_the_rounds_gets_work_and_nothing_is_kept() {
    let cluster = three();
    let owner = &cluster.groups[1];
    owner.get("Tom").await.unwrap();
    let token = close(&cluster, 1).await;
    for loads in 2..5 {
        assert_eq!(owner.get("Tom").await.unwrap(), "Tom v1");
        assert_eq!((owner.peek("Tom"), cluster.table.calls_for("Tom")), (None, loads));
    }
    owner.get("Jack").await.unwrap();
    assert!(owner.peek("Jack").is_some(), "it is another key");
    assert!(open(&cluster, 1, token).await);
    owner.get("Tom").await.unwrap();
    assert!(owner.peek("Tom").is_some());
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn a_late_duplicate_of_the_first_round_makes_the_second_one_fail() {
    let cluster = three();
    let first = close(&cluster, 1).await;
    let again = close(&cluster, 1).await;
    assert!(!open(&cluster, 1, first).await, "that closure was replaced");
    assert_eq!(cluster.groups[1].stats().closures, 1);
    assert!(open(&cluster, 1, again).await);
    assert_eq!(cluster.groups[1].stats().closures, 0);
}

#[tokio::test(start_paused = true)]
async fn a_second_round_that_comes_twice_or_without_a_first_one_forgets_and_says_no() {
    let cluster = three();
    let owner = &cluster.groups[1];
    let token = close(&cluster, 1).await;
    assert!(open(&cluster, 1, token).await);
    for (attempt, token) in [(1, token), (2, token), (7, 12_345)] {
        owner.get("Tom").await.unwrap();
        assert!(!open(&cluster, attempt, token).await);
        assert_eq!(owner.peek("Tom"), None);
    }
    assert_eq!(owner.stats().owed, 0);
}

#[tokio::test(start_paused = true)]
async fn a_first_round_that_comes_after_its_second_one_lapses_after_five_seconds() {
    let cluster = three();
    let owner = &cluster.groups[1];
    let token = close(&cluster, 1).await;
    assert!(open(&cluster, 1, token).await);
    let late = close(&cluster, 1).await;
    cluster.hand.advance(5 * SECOND - MILLI);
    owner.get("Tom").await.unwrap();
    assert_eq!(owner.peek("Tom"), None, "it is closed");
    cluster.hand.advance(MILLI);
    owner.get("Tom").await.unwrap();
    assert!(owner.peek("Tom").is_some(), "it has lapsed");
    assert_eq!(owner.stats().closures, 0);
    assert!(!open(&cluster, 1, late).await, "and says so");
    assert_eq!(owner.peek("Tom"), None);
}

#[tokio::test(start_paused = true)]
async fn a_load_begun_before_the_second_round_is_not_kept_though_it_began_after_the_first() {
    let cluster = three();
    let owner = &cluster.groups[1];
    let token = close(&cluster, 1).await;
    cluster.table.hold(true);
    let get = tokio::spawn({
        let owner = owner.clone();
        async move { owner.get("Tom").await }
    });
    soon(|| cluster.table.running() == 1).await;
    assert!(open(&cluster, 1, token).await);
    cluster.table.let_go(1);
    get.await.unwrap().unwrap();
    assert_eq!(owner.peek("Tom"), None);
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn who_is_not_named_in_the_second_round_is_owed_what_it_missed() {
    let cluster = three();
    let owner = &cluster.groups[1];
    // Tellings fail, so that what is owed can be looked at.
    cluster.route(|sent| if sent.is_tell() { Way::Lost } else { Way::Arrives });
    let named = |nodes: &[usize]| nodes.iter().map(|node| cluster.member(*node)).collect();
    for (closed, owed) in [(named(&[0, 1, 2]), 0), (named(&[0, 1]), 1)] {
        let token = close(&cluster, 1).await;
        let step = Step::Open { attempt: 1, token, closed, value: None };
        send(&cluster, these(&["Tom"]), step).await.unwrap();
        assert_eq!(owner.stats().owed, owed);
    }
    cluster.route(|_| Way::Arrives);
    cluster.take_log();
    eventually(|| {
        cluster.hand.advance(10 * MILLI);
        owner.stats().owed == 0
    })
    .await;
    assert_eq!(cluster.take_log(), ["1>2 tell Tom"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_named_as_another_process_than_it_is_known_to_be_is_owed() {
    let cluster = three();
    let owner = &cluster.groups[1];
    cluster.route(|sent| if sent.is_tell() { Way::Lost } else { Way::Arrives });
    assert!({
        let token = close(&cluster, 1).await;
        open(&cluster, 1, token).await
    });
    let mut closed = all(&cluster);
    closed[2].incarnation += 1;
    let token = close(&cluster, 2).await;
    let step = Step::Open { attempt: 2, token, closed, value: None };
    send(&cluster, these(&["Tom"]), step).await.unwrap();
    assert_eq!(owner.stats().owed, 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_told_forgets_and_owes_it_to_those_that_the_teller_does_not_speak_for() {
    let cluster = three();
    let owner = &cluster.groups[1];
    cluster.route(|sent| if sent.is_tell() { Way::Lost } else { Way::Arrives });
    for (told, owed) in [(all(&cluster), 0), (vec![], 1)] {
        owner.get("Tom").await.unwrap();
        let fate = send(&cluster, these(&["Tom"]), Step::Tell { told }).await.unwrap();
        assert_eq!(fate, Fate::Told);
        let stats = owner.stats();
        assert_eq!((owner.peek("Tom"), stats.closures, stats.owed), (None, 0, owed));
    }
}

#[tokio::test(start_paused = true)]
async fn the_value_of_a_second_round_is_kept_only_if_nothing_else_was_removed() {
    let cluster = three();
    let owner = &cluster.groups[1];
    let value = || Some(Entry::new("set"));

    let token = close(&cluster, 1).await;
    let step = open_with(&cluster, 1, token, value());
    let kept = send(&cluster, these(&["Tom"]), step.clone()).await.unwrap();
    assert_eq!(kept, Fate::Opened { stood: true, kept: true });
    assert_eq!(owner.peek("Tom").unwrap(), "set");

    // The same message once more.
    let kept = send(&cluster, these(&["Tom"]), step).await.unwrap();
    assert_eq!((kept, owner.peek("Tom")), (Fate::Opened { stood: false, kept: false }, None));

    // Another's whole remove comes between.
    let token = close(&cluster, 3).await;
    let others = close(&cluster, 4).await;
    assert!(open(&cluster, 4, others).await);
    let step = open_with(&cluster, 3, token, value());
    let kept = send(&cluster, these(&["Tom"]), step).await.unwrap();
    assert_eq!((kept, owner.peek("Tom")), (Fate::Opened { stood: true, kept: false }, None));

    // Or somebody tells of one.
    let token = close(&cluster, 5).await;
    send(&cluster, Keys::All, Step::Tell { told: all(&cluster) }).await.unwrap();
    let step = open_with(&cluster, 5, token, value());
    let kept = send(&cluster, these(&["Tom"]), step).await.unwrap();
    assert_eq!((kept, owner.peek("Tom")), (Fate::Opened { stood: true, kept: false }, None));
}

#[tokio::test(start_paused = true)]
async fn messages_that_no_node_of_ours_sends_are_refused_by_kind() {
    let cluster = three();
    let many: Vec<_> = (0..=Purge::MAX_KEYS).map(|key| key.to_string()).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let long = "k".repeat(1_025);
    for keys in [&many[..], &[""], &["Tom", &long]] {
        let refused = send(&cluster, these(keys), Step::Close { attempt: 1 }).await;
        assert_eq!(refused.unwrap_err().kind, PeerErrorKind::BadRequest);
    }
    let fits = send(&cluster, these(&many[1..]), Step::Close { attempt: 1 }).await;
    assert!(matches!(fits, Ok(Fate::Closed { .. })));
    let none = send(&cluster, these(&[]), Step::Close { attempt: 2 }).await;
    assert!(matches!(none, Ok(Fate::Closed { .. })));

    let deadline = (Instant::now() + SECOND).into_std();
    let step = Step::Close { attempt: 1 };
    let unknown = Purge::new("nothing", Keys::All, cluster.member(0), step, deadline);
    let refused = cluster.node(1).purge(unknown).await.unwrap_err();
    assert_eq!(refused.kind, PeerErrorKind::NoSuchGroup);
}

/// Closes 1,000 keys at once until that is refused, and returns how often it was not.
async fn flood(cluster: &Cluster, key: impl Fn(u64, usize) -> String) -> u64 {
    for attempt in 0..100 {
        let keys: Vec<_> = (0..1_000).map(|number| key(attempt, number).into()).collect();
        // Numbers that the node has not come to itself.
        let step = Step::Close { attempt: 1_000_000 + attempt };
        match send(cluster, Keys::These(keys), step).await {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind, PeerErrorKind::Overloaded);
                return attempt;
            }
        }
    }
    panic!("nothing was refused")
}

#[tokio::test(start_paused = true)]
async fn more_than_4_096_closed_keys_are_refused_and_none_is_forgotten() {
    let cluster = three();
    let owner = &cluster.groups[1];
    let closed = flood(&cluster, |attempt, number| format!("{attempt} {number}")).await;
    assert_eq!(closed, 4);
    for key in ["0 0", "3 999"] {
        owner.get(key).await.unwrap();
        assert_eq!(owner.peek(key), None, "it is closed");
    }
    // Refusing is safe, and said: the keys are gone where they could be closed.
    cluster.groups[0].get("Tom").await.unwrap();
    cluster.table.update();
    let removed = cluster.groups[0].remove_many((0..200).map(|key| key.to_string())).await;
    let RemoveError::Incomplete { unreached, .. } = removed.unwrap_err() else { panic!() };
    assert_eq!((unreached.len(), &*unreached[0]), (1, "node 1"));
    cluster.hand.advance(5 * SECOND);
    cluster.groups[0].remove("Tom").await.unwrap();
    assert_eq!(cluster.get_everywhere("Tom").await, ["Tom v2"; 3]);
}

#[tokio::test(start_paused = true)]
async fn closing_the_same_keys_again_and_again_takes_no_more_room_than_others() {
    let cluster = three();
    assert_eq!(flood(&cluster, |_, number| number.to_string()).await, 4);
    assert_eq!(cluster.groups[1].stats().closures, 4);
}

#[tokio::test(start_paused = true)]
async fn a_remover_that_has_too_much_closed_itself_removes_here_and_tells_the_others_later() {
    let cluster = three();
    flood(&cluster, |attempt, number| format!("{attempt} {number}")).await;
    let owner = &cluster.groups[1];
    cluster.get_everywhere("Tom").await;
    cluster.table.update();
    let keys = (0..199).map(|key| key.to_string()).chain(["Tom".to_owned()]);
    let error = owner.remove_many(keys).await.unwrap_err();
    let RemoveError::Unsettled { unreached, .. } = error else { panic!("{error:?}") };
    assert_eq!(unreached.len(), 2);
    assert_eq!(owner.peek("Tom"), None, "it is removed from this node, as the error says");
    eventually(|| {
        cluster.hand.advance(10 * MILLI);
        cluster.groups.iter().all(|group| group.stats().owed == 0)
    })
    .await;
    cluster.hand.advance(5 * SECOND);
    assert_eq!(cluster.get_everywhere("Tom").await, ["Tom v2"; 3]);
}

#[tokio::test(start_paused = true)]
async fn closed_keys_cost_a_failing_load_nothing() {
    let cluster = three();
    let token = close(&cluster, 1).await;
    cluster.table.set_mode(Mode::Fails);
    assert!(cluster.groups[0].get("Tom").await.is_err());
    cluster.table.set_mode(Mode::Works);
    assert!(open(&cluster, 1, token).await);
    assert_eq!(cluster.get_everywhere("Tom").await, ["Tom v1"; 3]);
    cluster.assert_sums();
}

#[tokio::test]
async fn a_message_that_names_a_key_twice_is_refused() {
    let cluster = three();
    let twice = send(&cluster, these(&["Tom", "Jack", "Tom"]), Step::Close { attempt: 1 }).await;
    assert_eq!(twice.unwrap_err().kind, PeerErrorKind::BadRequest);
    assert_eq!(cluster.groups[1].stats().closures, 0);
}

/// Else whoever makes up names could have a node remember a thousand keys for each of them.
#[tokio::test]
async fn whoever_is_not_listed_is_owed_all_keys_or_none() {
    let cluster = three();
    let stranger = Member { label: "stranger".into(), incarnation: 7 };
    let deadline = (Instant::now() + SECOND).into_std();
    let close = Step::Close { attempt: 1 };
    let purge = Purge::new("rows", these(&["Tom"]), stranger, close, deadline);
    cluster.node(1).purge(purge).await.unwrap();
    for key in ["a", "b", "c", "d"] {
        cluster.groups[1].remove(key).await.unwrap();
    }
    assert_eq!(cluster.groups[1].stats().owed, 1);
}
