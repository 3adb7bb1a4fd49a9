//! What the asker sends: gets, and what is said around them. Purges have a place of their own, in
//! [`purge`](super::purge).
//!
//! ```text
//!  GET       aux: length of the group   payload: time left u32 │ group │ key
//!  LOOK      aux: length of the group   payload: as of a GET
//!  GET_MANY  aux: length of the group   payload: time left u32 │ group │ (id u64 │ len u16 │ key)*
//! ```
//!
//! The time left is in milliseconds, and zero where the asker waits as long as the owner does. The flag
//! 0x01 says that a load at the asker waits for the answer, the flag 0x02 that the key's owner cannot be
//! asked, so that the receiver stands in for it; whoever does not know them ignores them. Each key of
//! a GET_MANY is a get of its own, with an id of its own, and is answered as one.

use carrotcache_peer::Request;

use super::hello::{Fields, Hello};
use super::purge::{self, Purging};
use super::{ESSENTIAL_FLAGS, FrameError, HEADER_BYTES, Header, Id, kind, len_u32};

/// The most keys of one GET_MANY.
pub(crate) const MAX_KEYS: usize = 1_000;

/// The flag of gets that a load waits for.
const NESTED: u8 = 0x01;
/// The flag of gets whose owner cannot be asked.
const FOR_STAND_IN: u8 = 0x02;

const TIME_BYTES: usize = 4;

/// The length of the id and of the length of a key, in a GET_MANY.
pub(crate) const MANY_KEY_BYTES: usize = 10;

/// A frame from the asker. It borrows from what was read: nothing is copied to find out what it
/// says.
#[derive(Debug, PartialEq)]
pub(crate) enum FromAsker<'a> {
    Hello(Hello),
    Get {
        id: Id,
        get: Get<'a>,
    },
    GetMany(GetMany<'a>),
    /// A get of what is cached, for which nothing is loaded.
    Look {
        id: Id,
        get: Get<'a>,
    },
    /// A purge, or why it is refused.
    Purge {
        id: Id,
        purge: Result<Box<Purging>, &'static str>,
    },
    /// A request of a later version, which this one must not guess at.
    Unreadable(Id),
    Cancel(Id),
    Ping(Id),
    GoAway,
    /// Of a later version, and skipped.
    Unknown,
}

/// A get, as it stands in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Get<'a> {
    /// How long the asker still waits, in milliseconds; zero if it does not say.
    pub(crate) millis_left: u32,
    pub(crate) group: &'a str,
    pub(crate) key: &'a str,
    /// What is said of it beside its names.
    pub(crate) kind: GetKind,
}

/// What is said of gets in the flags of their frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct GetKind {
    /// Whether a load at the asker waits for the answer.
    pub(crate) is_nested: bool,
    /// Whether the owner cannot be asked, so that the receiver stands in for it.
    pub(crate) is_for_stand_in: bool,
}

impl GetKind {
    /// Returns that of a request.
    pub(crate) fn of(request: &Request) -> Self {
        let Request { is_nested, is_for_stand_in, .. } = *request;
        Self { is_nested, is_for_stand_in }
    }

    /// Returns a request of this kind.
    pub(crate) fn mark(self, request: Request) -> Request {
        request.with_nested(self.is_nested).with_stand_in(self.is_for_stand_in)
    }

    fn flags(self) -> u8 {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        flag(self.is_nested, NESTED) | flag(self.is_for_stand_in, FOR_STAND_IN)
    }

    /// Flags that this version does not know are for others.
    fn of_flags(flags: u8) -> Self {
        let is_set = |flag| flags & flag != 0;
        Self { is_nested: is_set(NESTED), is_for_stand_in: is_set(FOR_STAND_IN) }
    }
}

impl<'a> FromAsker<'a> {
    /// Returns what a frame says.
    ///
    /// # Errors
    ///
    /// When the payload is not what its kind has. What the names mean is not looked at: an empty
    /// key is a refusal for one get, and no reason to cut the link of all.
    pub(crate) fn decode(header: Header, payload: &'a [u8]) -> Result<Self, FrameError> {
        let is_readable = header.flags & ESSENTIAL_FLAGS == 0;
        Ok(match header.kind {
            kind::HELLO => Self::Hello(Hello::decode(payload)?),
            kind::GET | kind::LOOK | kind::PURGE if !is_readable => Self::Unreadable(header.id),
            // Not even the ids of its gets can be told.
            kind::GET_MANY if !is_readable => {
                let fault = "its flags are of a later version";
                return Err(FrameError::Malformed { kind: kind::GET_MANY, fault });
            }
            kind::GET => Self::Get { id: header.id, get: decode_get(header, payload)? },
            kind::GET_MANY => Self::GetMany(GetMany::decode(header, payload)?),
            kind::LOOK => Self::Look { id: header.id, get: decode_get(header, payload)? },
            kind::PURGE => Self::Purge { id: header.id, purge: purge::decode(header, payload)? },
            kind::CANCEL => Self::Cancel(header.id),
            kind::PING => Self::Ping(header.id),
            kind::GOAWAY => Self::GoAway,
            _ => Self::Unknown,
        })
    }
}

