//! How a node is told to forget, and what it says then.
//!
//! ```text
//!  PURGE   aux: length of the group
//!          time left u32 │ step u8 │ marks u8 │ attempt u64 │ token u64 │ group │ sender
//!          │ count u32 │ key* │ count u32 │ member* │ [times │] [value]
//!  PURGED  aux: what became of the keys
//!          incarnation u64 │ token u64 │ marks u8
//!
//!  a key is    len u16 │ bytes
//!  a member is incarnation u64 │ len u16 │ label
//! ```
//!
//! Each has the id of the purge. What a purge means is the cache's affair; here it is what it is made
//! of. A payload that does not add up ends the link as that of any request does. One that does, and
//! asks for more than is taken, is refused: what follows it can be read.

use std::sync::Arc;
use std::time::Instant;

use carrotcache_byteview::ByteView;
use carrotcache_peer::{Entry, Fate, Keys, Member, Purge, Purged, Step};

use super::hello::Fields;
use super::{ESSENTIAL_FLAGS, FrameError, HEADER_BYTES, Header, Id, kind, len_u32};
use crate::wire::about::{TIMES_BYTES, Times};

/// The most members that one purge names.
pub(crate) const MAX_MEMBERS: usize = 4_096;

/// The longest label of a member.
pub(crate) const MAX_LABEL_BYTES: usize = 1 << 10;

const CLOSE: u8 = 1;
const OPEN: u8 = 2;
const TELL: u8 = 3;

/// All keys of the group. None are listed.
const ALL_KEYS: u8 = 0x01;
/// An entry comes along.
const ENTRY: u8 = 0x02;
/// The entry is a value, and not that there is none.
const VALUE: u8 = 0x04;
/// The entry has times, which stand before the value.
const TIMED: u8 = 0x08;

/// Where the marks are in the payload of a PURGE.
const MARKS_AT: usize = 5;

/// The marks of a PURGED: the keys were closed all the while; the value is kept.
const STOOD: u8 = 0x01;
const KEPT: u8 = 0x02;

/// A purge as it stands in a frame: all but the deadline, which its receiver counts from its present.
#[derive(Debug, PartialEq)]
pub(crate) struct Purging {
    /// How long the asker still waits, in milliseconds; zero if it does not say.
    pub(crate) millis_left: u32,
    pub(crate) group: Arc<str>,
    pub(crate) keys: Keys,
    pub(crate) sender: Member,
    pub(crate) step: Step,
}

impl Purging {
    /// Returns the purge, whose sender waits until `deadline`.
    pub(crate) fn until(self, deadline: Instant) -> Purge {
        Purge::new(self.group, self.keys, self.sender, self.step, deadline)
    }

    /// Returns the value that comes along.
    pub(crate) fn value(&self) -> Option<&ByteView> {
        match &self.step {
            Step::Open { value, .. } => value.as_ref()?.value(),
            Step::Close { .. } | Step::Tell { .. } => None,
        }
    }
}

/// How much a receiver takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// The longest payload.
    pub(crate) max_bytes: usize,
    /// The longest value.
    pub(crate) max_value_bytes: usize,
}

/// Appends a purge to `out`. Returns whether it did: not if that is more than its receiver takes.
///
/// An entry for which there is no room is left out. The keys are forgotten without it, and the
/// receiver cannot say that it keeps it.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    id: Id,
    millis_left: u32,
    purge: &Purge,
    bounds: Bounds,
) -> bool {
    let start = out.len();
    let is_whole = write(out, id, millis_left, purge, bounds).is_some();
    if !is_whole {
        out.truncate(start);
    }
    is_whole
}

