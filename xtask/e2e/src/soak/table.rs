//! How a peer can misbehave: a table, and the deck that is drawn from.
//!
//! Each row can be found out by whoever asks, so none may ever lead to a wrong value. What nobody can
//! find out is not here: a well-formed answer with the value of another key, or with none; nor such an
//! answer that comes while the next request is already under way, since answers do not say to which
//! request they belong.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use super::truth;
use super::wire::{PROTOBUF, answer, message, right};
use crate::seeds::rng;

/// One way to misbehave when a request has come.
pub(super) struct Misbehaviour {
    pub(super) name: &'static str,
    /// What is said.
    pub(super) say: fn(&Asked) -> Vec<u8>,
    pub(super) then: Then,
    /// Whether an answer comes that nobody has asked for.
    ///
    /// It must be there before the next request is sent, or nobody could tell whose answer it is: all
    /// is said in one piece, of as many bytes as the loopback interface carries in one segment.
    is_unasked: bool,
}

/// What a peer does once it has said what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Close,
    Reset,
    /// Says nothing more, and waits until the other side closes.
    Stall,
    /// Says the same again and again, until the other side closes.
    Repeat(&'static str),
    /// Says zeros without end, in chunks of HTTP's chunked encoding or bare.
    Zeros {
        chunked: bool,
    },
    /// Says it a byte at a time, and stalls.
    Trickle,
    /// Says that no request has come for too long, if none comes, and closes: as servers do.
    TellIdle,
    /// Waits for the next request, as if nothing had been.
    GoOn,
}

/// What a peer was asked.
pub(super) struct Asked {
    /// The value of the key.
    pub(super) value: Vec<u8>,
    /// The value of another key: what must not be believed.
    pub(super) wrong: Vec<u8>,
}

impl Asked {
    pub(super) fn new(key: &str, rng: &mut impl Rng) -> Self {
        let other = truth::small(rng);
        // A key that meets itself gets a value that is nobody's.
        let wrong = if other == key { b"a lie".to_vec() } else { truth::value(&other) };
        Self { value: truth::value(key), wrong }
    }

    fn right(&self) -> Vec<u8> {
        right(&self.value)
    }

    /// An answer of another key.
    fn wrong(&self) -> Vec<u8> {
        right(&self.wrong)
    }
}

const fn row(name: &'static str, say: fn(&Asked) -> Vec<u8>, then: Then) -> Misbehaviour {
    Misbehaviour { name, say, then, is_unasked: false }
}

const fn unasked(name: &'static str, say: fn(&Asked) -> Vec<u8>, then: Then) -> Misbehaviour {
    Misbehaviour { name, say, then, is_unasked: true }
}

