//! A value as it flows, and the answer that carries it.

use carrotcache_byteview::ByteView;

/// A value on its way: from the loader through caches, flights, peers and wires to the caller.
///
/// Either there are bytes, or it is known that there are none: the loader was asked and said that
/// there is no such thing. Whatever passes an entry on passes on all of it, so that only the last
/// one, who gives the bytes to the caller, has to know what it is made of.
///
/// A clone shares the bytes. An entry is a word larger than a [`ByteView`].
///
/// ```
/// use carrotcache_peer::Entry;
///
/// let entry = Entry::new("630");
/// assert_eq!(entry.value().unwrap(), "630");
/// assert_eq!(Entry::absent().into_value(), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    value: Option<ByteView>,
}

impl Entry {
    /// Returns an entry with this value.
    #[must_use]
    pub fn new(value: impl Into<ByteView>) -> Self {
        Self { value: Some(value.into()) }
    }

    /// Returns the entry that says: there is no such thing.
    #[must_use]
    pub const fn absent() -> Self {
        Self { value: None }
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
        Self { value: self.value.as_ref().map(ByteView::compact) }
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
}

impl Answer {
    /// Returns an answer with this value or [`Entry`].
    #[must_use]
    pub fn new(entry: impl Into<Entry>) -> Self {
        Self { entry: entry.into(), minute_qps: None }
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
}
