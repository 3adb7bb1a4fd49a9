//! The owner's side: what an asker may not do, and for how long it is waited for.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::{future, io};

use carrotcache_peer::{Handler, Reply, handler_fn};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::owner::{Owner, Served};
use super::*;
use crate::link::frame::request::{GetKind, ManyWriter};
use crate::wire::outcome::Outcome;

#[tokio::test(start_paused = true)]
async fn loads_beyond_the_bound_are_refused_and_hits_are_not() {
    let link = LinkConfig { max_loads: 2, ..LinkConfig::default() };
    let mut served = Served::with(link, 64 << 10).await;
    for slot in [1, 2] {
        served.wire.get(slot, &format!("load {slot}")).await;
        served.wire.expect(kind::LOADING, id(slot)).await;
    }
    served.wire.get(3, "load 3").await;
    let overloaded = Refusal::Outcome(Outcome::Overloaded);
    assert_eq!(served.wire.expect_refusal(id(3), overloaded).await, "2 loads are under way");
    served.wire.get(4, "hit").await;
    served.wire.expect_value(id(4), b"hit").await;
    served.owner.release("load 1");
    served.wire.expect_value(id(1), b"load 1").await;
    served.wire.get(5, "load 5").await;
    served.wire.expect(kind::LOADING, id(5)).await;
}

#[tokio::test(start_paused = true)]
async fn an_asker_that_does_not_read_is_not_listened_to_and_then_cut() {
    let link = LinkConfig { max_queued_bytes: 10_000, ..LinkConfig::default() };
    let write_within = link.write_within;
    let served = Served::with(link, 1_000).await;
    let (owner, ended) = (Arc::clone(&served.owner), served.ended);
    let begin = Instant::now();
    let (_unread, mut requests) = tokio::io::split(served.wire.0);
    let asking = tokio::spawn(async move {
        let mut sent = 0;
        while requests.write_all(&get_frame(id(sent), "g", "bytes 3000")).await.is_ok() {
            sent += 1;
            if sent == 10_000 {
                break;
            }
        }
        sent
    });
    assert!(matches!(soon(ended).await.unwrap(), End::Stalled { .. }));
    let sent = soon(asking).await.unwrap();
    assert!(sent < 5_000, "{sent} requests were read");
    let late = begin.elapsed() - write_within;
    assert!(late < Duration::from_millis(50), "{late:?} late");
    let asked = owner.asked.lock().unwrap().len();
    assert!(asked <= 5, "{asked} answers of 3,000 bytes were queued");
}