/// Returns how long the payload of a get is.
pub(crate) fn get_bytes(group: &str, key: &str) -> usize {
    TIME_BYTES + group.len() + key.len()
}

/// Appends a get to `out`. Returns whether it did: not if the group is longer than a frame can say.
pub(crate) fn encode_get(out: &mut Vec<u8>, id: Id, get: Get<'_>) -> bool {
    encode_as(kind::GET, out, id, get)
}

/// Appends a look to `out`, as [`encode_get`] does a get.
pub(crate) fn encode_look(out: &mut Vec<u8>, id: Id, get: Get<'_>) -> bool {
    encode_as(kind::LOOK, out, id, get)
}

fn encode_as(kind: u8, out: &mut Vec<u8>, id: Id, get: Get<'_>) -> bool {
    let Ok(aux) = u16::try_from(get.group.len()) else { return false };
    let bytes = get_bytes(get.group, get.key);
    let flags = get.kind.flags();
    let header = Header { len: len_u32(bytes), kind, flags, aux, id };
    out.reserve(HEADER_BYTES + bytes);
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(&get.millis_left.to_le_bytes());
    out.extend_from_slice(get.group.as_bytes());
    out.extend_from_slice(get.key.as_bytes());
    true
}

fn decode_get(header: Header, payload: &[u8]) -> Result<Get<'_>, FrameError> {
    let (millis_left, names) = time_left(header.kind, payload)?;
    // Looked at once: both names are text if they are together, and the cut is between two characters.
    let names = text(header.kind, names)?.split_at_checked(header.aux.into());
    let (group, key) = names.ok_or(cut_group(header.kind))?;
    Ok(Get { millis_left, group, key, kind: GetKind::of_flags(header.flags) })
}

/// Returns the time left, and what follows.
fn time_left(kind: u8, payload: &[u8]) -> Result<(u32, &[u8]), FrameError> {
    let mut fields = Fields(payload);
    let no_time = FrameError::Malformed { kind, fault: "no time left" };
    let millis_left = fields.take().map(u32::from_le_bytes).ok_or(no_time)?;
    Ok((millis_left, fields.0))
}

fn cut_group(kind: u8) -> FrameError {
    FrameError::Malformed { kind, fault: "the group is cut short" }
}

fn text(kind: u8, bytes: &[u8]) -> Result<&str, FrameError> {
    let not_text = |_| FrameError::Malformed { kind, fault: "a name is not UTF-8" };
    std::str::from_utf8(bytes).map_err(not_text)
}

/// Several gets of one group, as they stand in a frame.
///
/// The keys are gone through once when the frame is read, so that it is all right or not at all,
/// and again when they are asked for. Nothing is allocated for them in between.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GetMany<'a> {
    pub(crate) millis_left: u32,
    pub(crate) group: &'a str,
    kind: GetKind,
    keys: &'a [u8],
}

impl<'a> GetMany<'a> {
    /// Returns what a payload says.
    ///
    /// # Errors
    ///
    /// When a key is malformed, or there are more than [`MAX_KEYS`].
    fn decode(header: Header, payload: &'a [u8]) -> Result<Self, FrameError> {
        let (millis_left, names) = time_left(header.kind, payload)?;
        let names = names.split_at_checked(header.aux.into());
        let (group, keys) = names.ok_or(cut_group(header.kind))?;
        let group = text(header.kind, group)?;
        let many = Self { millis_left, group, kind: GetKind::of_flags(header.flags), keys };
        // All of it is looked at before any of it is answered.
        for (at, key) in many.gets().enumerate() {
            key?;
            if at == MAX_KEYS {
                let fault = "there are more than a thousand keys";
                return Err(FrameError::Malformed { kind: header.kind, fault });
            }
        }
        Ok(many)
    }

