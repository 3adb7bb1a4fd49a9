//! Both sides over real sockets, on several threads.

use std::future;

use carrotcache_peer::{PeerErrorKind, handler_fn};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::link::tests::together::Pair;

/// Returns an asker and an owner with a connection of the kernel's between them.
async fn connect(handler: impl carrotcache_peer::Handler) -> Pair {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (ours, (theirs, _)) = (ours.expect("connected"), theirs.expect("accepted"));
    let (detour, detoured) = detour();
    let config = LinkConfig::default();
    let (link, driver) = Link::new(ours, b"", None, config.clone(), detour);
    let serving = serving(theirs, handler, config);
    Pair { link, asking: tokio::spawn(driver), serving: tokio::spawn(serving), detoured }
}

/// Answers a number with as many of its own digits as it says, at once or in a while.
async fn digits(request: Request) -> Result<Answer, PeerError> {
    let number: usize = request.key.parse().expect("a number");
    if number.is_multiple_of(7) {
        tokio::task::yield_now().await;
    }
    if number.is_multiple_of(11) {
        return Err(PeerError::new(PeerErrorKind::LoadFailed).with_source(request.key.to_string()));
    }
    let length = if number.is_multiple_of(101) { 50_000 + number } else { number % 200 };
    Ok(Answer::new(value_of(number, length)))
}

fn value_of(number: usize, length: usize) -> String {
    number.to_string().chars().cycle().take(length).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_gets_of_which_many_are_given_up_mix_up_no_values() {
    let pair = connect(handler_fn(digits)).await;
    let link = Arc::new(pair.link);
    let askers: Vec<_> = (0..8)
        .map(|asker| {
            let link = Arc::clone(&link);
            tokio::spawn(async move {
                for round in 0..25 {
                    ask_fifty(&link, asker * 10_000 + round * 50).await;
                }
            })
        })
        .collect();
    for asker in askers {
        asker.await.expect("no value was mixed up");
    }
    assert_eq!(link.in_flight(), 0);
    drop(link);
    let end = pair.asking.await.expect("no panic");
    assert!(matches!(*end, End::Unneeded), "{end:?}");
}

/// Asks for fifty numbers at a time, and for every third with no time to wait.
async fn ask_fifty(link: &Link, first: usize) {
    let mut gets = Vec::new();
    for number in first..first + 50 {
        let time = if number.is_multiple_of(3) { Duration::ZERO } else { TIME };
        let (waiter, told) = waiter_for(&number.to_string(), time);
        link.get(waiter).expect("it is sent");
        gets.push((number, told));
    }
    for (number, told) in gets {
        match told.await.expect("it was told") {
            Ok(answer) => {
                let value = answer.entry.value().expect("a value").clone();
                assert_eq!(value, value_of(number, value.len()).as_str());
            }
            Err(error) if error.kind == PeerErrorKind::LoadFailed => {
                assert_eq!(error.causes(), number.to_string());
            }
            Err(error) => {
                assert_eq!(error.kind, PeerErrorKind::TimedOut);
                assert!(number.is_multiple_of(3), "only if it had no time");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_owner_ends_a_thousand_gets() {
    let pair = connect(handler_fn(|_| future::pending())).await;
    let gets: Vec<_> = (0..1_000)
        .map(|number| {
            let (waiter, told) = waiter(&number.to_string());
            pair.link.get(waiter).expect("it is sent");
            told
        })
        .collect();
    while pair.link.hello().is_none() {
        tokio::task::yield_now().await;
    }
    pair.serving.abort();
    for get in gets {
        let error = get.await.expect("it was told").expect_err("nobody answers");
        assert_eq!(error.kind, PeerErrorKind::Truncated);
    }
}