/// Appends a purge to `out`; part of one, if it is more than its receiver takes.
fn write(out: &mut Vec<u8>, id: Id, millis_left: u32, purge: &Purge, bounds: Bounds) -> Option<()> {
    let payload_at = out.len() + HEADER_BYTES;
    let aux = u16::try_from(purge.group.len()).ok()?;
    let (step, attempt, token, members, entry) = match &purge.step {
        Step::Close { attempt } => (CLOSE, *attempt, 0, &[][..], None),
        Step::Open { attempt, token, closed, value } => {
            (OPEN, *attempt, *token, &closed[..], value.as_ref())
        }
        Step::Tell { told } => (TELL, 0, 0, &told[..], None),
    };
    let keys = match &purge.keys {
        Keys::All => &[][..],
        Keys::These(keys) => &keys[..],
    };
    if keys.len() > Purge::MAX_KEYS || members.len() > MAX_MEMBERS {
        return None;
    }
    out.extend_from_slice(&[0; HEADER_BYTES]);
    out.extend_from_slice(&millis_left.to_le_bytes());
    out.push(step);
    out.push(if matches!(purge.keys, Keys::All) { ALL_KEYS } else { 0 });
    out.extend_from_slice(&attempt.to_le_bytes());
    out.extend_from_slice(&token.to_le_bytes());
    out.extend_from_slice(purge.group.as_bytes());
    write_member(out, &purge.sender)?;
    out.extend_from_slice(&len_u32(keys.len()).to_le_bytes());
    for key in keys {
        write_text(out, key)?;
    }
    out.extend_from_slice(&len_u32(members.len()).to_le_bytes());
    for member in members {
        write_member(out, member)?;
    }
    if let Some(entry) = entry {
        out[payload_at + MARKS_AT] |= write_entry(out, entry, payload_at, bounds);
    }
    let bytes = out.len() - payload_at;
    let header = Header { len: len_u32(bytes), kind: kind::PURGE, flags: 0, aux, id };
    out[payload_at - HEADER_BYTES..payload_at].copy_from_slice(&header.encode());
    (bytes <= bounds.max_bytes).then_some(())
}

/// Appends an entry, if there is room for it, and returns its marks.
fn write_entry(out: &mut Vec<u8>, entry: &Entry, payload_at: usize, bounds: Bounds) -> u8 {
    let value_bytes = entry.value().map_or(0, |value| value.len());
    let bytes = out.len() - payload_at + TIMES_BYTES + value_bytes;
    if value_bytes > bounds.max_value_bytes || bytes > bounds.max_bytes {
        return 0;
    }
    let mut marks = ENTRY;
    if let Some(times) = Times::of(entry) {
        marks |= TIMED;
        out.extend_from_slice(&times.encode());
    }
    if let Some(value) = entry.value() {
        marks |= VALUE;
        out.extend_from_slice(value);
    }
    marks
}

fn write_member(out: &mut Vec<u8>, member: &Member) -> Option<()> {
    out.extend_from_slice(&member.incarnation.to_le_bytes());
    (member.label.len() <= MAX_LABEL_BYTES).then_some(())?;
    write_text(out, &member.label)
}

fn write_text(out: &mut Vec<u8>, text: &str) -> Option<()> {
    out.extend_from_slice(&u16::try_from(text.len()).ok()?.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    Some(())
}

/// Returns the purge that a payload is, or why it is refused.
///
/// What is allocated grows with what is there, and not with what is claimed.
///
/// # Errors
///
/// When the payload does not add up.
pub(crate) fn decode(
    header: Header,
    payload: &[u8],
) -> Result<Result<Box<Purging>, &'static str>, FrameError> {
    match read(header, payload) {
        Ok(purging) => Ok(Ok(Box::new(purging))),
        Err(Fault::Refused(why)) => Ok(Err(why)),
        Err(Fault::Malformed(fault)) => Err(FrameError::Malformed { kind: kind::PURGE, fault }),
    }
}

