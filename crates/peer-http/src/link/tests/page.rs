//! The page that tells others of the protocol, held against both sides.

use std::future;

use carrotcache_peer::{Handler, Reply};

use super::*;
use crate::config::Config;
use crate::link::owner::{Activity, Serving};
use crate::wire::outcome::TIME_LEFT;
use crate::wire::path;

const PAGE: &str = include_str!("../../protocol.md");

/// What the page's gets have left.
const TIME_LEFT_THERE: Duration = Duration::from_millis(5_000);

/// Who sends a piece of the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Asker,
    Owner,
}

/// Returns the conversation on the page: who sends which bytes, in turn.
fn conversation() -> Vec<(Side, Vec<u8>)> {
    let mut pieces: Vec<(Side, Vec<u8>)> = Vec::new();
    for line in PAGE.lines() {
        let Some((side, rest)) = line.split_once('│') else { continue };
        let (hex, _) = rest.split_once('│').expect("a comment");
        match side.trim() {
            "asker" => pieces.push((Side::Asker, Vec::new())),
            "owner" => pieces.push((Side::Owner, Vec::new())),
            side => assert_eq!(side, "", "neither asker nor owner"),
        }
        let (_, piece) = pieces.last_mut().expect("somebody speaks");
        let bytes = hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("hex"));
        piece.extend(bytes);
    }
    pieces
}

/// The settings of the side with this incarnation.
fn config(incarnation: u64) -> LinkConfig {
    LinkConfig { incarnation, ..LinkConfig::default() }
}

/// Knows Tom and Sam at once, has to look Jack up, and has nobody else.
struct Scores;

impl Handler for Scores {
    fn answer(&self, request: Request) -> Reply {
        assert_eq!(&*request.group, "scores");
        match &*request.key {
            "Tom" => Reply::ready(Ok(Answer::new("630"))),
            "Sam" => Reply::ready(Ok(Answer::new("567"))),
            "Jack" => Reply::pending(async { Ok(Answer::new("589")) }),
            _ => Reply::ready(Ok(Answer::absent())),
        }
    }
}

fn request(key: &str, time: Duration) -> Request {
    Request::new("scores", key, (Instant::now() + time).into_std())
}

fn scores_waiter(key: &str, time: Duration) -> (Waiter, oneshot::Receiver<Told>) {
    let (completion, told) = completion();
    (Waiter::new(request(key, time), completion), told)
}

