//! What the two sides of a transport can rely on.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use carrotcache_byteview::ByteView;
use carrotcache_peer::{
    Answer, Completion, Entry, Handler, Keys, Limits, Member, Owner, Peer, PeerError,
    PeerErrorKind, Picker, Purge, Reply, Request, Step, ask, handler_fn, peer_fn,
};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// A request that has a second left.
fn request() -> Request {
    Request::new("scores", "Tom", (Instant::now() + SECOND).into_std())
}

/// A completion, and where what it is told arrives.
fn completion() -> (Completion, mpsc::Receiver<Result<Answer, PeerError>>) {
    let (tell, told) = mpsc::channel();
    (Completion::new(move |answer| drop(tell.send(answer))), told)
}

#[test]
fn completion_is_told_once_even_if_it_is_dropped_by_a_panic() {
    let (first, told) = completion();
    first.tell(Ok(Answer::new("630")));
    assert_eq!(told.recv().unwrap().unwrap().entry.value().unwrap(), "630");
    assert!(told.recv().is_err(), "told twice");

    let (second, told) = completion();
    let panicked = std::thread::spawn(move || {
        let _completion = second;
        panic!("as asked");
    });
    assert!(panicked.join().is_err());
    assert_eq!(told.recv().unwrap().unwrap_err().kind, PeerErrorKind::Dropped);
    assert!(told.recv().is_err(), "told twice");
}

/// Whoever comes first tells; the other has nothing left to tell with.
#[test]
fn completions_are_told_once_each_from_whatever_threads_have_them() {
    let (tell, told) = mpsc::channel();
    let completions = (0..100).map(|number| {
        let tell = tell.clone();
        Completion::new(move |answer| tell.send((number, answer.is_ok())).unwrap())
    });
    let completions: Vec<_> = completions.collect();
    std::thread::scope(|scope| {
        for (number, completion) in completions.into_iter().enumerate() {
            scope.spawn(move || match number % 2 {
                0 => completion.tell(Ok(Answer::absent())),
                _ => drop(completion),
            });
        }
    });
    drop(tell);
    let mut told: Vec<_> = told.iter().collect();
    told.sort_unstable();
    assert_eq!(told, (0..100).map(|number| (number, number % 2 == 0)).collect::<Vec<_>>());
}

#[test]
fn an_answer_is_made_of_whatever_becomes_bytes_or_an_entry() {
    let same = [
        Answer::new("630"),
        Answer::new(String::from("630")),
        Answer::new(b"630".to_vec()),
        Answer::new(ByteView::from("630")),
        Answer::new(Entry::new("630")),
    ];
    assert!(same.iter().all(|answer| *answer == same[0]));
    assert_ne!(Answer::new(""), Answer::absent(), "an empty value is a value");
    assert_eq!(Answer::new("630").with_minute_qps(1.5).entry, Entry::new("630"));
}

#[test]
fn an_entry_costs_three_words_more_than_its_bytes() {
    assert_eq!(size_of::<Entry>(), size_of::<ByteView>() + 3 * size_of::<usize>());
}

#[test]
fn times_of_an_entry_are_bounded() {
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    let entry = Entry::new("630").with_fresh_for(99 * year).with_stale_for(99 * year);
    assert_eq!(entry.fresh_for(), Some(99 * year));
    assert_eq!(entry.stale_for(), Duration::from_millis(u32::MAX.into()));
    for centuries in [100 * year, Duration::MAX] {
        assert_eq!(Entry::new("630").with_fresh_for(centuries).fresh_for(), None);
    }
    let short = Entry::new("630").with_fresh_for(Duration::from_micros(999));
    assert_eq!(short.fresh_for(), Some(Duration::ZERO));
    assert_eq!(short.compact(), short);
}

#[test]
fn a_peer_is_plain_and_a_handler_refuses_purges_unless_they_say_otherwise() {
    let member = Member { label: "me".into(), incarnation: 1 };
    let step = Step::Close { attempt: 1 };
    let purge = Purge::new("scores", Keys::All, member, step, Instant::now().into_std());
    let peer = peer_fn("owner", |_| async { Ok(Answer::absent()) });
    let (told, answers) = mpsc::channel();
    peer.purge(purge.clone(), Completion::new(move |answer| drop(told.send(answer))));
    assert_eq!(answers.recv().unwrap().unwrap_err().kind, PeerErrorKind::Plain);

    let handler = handler_fn(|_| async { Ok(Answer::absent()) });
    let Reply::Ready(refused) = handler.purge(purge) else { panic!("it is not there at once") };
    assert_eq!(refused.unwrap_err().kind, PeerErrorKind::BadRequest);
}

