//! A value as it flows, and the answer that carries it.

use std::time::Duration;

use carrotcache_byteview::ByteView;

/// A value on its way: from the loader through caches, flights, peers and wires to the caller.
///
/// Either there are bytes, or it is known that there are none: the loader was asked and said that
/// there is no such thing. Whatever passes an entry on passes on all of it, so that only the last
/// one, who gives the bytes to the caller, has to know what it is made of.
///
/// # How long it is good
///
/// An entry tells for how long it is *fresh* from now on, and for how long after that it is *stale*,
/// which is good enough for a caller while somebody fetches a new one. Both are spans, since clocks
/// of two machines need not agree. Unless they are set, an entry is fresh for good.
///
/// A clone shares the bytes. An entry is three words larger than a [`ByteView`].
///
/// ```
/// use std::time::Duration;
///
/// use carrotcache_peer::Entry;
///
/// let entry = Entry::new("630");
/// assert_eq!(entry.value().unwrap(), "630");
/// assert_eq!(entry.fresh_for(), None);
/// assert_eq!(Entry::absent().into_value(), None);
///
/// let minute = Duration::from_secs(60);
/// let entry = entry.with_fresh_for(minute).with_stale_for(minute / 2);
/// assert_eq!((entry.fresh_for(), entry.stale_for()), (Some(minute), minute / 2));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    value: Option<ByteView>,
    /// In milliseconds; [`FOR_GOOD`] if it does not end.
    fresh_ms: u64,
    /// In milliseconds.
    stale_ms: u32,
}

/// Of an entry that is always fresh.
const FOR_GOOD: u64 = u64::MAX;

/// What is fresh for longer is fresh for good: a hundred years, in milliseconds.
const LONGEST_FRESH_MS: u64 = 100 * 365 * 24 * 60 * 60 * 1_000;

impl Entry {
    /// Returns an entry with this value, fresh for good.
    #[must_use]
    pub fn new(value: impl Into<ByteView>) -> Self {
        Self { value: Some(value.into()), fresh_ms: FOR_GOOD, stale_ms: 0 }
    }

    /// Returns the entry that says: there is no such thing.
    #[must_use]
    pub const fn absent() -> Self {
        Self { value: None, fresh_ms: FOR_GOOD, stale_ms: 0 }
    }

    /// Returns the entry, fresh for this long from now on: in whole milliseconds, rounded down. A
    /// hundred years or more is for good.
    #[must_use]
    pub fn with_fresh_for(self, fresh_for: Duration) -> Self {
        let fresh_ms = u64::try_from(fresh_for.as_millis()).unwrap_or(FOR_GOOD);
        let fresh_ms = if fresh_ms < LONGEST_FRESH_MS { fresh_ms } else { FOR_GOOD };
        Self { fresh_ms, ..self }
    }

    /// Returns the entry, stale for this long once it is no longer fresh: in whole milliseconds,
    /// rounded down, and 49 days at most.
    #[must_use]
    pub fn with_stale_for(self, stale_for: Duration) -> Self {
        Self { stale_ms: u32::try_from(stale_for.as_millis()).unwrap_or(u32::MAX), ..self }
    }

    /// Returns for how long the entry is fresh; `None` if it is for good.
    #[must_use]
    pub fn fresh_for(&self) -> Option<Duration> {
        (self.fresh_ms != FOR_GOOD).then(|| Duration::from_millis(self.fresh_ms))
    }

    /// Returns for how long the entry is stale once it is no longer fresh.
    #[must_use]
    pub fn stale_for(&self) -> Duration {
        Duration::from_millis(self.stale_ms.into())
    }

    /// Returns the value, or `None` if there is no such thing.
    #[must_use]
    pub fn value(&self) -> Option<&ByteView> {
        self.value.as_ref()
    }

    /// Returns the value and drops the rest; `None` if there is no such thing.
    #[must_use]
    pub fn into_value(self) -> Option<ByteView> {
        self.value
    }

    /// Returns the entry with a value that owns just its own bytes, so that keeping it keeps nothing
    /// larger alive. Copies them if they are part of something larger.
    #[must_use]
    pub fn compact(&self) -> Self {
        Self { value: self.value.as_ref().map(ByteView::compact), ..*self }
    }
}

impl<T: Into<ByteView>> From<T> for Entry {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

/// What an owner answers: an entry, and what it may tell beside it.
///
/// ```
/// use carrotcache_peer::{Answer, Entry};
///
/// let answer = Answer::new("630").with_minute_qps(12.5);
/// assert_eq!(answer.entry, Entry::new("630"));
/// assert_eq!(answer.minute_qps, Some(12.5));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Answer {
    /// The value, or that there is none.
    pub entry: Entry,
    /// How often the owner is asked for the key, in requests a minute, if it says so.
    ///
    /// Go's groupcache has the field for deciding what to mirror, and leaves it empty.
    pub minute_qps: Option<f64>,
    /// The [incarnation](crate::Member::incarnation) of the process that answered, if the transport
    /// knows it. The transport fills it in at the asking node.
    pub incarnation: Option<u64>,
}

impl Answer {
    /// Returns an answer with this value or [`Entry`].
    #[must_use]
    pub fn new(entry: impl Into<Entry>) -> Self {
        Self { entry: entry.into(), minute_qps: None, incarnation: None }
    }

    /// Returns the answer that says: there is no such thing.
    #[must_use]
    pub fn absent() -> Self {
        Self::new(Entry::absent())
    }

    /// Returns the answer, telling also how often the key is asked for, in requests a minute.
    #[must_use]
    pub fn with_minute_qps(self, minute_qps: f64) -> Self {
        Self { minute_qps: Some(minute_qps), ..self }
    }

    /// Returns the answer, telling also which process gave it.
    #[must_use]
    pub fn with_incarnation(self, incarnation: u64) -> Self {
        Self { incarnation: Some(incarnation), ..self }
    }
}
