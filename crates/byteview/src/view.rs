use std::fmt;
use std::ops::{Bound, Deref, Range, RangeBounds};
use std::str::{self, Utf8Error};
use std::sync::Arc;

use bytes::{Buf, Bytes};

/// Debug output shows this many bytes of a longer value, then its length.
const DEBUG_BYTES: usize = 64;

/// An immutable sequence of bytes that many owners share.
///
/// It dereferences to `[u8]` and compares, orders and hashes exactly as `[u8]` does, with byte
/// slices and strings of every kind. [`Clone`] and [`slice`](Self::slice) cost O(1) whatever the
/// length. A view is four words wide and `Send + Sync`.
///
/// ```
/// use carrotcache_byteview::ByteView;
///
/// let view = ByteView::copy_from_slice(b"carrot");
/// let same = view.clone(); // Shares the bytes.
/// assert_eq!(same.slice(..3), b"car");
/// assert_eq!(format!("{view:?}"), r#"ByteView("carrot")"#);
/// ```
#[derive(Clone)]
pub struct ByteView {
    repr: Repr,
}

/// Where the bytes are.
#[derive(Clone)]
enum Repr {
    /// In the program's image, or in a buffer that the `bytes` crate counts.
    Foreign(Bytes),
    Own(Own),
}

/// What a view holds when it is not a [`Bytes`].
///
/// Split from [`Repr`] so that both enums find a niche for their tag: the view stays as small as
/// a `Bytes`, four words.
#[derive(Clone)]
enum Own {
    Static(&'static [u8]),
    /// `len` bytes from `start`. 32 bits each, again for size; what is longer becomes `Foreign`.
    Shared {
        buffer: Arc<[u8]>,
        start: u32,
        len: u32,
    },
}

impl ByteView {
    /// Returns the empty view, without allocating.
    #[must_use]
    pub const fn new() -> Self {
        Self::from_static(&[])
    }

    /// Returns a view of bytes that live as long as the program, without allocating.
    ///
    /// ```
    /// use carrotcache_byteview::ByteView;
    ///
    /// static GREETING: ByteView = ByteView::from_static(b"hello");
    /// assert_eq!(GREETING, "hello");
    /// ```
    #[must_use]
    pub const fn from_static(bytes: &'static [u8]) -> Self {
        Self { repr: Repr::Own(Own::Static(bytes)) }
    }

    /// Returns a view of a copy of `bytes`, in one allocation of exactly their size and a
    /// reference count. Its clones never allocate.
    #[must_use]
    pub fn copy_from_slice(bytes: &[u8]) -> Self {
        if bytes.is_empty() { Self::new() } else { Self::from_arc(Arc::from(bytes)) }
    }

    /// Takes over an `Arc`, without copying.
    pub(crate) fn from_arc(buffer: Arc<[u8]>) -> Self {
        match u32::try_from(buffer.len()) {
            Ok(len) => Self { repr: Repr::Own(Own::Shared { buffer, start: 0, len }) },
            Err(_) => Self::from_foreign(Bytes::from_owner(buffer)),
        }
    }

    /// Takes over a `Bytes`, without copying.
    pub(crate) const fn from_foreign(bytes: Bytes) -> Self {
        Self { repr: Repr::Foreign(bytes) }
    }

