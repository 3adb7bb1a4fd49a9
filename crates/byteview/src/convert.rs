//! Conversions from the usual owners of bytes, and back to them.
//!
//! No owner is copied on its way in. `&[u8]` and `&str` are owners only if they are static, so that
//! a copy is never made unasked: for others there is [`ByteView::copy_from_slice`].

use std::borrow::{Borrow, Cow};
use std::string::FromUtf8Error;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::ByteView;

/// Implements `From<$owner>` by a function of `$owner`, one owner a line.
macro_rules! from {
    ($($(#[$doc:meta])* $owner:ty: |$bytes:ident| $view:expr;)+) => {$(
        impl From<$owner> for ByteView {
            $(#[$doc])*
            fn from($bytes: $owner) -> Self {
                $view
            }
        }
    )+};
}

from! {
    /// Takes the buffer over, without copying.
    Bytes: |bytes| Self::from_foreign(bytes);
    /// Takes the buffer over, without copying.
    BytesMut: |bytes| Self::from_foreign(bytes.freeze());
    /// Takes the buffer over, without copying. Spare capacity stays with it.
    Vec<u8>: |bytes| Self::from_foreign(bytes.into());
    /// Takes the buffer over, without copying. Spare capacity stays with it.
    String: |text| Self::from_foreign(text.into());
    /// Takes the buffer over, without copying.
    Box<[u8]>: |bytes| Self::from_foreign(bytes.into());
    /// Takes the buffer over, without copying.
    Box<str>: |text| Self::from_foreign(text.into_boxed_bytes().into());
    /// Shares the buffer, without copying.
    Arc<[u8]>: |bytes| Self::from_arc(bytes);
    /// Shares the buffer, without copying.
    Arc<str>: |text| Self::from_arc(text.into());
    /// Views the bytes where they are.
    &'static [u8]: |bytes| Self::from_static(bytes);
    /// Views the bytes where they are.
    &'static str: |text| Self::from_static(text.as_bytes());
}

/// Views the bytes where they are.
impl<const N: usize> From<&'static [u8; N]> for ByteView {
    fn from(bytes: &'static [u8; N]) -> Self {
        Self::from_static(bytes)
    }
}

/// Views borrowed bytes where they are, and takes owned ones over.
impl From<Cow<'static, [u8]>> for ByteView {
    fn from(bytes: Cow<'static, [u8]>) -> Self {
        match bytes {
            Cow::Borrowed(bytes) => bytes.into(),
            Cow::Owned(bytes) => bytes.into(),
        }
    }
}

/// Views borrowed text where it is, and takes owned text over.
impl From<Cow<'static, str>> for ByteView {
    fn from(text: Cow<'static, str>) -> Self {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}

/// Without copying; see [`ByteView::into_bytes`].
impl From<ByteView> for Bytes {
    fn from(view: ByteView) -> Self {
        view.into_bytes()
    }
}

/// Copies, unless the view is the only owner of a buffer that came from a `Vec`.
impl From<ByteView> for Vec<u8> {
    fn from(view: ByteView) -> Self {
        view.into_vec()
    }
}

/// Checks that the bytes are text, and otherwise as for `Vec`.
impl TryFrom<ByteView> for String {
    type Error = FromUtf8Error;

    fn try_from(view: ByteView) -> Result<Self, FromUtf8Error> {
        Self::from_utf8(view.into_vec())
    }
}

/// Collects into an allocation of exactly the size needed.
impl FromIterator<u8> for ByteView {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Self {
        Self::from_arc(bytes.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a ByteView {
    type Item = &'a u8;
    type IntoIter = std::slice::Iter<'a, u8>;

    fn into_iter(self) -> Self::IntoIter {
        self.as_bytes().iter()
    }
}

impl AsRef<[u8]> for ByteView {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// Sound because a view hashes, compares and orders as its bytes do: a map with views for keys
/// can be asked with a byte slice.
impl Borrow<[u8]> for ByteView {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}
