//! Who stands in for an owner that cannot be asked, and what that one does.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use carrotcache::peer::Completion;
use carrotcache::{
    Answer, GetError, Group, Loader, Mirroring, Node, Owner, Peer, PeerErrorKind, Picker,
    RemoveError, Request,
};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::cluster::{Asked, Cluster, Way};
use crate::rows::{Mode, Table, soon};
use crate::support::Source;
use crate::transport::assert_sums;

const SECOND: Duration = Duration::from_secs(1);

/// Three nodes: node 2 owns all keys, node 1 stands in for it, then node 0.
fn three() -> Cluster {
    let cluster = Cluster::owned_by(2, 3, |builder| builder.mirroring(Mirroring::Never));
    cluster.set_order(|_| vec![2, 1, 0]);
    cluster
}

/// Starts a get in a task of its own.
fn start(group: &Group, key: &str) -> tokio::task::JoinHandle<Result<String, GetError>> {
    let (group, key) = (group.clone(), key.to_owned());
    tokio::spawn(
        async move { group.get(&key).await.map(|value| value.as_str().unwrap().to_owned()) },
    )
}

#[tokio::test(start_paused = true)]
async fn a_dead_owner_costs_one_load_in_the_cluster_however_many_ask_on_however_many_nodes() {
    let cluster = three();
    cluster.set_down(2, true);
    cluster.table.hold(true);
    let gets = (0..64).flat_map(|_| [0, 1].map(|node| start(&cluster.groups[node], "Tom")));
    let gets: Vec<_> = gets.collect();
    soon(|| cluster.groups[1].stats().served_as_stand_in == 1).await;
    cluster.table.let_go(1);
    for got in join_all(gets).await {
        assert_eq!(got.unwrap().unwrap(), "Tom v1");
    }
    assert_eq!(cluster.table.calls_for("Tom"), 1);
    let (asker, stand_in) = (cluster.groups[0].stats(), cluster.groups[1].stats());
    assert_eq!((asker.peer_errors, asker.stand_in_loads, asker.local_loads), (1, 1, 0));
    assert_eq!((stand_in.local_loads, stand_in.peer_errors), (1, 1), "it asked the owner first");
    assert_eq!((stand_in.hot.items, stand_in.main.items), (1, 0), "it is not its own");
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn a_hundred_keys_of_a_dead_owner_are_loaded_once_each() {
    let cluster = three();
    cluster.eject(0, &[2]);
    cluster.eject(1, &[2]);
    for key in 0..100 {
        for node in [0, 1, 0] {
            cluster.groups[node].get(&key.to_string()).await.unwrap();
        }
    }
    assert_eq!(cluster.table.started(), 100);
    assert_eq!(cluster.asked(2), 0, "it is known to be dead");
    let asker = cluster.groups[0].stats();
    assert_eq!((asker.stand_in_loads, asker.local_loads, asker.loads_over_budget), (200, 0, 0));
    assert_eq!(cluster.groups[1].stats().hot.items, 100);
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn the_answer_of_a_stand_in_is_mirrored_as_an_owners() {
    let cluster = Cluster::owned_by(2, 3, |builder| builder.mirroring(Mirroring::Always));
    cluster.set_order(|_| vec![2, 1, 0]);
    cluster.set_down(2, true);
    cluster.groups[0].get("Tom").await.unwrap();
    assert_eq!(cluster.groups[0].get_cached("Tom").unwrap(), "Tom v1");
    assert_eq!(cluster.groups[0].stats().mirrored, 1);
}

#[tokio::test(start_paused = true)]
async fn the_verdict_of_a_stand_in_is_final() {
    let cluster = three();
    cluster.set_down(2, true);
    cluster.table.set_mode(Mode::Fails);
    let error = cluster.groups[0].get("Tom").await.unwrap_err();
    let GetError::LoadFailed { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "peer node 1 failed to load the key");
    cluster.table.set_mode(Mode::Gone);
    assert!(cluster.groups[0].get("Tom").await.unwrap_err().is_not_found());
    assert_eq!(cluster.table.calls_for("Tom"), 2, "nobody else loads it");
    let asker = cluster.groups[0].stats();
    assert_eq!((asker.stand_in_loads, asker.peer_loads, asker.peer_errors), (2, 0, 2));
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_next_itself_loads_without_asking_and_without_a_budget() {
    let mut cluster = three();
    cluster.restart_with_budget(1, 0, 0);
    cluster.set_down(2, true);
    for key in 0..20 {
        cluster.groups[1].get(&key.to_string()).await.unwrap();
    }
    assert_eq!((cluster.asked(0), cluster.asked(1)), (0, 0));
    let stand_in = cluster.groups[1].stats();
    assert_eq!((stand_in.local_loads, stand_in.loads_over_budget), (20, 0));
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn a_stand_in_that_is_ejected_is_passed_over_and_does_not_pass_on() {
    let cluster = Cluster::owned_by(3, 4, |builder| builder.mirroring(Mirroring::Never));
    cluster.set_order(|_| vec![3, 1, 2, 0]);
    // The askers disagree: node 0 takes node 1 for dead too, node 2 does not.
    cluster.set_down(3, true);
    cluster.eject(0, &[1]);
    cluster.groups[0].get("Tom").await.unwrap();
    let asked = |from, to, is_for_stand_in| Asked { from, to, keys: 1, is_for_stand_in };
    assert_eq!(cluster.take_questions(), [asked(0, 3, false), asked(0, 2, true)]);
    assert_eq!(cluster.groups[2].stats().local_loads, 1);
    // Node 2 has a copy that nobody else knows of, and answers from it.
    cluster.groups[2].get("Tom").await.unwrap();
    cluster.groups[0].get("Tom").await.unwrap();
    assert_eq!(cluster.table.calls_for("Tom"), 1);
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn a_get_that_is_dropped_while_a_stand_in_loads_leaves_nothing_behind() {
    let cluster = Cluster::owned_by(2, 3, |builder| builder.mirroring(Mirroring::Always));
    cluster.set_order(|_| vec![2, 1, 0]);
    cluster.set_down(2, true);
    cluster.table.hold(true);
    let mut get = Box::pin(cluster.groups[0].get("Tom"));
    assert!((&mut get).now_or_never().is_none());
    soon(|| cluster.table.running() == 1).await;
    drop(get);
    cluster.table.let_go(1);
    soon(|| cluster.groups[0].peek("Tom").is_some()).await;
    assert!(cluster.groups[1].peek("Tom").is_some());
    assert_eq!(cluster.table.calls_for("Tom"), 1);
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn what_is_removed_while_a_stand_in_loads_it_is_kept_nowhere() {
    let cluster = Cluster::owned_by(2, 3, |builder| builder.mirroring(Mirroring::Always));
    cluster.set_order(|_| vec![2, 1, 0]);
    cluster.set_down(2, true);
    cluster.table.hold(true);
    let early = start(&cluster.groups[0], "Tom");
    soon(|| cluster.table.running() == 1).await;
    cluster.table.update();
    let removed = cluster.groups[0].remove("Tom").await.unwrap_err();
    let RemoveError::Incomplete { unreached, .. } = removed else { panic!("{removed:?}") };
    assert_eq!(unreached.iter().map(|label| &**label).collect::<Vec<_>>(), ["node 2"]);
    cluster.table.hold(false);
    let late = start(&cluster.groups[0], "Tom").await.unwrap();
    assert_eq!(late.unwrap(), "Tom v2", "it does not join what was begun before");
    cluster.table.let_go(1);
    assert_eq!(early.await.unwrap().unwrap(), "Tom v1", "it was asked for before");
    for node in [0, 1] {
        assert_eq!(cluster.groups[node].get("Tom").await.unwrap(), "Tom v2");
    }
    cluster.assert_sums();
}

/// Has node 1, which stands in, hold a copy that was removed while it was away.
async fn a_stand_in_that_has_missed_a_remove() -> Cluster {
    let cluster = three();
    cluster.set_down(2, true);
    cluster.groups[1].get("Tom").await.unwrap();
    cluster.table.update();
    cluster.set_down(1, true);
    assert!(cluster.groups[0].remove("Tom").await.is_err());
    cluster.set_down(1, false);
    // Nobody tells anybody for a while.
    cluster.hand.advance(60 * SECOND);
    cluster.take_log();
    cluster
}

#[tokio::test(start_paused = true)]
async fn a_stand_in_is_told_what_it_has_missed_before_it_is_asked() {
    let cluster = a_stand_in_that_has_missed_a_remove().await;
    assert_eq!(cluster.groups[0].get("Tom").await.unwrap(), "Tom v2");
    assert_eq!(cluster.take_log(), ["0>2 tell Tom", "0>1 tell Tom"]);
    assert_eq!(cluster.groups[0].stats().stand_in_loads, 1);
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn a_stand_in_that_cannot_be_told_is_not_asked() {
    let cluster = a_stand_in_that_has_missed_a_remove().await;
    cluster.route(|sent| if sent.is_tell() { Way::Lost } else { Way::Arrives });
    let asked = cluster.asked(1);
    for key in ["Tom", "Jack", "Tom"] {
        assert_eq!(cluster.groups[0].get(key).await.unwrap(), *format!("{key} v2"));
    }
    assert_eq!(cluster.asked(1), asked);
    let asker = cluster.groups[0].stats();
    assert_eq!((asker.stand_in_loads, asker.local_loads, asker.hot.items), (0, 2, 2));
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn a_stand_in_that_is_another_process_than_before_is_told_and_asked_again() {
    let mut cluster = three();
    cluster.groups[0].remove("Jack").await.unwrap();
    cluster.set_down(2, true);
    cluster.groups[0].get("Tom").await.unwrap();
    cluster.restart(1);
    cluster.take_log();
    assert_eq!(cluster.groups[0].get("Sam").await.unwrap(), "Sam v1");
    assert_eq!(cluster.take_log(), ["0>1 tell all"]);
    cluster.assert_sums();
}

/// Three nodes with one permit each. That of the stand-in is taken, and the load of `outer` at node 0,
/// which is its own, gets `Tom`, which is not.
async fn nested() -> (Cluster, tokio::task::JoinHandle<Result<String, GetError>>) {
    let (group, table) = (Arc::<OnceLock<Group>>::default(), Arc::<OnceLock<Table>>::default());
    let (inner, rows) = (Arc::clone(&group), Arc::clone(&table));
    let cluster = Cluster::new(
        3,
        |_, key| if key == "outer" { 0 } else { 2 },
        move |builder| {
            let (inner, rows) = (Arc::clone(&inner), Arc::clone(&rows));
            let builder = builder.max_loads(1).mirroring(Mirroring::Never);
            builder.loader(move |key: String| {
                let (inner, rows) = (Arc::clone(&inner), Arc::clone(&rows));
                async move {
                    if key == "outer" {
                        let value = inner.get().unwrap().get("Tom").await;
                        return value.map(|value| Some(value.as_str().unwrap().to_owned()));
                    }
                    Ok(rows.get().unwrap().load(key).await.unwrap())
                }
            })
        },
    );
    group.set(cluster.groups[0].clone()).ok().unwrap();
    table.set(cluster.table.clone()).ok().unwrap();
    cluster.set_order(|_| vec![2, 1, 0]);
    cluster.table.hold(true);
    cluster.eject(1, &[2]);
    let busy = start(&cluster.groups[1], "busy");
    soon(|| cluster.table.running() == 1).await;
    (cluster, busy)
}

#[tokio::test(start_paused = true)]
async fn a_load_that_waits_for_a_queued_one_at_a_stand_in_makes_it_go() {
    let (cluster, busy) = nested().await;
    cluster.eject(0, &[2]);
    let waiting = start(&cluster.groups[0], "Tom");
    soon(|| cluster.groups[1].stats().waiting_loads == 1).await;
    let outer = start(&cluster.groups[0], "outer");
    soon(|| cluster.table.running() == 2).await;
    cluster.table.let_go(2);
    assert_eq!(outer.await.unwrap().unwrap(), "Tom v1");
    assert_eq!(waiting.await.unwrap().unwrap(), "Tom v1");
    busy.await.unwrap().unwrap();
    assert_eq!(cluster.table.calls_for("Tom"), 1);
    cluster.assert_sums();
}

#[tokio::test(start_paused = true)]
async fn a_load_that_waits_for_an_owner_that_dies_does_not_queue_at_its_stand_in() {
    let (cluster, busy) = nested().await;
    let waiting = start(&cluster.groups[0], "Tom");
    soon(|| cluster.table.running() == 2).await;
    let outer = start(&cluster.groups[0], "outer");
    // The owner is asked once more, on behalf of the load.
    soon(|| cluster.asked(2) == 2).await;
    cluster.set_down(2, true);
    // The load of `busy` goes on, and takes the permit of the stand-in again.
    cluster.table.let_go(2);
    busy.await.unwrap().unwrap();
    let again = start(&cluster.groups[1], "busy again");
    soon(|| cluster.table.running() == 2).await;
    cluster.table.let_go(2);
    assert_eq!(outer.await.unwrap().unwrap(), "Tom v1");
    assert_eq!(waiting.await.unwrap().unwrap(), "Tom v1");
    again.await.unwrap().unwrap();
    cluster.assert_sums();
}

/// A peer that does with each request what a function says.
struct Fake<F>(&'static str, F);

impl<F: Fn(Request, Completion) + Send + Sync + 'static> Peer for Fake<F> {
    fn label(&self) -> &str {
        self.0
    }

    fn ask(&self, request: Request, completion: Completion) {
        (self.1)(request, completion);
    }
}

/// One owns all keys, another is next, then nobody.
struct Two {
    owner: Arc<dyn Peer>,
    next: Arc<dyn Peer>,
}

impl Picker for Two {
    fn owner(&self, _key: &str) -> Owner {
        Owner::Remote(Arc::clone(&self.owner))
    }

    fn peers(&self) -> Vec<Arc<dyn Peer>> {
        vec![Arc::clone(&self.owner), Arc::clone(&self.next)]
    }

    fn next(&self, _key: &str, failed: &str) -> Option<Owner> {
        assert_ne!(failed, "panics", "as asked");
        (failed == self.owner.label()).then(|| Owner::Remote(Arc::clone(&self.next)))
    }
}

type Requests = Arc<Mutex<Vec<Request>>>;

/// A group whose keys are owned by a peer that fails like that after a while, and which another stands
/// in for; and what that one is asked.
fn with_two(
    owner: &'static str,
    kind: PeerErrorKind,
    after: Duration,
) -> (Group, Source, Requests) {
    let asked = Requests::default();
    let sees = Arc::clone(&asked);
    let owner = Arc::new(Fake(owner, move |_, completion: Completion| {
        tokio::spawn(async move {
            sleep(after).await;
            completion.tell(Err(kind.into()));
        });
    }));
    let next = Arc::new(Fake("next", move |request, completion: Completion| {
        sees.lock().unwrap().push(request);
        completion.tell(Ok(Answer::new("theirs")));
    }));
    let source = Source::default();
    let group = Node::builder().peers(Two { owner, next }).build().group("g");
    (group.load_timeout(30 * SECOND).loader(source.clone()).build().unwrap(), source, asked)
}

#[tokio::test(start_paused = true)]
async fn a_stand_in_has_the_time_that_is_left() {
    let began = Instant::now().into_std();
    let (group, _, asked) = with_two("owner", PeerErrorKind::Unreachable, 3 * SECOND);
    assert_eq!(group.get("Tom").await.unwrap(), "theirs");
    let asked = asked.lock().unwrap();
    assert!(asked[0].is_for_stand_in);
    assert_eq!(asked[0].deadline - began, 35 * SECOND, "it is set once");
    assert_eq!(asked[0].max_silence, 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn without_any_time_left_a_stand_in_is_not_asked() {
    let (group, source, asked) = with_two("owner", PeerErrorKind::TimedOut, 35 * SECOND);
    assert_eq!(group.get("Tom").await.unwrap(), "Tom!");
    assert_eq!((source.started(), asked.lock().unwrap().len()), (1, 0));
    assert_sums(&group.stats());
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_too_large_from_its_owner_is_not_asked_of_others() {
    let (group, source, asked) = with_two("owner", PeerErrorKind::TooLarge, SECOND);
    assert_eq!(group.get("Tom").await.unwrap(), "Tom!");
    assert_eq!((source.started(), asked.lock().unwrap().len()), (1, 0));
    assert_sums(&group.stats());
}

#[tokio::test(start_paused = true)]
async fn a_picker_that_panics_has_the_value_loaded_here() {
    let (group, source, asked) = with_two("panics", PeerErrorKind::Unreachable, SECOND);
    assert_eq!(group.get("Tom").await.unwrap(), "Tom!");
    assert_eq!(outcome_of_many(&group).await, ["Tom!", "Jack!"]);
    assert_eq!((source.started(), asked.lock().unwrap().len()), (2, 0));
    assert_sums(&group.stats());
}

async fn outcome_of_many(group: &Group) -> Vec<String> {
    let values = group.get_many(["Tom", "Jack"]).await;
    values.into_iter().map(|value| value.unwrap().as_str().unwrap().to_owned()).collect()
}
