//! What our own nodes tell beside an answer: for how long a value is good, and which process gave it.
//!
//! Over HTTP it stands in headers, which go only to whoever shows by [`TIME_LEFT`] that it is one of
//! ours: Go's nodes get the bytes that they always got. Over a link it has its places in the frames.
//!
//! [`TIME_LEFT`]: crate::wire::outcome::TIME_LEFT

use std::time::Duration;

use carrotcache_peer::{Answer, Entry};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

/// For how long a value is fresh, and behind a semicolon for how long it is stale then, in
/// milliseconds.
pub(crate) const FRESH: HeaderName = HeaderName::from_static("carrotcache-fresh");

/// The number that the process which answers drew when it started.
pub(crate) const INCARNATION: HeaderName = HeaderName::from_static("carrotcache-incarnation");

/// For how long an entry that is not fresh for good is so, and for how long it is stale then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    fresh_ms: u64,
    stale_ms: u32,
}

/// How long [`Times`] are in a frame.
pub(crate) const TIMES_BYTES: usize = 12;

impl Times {
    /// What is told of a value whose times cannot be read. Whoever sent it meant to limit it, so it is
    /// for those who wait, and for no cache.
    const UNREADABLE: Self = Self { fresh_ms: 0, stale_ms: 0 };

    /// Returns the times of an entry; `None` if it is fresh for good.
    pub(crate) fn of(entry: &Entry) -> Option<Self> {
        let fresh_ms = u64::try_from(entry.fresh_for()?.as_millis()).unwrap_or(u64::MAX);
        let stale_ms = u32::try_from(entry.stale_for().as_millis()).unwrap_or(u32::MAX);
        Some(Self { fresh_ms, stale_ms })
    }

    /// Returns the entry with these times, as far as they are believed: what claims to be fresh for
    /// centuries is as fresh as what claims nothing, and is never stale.
    pub(crate) fn apply(self, entry: Entry) -> Entry {
        let entry = entry.with_fresh_for(Duration::from_millis(self.fresh_ms));
        if entry.fresh_for().is_none() {
            return entry;
        }
        entry.with_stale_for(Duration::from_millis(self.stale_ms.into()))
    }

    /// Returns the times as they stand in a frame.
    pub(crate) fn encode(self) -> [u8; TIMES_BYTES] {
        let [f0, f1, f2, f3, f4, f5, f6, f7] = self.fresh_ms.to_le_bytes();
        let [s0, s1, s2, s3] = self.stale_ms.to_le_bytes();
        [f0, f1, f2, f3, f4, f5, f6, f7, s0, s1, s2, s3]
    }

    /// Returns the times that stand in a frame. All bytes are times.
    pub(crate) fn decode(bytes: [u8; TIMES_BYTES]) -> Self {
        let [fresh @ .., s0, s1, s2, s3] = bytes;
        let stale_ms = u32::from_le_bytes([s0, s1, s2, s3]);
        Self { fresh_ms: u64::from_le_bytes(fresh), stale_ms }
    }

    /// Returns what the header says; `None` without one.
    fn read(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(FRESH).iter();
        let value = values.next()?;
        let text = value.to_str().ok().filter(|_| values.next().is_none());
        Some(text.and_then(Self::parse).unwrap_or(Self::UNREADABLE))
    }

    /// Returns what a text like `60000;30000` says, of which the second part may be missing. Numbers
    /// that are too large are the largest.
    fn parse(text: &str) -> Option<Self> {
        let (fresh, stale) = text.split_once(';').unwrap_or((text, "0"));
        let stale_ms = u32::try_from(number(stale)?).unwrap_or(u32::MAX);
        Some(Self { fresh_ms: number(fresh)?, stale_ms })
    }

    fn to_header(self) -> HeaderValue {
        let Self { fresh_ms, stale_ms } = self;
        match stale_ms {
            0 => HeaderValue::from(fresh_ms),
            _ => HeaderValue::try_from(format!("{fresh_ms};{stale_ms}"))
                .expect("digits and a semicolon can stand in a header"),
        }
    }
}

/// Returns the number that a text of digits is, or the largest that there is.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// What the head of a reply tells beside the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct About {
    times: Option<Times>,
    incarnation: Option<u64>,
}