#[tokio::test(start_paused = true)]
async fn the_owner_says_what_the_page_says() {
    let (ours, theirs) = duplex(64 << 10);
    let config = Arc::new(Config { link: config(0x1112_1314_1516_1718), ..Config::default() });
    let first = Some(request("Tom", TIME));
    let (activity, drain) = (Activity::default(), future::pending());
    let serving = Serving::new(theirs, b"", first, Arc::new(Scores), config, activity, drain);
    let (mut wire, ended) = (Wire(ours), tokio::spawn(serving));
    for (at, (side, piece)) in conversation().into_iter().enumerate() {
        if side == Side::Asker {
            wire.send(&piece).await;
        } else {
            assert_eq!(wire.read_bytes(piece.len()).await, piece, "piece {at}");
        }
    }
    assert!(wire.try_read().await.is_none(), "the owner closes the connection");
    let end = soon(ended).await.expect("no panic");
    assert!(matches!(end, End::Goodbye), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn the_asker_says_what_the_page_says_and_understands_it() {
    let (first, told_tom) = scores_waiter("Tom", TIME);
    let (asker, mut wire) = Asker::with(config(0x0102_0304_0506_0708), &[], Some(first));
    let mut pieces = conversation().into_iter().map(|(_, piece)| piece);
    let mut next = || pieces.next().expect("the conversation goes on");

    wire.expect_bytes(next()).await;
    wire.send(&next()).await;
    assert_eq!(value(told_tom).await, "630");

    // What is sent is rounded up.
    let time = TIME_LEFT_THERE - Duration::from_millis(1);
    let (jack, told_jack) = scores_waiter("Jack", time);
    asker.link.get(jack).expect("it is sent");
    wire.expect_bytes(next()).await;
    wire.send(&next()).await;
    assert_eq!(value(told_jack).await, "589");

    let (sam, told_sam) = scores_waiter("Sam", time);
    let (nobody, told_nobody) = scores_waiter("Nobody", time);
    assert!(asker.link.get_many(vec![sam, nobody]).is_empty());
    wire.expect_bytes(next()).await;
    wire.send(&next()).await;
    assert_eq!(value(told_sam).await, "567");
    assert_eq!(told(told_nobody).await.expect("an answer").entry, Entry::absent());

    let Asker { link, ended, .. } = asker;
    drop(link);
    wire.expect_bytes(next()).await;
    assert_eq!(pieces.next(), None);
    let end = soon(ended).await.expect("no panic");
    assert!(matches!(*end, End::Unneeded), "{end:?}");
}

#[test]
fn the_page_asks_for_the_key_of_its_conversation() {
    let head = PAGE.lines().find_map(|line| line.strip_prefix("GET ")).expect("a request");
    let names = path::decode(head.split(' ').next().expect("a path"), "/_groupcache/");
    assert_eq!(names, Ok(("scores".to_owned(), "Tom".to_owned())));
    assert!(PAGE.contains(&format!("\n{TIME_LEFT}: {}\n", TIME.as_millis())));
}

/// Asserts that a table of the page has a row that begins with these columns.
fn assert_row(columns: &[&str]) {
    let row = format!("\n| {} |", columns.join(" | "));
    assert!(PAGE.contains(&row), "there is no row {row:?}");
}

#[test]
fn kinds_and_reasons_have_their_numbers_on_the_page() {
    let kinds = [
        (kind::HELLO, "HELLO"),
        (kind::GET, "GET"),
        (kind::GET_MANY, "GET_MANY"),
        (kind::LOOK, "LOOK"),
        (kind::PURGE, "PURGE"),
        (kind::CANCEL, "CANCEL"),
        (kind::PING, "PING"),
        (kind::VALUE, "VALUE"),
        (kind::REFUSAL, "REFUSAL"),
        (kind::LOADING, "LOADING"),
        (kind::PURGED, "PURGED"),
        (kind::PONG, "PONG"),
        (kind::GOAWAY, "GOAWAY"),
    ];
    for (kind, name) in kinds {
        assert_row(&[&kind.to_string(), name]);
    }
    for code in 1.. {
        match Refusal::from_code(code) {
            Refusal::Outcome(outcome) => assert_row(&[&code.to_string(), outcome.as_str()]),
            Refusal::OverHttp => assert_row(&[&code.to_string(), "too-large"]),
            Refusal::NotCached => assert_row(&[&code.to_string(), "not-cached"]),
            Refusal::Unknown => break,
        }
    }
}

#[test]
fn the_page_states_the_times_that_are_kept() {
    let mut pool = Config::default();
    pool.settle_link();
    let config = &pool.link;
    let seconds = |time: Duration| format!("{} s", time.as_secs());
    let millis = |time: Duration| format!("{} ms", time.as_millis());
    let drained = format!(
        "{}, and {} when it stops",
        seconds(config.drain_timeout),
        pool.drain_timeout.as_secs()
    );
    let farewell = |time| format!("{}, then GOAWAY", seconds(time));
    for (what, of, limit) in [
        ("from the 101 to the asker's HELLO", "owner", seconds(config.hello_within)),
        (
            "without a get or purge from the asker, and without one under way",
            "owner",
            farewell(config.idle_timeout),
        ),
        ("from GOAWAY to the end, with gets under way", "owner", drained),
        ("without progress in writing", "owner", seconds(config.write_within)),
        (
            "without a byte from the owner, while gets are under way, to a PING",
            "asker",
            millis(config.ping_after),
        ),
        ("from a PING to anything at all", "asker", millis(config.pong_within)),
    ] {
        assert_row(&[what, of, &limit]);
    }
}
