//! Serialisation as bytes, behind the feature `serde`.
//!
//! Formats that know bytes store them so; formats that do not (JSON) store a list of numbers.
//! Reading accepts both, and text. What is read never borrows from the input, so that a view that
//! was deserialised does not pin what it was read from.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::ByteView;

/// A format may claim any length for a list; no more than this is reserved on its word.
const MAX_RESERVED: usize = 4096;

impl Serialize for ByteView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.as_bytes())
    }
}

impl<'de> Deserialize<'de> for ByteView {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(ViewVisitor)
    }
}

/// Builds a view from whatever the format has in place of bytes.
struct ViewVisitor;

impl<'de> Visitor<'de> for ViewVisitor {
    type Value = ByteView;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<ByteView, E> {
        Ok(ByteView::copy_from_slice(bytes))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<ByteView, E> {
        Ok(bytes.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ByteView, E> {
        Ok(ByteView::copy_from_slice(text.as_bytes()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<ByteView, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ByteView, A::Error> {
        let mut bytes = Vec::with_capacity(list.size_hint().unwrap_or(0).min(MAX_RESERVED));
        while let Some(byte) = list.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes.into())
    }
}
