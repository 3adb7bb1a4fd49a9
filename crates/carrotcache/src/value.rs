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

// Not recommended to the reader of an error: what a `User` lacks is not `From<User> for ByteView`.
#[diagnostic::do_not_recommend]
impl<T: Into<ByteView>> From<T> for Value {
    fn from(bytes: T) -> Self {
        Self::new(bytes)
    }
}

/// What a [`Loader`](crate::Loader) may return as a value: whatever is `Into<Value>`.
///
/// Those are the usual owners of bytes and text, and [`Value`] itself. The trait is there so that
/// the compiler can say what to do about any other type; it is not implemented by hand. A type of
/// your own is encoded by the loader, or becomes a value by a `From` of its own:
///
/// ```
/// use carrotcache::Value;
///
/// struct Score(u32);
///
/// impl From<Score> for Value {
///     fn from(score: Score) -> Self {
///         Value::new(score.0.to_string())
///     }
/// }
///
/// # let node = carrotcache::Node::new();
/// let loader = |_: String| async move { Ok::<_, std::io::Error>(Some(Score(630))) };
/// node.group("scores").loader(loader).build()?;
/// # Ok::<_, carrotcache::BuildGroupError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a value that a cache can keep",
    label = "neither bytes nor text",
    note = "a loader returns `Vec<u8>`, `String`, `&'static str`, `Bytes`, `Value` or the like",
    note = "encode other types in the loader, for example by `serde_json::to_vec`, or write \
            `impl From<MyType> for Value`"
)]
pub trait IntoValue {
    /// Returns the value.
    fn into_value(self) -> Value;
}

#[diagnostic::do_not_recommend]
impl<T: Into<Value>> IntoValue for T {
    fn into_value(self) -> Value {
        self.into()
    }
}