#[test]
fn a_compact_entry_keeps_nothing_larger_alive() {
    let large = ByteView::from(vec![7; 1 << 20]);
    let entry = Entry::new(large.slice(..3)).compact();
    let kept = entry.value().unwrap().as_ptr();
    assert!(!large.as_bytes().as_ptr_range().contains(&kept));
    assert_eq!(Entry::absent().compact(), Entry::absent());
}

#[tokio::test]
async fn error_names_the_first_peer_that_is_filled_in() {
    let peer = peer_fn("red", |_| async { Err(PeerErrorKind::Overloaded.into()) });
    let error = ask(&peer, request()).await.unwrap_err();
    assert_eq!(error.to_string(), "peer red is overloaded");
    assert_eq!(error.at("green").to_string(), "peer red is overloaded");
    assert_eq!(
        PeerError::new(PeerErrorKind::TimedOut).to_string(),
        "the peer did not answer in time"
    );
}

#[tokio::test]
async fn async_peer_that_panics_leaves_nobody_waiting() {
    async fn panics(_: Request) -> Result<Answer, PeerError> {
        panic!("as asked");
    }
    let error = ask(&peer_fn("broken", panics), request()).await.unwrap_err();
    assert_eq!(error.kind, PeerErrorKind::Dropped);
}

#[test]
fn async_peer_outside_of_a_runtime_says_so() {
    let peer = peer_fn("here", |_| async { Ok(Answer::new("630")) });
    let (completion, told) = completion();
    let deadline = std::time::Instant::now() + SECOND;
    peer.ask(Request::new("scores", "Tom", deadline), completion);
    let error = told.recv().unwrap().unwrap_err();
    assert_eq!(error.kind, PeerErrorKind::Runtime);
    assert_eq!(error.causes(), "no tokio runtime is running here");
}

#[tokio::test]
async fn peer_is_asked_although_nobody_waits_any_more() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let tell = std::sync::Mutex::new(Some(tell));
    let peer = peer_fn("here", move |request: Request| {
        let tell = tell.lock().unwrap().take().unwrap();
        async move {
            tell.send(request.key).unwrap();
            Ok(Answer::absent())
        }
    });
    let mut asked = Box::pin(ask(&peer, request()));
    assert!(futures_poll(&mut asked).is_pending());
    drop(asked);
    assert_eq!(&*told.await.unwrap(), "Tom");
}

fn futures_poll<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

#[tokio::test]
async fn reply_is_there_at_once_or_later_and_a_future_either_way() {
    struct Both;
    impl Handler for Both {
        fn answer(&self, request: Request) -> Reply {
            match &*request.key {
                "now" => Reply::ready(Ok(Answer::new("now"))),
                _ => Reply::pending(async { Ok(Answer::new("later")) }),
            }
        }
    }
    let both: Arc<dyn Handler> = Arc::new(Both);
    let deadline = std::time::Instant::now() + SECOND;
    let at_once = both.answer(Request::new("g", "now", deadline));
    assert!(matches!(at_once, Reply::Ready(Ok(_))));
    assert_eq!(at_once.await.unwrap(), Answer::new("now"));
    assert_eq!(both.answer(request()).await.unwrap(), Answer::new("later"));
}

#[test]
fn nothing_is_at_hand_unless_a_handler_says_so() {
    let handler = handler_fn(|_| async { Ok(Answer::new("630")) });
    assert_eq!(handler.at_hand("scores", "Tom"), None);
}

/// A shared handler that forgot its own would answer rightly, and slowly for ever.
#[test]
fn what_is_at_hand_is_so_through_whatever_shares_the_handler() {
    struct One;
    impl Handler for One {
        fn answer(&self, _: Request) -> Reply {
            Reply::ready(Err(PeerErrorKind::NoSuchGroup.into()))
        }
        fn at_hand(&self, group: &str, key: &str) -> Option<Answer> {
            (group == "scores" && key == "Tom").then(|| Answer::new("630"))
        }
    }
    fn check(handler: &impl Handler) {
        assert_eq!(handler.at_hand("scores", "Tom"), Some(Answer::new("630")));
        assert_eq!(handler.at_hand("scores", "Jack"), None);
        assert_eq!(handler.at_hand("Tom", "scores"), None);
    }
    let shared = Arc::new(One);
    check(&*shared);
    check(&shared);
    check(&Arc::clone(&shared));
    let erased: Arc<dyn Handler> = shared;
    check(&erased);
    check(&Arc::new(erased));
}

