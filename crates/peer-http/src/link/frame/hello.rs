//! HELLO: the first frame each way.

use super::{FrameError, HEADER_BYTES, Header, Id, kind, len_u32};

/// The version of the protocol that this code speaks, and the only one so far.
pub(crate) const VERSION: u16 = 1;

/// Every node takes requests at least this long, so that gets can be sent before its HELLO has
/// come.
pub(crate) const MIN_REQUEST_BYTES: u32 = 64 << 10;

/// Every node takes values at least this long, whatever its HELLO says: the get that asked for the link
/// can be answered before that has come, and refusals fit anyway.
pub(crate) const MIN_VALUE_BYTES: u32 = 4 << 10;

const PAYLOAD_BYTES: usize = 32;

/// The bit of a node that takes purges.
const TAKES_PURGES: u32 = 0x01;
/// The bit of a node that takes looks.
const TAKES_LOOKS: u32 = 0x02;

/// Who is at the other end, and what it takes.
///
/// Each side says it at once and waits for none, so that a get need not wait for a round trip.
/// Until the other's has come, what is sent keeps to what every node takes. It may be said again.
///
/// ```text
///  0             2            4            8                 16       24                28
///  │ version u16 │ oldest u16 │ can u32    │ incarnation u64 │ ring u64 │ max_request u32 │ max_value u32 │
/// ```
///
/// Each bit of `can` is something that the node can do beyond what each can; those that are not known
/// are ignored. Whatever follows is for later versions, and ignored too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The newest version that the node speaks.
    pub(crate) version: u16,
    /// The oldest version that the node speaks.
    pub(crate) oldest: u16,
    /// Whether the node takes purges. One that does not would skip them without a word.
    pub(crate) takes_purges: bool,
    /// Whether the node takes looks. One that does not would skip them too.
    pub(crate) takes_looks: bool,
    /// A random number that the process drew when it started.
    pub(crate) incarnation: u64,
    /// A fingerprint of the ring as the node sees it. It only tells that two views differ.
    pub(crate) ring: u64,
    /// The longest payload of a request that the node takes.
    pub(crate) max_request_bytes: u32,
    /// The longest value that the node takes over the link.
    pub(crate) max_value_bytes: u32,
}

impl Hello {
    /// Appends the frame to `out`.
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.reserve(HEADER_BYTES + PAYLOAD_BYTES);
        let header =
            Header { len: len_u32(PAYLOAD_BYTES), ..Header::bare(kind::HELLO, Id::default()) };
        out.extend_from_slice(&header.encode());
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&self.oldest.to_le_bytes());
        let can = if self.takes_purges { TAKES_PURGES } else { 0 }
            | if self.takes_looks { TAKES_LOOKS } else { 0 };
        out.extend_from_slice(&can.to_le_bytes());
        out.extend_from_slice(&self.incarnation.to_le_bytes());
        out.extend_from_slice(&self.ring.to_le_bytes());
        out.extend_from_slice(&self.max_request_bytes.to_le_bytes());
        out.extend_from_slice(&self.max_value_bytes.to_le_bytes());
    }

    /// Returns what a payload says.
    ///
    /// # Errors
    ///
    /// When it is too short, claims bounds that no node has, or no version is common.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, FrameError> {
        let malformed = |fault| FrameError::Malformed { kind: kind::HELLO, fault };
        let mut fields = Fields(payload);
        let version = fields.take().map(u16::from_le_bytes).ok_or(malformed("no version"))?;
        let oldest = fields.take().map(u16::from_le_bytes).ok_or(malformed("no oldest version"))?;
        let can = fields.take().map(u32::from_le_bytes).ok_or(malformed("no abilities"))?;
        let hello = Self {
            version,
            oldest,
            takes_purges: can & TAKES_PURGES != 0,
            takes_looks: can & TAKES_LOOKS != 0,
            incarnation: fields
                .take()
                .map(u64::from_le_bytes)
                .ok_or(malformed("no incarnation"))?,
            ring: fields.take().map(u64::from_le_bytes).ok_or(malformed("no ring"))?,
            max_request_bytes: fields
                .take()
                .map(u32::from_le_bytes)
                .ok_or(malformed("no bound"))?,
            max_value_bytes: fields.take().map(u32::from_le_bytes).ok_or(malformed("no bound"))?,
        };
        hello.check()
    }

    fn check(self) -> Result<Self, FrameError> {
        if self.version < VERSION || self.oldest > VERSION {
            let Self { version, oldest, .. } = self;
            return Err(FrameError::Version { oldest, newest: version, ours: VERSION });
        }
        if self.max_request_bytes < MIN_REQUEST_BYTES {
            let fault = "it takes shorter requests than every node does";
            return Err(FrameError::Malformed { kind: kind::HELLO, fault });
        }
        Ok(self)
    }
}

/// Takes fields of fixed length off the front.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    /// Returns the next `N` bytes, or `None` if so many are not left.
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: Hello = Hello {
        version: 1,
        oldest: 1,
        takes_purges: true,
        takes_looks: true,
        incarnation: 0x0102_0304_0506_0708,
        ring: 9,
        max_request_bytes: 1 << 20,
        max_value_bytes: 1 << 20,
    };

    /// Returns the payload of a HELLO.
    fn payload(hello: Hello) -> Vec<u8> {
        let mut out = Vec::new();
        hello.encode(&mut out);
        out.split_off(HEADER_BYTES)
    }

    #[test]
    fn a_hello_has_its_golden_bytes() {
        let mut out = Vec::new();
        HELLO.encode(&mut out);
        assert_eq!(out[..16], [32, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(out[16..32], [1, 0, 1, 0, 3, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(out[32..], [9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 16, 0]);
        assert_eq!(Hello::decode(&out[16..]), Ok(HELLO));
    }

    #[test]
    fn a_hello_may_grow_and_may_not_shrink() {
        let mut bytes = payload(HELLO);
        for cut in 0..bytes.len() {
            let error = Hello::decode(&bytes[..cut]);
            assert!(matches!(error, Err(FrameError::Malformed { .. })), "cut at {cut}: {error:?}");
        }
        bytes.extend_from_slice(b"of a later version");
        assert_eq!(Hello::decode(&bytes), Ok(HELLO));
    }

    #[test]
    fn a_node_that_says_nothing_of_purges_and_looks_takes_none() {
        let mut bytes = payload(HELLO);
        for can in [0, 1, 2, 3, u32::MAX, !1, !2] {
            bytes[4..8].copy_from_slice(&can.to_le_bytes());
            let (takes_purges, takes_looks) = (can & 1 != 0, can & 2 != 0);
            assert_eq!(Hello::decode(&bytes), Ok(Hello { takes_purges, takes_looks, ..HELLO }));
        }
    }

    #[test]
    fn versions_that_overlap_agree_and_others_do_not() {
        let decode = |oldest, version| Hello::decode(&payload(Hello { oldest, version, ..HELLO }));
        assert!(decode(1, 1).is_ok());
        assert!(decode(0, 7).is_ok());
        assert_eq!(decode(2, 3), Err(FrameError::Version { oldest: 2, newest: 3, ours: 1 }));
        assert_eq!(decode(0, 0), Err(FrameError::Version { oldest: 0, newest: 0, ours: 1 }));
    }

    #[test]
    fn a_bound_below_what_every_node_takes_is_not_believed() {
        let bytes = payload(Hello { max_request_bytes: MIN_REQUEST_BYTES - 1, ..HELLO });
        assert!(matches!(Hello::decode(&bytes), Err(FrameError::Malformed { .. })));
    }
}