    /// Returns the gets, in order, up to the first that is malformed.
    pub(crate) fn gets(&self) -> impl Iterator<Item = Result<(Id, Get<'a>), FrameError>> + use<'a> {
        let Self { millis_left, group, kind, keys } = *self;
        let mut fields = Fields(keys);
        std::iter::from_fn(move || {
            if fields.0.is_empty() {
                return None;
            }
            let key = take_key(&mut fields);
            if key.is_err() {
                fields.0 = &[]; // Nothing behind it can be found.
            }
            Some(key.map(|(id, key)| (id, Get { millis_left, group, key, kind })))
        })
    }
}

/// Takes an id and its key off the front.
fn take_key<'a>(fields: &mut Fields<'a>) -> Result<(Id, &'a str), FrameError> {
    let malformed = |fault| FrameError::Malformed { kind: kind::GET_MANY, fault };
    let id = fields.take().map(Id::decode).ok_or(malformed("an id is cut short"))?;
    let len = fields.take().map(u16::from_le_bytes).ok_or(malformed("a length is cut short"))?;
    let key = fields.0.split_at_checked(len.into()).ok_or(malformed("a key is cut short"))?;
    fields.0 = key.1;
    Ok((id, text(kind::GET_MANY, key.0)?))
}

/// Writes one GET_MANY to the end of a buffer, key by key.
///
/// The length in its header is right when [`finish`](Self::finish) was called. A writer that is
/// dropped before leaves half a frame behind, which nobody may send.
pub(crate) struct ManyWriter {
    /// Where the frame begins in the buffer.
    start: usize,
    keys: usize,
    aux: u16,
    flags: u8,
}

impl ManyWriter {
    /// Begins a frame; `None` if the group is longer than a frame can say.
    pub(crate) fn begin(
        out: &mut Vec<u8>,
        group: &str,
        millis_left: u32,
        kind: GetKind,
    ) -> Option<Self> {
        let aux = u16::try_from(group.len()).ok()?;
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        out.extend_from_slice(&millis_left.to_le_bytes());
        out.extend_from_slice(group.as_bytes());
        Some(Self { start, keys: 0, aux, flags: kind.flags() })
    }

    /// Returns whether the frame has no room for a key, in a payload of up to `max_bytes`.
    pub(crate) fn is_full_for(&self, out: &[u8], key: &str, max_bytes: usize) -> bool {
        let bytes = out.len() - self.start - HEADER_BYTES + MANY_KEY_BYTES + key.len();
        self.keys == MAX_KEYS || bytes > max_bytes
    }

    /// Appends a key. Returns whether it did: not if it is longer than a frame can say.
    pub(crate) fn push(&mut self, out: &mut Vec<u8>, id: Id, key: &str) -> bool {
        let Ok(len) = u16::try_from(key.len()) else { return false };
        out.extend_from_slice(&id.encode());
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(key.as_bytes());
        self.keys += 1;
        true
    }

    /// Writes the header; takes the frame back if there is no key in it.
    pub(crate) fn finish(self, out: &mut Vec<u8>) {
        if self.keys == 0 {
            return out.truncate(self.start);
        }
        let len = len_u32(out.len() - self.start - HEADER_BYTES);
        let Self { aux, flags, .. } = self;
        let header = Header { len, kind: kind::GET_MANY, flags, aux, id: Id::default() };
        out[self.start..][..HEADER_BYTES].copy_from_slice(&header.encode());
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Front, front};
    use super::*;

    fn id(slot: u32) -> Id {
        Id { slot, generation: 7 }
    }