    /// Returns the number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.repr {
            Repr::Foreign(bytes) => bytes.len(),
            Repr::Own(Own::Static(bytes)) => bytes.len(),
            Repr::Own(Own::Shared { len, .. }) => *len as usize,
        }
    }

    /// Returns whether the view holds no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes. What `&view` dereferences to, by name.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.repr {
            Repr::Foreign(bytes) => bytes,
            Repr::Own(Own::Static(bytes)) => bytes,
            Repr::Own(Own::Shared { buffer, start, len }) => {
                &buffer[*start as usize..][..*len as usize]
            }
        }
    }

    /// Returns the bytes as text.
    ///
    /// # Errors
    ///
    /// When the bytes are not UTF-8; the error tells from which byte on.
    ///
    /// ```
    /// use carrotcache_byteview::ByteView;
    ///
    /// assert_eq!(ByteView::from("汉字").as_str(), Ok("汉字"));
    /// assert!(ByteView::from(b"\xff").as_str().is_err());
    /// ```
    pub fn as_str(&self) -> Result<&str, Utf8Error> {
        str::from_utf8(self.as_bytes())
    }

    /// Returns a copy of the bytes, for a caller that wants to change them.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    /// Returns the bytes as a `Vec`: the view's own buffer if this view is its only owner and it
    /// came from a `Vec`, otherwise a copy.
    ///
    /// ```
    /// use carrotcache_byteview::ByteView;
    ///
    /// let mut bytes = ByteView::from(vec![1, 2, 3]).into_vec(); // Nothing was copied so far.
    /// bytes.push(4);
    /// assert_eq!(bytes, [1, 2, 3, 4]);
    /// ```
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        match self.repr {
            Repr::Foreign(bytes) => bytes.into(),
            Repr::Own(_) => self.to_vec(),
        }
    }

    /// Returns a view of the bytes in `range`, which shares their buffer and keeps all of it
    /// alive (see [`compact`](Self::compact)).
    ///
    /// ```
    /// use carrotcache_byteview::ByteView;
    ///
    /// let line = ByteView::from("HTTP/1.1 200 OK");
    /// assert_eq!(line.slice(9..12), "200");
    /// assert_eq!(line.slice(..=3), "HTTP");
    /// ```
    ///
    /// # Panics
    ///
    /// When `range` does not lie within the view, as slicing does.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        let range = self.resolve(&range);
        if range.is_empty() {
            return Self::new(); // Nothing to share, and so nothing to pin.
        }
        let repr = match &self.repr {
            Repr::Foreign(bytes) => Repr::Foreign(bytes.slice(range)),
            Repr::Own(Own::Static(bytes)) => Repr::Own(Own::Static(&bytes[range])),
            Repr::Own(Own::Shared { buffer, start, .. }) => Repr::Own(Own::Shared {
                buffer: Arc::clone(buffer),
                start: start + narrow(range.start),
                len: narrow(range.len()),
            }),
        };
        Self { repr }
    }

    /// Turns the bounds of a range into indices of this view.
    fn resolve(&self, range: &impl RangeBounds<usize>) -> Range<usize> {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => self.len(),
        };
        assert!(start <= end, "slice starts at {start} but ends at {end}");
        assert!(end <= self.len(), "slice ends at {end} in a view of {} bytes", self.len());
        start..end
    }

    /// Returns a view of the same bytes that keeps nothing else alive.
    ///
    /// Copies the bytes into an allocation of exactly their size, unless they are static or
    /// already fill such an allocation: then it costs no more than a clone. What a cache is about to
    /// keep should be compact, so that it is as large as the cache thinks it is.
    ///
    /// ```
    /// use carrotcache_byteview::ByteView;
    ///
    /// let packet = ByteView::from(vec![0; 64 * 1024]);
    /// let kept = packet.slice(12..28).compact(); // Sixteen bytes, and not the packet.
    /// assert_eq!(kept.len(), 16);
    /// assert_eq!(kept.compact().as_ptr(), kept.as_ptr()); // Compact already: a clone.
    /// ```
    #[must_use]
    pub fn compact(&self) -> Self {
        match &self.repr {
            Repr::Own(Own::Static(_)) => self.clone(),
            Repr::Own(Own::Shared { buffer, .. }) if buffer.len() == self.len() => self.clone(),
            _ => Self::copy_from_slice(self.as_bytes()),
        }
    }

    /// Returns the bytes as a [`Bytes`], without copying them.
    ///
    /// Costs one small allocation when the view was made by
    /// [`copy_from_slice`](Self::copy_from_slice) or [`compact`](Self::compact), otherwise none.
    ///
    /// ```
    /// use carrotcache_byteview::{ByteView, Bytes};
    ///
    /// let body: Bytes = ByteView::copy_from_slice(b"630").into_bytes();
    /// assert_eq!(body, "630");
    /// ```
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self.repr {
            Repr::Foreign(bytes) => bytes,
            Repr::Own(Own::Static(bytes)) => Bytes::from_static(bytes),
            Repr::Own(Own::Shared { buffer, start, len }) => {
                let start = start as usize;
                Bytes::from_owner(buffer).slice(start..start + len as usize)
            }
        }
    }
}

/// Narrows an index into a `Shared` buffer.
fn narrow(index: usize) -> u32 {
    u32::try_from(index).expect("a shared buffer is never longer than 32 bits can count")
}

impl Default for ByteView {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for ByteView {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// Text as text with its escapes, other bytes as `\x..`: `ByteView("Tom\n\xff")`. A value of more
/// than 64 bytes is cut and followed by its length, so that a log line stays a line.
impl fmt::Debug for ByteView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = shown(self.as_bytes());
        f.write_str("ByteView(\"")?;
        for chunk in shown.utf8_chunks() {
            write!(f, "{}", chunk.valid().escape_debug())?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        if shown.len() < self.len() {
            write!(f, "\"… {} bytes)", self.len())
        } else {
            f.write_str("\")")
        }
    }
}

/// Returns the part of `bytes` that debug output shows, cut between characters where it is text.
fn shown(bytes: &[u8]) -> &[u8] {
    if bytes.len() <= DEBUG_BYTES {
        return bytes;
    }
    let cut = &bytes[..DEBUG_BYTES];
    match str::from_utf8(cut) {
        Err(error) if error.error_len().is_none() => &cut[..error.valid_up_to()],
        _ => cut,
    }
}

/// Reading from the front: `advance` narrows this view and leaves its clones alone.
///
/// [`Buf::reader`] turns a view into [`std::io::Read`], and [`std::io::Cursor`] reads from a view
/// without consuming it.
///
/// ```
/// use bytes::Buf;
/// use carrotcache_byteview::ByteView;
///
/// let mut frame = ByteView::from(&[0, 3, b'T', b'o', b'm'][..]);
/// let len = frame.get_u16();
/// assert_eq!(frame.copy_to_bytes(usize::from(len)), "Tom"); // Shares the bytes of the frame.
/// assert!(!frame.has_remaining());
/// ```
impl Buf for ByteView {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        self.as_bytes()
    }

    /// # Panics
    ///
    /// When `count` is more than what remains, as the trait asks.
    fn advance(&mut self, count: usize) {
        assert!(count <= self.len(), "cannot advance {count} in a view of {} bytes", self.len());
        match &mut self.repr {
            Repr::Foreign(bytes) => bytes.advance(count),
            Repr::Own(Own::Static(bytes)) => *bytes = &bytes[count..],
            Repr::Own(Own::Shared { start, len, .. }) => {
                *start += narrow(count);
                *len -= narrow(count);
            }
        }
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        let taken = self.slice(..len);
        self.advance(len);
        taken.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_view_is_four_words_wide() {
        assert_eq!(size_of::<ByteView>(), 4 * size_of::<usize>());
        assert_eq!(size_of::<Option<ByteView>>(), 5 * size_of::<usize>());
    }
}