/// Why a payload is no purge that is taken.
enum Fault {
    Malformed(&'static str),
    Refused(&'static str),
}

fn read(header: Header, payload: &[u8]) -> Result<Purging, Fault> {
    let mut fields = Fields(payload);
    let millis_left = fields.take().map(u32::from_le_bytes).ok_or(CUT)?;
    let [step, marks] = fields.take().ok_or(CUT)?;
    let attempt = read_u64(&mut fields)?;
    let token = read_u64(&mut fields)?;
    let group = read_text(&mut fields, header.aux.into())?;
    let sender = read_member(&mut fields)?;
    let keys = read_keys(&mut fields)?;
    let members = read_members(&mut fields)?;
    let entry = read_entry(fields, marks)?;
    let step = match step {
        CLOSE => Step::Close { attempt },
        OPEN => Step::Open { attempt, token, closed: members, value: entry },
        TELL => Step::Tell { told: members },
        _ => return Err(Fault::Refused("the step is of a later version of the protocol")),
    };
    let keys = if marks & ALL_KEYS == 0 { Keys::These(keys) } else { Keys::All };
    Ok(Purging { millis_left, group, keys, sender, step })
}

/// The fault of a payload that ends too early.
const CUT: Fault = Fault::Malformed("it is cut short");

fn read_u64(fields: &mut Fields<'_>) -> Result<u64, Fault> {
    fields.take().map(u64::from_le_bytes).ok_or(CUT)
}

fn read_count(fields: &mut Fields<'_>) -> Result<usize, Fault> {
    let count = fields.take().map(u32::from_le_bytes).ok_or(CUT)?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

fn read_text(fields: &mut Fields<'_>, len: usize) -> Result<Arc<str>, Fault> {
    let (text, rest) = fields.0.split_at_checked(len).ok_or(CUT)?;
    fields.0 = rest;
    let text = std::str::from_utf8(text).map_err(|_| Fault::Malformed("a name is not UTF-8"))?;
    Ok(text.into())
}

fn read_len(fields: &mut Fields<'_>) -> Result<usize, Fault> {
    fields.take().map(|len| u16::from_le_bytes(len).into()).ok_or(CUT)
}

fn read_keys(fields: &mut Fields<'_>) -> Result<Vec<Arc<str>>, Fault> {
    let count = read_count(fields)?;
    if count > Purge::MAX_KEYS {
        return Err(Fault::Refused("there are more than a thousand keys"));
    }
    let read = |_| read_len(fields).and_then(|len| read_text(fields, len));
    (0..count).map(read).collect()
}

fn read_member(fields: &mut Fields<'_>) -> Result<Member, Fault> {
    let incarnation = read_u64(fields)?;
    let len = read_len(fields)?;
    if len > MAX_LABEL_BYTES {
        return Err(Fault::Refused("a label is longer than a kibibyte"));
    }
    Ok(Member { label: read_text(fields, len)?, incarnation })
}

fn read_members(fields: &mut Fields<'_>) -> Result<Vec<Member>, Fault> {
    let count = read_count(fields)?;
    if count > MAX_MEMBERS {
        return Err(Fault::Refused("there are more than 4,096 members"));
    }
    (0..count).map(|_| read_member(fields)).collect()
}

/// Reads what is left: an entry, or nothing.
fn read_entry(mut fields: Fields<'_>, marks: u8) -> Result<Option<Entry>, Fault> {
    if marks & !(ALL_KEYS | ENTRY | VALUE | TIMED) != 0 {
        return Err(Fault::Refused("its marks are of a later version of the protocol"));
    }
    let times = match marks & (ENTRY | TIMED) == (ENTRY | TIMED) {
        true => Some(Times::decode(fields.take().ok_or(CUT)?)),
        false => None,
    };
    let has_value = marks & (ENTRY | VALUE) == (ENTRY | VALUE);
    if !has_value && !fields.0.is_empty() {
        return Err(Fault::Malformed("there is something behind its end"));
    }
    let entry = match has_value {
        true => Entry::new(ByteView::copy_from_slice(fields.0)),
        false => Entry::absent(),
    };
    let entry = match times {
        Some(times) => times.apply(entry),
        None => entry,
    };
    Ok((marks & ENTRY != 0).then_some(entry))
}

/// The length of the payload of a PURGED.
const PURGED_BYTES: usize = 17;

/// Appends the answer to a purge to `out`.
pub(crate) fn encode_purged(out: &mut Vec<u8>, id: Id, purged: Purged) {
    let (aux, token, marks) = match purged.fate {
        Fate::Closed { token } => (CLOSE, token, 0),
        Fate::Opened { stood, kept } => {
            (OPEN, 0, if stood { STOOD } else { 0 } | if kept { KEPT } else { 0 })
        }
        Fate::Told => (TELL, 0, 0),
    };
    let len = len_u32(PURGED_BYTES);
    let header = Header { len, kind: kind::PURGED, flags: 0, aux: aux.into(), id };
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(&purged.incarnation.to_le_bytes());
    out.extend_from_slice(&token.to_le_bytes());
    out.push(marks);
}

/// Returns what a payload says of a purge; `None` if it is of a later version. More may follow, which
/// is for later versions too.
///
/// # Errors
///
/// When the payload is too short.
pub(crate) fn decode_purged(header: Header, payload: &[u8]) -> Result<Option<Purged>, FrameError> {
    let cut = || FrameError::Malformed { kind: kind::PURGED, fault: "it is cut short" };
    let mut fields = Fields(payload);
    let incarnation = fields.take().map(u64::from_le_bytes).ok_or_else(cut)?;
    let token = fields.take().map(u64::from_le_bytes).ok_or_else(cut)?;
    let [marks] = fields.take().ok_or_else(cut)?;
    let fate = match u8::try_from(header.aux) {
        _ if header.flags & ESSENTIAL_FLAGS != 0 => return Ok(None),
        Ok(CLOSE) => Fate::Closed { token },
        Ok(OPEN) => Fate::Opened { stood: marks & STOOD != 0, kept: marks & KEPT != 0 },
        Ok(TELL) => Fate::Told,
        _ => return Ok(None),
    };
    Ok(Some(Purged::new(incarnation, fate)))
}