    fn decode(bytes: &[u8]) -> Result<FromAsker<'_>, FrameError> {
        match front(bytes, u32::MAX)? {
            Front::Whole(header, payload) => FromAsker::decode(header, payload),
            other => panic!("no frame: {other:?}"),
        }
    }

    fn many(keys: &[&str]) -> Vec<u8> {
        let mut out = b"before".to_vec();
        let mut writer = ManyWriter::begin(&mut out, "g", 250, GetKind::default()).unwrap();
        for (slot, key) in (0..).zip(keys) {
            assert!(writer.push(&mut out, id(slot), key));
        }
        writer.finish(&mut out);
        out.split_off(6)
    }

    #[test]
    fn a_get_has_its_golden_bytes() {
        let get = Get { millis_left: 250, group: "scores", key: "Töm", kind: GetKind::default() };
        let mut out = Vec::new();
        assert!(encode_get(&mut out, id(3), get));
        assert_eq!(out[..16], [14, 0, 0, 0, 2, 0, 6, 0, 3, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(out[16..], *b"\xfa\0\0\0scoresT\xc3\xb6m");
        assert_eq!(decode(&out), Ok(FromAsker::Get { id: id(3), get }));
    }

    #[test]
    fn what_is_said_of_gets_stands_in_their_flags() {
        let nested = GetKind { is_nested: true, is_for_stand_in: false };
        let for_stand_in = GetKind { is_nested: false, is_for_stand_in: true };
        let both = GetKind { is_nested: true, is_for_stand_in: true };
        for (kind, flags) in [(nested, 1), (for_stand_in, 2), (both, 3)] {
            let get = Get { millis_left: 250, group: "scores", key: "Tom", kind };
            let mut out = Vec::new();
            assert!(encode_get(&mut out, id(3), get));
            assert_eq!(out[..8], [13, 0, 0, 0, 2, flags, 6, 0]);
            assert_eq!(decode(&out), Ok(FromAsker::Get { id: id(3), get }));

            out.clear();
            let mut writer = ManyWriter::begin(&mut out, "scores", 250, kind).unwrap();
            assert!(writer.push(&mut out, id(3), "Tom"));
            writer.finish(&mut out);
            assert_eq!(out[4..6], [3, flags]);
            let Ok(FromAsker::GetMany(many)) = decode(&out) else { panic!("many gets") };
            assert_eq!(many.gets().collect::<Vec<_>>(), [Ok((id(3), get))]);
        }
    }

    #[test]
    fn many_gets_have_their_golden_bytes() {
        let out = many(&["ab", ""]);
        assert_eq!(out[..16], [27, 0, 0, 0, 3, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(out[16..], *b"\xfa\0\0\0g\0\0\0\0\x07\0\0\0\x02\0ab\x01\0\0\0\x07\0\0\0\0\0");
        let Ok(FromAsker::GetMany(many)) = decode(&out) else { panic!("many gets") };
        let gets: Vec<_> = many.gets().map(Result::unwrap).collect();
        let get = |key| Get { millis_left: 250, group: "g", key, kind: GetKind::default() };
        assert_eq!(gets, [(id(0), get("ab")), (id(1), get(""))]);
    }

    #[test]
    fn a_frame_without_a_key_is_not_sent() {
        assert_eq!(many(&[]), b"");
    }

    #[test]
    fn a_thousand_keys_fit_and_one_more_does_not() {
        let keys = vec!["k"; MAX_KEYS + 1];
        assert!(decode(&many(&keys[1..])).is_ok());
        assert!(matches!(decode(&many(&keys)), Err(FrameError::Malformed { .. })));
    }

    #[test]
    fn a_payload_cut_anywhere_is_malformed_or_fewer_keys() {
        let mut whole = many(&["one", "two"]);
        let payload = whole.split_off(HEADER_BYTES);
        let header = Header { aux: 1, ..Header::bare(kind::GET_MANY, Id::default()) };
        // After the group, and after each key.
        let fine = [5, 18, 31];
        for cut in 0..=payload.len() {
            let decoded = FromAsker::decode(header, &payload[..cut]);
            assert_eq!(decoded.is_ok(), fine.contains(&cut), "cut at {cut}: {decoded:?}");
        }
    }

    #[test]
    fn hostile_requests_are_told_by_what_is_wrong() {
        let get = |aux, payload: &'static [u8]| {
            let header = Header { aux, ..Header::bare(kind::GET, Id::FIRST) };
            FromAsker::decode(header, payload)
        };
        let malformed = |fault| Err(FrameError::Malformed { kind: kind::GET, fault });
        assert_eq!(get(0, b""), malformed("no time left"));
        assert_eq!(get(0, b"\0\0\0"), malformed("no time left"));
        assert_eq!(get(1, b"\0\0\0\0"), malformed("the group is cut short"));
        assert_eq!(get(u16::MAX, b"\0\0\0\0group"), malformed("the group is cut short"));
        assert_eq!(get(1, b"\0\0\0\0\xffkey"), malformed("a name is not UTF-8"));
        assert_eq!(get(1, b"\0\0\0\0g\xff"), malformed("a name is not UTF-8"));
        assert_eq!(get(1, b"\0\0\0\0\xc3\xb6"), malformed("the group is cut short"));
        assert!(get(0, b"\0\0\0\0").is_ok(), "empty names are for the owner to refuse");
    }

    #[test]
    fn flags_that_matter_make_gets_unreadable_and_others_do_not() {
        let decode = |kind, flags| {
            let header = Header { flags, aux: 1, ..Header::bare(kind, Id::FIRST) };
            FromAsker::decode(header, b"\0\0\0\0g")
        };
        for flags in [0x10, 0x80, 0xff] {
            assert_eq!(decode(kind::GET, flags), Ok(FromAsker::Unreadable(Id::FIRST)));
            assert!(matches!(decode(kind::GET_MANY, flags), Err(FrameError::Malformed { .. })));
        }
        assert!(matches!(decode(kind::GET, 0x0f), Ok(FromAsker::Get { .. })));
        assert!(matches!(decode(kind::GET_MANY, 0x0f), Ok(FromAsker::GetMany(_))));
    }

    #[test]
    fn frames_of_unknown_kinds_are_known_to_be_unknown() {
        for kind in [0, kind::VALUE, 99, 255] {
            let decoded = FromAsker::decode(Header::bare(kind, Id::FIRST), b"anything");
            assert_eq!(decoded, Ok(FromAsker::Unknown));
        }
    }
}
