//! An immutable view of bytes that clones and slices without copying.