#[tokio::test(start_paused = true)]
async fn an_asker_that_reads_slowly_gets_everything() {
    let link = LinkConfig { max_queued_bytes: 10_000, ..LinkConfig::default() };
    let mut served = Served::with(link, 1_000).await;
    let (mut answers, mut requests) = tokio::io::split(served.wire.0);
    tokio::spawn(async move {
        for slot in 0..50 {
            requests.write_all(&get_frame(id(slot), "g", "bytes 3000")).await.unwrap();
        }
        future::pending::<()>().await;
    });
    let expected = 50 * (HEADER_BYTES + 3_000);
    let mut got = 0;
    while got < expected {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut some = [0; 1_000];
        got += soon(answers.read(&mut some)).await.unwrap();
    }
    assert_eq!(got, expected);
    served.owner.release("unused");
    assert!(!served.ended.is_finished());
    served.wire = Wire(duplex(1).0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_asker_is_bidden_farewell_and_then_cut() {
    let mut served = Served::new().await;
    let link = LinkConfig::default();
    let begin = Instant::now();
    served.wire.expect(kind::GOAWAY, Id::default()).await;
    assert!(begin.elapsed() >= link.idle_timeout);
    assert!(matches!(served.end().await, End::Drained));
    // Nothing is under way, so it has a moment to leave, and not the time of a drain.
    assert!(begin.elapsed() < link.idle_timeout + Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn an_asker_that_only_pings_is_as_good_as_silent() {
    let mut served = Served::new().await;
    let begin = Instant::now();
    let frames = async {
        loop {
            served.wire.bare(kind::PING, id(1)).await;
            if served.wire.read().await.0.kind == kind::GOAWAY {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    soon(frames).await;
    assert!(begin.elapsed() < LinkConfig::default().idle_timeout + Duration::from_secs(2));
    let since = served.activity.resting_since().expect("it rests");
    assert!(since.elapsed() >= LinkConfig::default().idle_timeout, "pings are no use of it");
}

#[tokio::test(start_paused = true)]
async fn a_link_is_not_idle_when_a_long_load_has_ended() {
    let mut served = Served::new().await;
    let idle_timeout = LinkConfig::default().idle_timeout;
    let mut frame = Vec::new();
    assert!(encode_get(
        &mut frame,
        id(0),
        Get { millis_left: u32::MAX, group: "g", key: "load k", kind: GetKind::default() }
    ));
    served.wire.send(&frame).await;
    served.wire.expect(kind::LOADING, id(0)).await;
    for _ in 0..3 {
        tokio::time::sleep(idle_timeout / 2).await;
        served.wire.bare(kind::PING, id(1)).await;
        served.wire.expect(kind::PONG, id(1)).await;
    }
    served.owner.release("load k");
    served.wire.expect_value(id(0), b"load k").await;
    tokio::time::sleep(idle_timeout / 2).await;
    served.wire.get(2, "hit").await;
    served.wire.expect_value(id(2), b"hit").await;
}

#[tokio::test(start_paused = true)]
async fn what_was_given_up_counts_among_the_loads_until_it_has_ended() {
    let link = LinkConfig { max_loads: 1, ..LinkConfig::default() };
    let mut served = Served::with(link, 64 << 10).await;
    served.wire.get(1, "load a").await;
    served.wire.expect(kind::LOADING, id(1)).await;
    served.wire.bare(kind::CANCEL, id(1)).await;
    served.wire.get(2, "load b").await;
    served.wire.expect_refusal(id(2), Refusal::Outcome(Outcome::Overloaded)).await;
    served.owner.release("load a");
    let loaded = async {
        loop {
            served.wire.get(3, "load b").await;
            if served.wire.read().await.0.kind == kind::LOADING {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon(loaded).await;
}

/// Has a value of a mebibyte at hand for every key.
struct Large;

impl Handler for Large {
    fn answer(&self, _: Request) -> Reply {
        Reply::ready(Ok(Answer::new(vec![7; 1 << 20])))
    }

    fn at_hand(&self, _: &str, _: &str) -> Option<Answer> {
        Some(Answer::new(vec![7; 1 << 20]))
    }
}

#[tokio::test(start_paused = true)]
async fn the_large_values_of_one_frame_go_over_http_when_too_many_are_queued() {
    let (ours, theirs) = duplex(1 << 10);
    tokio::spawn(serving(theirs, Large, LinkConfig::default()));
    let mut wire = Wire(ours);
    wire.hello().await;
    wire.expect(kind::HELLO, Id::default()).await;
    let mut frame = Vec::new();
    let mut many =
        ManyWriter::begin(&mut frame, "g", 60_000, GetKind::default()).expect("a short name");
    for slot in 0..1_000 {
        assert!(many.push(&mut frame, id(slot), "k"));
    }
    many.finish(&mut frame);
    wire.send(&frame).await;
    let (mut values, mut refusals) = (0, 0);
    for _ in 0..1_000 {
        let (header, _) = wire.read().await;
        match header.kind {
            kind::VALUE => values += 1,
            _ => {
                assert_eq!(Refusal::from_code(header.aux), Refusal::OverHttp);
                refusals += 1;
            }
        }
    }
    // Sixteen mebibytes, and the last of them goes over the bound by its header.
    assert_eq!((values, refusals), (16, 984));
}

#[tokio::test(start_paused = true)]
async fn a_stranger_has_less_time_to_say_hello() {
    let mut served = Served::stranger(LinkConfig::default(), 64 << 10, b"", None);
    let begin = Instant::now();
    served.wire.expect(kind::HELLO, Id::default()).await;
    // Not by what it says instead, byte by byte: a HELLO may be longer than this version's.
    let long = Header { len: 60_000, ..Header::bare(kind::HELLO, Id::default()) };
    let Served { mut wire, ended, .. } = served;
    let trickle = async {
        for byte in long.encode().into_iter().chain(std::iter::repeat(0)) {
            if wire.0.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    soon(trickle).await;
    assert!(matches!(soon(ended).await.unwrap(), End::Unmet { .. }));
    assert!(begin.elapsed() <= LinkConfig::default().hello_within + Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn an_asker_that_is_gone_takes_its_loads_along() {
    let mut served = Served::new().await;
    for slot in 0..10 {
        served.wire.get(slot, &format!("load {slot}")).await;
        served.wire.expect(kind::LOADING, id(slot)).await;
    }
    drop(served.wire);
    assert!(matches!(soon(served.ended).await.unwrap(), End::Closed));
    while served.owner.dropped.load(Ordering::Relaxed) < 10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn loads_that_end_for_an_asker_that_does_not_read_do_not_pile_up() {
    let link = LinkConfig { max_queued_bytes: 10_000, ..LinkConfig::default() };
    let (ours, theirs) = duplex(2_000);
    let made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&made);
    let handler = handler_fn(move |_| {
        let counted = Arc::clone(&counted);
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(Answer::new(vec![7; 100_000]))
        }
    });
    let ended = tokio::spawn(serving(theirs, handler, link));
    let mut wire = Wire(ours);
    wire.hello().await;
    wire.expect(kind::HELLO, Id::default()).await;
    for slot in 0..100 {
        wire.get(slot, "k").await;
        wire.expect(kind::LOADING, id(slot)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(made.load(Ordering::Relaxed), 100);
    let (mut values, mut refusals) = (0, 0);
    for _ in 0..100 {
        match wire.read().await.0.kind {
            kind::VALUE => values += 1,
            _ => refusals += 1,
        }
    }
    // 160,000 bytes may be queued when a load ends, so two values fit and the next is still taken.
    assert_eq!((values, refusals), (2, 98));
    assert!(!ended.is_finished());
}

/// Counts writes.
struct Counted<IO> {
    io: IO,
    writes: Arc<AtomicUsize>,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Counted<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Counted<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn all_that_one_read_brings_is_answered_with_one_write() {
    let (ours, theirs) = duplex(1 << 20);
    let writes = Arc::new(AtomicUsize::new(0));
    let io = Counted { io: theirs, writes: Arc::clone(&writes) };
    tokio::spawn(serving(io, Owner::default(), LinkConfig::default()));
    let mut wire = Wire(ours);
    wire.hello().await;
    wire.expect(kind::HELLO, Id::default()).await;
    let before = writes.load(Ordering::Relaxed);
    let gets: Vec<u8> = (0..64)
        .flat_map(|slot| get_frame(id(slot), "g", if slot < 10 { "bytes 10000" } else { "small" }))
        .collect();
    wire.send(&gets).await;
    for _ in 0..64 {
        assert_eq!(wire.read().await.0.kind, kind::VALUE);
    }
    assert_eq!(writes.load(Ordering::Relaxed) - before, 1);
}
