//! What travels over a link, as pure functions on bytes.
//!
//! A frame is a header of 16 bytes and a payload. All numbers are little-endian.
//!
//! ```text
//!  0         4      5       6        8          12               16
//!  ┌─────────┬──────┬───────┬────────┬──────────┬────────────────┬──────────────────────┐
//!  │ len u32 │ kind │ flags │ aux u16│ slot u32 │ generation u32 │ payload of len bytes │
//!  └─────────┴──────┴───────┴────────┴──────────┴────────────────┴──────────────────────┘
//! ```
//!
//! `slot` and `generation` are the [`Id`] of the get or the purge that the frame is about, zero where
//! it is about none. Nothing here waits, allocates by what a header claims, or panics: what is not as it
//! should be is a [`FrameError`], which ends the link.
//!
//! Two nodes need not be of one version. A frame of an unknown [kind] is skipped. A flag in the low
//! half of `flags` may be ignored by whoever does not know it; one in the high half
//! ([`ESSENTIAL_FLAGS`]) changes what the payload means.

pub(crate) mod hello;
pub(crate) mod kind;
pub(crate) mod purge;
pub(crate) mod refusal;
pub(crate) mod reply;
pub(crate) mod request;

use thiserror::Error;

/// The length of a header.
pub(crate) const HEADER_BYTES: usize = 16;

/// The flags without which a payload cannot be understood.
pub(crate) const ESSENTIAL_FLAGS: u8 = 0xf0;

/// What every frame begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// The length of the payload, in bytes.
    pub(crate) len: u32,
    /// One of [`kind`], or one of a later version.
    pub(crate) kind: u8,
    /// See [`ESSENTIAL_FLAGS`].
    pub(crate) flags: u8,
    /// A small number whose meaning depends on the kind.
    pub(crate) aux: u16,
    pub(crate) id: Id,
}

impl Header {
    /// Returns the header of a frame without a payload.
    pub(crate) const fn bare(kind: u8, id: Id) -> Self {
        Self { len: 0, kind, flags: 0, aux: 0, id }
    }

    /// Returns the header as it is sent.
    pub(crate) fn encode(self) -> [u8; HEADER_BYTES] {
        let [l0, l1, l2, l3] = self.len.to_le_bytes();
        let [a0, a1] = self.aux.to_le_bytes();
        let [s0, s1, s2, s3] = self.id.slot.to_le_bytes();
        let [g0, g1, g2, g3] = self.id.generation.to_le_bytes();
        [l0, l1, l2, l3, self.kind, self.flags, a0, a1, s0, s1, s2, s3, g0, g1, g2, g3]
    }

    /// Returns the header that was sent as `bytes`. All bytes are a header.
    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Self {
        let [l0, l1, l2, l3, kind, flags, a0, a1, id @ ..] = *bytes;
        Self {
            len: u32::from_le_bytes([l0, l1, l2, l3]),
            kind,
            flags,
            aux: u16::from_le_bytes([a0, a1]),
            id: Id::decode(id),
        }
    }
}

/// Which get a frame is about, or which purge.
///
/// A slot is used again as soon as its get is over, each time with another generation. So the
/// answer to a get that nobody waits for any more reaches nobody, and never whoever has the slot
/// now.
///
/// The asker makes ids up, and the owner sends them back as they are. It believes nothing of them:
/// they are a key of its loads, and no index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Id {
    /// The asker's place for the get.
    pub(crate) slot: u32,
    /// Which of the gets that had the slot this is.
    pub(crate) generation: u32,
}

impl Id {
    /// The get that asked for the link, which is answered over it.
    pub(crate) const FIRST: Self = Self { slot: 0, generation: 0 };

    /// Returns the id of the purge with this number. No get of a node has its slot.
    pub(crate) const fn of_purge(number: u32) -> Self {
        Self { slot: u32::MAX, generation: number }
    }

    /// Returns the number of the purge that has this id; `None` if it is that of a get.
    pub(crate) fn purge(self) -> Option<u32> {
        (self.slot == u32::MAX).then_some(self.generation)
    }

