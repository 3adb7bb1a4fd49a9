//! What a loader returns.

use std::time::Duration;

use carrotcache_byteview::ByteView;

/// A value as a loader hands it over: bytes, and perhaps how long they are good.
///
/// Whatever becomes a [`ByteView`] becomes a `Value`: `Vec<u8>`, `String`, `Bytes`, `Box<[u8]>`,
/// static slices. Loaders that return plain bytes leave time to their group.
///
/// ```
/// use std::time::Duration;
///
/// use carrotcache::Value;
///
/// let value = Value::from("630").with_time_to_live(Duration::from_secs(60));
/// assert_eq!(value.bytes(), "630");
/// assert_eq!(value.time_to_live(), Some(Duration::from_secs(60)));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Value {
    bytes: ByteView,
    time_to_live: Option<Duration>,
}

impl Value {
    /// Returns a value of these bytes.
    pub fn new(bytes: impl Into<ByteView>) -> Self {
        Self { bytes: bytes.into(), time_to_live: None }
    }

    /// Returns the value, fresh for this long from the end of its load on. It counts unless the group's
    /// own [`time_to_live`](crate::GroupBuilder::time_to_live) is shorter, and is cut by the group's
    /// [`jitter`](crate::GroupBuilder::jitter).
    ///
    /// With zero the value is returned to those who wait for it and not kept. A hundred years or more
    /// are for good. What is less than a millisecond is left out.
    #[must_use]
    pub fn with_time_to_live(self, time_to_live: Duration) -> Self {
        Self { time_to_live: Some(time_to_live), ..self }
    }

    /// Returns the time to live of its own, if it has one.
    #[must_use]
    pub fn time_to_live(&self) -> Option<Duration> {
        self.time_to_live
    }

    /// The bytes of the value.
    #[must_use]
    pub fn bytes(&self) -> &ByteView {
        &self.bytes
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
