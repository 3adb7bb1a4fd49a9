//! Every way in which a peer can misbehave, in a table: what it does, and what that leads to.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use carrotcache_peer_http::peer::PeerErrorKind::{
    Failed, Foreign, LoadFailed, Malformed, NoSuchGroup, TimedOut, TooLarge, Truncated,
    Unauthorized,
};
use carrotcache_peer_http::peer::{Answer, PeerErrorKind};

use crate::fake::Step::{Endless, HalfClose, Hold, Request, Reset, Send, Trickle};
use crate::fake::{FakePeer, Step, value_of};
use crate::support::{client_with, reply, value_head, value_reply};

/// A way to misbehave.
struct Row {
    name: &'static str,
    /// What the peer does on its first connection. On all others it behaves.
    script: Vec<Step>,
    /// What the first get, of the key `first`, comes to.
    first: Result<Answer, PeerErrorKind>,
    /// The most that is read of the answer.
    max_bytes: u64,
}

/// The time of a get that is to end early, which is in half of it.
const TIME: Duration = Duration::from_secs(6);
/// The time of a get that is to time out, which is soon after it.
const SHORT_TIME: Duration = Duration::from_secs(1);
/// The largest answer that is accepted.
const MAX_ANSWER_BYTES: u64 = 256 << 10;
/// The most that a socket takes without being read, at both of its ends.
const KERNEL_BYTES: u64 = 10 << 20;
/// What is read of a reply before its head is there.
const HEAD_BYTES: u64 = 66 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_misbehaviour_brings_a_wrong_value_or_holds_what_it_should_not() {
    let rows = [values(), heads(), bodies(), ends(), leftovers(), other_protocols()];
    let checks = rows.into_iter().flatten().map(|row| tokio::spawn(check(row)));
    let checks: Vec<_> = checks.collect();
    let mut faults = Vec::new();
    for check in checks {
        faults.extend(check.await.expect("no panic").err());
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Asks the peer of a row twice, and returns what is not as the row says.
///
/// The second get must bring the value of its own key, whatever the peer left behind from the first.
async fn check(row: Row) -> Result<(), String> {
    let Row { name, script, first, max_bytes } = row;
    let peer = FakePeer::start(vec![script]).await;
    let client = client_with(&peer.url, |builder| builder.max_answer_bytes(MAX_ANSWER_BYTES));

    let (time, ends) = match first {
        Err(TimedOut) => (SHORT_TIME, SHORT_TIME..TIME / 2),
        _ => (TIME, Duration::ZERO..TIME / 2),
    };
    let start = Instant::now();
    let answer = client.get("group", "first", Some(time)).await;
    let took = start.elapsed();
    let sent = peer.seen.sent.load(Ordering::Relaxed);
    let causes = answer.as_ref().err().map(|error| error.causes());
    let answer = answer.map_err(|error| error.kind);
    if answer != first {
        return Err(format!("{name}: {answer:?} ({causes:?}) instead of {first:?}"));
    }
    if !ends.contains(&took) {
        return Err(format!("{name}: took {took:?}"));
    }
    if sent > max_bytes + KERNEL_BYTES {
        return Err(format!("{name}: {sent} bytes were sent"));
    }
    let answer = client.get("group", "second", Some(TIME)).await.map_err(|error| error.kind);
    if answer != Ok(Answer::new("second")) {
        return Err(format!("{name}: {answer:?} for the second key"));
    }
    Ok(())
}

/// A peer that reads a request and then does this.
fn row(
    name: &'static str,
    script: impl IntoIterator<Item = Step>,
    first: Result<Answer, PeerErrorKind>,
) -> Row {
    let script = [Request].into_iter().chain(script).collect();
    Row { name, script, first, max_bytes: MAX_ANSWER_BYTES + HEAD_BYTES }
}

/// A peer that reads a request, sends this, and closes.
fn sends(name: &'static str, bytes: impl Into<Vec<u8>>, kind: PeerErrorKind) -> Row {
    row(name, [Send(bytes.into())], Err(kind))
}

fn first() -> Result<Answer, PeerErrorKind> {
    Ok(Answer::new("first"))
}

/// A chunked value's head.
fn chunked() -> Vec<u8> {
    reply(&value_head("transfer-encoding: chunked"), "")
}

/// A value's head that announces this many bytes.
fn announcing(bytes: u64) -> Vec<u8> {
    reply(&value_head(&format!("content-length: {bytes}")), "")
}

/// What looks like a value and is none.
fn values() -> Vec<Row> {
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 7";
    let hello = b"\x0a\x05hello";
    let html = b"\x0a\x05<html><body>Please log in</body></html>";
    let empty = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 0";
    let outcome = value_head("carrotcache-outcome: not-found\r\ncontent-length: 7");
    let verdict = "HTTP/1.1 404 Not Found\r\ncarrotcache-outcome: load-failed\r\ncontent-length: 0";
    let absent = "HTTP/1.1 500 Oh\r\ncarrotcache-outcome: not-found\r\ncontent-length: 0";
    let page = format!("{ok}\r\ncontent-type: text/html");
    let coded = |line| reply(&value_head(&format!("content-length: 7\r\n{line}")), hello);
    vec![
        sends("text without anything in it", reply(empty, ""), Foreign),
        sends("wrong type", reply(&format!("{ok}\r\ncontent-type: text/plain"), hello), Foreign),
        sends("no type", reply(ok, hello), Foreign),
        sends("HTML", reply(&page, html), Foreign),
        sends("HTML that never ends", [reply(&page, ""), b"<".repeat(99)].concat(), Foreign),
        sends("value with an outcome", reply(&outcome, hello), Foreign),
        sends("verdict with another status", reply(verdict, ""), Foreign),
        sends("absence with another status", reply(absent, ""), Foreign),
        sends("bare 500", reply("HTTP/1.1 500 Oh\r\ncontent-length: 2", "oh"), Failed),
        sends("bare 404", reply("HTTP/1.1 404 Oh\r\ncontent-length: 2", "oh"), NoSuchGroup),
        sends(
            "redirect",
            reply("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/", ""),
            Foreign,
        ),
        sends("login", reply("HTTP/1.1 401 No\r\nwww-authenticate: Basic", ""), Unauthorized),
        sends("part", reply("HTTP/1.1 206 Partial\r\ncontent-length: 7", hello), Foreign),
        sends("unasked upgrade", reply("HTTP/1.1 101 S\r\nupgrade: h2c", "frames"), Foreign),
        sends("message cut short", value_reply(b"\x0a\x08abc"), Malformed),
        sends("no message", value_reply(b"<html>no</html>"), Malformed),
        sends("compressed value", coded("content-encoding: br"), Foreign),
        sends("value said to be a part", coded("content-range: bytes 0-6/9"), Foreign),
        sends("value of two types", coded("content-type: text/html"), Foreign),
        sends("value that ends anywhere", reply(&value_head("x: y"), hello), Foreign),
    ]
}

/// Heads that are wrong, or do not end.
fn heads() -> Vec<Row> {
    let line = b"HTTP/1.1 200 OK\r\n".to_vec();
    let go_on = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
    let hints = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".to_vec();
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(2_000));
    let of_head = |row: Row| Row { max_bytes: HEAD_BYTES, ..row };
    let rows = vec![
        row("one 100", [Send([go_on.clone(), value_of("first")].concat())], first()),
        row("100 for ever", [Endless(go_on.clone())], Err(Malformed)),
        row("103 for ever", [Endless(hints)], Err(Malformed)),
        row("100 now and then for ever", [Trickle(go_on)], Err(TimedOut)),
        row(
            "headers for ever",
            [Send(line.clone()), Endless(b"x: y\r\n".to_vec())],
            Err(Malformed),
        ),
        row("header for ever", [Send(line.clone()), Endless(b"x".to_vec())], Err(Malformed)),
        row("reason for ever", [Send(line[..15].to_vec()), Endless(b"O".to_vec())], Err(Malformed)),
        row("lines for ever", [Endless(b"\r\n".to_vec())], Err(Malformed)),
        row("head slowly for ever", [Send(line.clone()), Trickle(b"x".to_vec())], Err(TimedOut)),
        sends("many headers", many, Malformed),
        row("silence", [Hold], Err(TimedOut)),
        row("half a head, then silence", [Send(line), Hold], Err(TimedOut)),
    ];
    rows.into_iter().map(of_head).collect()
}

/// Bodies that are wrong, or do not end.
fn bodies() -> Vec<Row> {
    let zeros = || Endless(vec![0; 1 << 10]);
    let chunk = |text: &str| Endless(text.as_bytes().to_vec());
    let tag = |length: u32| [&[0x0a][..], &varint(length)].concat();
    let verdict = "HTTP/1.1 500 Oh\r\ncarrotcache-outcome: load-failed\r\ncontent-length: 1000";
    vec![
        row("silence after the head", [Send(announcing(100)), Hold], Err(TimedOut)),
        row(
            "silence in the body",
            [Send([announcing(100), tag(98)].concat()), Hold],
            Err(TimedOut),
        ),
        row("body slowly", [Send(announcing(100_000)), Trickle(vec![0])], Err(TimedOut)),
        row("more announced than accepted", [Send(announcing(1 << 40)), zeros()], Err(TooLarge)),
        row("impossible length", [Send(announcing(u64::MAX)), zeros()], Err(Malformed)),
        row("two lengths", [Send(announcing_both(5, 7))], Err(Malformed)),
        row("chunks for ever", [Send(chunked()), chunk("5\r\n\x0a\x03abc\r\n")], Err(TooLarge)),
        row(
            "a chunk for ever",
            [Send([chunked(), b"7fffffff\r\n".to_vec()].concat()), zeros()],
            Err(TooLarge),
        ),
        row("tiny chunks for ever", [Send(chunked()), chunk("1\r\n0\r\n")], Err(Malformed)),
        row("chunk length for ever", [Send(chunked()), chunk("0")], Err(Malformed)),
        row(
            "chunk extension for ever",
            [Send([chunked(), b"1;".to_vec()].concat()), chunk("x")],
            Err(Malformed),
        ),
        row(
            "small extensions for ever",
            [Send(chunked()), chunk("1;xxxxxxxxxxxxxxxx\r\nx\r\n")],
            Err(Malformed),
        ),
        row(
            "trailer for ever",
            [Send([chunked(), b"0\r\nx: ".to_vec()].concat()), chunk("x")],
            Err(Malformed),
        ),
        row(
            "trailers for ever",
            [Send([chunked(), b"0\r\n".to_vec()].concat()), chunk("x: y\r\n")],
            Err(Malformed),
        ),
        sends(
            "chunks of garbage",
            [chunked(), b"these are no chunks\r\n".to_vec()].concat(),
            Malformed,
        ),
        sends(
            "chunk without its end",
            [chunked(), b"2\r\n\x0a\x00no".to_vec()].concat(),
            Malformed,
        ),
        row(
            "until the end, for ever",
            [Send(reply(&value_head("x: y"), "")), zeros()],
            Err(Foreign),
        ),
        row("verdict, then silence", [Send(reply(verdict, "no disk")), Hold], Err(LoadFailed)),
        row(
            "verdict, then slowly",
            [Send(reply(verdict, "")), Trickle(b"x".to_vec())],
            Err(LoadFailed),
        ),
    ]
}

/// Connections that end too early, or were over before they were used.
fn ends() -> Vec<Row> {
    let half = announcing(100);
    vec![
        sends("close", "", Truncated),
        row("reset", [Reset], Err(Truncated)),
        sends("close in the head", "HTTP/1.1 200 OK\r\ncontent-le", Truncated),
        row("reset in the head", [Send(half[..20].to_vec()), Reset], Err(Truncated)),
        sends("close in the body", [&half[..], b"\x0a\x62half"].concat(), Truncated),
        sends("close after the head", half.clone(), Truncated),
        row(
            "reset in the body",
            [Send([&half[..], b"\x0a\x62half"].concat()), Reset],
            Err(Truncated),
        ),
        sends("close in a chunk", [chunked(), b"5\r\n\x0a\x08ha".to_vec()].concat(), Truncated),
        sends(
            "close between chunks",
            [chunked(), b"2\r\n\x0a\x00\r\n".to_vec()].concat(),
            Truncated,
        ),
        row("half close", [HalfClose], Err(Truncated)),
        row("half close in the body", [Send(half), HalfClose], Err(Truncated)),
        row("close idle", [Send(value_of("first"))], first()),
        row("half close idle", [Send(value_of("first")), HalfClose], first()),
        row("reset idle", [Send(value_of("first")), Reset], first()),
        row("silence from then on", [Send(value_of("first")), Request], first()),
        row("reset under a request", [Send(value_of("first")), Request, Reset], first()),
        row("half an answer", [Send(value_of("first")), Request, Send(b"HTTP".to_vec())], first()),
    ]
}

/// More than was asked for, which is not what is asked for next.
fn leftovers() -> Vec<Row> {
    let (right, wrong) = (value_of("first"), value_of("another"));
    let twice = [right.clone(), wrong.clone()].concat();
    let longer = [right.clone(), b"more".to_vec()].concat();
    let chunks = [chunked(), b"7\r\n\x0a\x05first\r\n0\r\n\r\n".to_vec(), wrong.clone()].concat();
    let refusal = "HTTP/1.1 503 No\r\ncontent-length: 0";
    vec![
        row("two answers", [Send(twice.clone()), Hold], first()),
        row("two answers and an end", [Send(twice)], first()),
        row("answers for ever", [Endless(right)], first()),
        row("more than announced", [Send(longer), Hold], first()),
        row("an answer after chunks", [Send(chunks), Hold], first()),
        row(
            "an answer after a refusal",
            [Send(reply(refusal, &wrong)), Hold],
            Err(PeerErrorKind::Overloaded),
        ),
    ]
}

/// What is no HTTP/1.1.
fn other_protocols() -> Vec<Row> {
    let old = "HTTP/1.0 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 7";
    vec![
        row("HTTP/1.0", [Send(reply(old, b"\x0a\x05first")), Hold], first()),
        sends("HTTP/0.9", "\x0a\x05first", Malformed),
        sends("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Malformed),
        sends("HTTP/2 settings", b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80".to_vec(), Malformed),
        sends("TLS alert", b"\x15\x03\x03\0\x02\x02\x28".to_vec(), Malformed),
        sends("SSH", "SSH-2.0-OpenSSH_9.6\r\n\r\n", Malformed),
        sends("a request", "GET / HTTP/1.1\r\nhost: x\r\n\r\n", Malformed),
    ]
}

/// A value's head that announces two lengths.
fn announcing_both(one: u64, other: u64) -> Vec<u8> {
    let lengths = format!("content-length: {one}\r\ncontent-length: {other}");
    reply(&value_head(&lengths), b"\x0a\x05first")
}

/// A number as protobuf writes it, of two bytes.
fn varint(number: u32) -> [u8; 2] {
    let bits = |shift: u32| u8::try_from(number >> shift & 0x7f).expect("seven bits");
    [bits(0) | 0x80, bits(7)]
}