    fn encode(self) -> [u8; 8] {
        let [s0, s1, s2, s3] = self.slot.to_le_bytes();
        let [g0, g1, g2, g3] = self.generation.to_le_bytes();
        [s0, s1, s2, s3, g0, g1, g2, g3]
    }

    fn decode([s0, s1, s2, s3, g0, g1, g2, g3]: [u8; 8]) -> Self {
        let slot = u32::from_le_bytes([s0, s1, s2, s3]);
        Self { slot, generation: u32::from_le_bytes([g0, g1, g2, g3]) }
    }
}

/// What stands at the front of what has been read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Front<'a> {
    /// Not even a header.
    Short,
    /// A header, and not all of its payload.
    Begun(Header, &'a [u8]),
    /// A frame.
    Whole(Header, &'a [u8]),
}

/// Returns what stands at the front of `bytes`. Costs a look at the header, however long the frame
/// is.
///
/// # Errors
///
/// When a frame claims to be longer than `max_bytes`, which is found out before any of it is kept.
pub(crate) fn front(bytes: &[u8], max_bytes: u32) -> Result<Front<'_>, FrameError> {
    let Some((header, rest)) = bytes.split_first_chunk() else { return Ok(Front::Short) };
    let header = Header::decode(header);
    if header.len > max_bytes {
        return Err(FrameError::TooLong { kind: header.kind, bytes: header.len, max_bytes });
    }
    let whole = usize::try_from(header.len).ok().and_then(|len| rest.get(..len));
    Ok(whole.map_or(Front::Begun(header, rest), |payload| Front::Whole(header, payload)))
}

/// What is wrong with a frame. Whoever sends such a one cannot be understood any further.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum FrameError {
    /// The frame is longer than was agreed.
    #[error("a frame of kind {kind} and {bytes} bytes is longer than the {max_bytes} agreed on")]
    TooLong { kind: u8, bytes: u32, max_bytes: u32 },
    /// The payload is not what its kind has.
    #[error("a frame of kind {kind} makes no sense: {fault}")]
    Malformed { kind: u8, fault: &'static str },
    /// Something else came before the HELLO.
    #[error("a frame of kind {kind} came before the first HELLO")]
    NoHello { kind: u8 },
    /// There is no version that both sides speak.
    #[error("the peer speaks versions {oldest} to {newest}, and this node {ours}")]
    Version { oldest: u16, newest: u16, ours: u16 },
}

/// Returns `len` as headers have it, or the longest that they have: a frame that long is sent by
/// nobody, since every sender keeps to a bound far below it.
pub(crate) fn len_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Returns the length that a header or a bound has; the longest, if this machine cannot count that far.
pub(crate) fn len_usize(len: u32) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        len: 5,
        kind: 2,
        flags: 3,
        aux: 0x0405,
        id: Id { slot: 0x0607_0809, generation: 10 },
    };

    #[test]
    fn a_header_has_its_golden_bytes() {
        let golden = [5, 0, 0, 0, 2, 3, 5, 4, 9, 8, 7, 6, 10, 0, 0, 0];
        assert_eq!(HEADER.encode(), golden);
        assert_eq!(Header::decode(&golden), HEADER);
    }

    #[test]
    fn a_frame_is_whole_only_with_its_last_byte() {
        let bytes = [&HEADER.encode()[..], b"hello, next"].concat();
        for cut in 0..bytes.len() {
            let expected = match cut {
                0..16 => Front::Short,
                16..21 => Front::Begun(HEADER, &bytes[16..cut]),
                _ => Front::Whole(HEADER, b"hello"),
            };
            assert_eq!(front(&bytes[..cut], 5), Ok(expected), "cut at {cut}");
        }
    }

    #[test]
    fn a_length_is_judged_before_the_payload_is_there() {
        let error = FrameError::TooLong { kind: 2, bytes: 5, max_bytes: 4 };
        assert_eq!(front(&HEADER.encode(), 4), Err(error));
    }
}
