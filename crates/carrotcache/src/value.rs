//! What a loader returns.

use carrotcache_byteview::ByteView;
use carrotcache_peer::Entry;

/// A value as a loader hands it over.
///
/// Whatever becomes a [`ByteView`] becomes a `Value`: `Vec<u8>`, `String`, `Bytes`, `Box<[u8]>`,
/// static slices. The type exists beside `ByteView` because a value is going to carry more than its
/// bytes (a time to live), and loaders that return plain bytes must not notice.
///
/// ```
/// use carrotcache::Value;
///
/// let value = Value::from("630");
/// assert_eq!(value.bytes(), "630");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Value {
    bytes: ByteView,
}

impl Value {
    /// Returns a value of these bytes.
    pub fn new(bytes: impl Into<ByteView>) -> Self {
        Self { bytes: bytes.into() }
    }

    /// The bytes of the value.
    #[must_use]
    pub fn bytes(&self) -> &ByteView {
        &self.bytes
    }

    /// Returns the value as it flows on from here.
    pub(crate) fn into_entry(self) -> Entry {
        Entry::new(self.bytes)
    }

    /// Returns the bytes and drops the rest.
    #[must_use]
    pub fn into_bytes(self) -> ByteView {
        self.bytes
    }
}

impl<T: Into<ByteView>> From<T> for Value {
    fn from(bytes: T) -> Self {
        Self::new(bytes)
    }
}
