//! Many gets in one frame, over a whole link.

use carrotcache_peer::{PeerErrorKind, handler_fn};

use super::*;
use crate::link::asker::Why;
use crate::link::frame::hello::{Hello, MIN_REQUEST_BYTES};
use crate::link::tests::together::Pair;

/// Returns what each key of a batch is told, in order, and what was not sent.
fn send_batch(link: &Link, keys: &[String]) -> (Vec<oneshot::Receiver<Told>>, Vec<Why>) {
    let mut receivers = Vec::new();
    let deadline = (Instant::now() + TIME).into_std();
    let waiters = keys.iter().map(|key| {
        let (completion, told) = completion();
        receivers.push(told);
        Waiter::new(Request::new("g", key.as_str(), deadline), completion)
    });
    let unsent = link.get_many(waiters.collect());
    (receivers, unsent.into_iter().map(|unsent| unsent.why).collect())
}

/// Answers a key by its number: a value, no value, an error, at once or after a while.
async fn mixed(request: Request) -> Result<Answer, PeerError> {
    let number: u64 = request.key.trim_start_matches('k').parse().expect("a number");
    if number % 2 == 1 {
        tokio::time::sleep(Duration::from_millis(number)).await;
    }
    match number % 5 {
        0 => Ok(Answer::absent()),
        1 => Err(PeerError::new(PeerErrorKind::LoadFailed).with_source(request.key.to_string())),
        2 => Ok(Answer::new(vec![b'x'; 9_000])),
        _ => Ok(Answer::new(request.key.to_string())),
    }
}

#[tokio::test(start_paused = true)]
async fn each_key_of_a_batch_is_told_its_own_answer() {
    for count in [1, 64, 1_000] {
        let pair = Pair::new(handler_fn(mixed));
        let keys: Vec<String> = (0..count).map(|i| format!("k{i}")).collect();
        let (receivers, unsent) = send_batch(&pair.link, &keys);
        assert_eq!(unsent, []);
        for (number, receiver) in receivers.into_iter().enumerate() {
            let key = &keys[number];
            match (number % 5, told(receiver).await) {
                (0, Ok(answer)) => assert_eq!(answer.entry, Entry::absent()),
                (1, Err(error)) => assert_eq!(error.causes(), *key),
                (2, Ok(answer)) => assert_eq!(answer.entry.value().unwrap().len(), 9_000),
                (3 | 4, Ok(answer)) => assert_eq!(answer.entry.value().unwrap(), key),
                (_, told) => panic!("{key} was told {told:?}"),
            }
        }
        assert_eq!(pair.link.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_one_frame_and_a_large_one_as_few_as_the_owner_takes() {
    let (asker, mut owner) = Asker::met().await;
    for (count, frames) in [(1, vec![1]), (1_000, vec![1_000]), (1_001, vec![1_000, 1])] {
        let keys: Vec<String> = (0..count).map(|i| format!("k{i}")).collect();
        let (_receivers, unsent) = send_batch(&asker.link, &keys);
        assert_eq!(unsent, []);
        for expected in frames {
            let (header, payload) = owner.read().await;
            let Ok(FromAsker::GetMany(many)) = FromAsker::decode(header, &payload) else {
                panic!("many gets");
            };
            assert_eq!(many.gets().count(), expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn frames_keep_to_what_the_owner_takes() {
    let (asker, mut owner) = Asker::new(LinkConfig::default());
    let hello = Hello { max_request_bytes: MIN_REQUEST_BYTES, ..LinkConfig::default().hello() };
    let mut frame = Vec::new();
    hello.encode(&mut frame);
    owner.send(&frame).await;
    assert_eq!(owner.read().await.0.kind, kind::HELLO);
    let keys: Vec<String> = (0..200).map(|i| format!("{i:01000}")).collect();
    let (_receivers, unsent) = send_batch(&asker.link, &keys);
    assert_eq!(unsent, []);
    let mut asked = 0;
    while asked < keys.len() {
        let (header, payload) = owner.read().await;
        assert!(header.len <= MIN_REQUEST_BYTES, "{} bytes", header.len);
        let Ok(FromAsker::GetMany(many)) = FromAsker::decode(header, &payload) else {
            panic!("many gets");
        };
        for get in many.gets() {
            assert_eq!(get.unwrap().1.key, keys[asked]);
            asked += 1;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_keys_of_a_batch_that_find_no_room_are_given_back() {
    let config = LinkConfig { max_in_flight: 3, ..LinkConfig::default() };
    let (asker, _owner) = Asker::met_with(config).await;
    let mut keys: Vec<String> = (0..5).map(|i| format!("k{i}")).collect();
    keys.insert(1, "k".repeat(70_000));
    let (_receivers, unsent) = send_batch(&asker.link, &keys);
    assert_eq!(unsent, [Why::TooLong, Why::Full, Why::Full]);
    assert_eq!(asker.link.in_flight(), 3);
}
