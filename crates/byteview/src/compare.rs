//! Comparison and hashing: a view behaves exactly as the bytes that it shows.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::ByteView;

impl PartialEq for ByteView {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for ByteView {}

impl PartialOrd for ByteView {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByteView {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

/// As `[u8]` hashes, which [`Borrow<[u8]>`](std::borrow::Borrow) relies on.
impl Hash for ByteView {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

/// Compares views with other owners of bytes, in both directions.
///
/// One type a line: its generics in brackets, then how its bytes are reached, which no single
/// trait says without ambiguity.
macro_rules! compare {
    ($($other:ty $([$($generic:tt)*])?: |$value:ident| $bytes:expr;)+) => {$(
        impl $(<$($generic)*>)? PartialEq<$other> for ByteView {
            fn eq(&self, other: &$other) -> bool {
                let $value = other;
                let bytes: &[u8] = $bytes;
                self.as_bytes() == bytes
            }
        }

        impl $(<$($generic)*>)? PartialEq<ByteView> for $other {
            fn eq(&self, other: &ByteView) -> bool {
                other == self
            }
        }

        impl $(<$($generic)*>)? PartialOrd<$other> for ByteView {
            fn partial_cmp(&self, other: &$other) -> Option<Ordering> {
                let $value = other;
                let bytes: &[u8] = $bytes;
                Some(self.as_bytes().cmp(bytes))
            }
        }

        impl $(<$($generic)*>)? PartialOrd<ByteView> for $other {
            fn partial_cmp(&self, other: &ByteView) -> Option<Ordering> {
                other.partial_cmp(self).map(Ordering::reverse)
            }
        }
    )+};
}

compare! {
    [u8]: |bytes| bytes;
    &[u8]: |bytes| bytes;
    [u8; N] [const N: usize]: |bytes| bytes;
    &[u8; N] [const N: usize]: |bytes| bytes.as_slice();
    Vec<u8>: |bytes| bytes;
    Box<[u8]>: |bytes| bytes;
    Arc<[u8]>: |bytes| bytes;
    Cow<'_, [u8]>: |bytes| bytes;
    Bytes: |bytes| bytes;
    BytesMut: |bytes| bytes;
    str: |text| text.as_bytes();
    &str: |text| text.as_bytes();
    String: |text| text.as_bytes();
    Box<str>: |text| text.as_bytes();
    Arc<str>: |text| text.as_bytes();
    Cow<'_, str>: |text| text.as_bytes();
}