/// Every way to misbehave.
pub(super) const TABLE: &[Misbehaviour] = &[
    row("says nothing", |_| Vec::new(), Then::Stall),
    row("closes unanswered", |_| Vec::new(), Then::Close),
    row("resets unanswered", |_| Vec::new(), Then::Reset),
    row("closes in the head", |_| b"HTTP/1.1 200 OK\r\ncontent-".to_vec(), Then::Close),
    row("resets in the head", |_| b"HTTP/1.1 200 OK\r\n".to_vec(), Then::Reset),
    row("stalls in the head", |_| b"HTTP/1.1 200 OK\r\ncontent-".to_vec(), Then::Stall),
    row("closes in the body", |asked| half(asked.right()), Then::Close),
    row("resets in the body", |asked| half(asked.right()), Then::Reset),
    row("stalls in the body", |asked| half(asked.right()), Then::Stall),
    row("trickles", Asked::right, Then::Trickle),
    row("answers, then closes", Asked::right, Then::Close),
    row("answers, then resets", Asked::right, Then::Reset),
    // Without an end.
    row("1xx for ever", |_| Vec::new(), Then::Repeat("HTTP/1.1 100 Continue\r\n\r\n")),
    row("a head for ever", |_| b"HTTP/1.1 200 OK\r\n".to_vec(), Then::Repeat("x-more: yes\r\n")),
    row("a line for ever", |_| b"HTTP/1.1 200 OK\r\nx: ".to_vec(), Then::Repeat("more ")),
    row("chunks for ever", |_| chunked(""), Then::Zeros { chunked: true }),
    row("a body for ever", |_| headed("connection: close"), Then::Zeros { chunked: false }),
    row("a body of 8 MB", |_| headed("content-length: 8000000"), Then::Zeros { chunked: false }),
    row("trailers for ever", |_| chunked("0\r\n"), Then::Repeat("x-more: yes\r\n")),
    row("an error for ever", |_| b"HTTP/1.1 500 No\r\n\r\n".to_vec(), Then::Repeat("no ")),
    // Lengths that are none.
    row("announces 1 TiB", |_| headed("content-length: 1099511627776"), Then::Stall),
    row("announces too much, closes", |asked| sized(asked, 10), Then::Close),
    row("announces too much, stalls", |asked| sized(asked, 10), Then::Stall),
    row("announces too little", |asked| sized(asked, -20), Then::GoOn),
    row("a length below zero", |_| headed("content-length: -1"), Then::Stall),
    row("two lengths", |_| headed("content-length: 5\r\ncontent-length: 6"), Then::GoOn),
    row("a bad chunk", |_| chunked("xyz\r\n"), Then::GoOn),
    row("a chunk of 2⁶⁴", |_| chunked("10000000000000000\r\n"), Then::Stall),
    // Answers that are no values.
    row("text", |asked| answer("200 OK", "content-type: text/plain\r\n", &lie(asked)), Then::GoOn),
    row("an empty text", |_| answer("200 OK", "content-type: text/plain\r\n", b""), Then::GoOn),
    row("a page", |_| answer("200 OK", "content-type: text/html\r\n", PAGE), Then::GoOn),
    row("of no type", |asked| answer("200 OK", "", &lie(asked)), Then::GoOn),
    row("partial", |asked| answer("206 Partial Content", PROTOBUF, &lie(asked)), Then::GoOn),
    row("created", |asked| answer("201 Created", PROTOBUF, &lie(asked)), Then::GoOn),
    row("no content", |_| b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(), Then::GoOn),
    row("elsewhere", |_| answer("302 Found", "location: http://127.0.0.1:1/\r\n", b""), Then::GoOn),
    row("another protocol", |_| SWITCH.to_vec(), Then::Stall),
    row("a bare 500", |asked| answer("500 No", PROTOBUF, &lie(asked)), Then::GoOn),
    row("a bare 404", |_| answer("404 Not Found", "", b"not here\n"), Then::GoOn),
    row("a gateway's 503", |_| answer("503 No", "content-type: text/html\r\n", PAGE), Then::GoOn),
    row("overloaded", |_| answer("503 No", "carrotcache-outcome: overloaded\r\n", b""), Then::GoOn),
    row("a broken message", |asked| broken(message(&asked.wrong)), Then::GoOn),
    row("no message", |_| answer("200 OK", PROTOBUF, &[0xff; 99]), Then::GoOn),
    row("half a message, as all", |asked| broken(half(message(&asked.value))), Then::GoOn),
    row("another language", |_| b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(), Then::Stall),
    row("zeros", |_| Vec::new(), Then::Zeros { chunked: false }),
    // More than was asked for.
    unasked("two answers", |asked| [asked.right(), asked.wrong()].concat(), Then::GoOn),
    unasked("two answers, closes", |asked| [asked.right(), asked.wrong()].concat(), Then::Close),
    unasked("an answer after a refusal", |asked| after_refusal(&asked.wrong()), Then::GoOn),
    unasked("many answers", |asked| flood(asked.right(), &asked.wrong()), Then::GoOn),
    unasked("bytes after the answer", |asked| [asked.right(), vec![b'!'; 99]].concat(), Then::GoOn),
    row("408 after a while", Asked::right, Then::TellIdle),
];

/// A page that begins as a message does: a tag, a length, and as many bytes.
const PAGE: &[u8] = b"\n<html><title>502</title><body>The server is busy.</body>  </html>";
const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n";
/// Up to so many bytes are one segment on the loopback interface: they come together.
const TOGETHER_BYTES: usize = 16 << 10;

/// A message that would be a wrong value.
fn lie(asked: &Asked) -> Vec<u8> {
    message(&asked.wrong)
}

fn half(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() / 2 + 1);
    bytes
}

/// The head of a value, with one header more.
fn headed(header: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{PROTOBUF}{header}\r\n\r\n").into_bytes()
}

/// The head of a value in chunks, and what follows it.
fn chunked(body: &str) -> Vec<u8> {
    [headed("transfer-encoding: chunked"), body.into()].concat()
}

/// The right value under a length that is wrong by `by`.
fn sized(asked: &Asked, by: isize) -> Vec<u8> {
    let message = message(&asked.value);
    let len = message.len().saturating_add_signed(by);
    [headed(&format!("content-length: {len}")), message].concat()
}

/// An answer whose message lacks its last byte.
fn broken(mut message: Vec<u8>) -> Vec<u8> {
    message.pop();
    answer("200 OK", PROTOBUF, &message)
}

fn after_refusal(wrong: &[u8]) -> Vec<u8> {
    [&answer("503 No", "", b"busy\n"), wrong].concat()
}

/// The answer, and after it as many others as come together with it.
fn flood(right: Vec<u8>, wrong: &[u8]) -> Vec<u8> {
    let more = TOGETHER_BYTES.saturating_sub(right.len()) / wrong.len();
    [right, wrong.repeat(more)].concat()
}

impl Misbehaviour {
    /// Returns what is said to whom asked this, or `None` if it cannot be said as it must be.
    pub(super) fn say(&self, asked: &Asked) -> Option<Vec<u8>> {
        let bytes = (self.say)(asked);
        (!self.is_unasked || bytes.len() <= TOGETHER_BYTES).then_some(bytes)
    }
}

/// What a peer does next.
pub(super) struct Turn {
    /// How many requests it answers rightly before.
    pub(super) right_first: u32,
    pub(super) misbehaviour: &'static Misbehaviour,
}