impl About {
    /// Returns what a head tells. An incarnation that is none, or one of two, is none.
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let mut incarnations = headers.get_all(INCARNATION).iter();
        let (first, is_only) = (incarnations.next(), incarnations.next().is_none());
        let text = first.filter(|_| is_only).and_then(|value| value.to_str().ok());
        let digits = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let incarnation = digits.and_then(|digits| digits.parse().ok());
        Self { times: Times::read(headers), incarnation }
    }

    /// Returns the answer with what is told beside it. The answer that there is no value has no times.
    pub(crate) fn apply(self, mut answer: Answer) -> Answer {
        answer.incarnation = self.incarnation;
        if let Some(times) = self.times.filter(|_| answer.entry.value().is_some()) {
            answer.entry = times.apply(answer.entry);
        }
        answer
    }

    /// Adds to a head what is told of a value with these times, or of the answer that there is none.
    pub(crate) fn add_to(headers: &mut HeaderMap, times: Option<Times>, incarnation: Option<u64>) {
        headers.extend(times.map(|times| (FRESH, times.to_header())));
        headers.extend(incarnation.map(|number| (INCARNATION, HeaderValue::from(number))));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    /// Returns what becomes of a value whose head has these lines.
    fn read(lines: &[(HeaderName, &'static [u8])]) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_bytes(value).expect("a value"));
        }
        About::read(&headers).apply(Answer::new("630"))
    }

    fn entry(fresh: u64, stale: u64) -> Entry {
        let [fresh, stale] = [fresh, stale].map(Duration::from_millis);
        Entry::new("630").with_fresh_for(fresh).with_stale_for(stale)
    }

    proptest! {
        #[test]
        fn times_survive_frames_and_heads(fresh: u64, stale: u32, incarnation in any::<Option<u64>>()) {
            let entry = Times { fresh_ms: fresh, stale_ms: stale }.apply(Entry::new("630"));
            let times = Times::of(&entry);
            let framed = times.map(|times| Times::decode(times.encode()));
            prop_assert_eq!(framed, times);
            let mut headers = HeaderMap::new();
            About::add_to(&mut headers, times, incarnation);
            let answer = About::read(&headers).apply(Answer::new("630"));
            prop_assert_eq!(answer.entry, entry);
            prop_assert_eq!(answer.incarnation, incarnation);
        }
    }

    #[test]
    fn times_are_spelled_as_digits() {
        assert_eq!(read(&[]).entry, Entry::new("630"));
        assert_eq!(read(&[(FRESH, b"60000")]).entry, entry(60_000, 0));
        assert_eq!(read(&[(FRESH, b"60000;30000")]).entry, entry(60_000, 30_000));
        assert_eq!(read(&[(FRESH, b"0;5")]).entry, entry(0, 5));
    }

    #[test]
    fn claims_of_centuries_are_for_good_and_never_stale() {
        for claim in [
            &b"18446744073709551615;7"[..],
            b"18446744073709551616;7",
            b"99999999999999999999999999999999999999999999;7",
        ] {
            assert_eq!(read(&[(FRESH, claim)]).entry, Entry::new("630"));
        }
        let longest_stale = entry(1, u32::MAX.into());
        assert_eq!(read(&[(FRESH, b"1;18446744073709551616")]).entry, longest_stale);
        assert_eq!(Times::decode([0xff; TIMES_BYTES]).apply(Entry::new("630")), Entry::new("630"));
    }

    #[test]
    fn what_cannot_be_read_is_not_kept() {
        for nonsense in [
            &b""[..],
            b"-1",
            b"+1",
            b"1s",
            b"1.5",
            b";30000",
            b"1;",
            b"1;-1",
            b"1;2;3",
            b" 1 ; 2 ",
            b"\xff",
        ] {
            assert_eq!(read(&[(FRESH, nonsense)]).entry, entry(0, 0), "{nonsense:?}");
        }
        assert_eq!(read(&[(FRESH, b"60000"), (FRESH, b"60000")]).entry, entry(0, 0));
    }

    #[test]
    fn an_incarnation_is_one_number_or_none() {
        let incarnation = |value| read(&[(INCARNATION, value)]).incarnation;
        assert_eq!(incarnation(b"18446744073709551615"), Some(u64::MAX));
        for nonsense in [&b""[..], b"-1", b"+1", b"18446744073709551616", b"0x1", b"\xff"] {
            assert_eq!(incarnation(nonsense), None, "{nonsense:?}");
        }
        assert_eq!(read(&[(INCARNATION, b"1"), (INCARNATION, b"1")]).incarnation, None);
    }

    #[test]
    fn the_answer_that_there_is_none_has_no_times() {
        let headers: HeaderMap = [(FRESH, "60000"), (INCARNATION, "7")]
            .map(|(name, value)| (name, HeaderValue::from_static(value)))
            .into_iter()
            .collect();
        let answer = About::read(&headers).apply(Answer::absent());
        assert_eq!(answer, Answer::absent().with_incarnation(7));
    }
}