/// A peer that has been asked, and has the answers in its hands.
#[derive(Default)]
struct Asked(std::sync::Mutex<Vec<(Request, Completion)>>);

impl Peer for Asked {
    fn label(&self) -> &'static str {
        "red"
    }

    fn ask(&self, request: Request, completion: Completion) {
        self.0.lock().unwrap().push((request, completion));
    }
}

#[test]
fn a_peer_that_is_asked_for_many_is_asked_for_one_after_the_other() {
    let peer = Asked::default();
    let names = [("scores", "Tom"), ("names", "Tom"), ("scores", "Jack"), ("scores", "Tom")];
    let deadline = std::time::Instant::now() + SECOND;
    let (requests, told): (Vec<_>, Vec<_>) = (names.into_iter())
        .map(|(group, key)| {
            let (completion, told) = completion();
            ((Request::new(group, key, deadline), completion), told)
        })
        .unzip();
    let through_the_trait: &dyn Peer = &peer;
    through_the_trait.ask_many(requests);

    let mut asked: Vec<_> = peer.0.lock().unwrap().drain(..).enumerate().collect();
    let order: Vec<_> = asked.iter().map(|(_, (of, _))| (&*of.group, &*of.key)).collect();
    assert_eq!(order, names);
    assert!(asked.iter().all(|(_, (request, _))| request.deadline == deadline));
    // Answered in another order than asked, and one not at all: each is told its own.
    asked.reverse();
    for (number, (_, completion)) in asked {
        match number {
            2 => drop(completion),
            _ => completion.tell(Ok(Answer::new(number.to_string()))),
        }
    }
    for (number, told) in told.into_iter().enumerate() {
        match (number, told.recv().unwrap()) {
            (2, answer) => assert_eq!(answer.unwrap_err().kind, PeerErrorKind::Dropped),
            (_, answer) => assert_eq!(answer.unwrap(), Answer::new(number.to_string())),
        }
        assert!(told.recv().is_err(), "told twice");
    }
    peer.ask_many(Vec::new());
    assert!(peer.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_reply_that_was_awaited_waits_for_ever_if_it_is_polled_again() {
    for mut reply in [
        Reply::ready(Ok(Answer::absent())),
        Reply::pending(std::future::ready(Ok(Answer::absent()))),
    ] {
        let is_ready = matches!(reply, Reply::Ready(_));
        assert!((&mut reply).await.is_ok());
        if is_ready {
            assert!(futures_poll(&mut reply).is_pending());
        }
    }
}

#[test]
fn an_owner_tells_who_it_is() {
    assert_eq!(format!("{:?}", Owner::Local), "Local");
    let peer: Arc<dyn Peer> = Arc::new(peer_fn("red", |_| async { Ok(Answer::absent()) }));
    assert_eq!(format!("{:?}", Owner::Remote(peer)), r#"Remote("red")"#);
}

#[tokio::test]
async fn an_async_function_is_a_handler() {
    let handler =
        handler_fn(|request: Request| async move { Ok(Answer::new(request.key.to_string())) });
    assert_eq!(handler.answer(request()).await.unwrap(), Answer::new("Tom"));
}

#[test]
fn nothing_is_found_by_a_look_unless_both_sides_say_otherwise() {
    let handler = handler_fn(|_| async { Ok(Answer::new("loaded")) });
    assert!(handler.look("scores", "Tom").is_none());
    let (completion, told) = completion();
    peer_fn("a", |_| async { Ok(Answer::new("loaded")) }).look(request(), completion);
    assert_eq!(told.recv().unwrap().unwrap_err().kind, PeerErrorKind::NotCached);
}

#[test]
fn a_picker_need_not_know_an_order_nor_bounds() {
    struct Alone;
    impl Picker for Alone {
        fn owner(&self, _: &str) -> Owner {
            Owner::Local
        }
        fn peers(&self) -> Vec<Arc<dyn Peer>> {
            Vec::new()
        }
    }
    let alone: &dyn Picker = &Alone;
    assert!(alone.next("Tom", "red").is_none());
    assert!(alone.former_owner("Tom").is_none());
    assert_eq!(alone.changes(), 0);
    assert_eq!(alone.limits(), Limits::new(usize::MAX, usize::MAX));
}