/// What becomes of a whole peer for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// It accepts connections, and misbehaves on each as the table says.
    Open,
    /// It listens and never accepts: the queue of the system fills up.
    Deaf,
    /// It does not listen.
    Gone,
}

/// The order of all that a peer does, which goes with the seed.
///
/// Every row comes once before any comes again.
pub(super) struct Deck {
    rng: StdRng,
    order: Vec<&'static Misbehaviour>,
    next: usize,
    mood: Mood,
}

impl Deck {
    /// Returns the deck of the peer at place `at`.
    pub(super) fn new(seed: u64, at: u64) -> Self {
        let rng = rng(seed, at);
        Self { rng, order: TABLE.iter().collect(), next: TABLE.len(), mood: Mood::Gone }
    }

    /// Returns what a connection does next.
    pub(super) fn turn(&mut self) -> Turn {
        if self.next == self.order.len() {
            self.order.shuffle(&mut self.rng);
            self.next = 0;
        }
        let misbehaviour = self.order[self.next];
        self.next += 1;
        Turn { right_first: self.rng.random_range(0..4), misbehaviour }
    }

    /// Returns what a request for `key` is answered with.
    pub(super) fn asked(&mut self, key: &str) -> Asked {
        Asked::new(key, &mut self.rng)
    }

    /// Returns what becomes of the peer next, and for how long.
    pub(super) fn mood(&mut self) -> (Mood, Duration) {
        self.mood = match self.mood {
            Mood::Open if self.rng.random() => Mood::Deaf,
            Mood::Open => Mood::Gone,
            Mood::Deaf | Mood::Gone => Mood::Open,
        };
        let millis = if self.mood == Mood::Open { 2_000..6_000 } else { 500..1_500 };
        (self.mood, Duration::from_millis(self.rng.random_range(millis)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(deck: &mut Deck, count: usize) -> Vec<&'static str> {
        (0..count).map(|_| deck.turn().misbehaviour.name).collect()
    }

    #[test]
    fn every_row_comes_once_before_any_comes_again() {
        let mut deck = Deck::new(7, 0);
        let all: BTreeSet<_> = TABLE.iter().map(|row| row.name).collect();
        assert_eq!(all.len(), TABLE.len());
        let rounds = [names(&mut deck, TABLE.len()), names(&mut deck, TABLE.len())];
        assert!(rounds.iter().all(|round| round.iter().copied().collect::<BTreeSet<_>>() == all));
        assert_ne!(rounds[0], rounds[1]);
    }

    #[test]
    fn a_seed_says_what_comes_and_each_peer_has_its_own() {
        let drawn = |seed, at| names(&mut Deck::new(seed, at), 20);
        assert_eq!(drawn(7, 1), drawn(7, 1));
        assert_ne!(drawn(7, 1), drawn(7, 2));
        assert_ne!(drawn(7, 1), drawn(8, 1));
    }

    #[test]
    fn a_peer_is_open_after_each_time_that_it_is_not() {
        let mut deck = Deck::new(7, 0);
        let moods: Vec<_> = (0..40).map(|_| deck.mood().0).collect();
        assert!(moods.iter().step_by(2).all(|mood| *mood == Mood::Open));
        assert!(moods.contains(&Mood::Deaf) && moods.contains(&Mood::Gone));
        assert!(moods.iter().skip(1).step_by(2).all(|mood| *mood != Mood::Open));
    }

    /// The whole of an answer, as its length says, is what must never be a wrong value.
    #[test]
    fn what_is_said_is_no_well_formed_wrong_value() {
        let mut deck = Deck::new(7, 0);
        let asked = deck.asked("small-1");
        let [right, wrong] = [asked.right(), asked.wrong()];
        for row in TABLE {
            let said = row.say(&asked).expect("a small value");
            assert!(!said.starts_with(&wrong), "{}", row.name);
            let is_more = said.windows(wrong.len()).any(|bytes| bytes == wrong);
            assert!(!is_more || row.is_unasked, "{}", row.name);
            // A head says a type that is a value's only where the body cannot be one.
            let full = said.starts_with(&right) || !said.starts_with(b"HTTP/1.1 200 OK\r\n");
            let is_typed = said.windows(PROTOBUF.len()).any(|bytes| bytes == PROTOBUF.as_bytes());
            let holds = said.windows(asked.wrong.len()).any(|bytes| bytes == asked.wrong);
            assert!(full || !is_typed || !holds, "{}", row.name);
        }
    }

    #[test]
    fn an_answer_that_nobody_asked_for_comes_in_one_piece_or_not_at_all() {
        let mut deck = Deck::new(7, 0);
        for key in ["small-1", "medium-1", "huge-1"] {
            let asked = deck.asked(key);
            let said = TABLE.iter().filter(|row| row.is_unasked).filter_map(|row| row.say(&asked));
            assert!(said.map(|bytes| bytes.len()).all(|len| len <= TOGETHER_BYTES));
        }
        let large = deck.asked("huge-1");
        assert!(TABLE.iter().any(|row| row.is_unasked && row.say(&large).is_none()));
    }
}
